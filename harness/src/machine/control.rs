//! What `mmtorture-vmm` is told on its control socket, by its own client.

use crate::error::{Error, Result};
use anyhow::Context;
use mmtorture_vmm::control::{Client, Command, Reply};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Has the machine that listens at `path` do `command`, called `word`, within `patience`; yields the reply.
///
/// A connection serves one command: one that came to nothing leaves no late reply to be taken for the next one's.
///
/// # Errors
/// Nobody listens, the machine does not answer in time, or it says no.
pub fn ask(path: &Path, word: &str, command: Command, file: Option<&File>, patience: Duration) -> Result<Reply> {
    let context = || format!("the machine does not answer to {word}");
    let mut client = Client::connect(path).with_context(context)?;
    let reply = client.request(&command, file, patience).with_context(context)?;
    if reply.ok {
        return Ok(reply);
    }
    Err(Error::host(format!("the machine refuses {word}: {}", reply.error.unwrap_or_default())))
}
