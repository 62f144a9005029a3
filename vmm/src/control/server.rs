//! The control socket's server, polled by the machine's main loop.
//!
//! Nothing here waits for a client: sockets are non-blocking, a connection has bounded input and output, there are at
//! most [`MAX_CONNECTIONS`] of them, and each call of [`Server::serve`] takes a bounded amount from each.

use super::session::{Session, MAX_LINE, SEVERAL};
use super::{Handler, Reply};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// The most clients at a time. One more is told so and let go.
pub const MAX_CONNECTIONS: usize = 4;

/// The most descriptors that the server opens: a connection and a file for each client, one more client, two more files.
/// With fewer left under RLIMIT_NOFILE, a client that waits for one would keep [`Server`] ready, and the main loop busy.
pub const DESCRIPTORS: usize = 2 * MAX_CONNECTIONS + 3;

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
            match receive(&self.stream, &mut bytes[..room]) {
                Ok((count, [file, None])) => self.session.receive(&bytes[..count], file),
                Ok(_) => self.session.refuse(SEVERAL),
                // More files than two: all are closed, and the bytes are lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.session.refuse(SEVERAL),
                Err(error) => return Err(error),
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

/// Reads once: how many bytes there were, and the files that came along.
// Room for two files, as that is what the kernel's alignment of control messages leaves; vmm-sys-util's function for one
// would never close the second.
fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, [Option<File>; 2])> {
    let mut parts = [libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }];
    let mut fds = [-1; 2];
    // SAFETY: the one part is `bytes`, which is borrowed mutably.
    let received = unsafe { stream.recv_with_fds(&mut parts, &mut fds) };
    let (count, files) = received.map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
    // SAFETY: the kernel has just made these descriptors for this process; nobody else knows of them.
    let file = |at| (at < files).then(|| unsafe { File::from_raw_fd(fds[at]) });
    Ok((count, [file(0), file(1)]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Machine;
    use super::super::{Client, ClientError, Command};
    use super::*;
    use std::io::Read;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const SOON: Duration = Duration::from_secs(20);

    /// A server in a thread that polls it as a machine's main loop does.
    struct Served {
        folder: tempfile::TempDir,
        stop: Arc<AtomicBool>,
        thread: Option<std::thread::JoinHandle<(Vec<String>, usize, usize)>>,
    }

    impl Served {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut server = Server::new(UnixListener::bind(folder.path().join("control")).unwrap()).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&stop);
            let thread = std::thread::spawn(move || {
                let (mut machine, mut rounds) = (Machine::default(), 0);
                while !flag.load(Ordering::Acquire) {
                    if ready(&server, 20) {
                        rounds += 1;
                        server.serve(&mut machine);
                    }
                }
                (machine.done, server.connections(), rounds)
            });
            Self { folder, stop, thread: Some(thread) }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("control")
        }

        fn client(&self) -> Client {
            Client::connect(&self.path()).unwrap()
        }

        fn stream(&self) -> UnixStream {
            let stream = UnixStream::connect(self.path()).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
        }

        /// Until a client is served. One that has left still has its place until the server looks.
        fn wait_for_a_place(&self) {
            let start = Instant::now();
            while !matches!(self.client().request(&Command::Status {}, None, SOON), Ok(Reply { ok: true, .. })) {
                assert!(start.elapsed() < SOON);
            }
        }

        /// What was done, how many clients were left, and how often the server was called.
        fn stop(mut self) -> (Vec<String>, usize, usize) {
            self.stop.store(true, Ordering::Release);
            self.thread.take().unwrap().join().unwrap()
        }
    }

    fn ready(server: &Server, timeout_ms: i32) -> bool {
        let mut poll = libc::pollfd { fd: server.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives through the call.
        unsafe { libc::poll(&mut poll, 1, timeout_ms) > 0 }
    }

    fn status(client: &mut Client) -> Reply {
        client.request(&Command::Status {}, None, SOON).unwrap()
    }

    /// How many descriptors this process has open on files whose path contains `name`.
    fn open_files(name: &str) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .filter(|to| to.to_string_lossy().contains(name))
            .count()
    }

    #[test]
    fn a_client_commands_a_machine() {
        let served = Served::new();
        let mut client = served.client();
        for command in
            [Command::Pause {}, Command::Nmi { vcpu: None }, Command::Nmi { vcpu: Some(1) }, Command::Resume {}]
        {
            assert_eq!(client.request(&command, None, SOON).unwrap(), Reply::OK);
        }
        assert_eq!(status(&mut client).status.unwrap().vcpus.len(), 2);
        assert!(client.request(&Command::Dump {}, None, SOON).unwrap().error.unwrap().contains("SCM_RIGHTS"));
        let mut file = tempfile::tempfile().unwrap();
        let dumped = client.request(&Command::Dump {}, Some(&file), SOON).unwrap().dumped.unwrap();
        assert_eq!(dumped.bytes, 4);
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), "core");
        assert_eq!(client.request(&Command::Quit {}, None, SOON).unwrap(), Reply::OK);
        assert!(matches!(client.request(&Command::Status {}, None, SOON), Err(ClientError::Closed)));
        let (done, left, _) = served.stop();
        assert_eq!(done, ["pause", "nmi None", "nmi Some(1)", "resume", "quit"]);
        assert_eq!(left, 0);
    }

    #[test]
    fn clients_that_come_and_go_and_one_too_many() {
        let served = Served::new();
        let mut clients: Vec<_> = (0..MAX_CONNECTIONS).map(|_| served.client()).collect();
        clients.iter_mut().for_each(|client| assert!(status(client).ok));
        let mut text = String::new();
        served.stream().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"ok\":false,\"error\":\"4 clients are connected, expected fewer\"}\n");
        drop(clients.pop());
        served.wait_for_a_place();
        clients.iter_mut().for_each(|client| assert!(status(client).ok));
    }

    #[test]
    fn who_never_reads_holds_up_nobody_and_costs_one_reply() {
        let served = Served::new();
        let mut greedy = served.stream();
        greedy.set_nonblocking(true).unwrap();
        // Until both directions are full: then the server has one reply that it cannot send, and reads no more.
        let line = b"{\"do\":\"status\"}\n".repeat(64);
        let (mut sent, mut full) = (0, 0);
        while full < 10 {
            match greedy.write(&line[sent % line.len()..]) {
                Ok(count) => (sent, full) = (sent + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    full += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(status(&mut served.client()).ok);
        // It is answered in full once it reads.
        greedy.set_nonblocking(false).unwrap();
        greedy.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        greedy.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), sent / 16);
        assert!(text.lines().all(|line| serde_json::from_str::<Reply>(line).unwrap().ok));
        // And while it does not, the server sleeps.
        let (_, left, rounds) = served.stop();
        assert_eq!(left, 0);
        assert!(rounds < sent, "{rounds} rounds for {sent} bytes");
    }

    #[test]
    fn who_leaves_in_the_middle_is_forgotten() {
        let served = Served::new();
        for bytes in [&b""[..], b"{\"do\":", b"{\"do\":\"status\"}\n", b"\n\n\n", &[b'x'; 3 * MAX_LINE]] {
            // The server may have closed it already.
            let _ = served.stream().write_all(bytes);
        }
        served.wait_for_a_place();
        std::thread::sleep(Duration::from_millis(50));
        let (done, left, rounds) = served.stop();
        assert_eq!((done.len(), left), (0, 0));
        assert!(rounds < 200, "{rounds}");
    }

    #[test]
    fn files_that_nobody_wants_are_closed() {
        let served = Served::new();
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("unwanted-file")).unwrap();
        let mut client = served.client();
        for _ in 0..3 {
            assert!(client.request(&Command::Status {}, Some(&file), SOON).unwrap().ok);
        }
        assert_eq!(open_files("unwanted-file"), 1);
        for count in [2, 3, 200] {
            let mut stream = served.stream();
            let files = vec![file.as_raw_fd(); count];
            stream.send_with_fds(&[&b"{\"do\":\"dump\"}\n"[..]], &files).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "{\"ok\":false,\"error\":\"several files, expected one with each dump\"}\n");
        }
        // With a line that never ends, and a client that leaves.
        let stream = served.stream();
        stream.send_with_fd(&b"{\"do\""[..], file.as_raw_fd()).unwrap();
        stream.send_with_fd(&b":"[..], file.as_raw_fd()).unwrap();
        drop(stream);
        let start = Instant::now();
        while open_files("unwanted-file") > 1 && start.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(open_files("unwanted-file"), 1);
    }

    #[test]
    fn a_client_does_not_wait_for_ever() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut client = Client::from(ours);
        let error = client.request(&Command::Status {}, None, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(&error, ClientError::Io(error) if error.kind() == ErrorKind::TimedOut), "{error}");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"hello\n").unwrap();
        let error = Client::from(ours).request(&Command::Status {}, None, SOON).unwrap_err();
        assert!(error.to_string().contains("'hello', expected a reply"), "{error}");
    }

    #[test]
    fn a_server_with_nothing_to_do_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::new(UnixListener::bind(folder.path().join("s")).unwrap()).unwrap();
        assert!(!ready(&server, 0));
        server.serve(&mut Machine::default());
        let client = UnixStream::connect(folder.path().join("s")).unwrap();
        assert!(ready(&server, 0));
        server.serve(&mut Machine::default());
        assert!(!ready(&server, 0));
        drop(client);
        assert!(ready(&server, 0));
        server.serve(&mut Machine::default());
        assert!(!ready(&server, 0) && server.connections() == 0);
    }
}
