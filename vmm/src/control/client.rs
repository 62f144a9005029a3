//! The client's end of the control socket, for whoever drives a machine.

use super::protocol::{Command, Reply};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// The longest reply that is read, in bytes.
const MAX_REPLY: usize = 64 << 10;

/// A connection to a machine's control socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket failed, or the time was up ([`ErrorKind::TimedOut`]).
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The machine ended, or refused the connection.
    #[error("control socket: closed without a reply")]
    Closed,
    /// What came is no reply.
    #[error("control socket: {why} in '{line}', expected a reply")]
    Reply {
        /// What came.
        line: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::from)
    }

    /// Has `command` done, with the file that a dump is written to, within `timeout`: a dump takes as long as the disk
    /// takes. After an error of this function, make a new connection: the reply may yet come on this one.
    ///
    /// # Errors
    /// See [`ClientError`]. A reply that says no is no error.
    pub fn request(&mut self, command: &Command, file: Option<&File>, timeout: Duration) -> Result<Reply, ClientError> {
        let deadline = Instant::now() + timeout;
        let mut line = serde_json::to_vec(command).map_err(io::Error::from)?;
        line.push(b'\n');
        self.stream.set_write_timeout(Some(left(deadline)?))?;
        let sent = match file {
            Some(file) => self.stream.send_with_fd(&line[..], file.as_raw_fd()),
            None => self.stream.send_with_fds(&[&line[..]], &[]),
        };
        match sent {
            Ok(sent) => self.stream.write_all(line.get(sent..).unwrap_or_default()).map_err(timed_out)?,
            // The machine may have said why before it closed the connection.
            Err(error) if error.errno() == libc::EPIPE => {}
            Err(error) => return Err(timed_out(io::Error::from_raw_os_error(error.errno())).into()),
        }
        self.reply(deadline)
    }

    fn reply(&mut self, deadline: Instant) -> Result<Reply, ClientError> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') && line.len() < MAX_REPLY {
            self.stream.set_read_timeout(Some(left(deadline)?))?;
            // One request at a time, so nothing follows its reply: no byte is lost with the buffer.
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => line.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(error) => return Err(timed_out(error).into()),
            }
        }
        serde_json::from_slice(&line).map_err(|error| ClientError::Reply {
            line: String::from_utf8_lossy(&line[..line.len().min(200)]).trim_end().to_owned(),
            why: error.to_string(),
        })
    }
}

impl From<UnixStream> for Client {
    fn from(stream: UnixStream) -> Self {
        Self { stream }
    }
}

/// Zero would mean for ever.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A socket's time-out is EAGAIN.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}
