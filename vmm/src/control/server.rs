//! The control socket's server, polled by the machine's main loop.
//!
//! Nothing here waits for a client: sockets are non-blocking, a connection has bounded input and output, there are at
//! most [`MAX_CONNECTIONS`] of them, and each call of [`Server::serve`] takes a bounded amount from each.

use super::session::{Session, MAX_LINE};
use super::{Handler, Reply};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// The most clients at a time. One more is told so and let go.
pub const MAX_CONNECTIONS: usize = 4;

/// The most clients that are taken in one call of [`Server::serve`].
const ACCEPTS: usize = 8;

/// The listening socket's token; a connection's is its place.
const LISTENER: u64 = MAX_CONNECTIONS as u64;

/// The server.
///
/// It is itself one descriptor to poll, level-triggered: [`AsFd`] gives an epoll descriptor that is readable whenever
/// [`Self::serve`] has something to do.
pub struct Server {
    epoll: Epoll,
    listener: UnixListener,
    connections: [Option<Connection>; MAX_CONNECTIONS],
}

struct Connection {
    stream: UnixStream,
    session: Session,
    /// What epoll watches it for: input, or room for output.
    watched: EventSet,
}

impl Server {
    /// Serves who connects to `listener`.
    ///
    /// # Errors
    /// The host has no descriptors left.
    pub fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.ctl(ControlOperation::Add, listener.as_raw_fd(), EpollEvent::new(EventSet::IN, LISTENER))?;
        Ok(Self { epoll, listener, connections: Default::default() })
    }

    /// Serves what is ready, and returns. A command takes as long as `handler` takes.
    pub fn serve(&mut self, handler: &mut dyn Handler) {
        let mut events = [EpollEvent::default(); MAX_CONNECTIONS + 1];
        // Interrupted or not: what is ready stays ready.
        let ready = self.epoll.wait(0, &mut events).unwrap_or(0);
        // First those that are here: one that leaves makes room.
        for token in events.iter().take(ready).map(EpollEvent::data).filter(|&token| token != LISTENER) {
            self.attend(token as usize, handler);
        }
        if events.iter().take(ready).any(|event| event.data() == LISTENER) {
            self.accept();
        }
    }

    /// How many clients there are.
    pub fn connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            // Also ends here: a client that left again, and a process without a descriptor to spare.
            let Ok((stream, _)) = self.listener.accept() else { return };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Some(place) = self.connections.iter().position(Option::is_none) else {
                let why = format!("{MAX_CONNECTIONS} clients are connected, expected fewer");
                if let Ok(text) = serde_json::to_string(&Reply::error(why)) {
                    // A new socket has room for a line. If not, the client sees an end without a reason.
                    let _ = (&stream).write(format!("{text}\n").as_bytes());
                }
                continue;
            };
            let event = EpollEvent::new(EventSet::IN, place as u64);
            if self.epoll.ctl(ControlOperation::Add, stream.as_raw_fd(), event).is_ok() {
                let session = Session::default();
                self.connections[place] = Some(Connection { stream, session, watched: EventSet::IN });
            }
        }
    }

    fn attend(&mut self, place: usize, handler: &mut dyn Handler) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        let keep = match connection.attend(handler) {
            Ok(()) => !connection.session.is_over() && connection.watch(&self.epoll, place).is_ok(),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if !keep {
            // Closing the only descriptor of a socket takes it off the epoll's list.
            self.connections[place] = None;
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the epoll descriptor is open for as long as `self`, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.epoll.as_raw_fd()) }
    }
}

impl AsRawFd for Server {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Connection {
    /// Reads once, and does what there is to do until the client must read or send.
    fn attend(&mut self, handler: &mut dyn Handler) -> io::Result<()> {
        let room = self.session.room();
        if room > 0 {
            let mut bytes = [0; MAX_LINE];
            match self.stream.recv_with_fd(&mut bytes[..room]) {
                Ok((count, file)) => self.session.receive(&bytes[..count], file),
                // More than one file: all are closed, and the bytes are lost.
                Err(error) if error.errno() == libc::ENOBUFS => {
                    self.session.refuse("several files, expected one with each dump");
                }
                Err(error) => return Err(io::Error::from_raw_os_error(error.errno())),
            }
        }
        loop {
            self.session.step(handler);
            if self.session.output().is_empty() || !self.flush()? {
                return Ok(());
            }
        }
    }

    /// Whether all that there was to send is sent.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.session.output().is_empty() {
            match self.stream.write(self.session.output()) {
                Ok(count) => self.session.sent(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn watch(&mut self, epoll: &Epoll, place: usize) -> io::Result<()> {
        let wanted = if self.session.output().is_empty() { EventSet::IN } else { EventSet::OUT };
        if wanted != self.watched {
            let event = EpollEvent::new(wanted, place as u64);
            epoll.ctl(ControlOperation::Modify, self.stream.as_raw_fd(), event)?;
            self.watched = wanted;
        }
        Ok(())
    }
}
