//! The control socket of `mmtorture-vmm`: a JSON line `{"do":"pause"}` for a command, `{"ok":true}` and what else there is
//! to say for a reply. The file that a dump goes to is passed open, because the machine may open none.

use super::monitor::PATIENCE;
use crate::error::{Error, Result};
use anyhow::Context;
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{json, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest reply, in bytes.
const MAX_REPLY: u64 = 64 << 10;

/// Has the machine that listens at `path` do the command `word` within `patience`; yields the reply.
///
/// A connection serves one command: one that came to nothing leaves no late reply to be taken for the next one's.
///
/// # Errors
/// Nobody listens, the machine does not answer in time, or it says no.
pub fn ask(path: &Path, word: &str, file: Option<&File>, patience: Duration) -> Result<Value> {
    let context = || format!("the machine does not answer to {word}");
    let stream = UnixStream::connect(path).with_context(context)?;
    stream.set_write_timeout(Some(PATIENCE)).with_context(context)?;
    stream.set_read_timeout(Some(patience)).with_context(context)?;
    let line = format!("{}\n", json!({ "do": word }));
    let fds = file.map(AsFd::as_fd);
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(fds.as_slice()));
    // A line so short goes whole into a fresh socket's buffer, or not at all.
    sendmsg(&stream, &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL).with_context(context)?;
    let mut reply = String::new();
    BufReader::new(stream.take(MAX_REPLY)).read_line(&mut reply).with_context(context)?;
    let reply: Value = serde_json::from_str(&reply).with_context(context)?;
    if reply["ok"] == true {
        return Ok(reply);
    }
    Err(Error::host(format!("the machine refuses {word}: {}", reply["error"].as_str().unwrap_or_default())))
}
