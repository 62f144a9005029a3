//! Where a serial port writes to.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A stream of the host.
pub type Stream = Box<dyn Write + Send>;

/// Opens a stream: a file (made, or emptied), a FIFO (which waits for its reader), `/dev/fd/N`, or `unix:PATH`.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> Result<Stream> {
    let shown = path.display();
    match path.to_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(socket) => {
            let stream = UnixStream::connect(socket).map_err(Error::host(format!("cannot connect to {socket}")))?;
            Ok(Box::new(stream))
        }
        None => {
            let file = File::create(path).map_err(Error::host(format!("cannot write to {shown}")))?;
            Ok(Box::new(file))
        }
    }
}
