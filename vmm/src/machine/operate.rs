//! A running machine: its end is awaited, its signals and its control socket are listened to.

use super::{Event, PANIC_GRACE};
use crate::control::{Dumped, Handler, Server, State, Status};
use crate::dump::{self, CpuState, Pagemap};
use crate::ending::{End, Ending};
use crate::error::{Error, Result};
use crate::log::log;
use crate::vcpu::Vcpus;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

/// The signals that end a machine in order.
const SIGNALS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Signals, as something to poll.
pub(super) struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals in this thread and those that it starts from now on.
    pub fn block() -> Result<Self> {
        let failed = Error::host("signalfd");
        // SAFETY: an all-zero sigset_t is valid, and emptied first of all.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is valid for all of these; the old mask is not asked for.
        let fd = unsafe {
            libc::sigemptyset(&raw mut set);
            for signal in SIGNALS {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        // SAFETY: `fd` is new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The signal that came, if one did.
    fn take(&self) -> Option<i32> {
        // SAFETY: an all-zero signalfd_siginfo is valid.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        // SAFETY: `info` has room for `size` bytes.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        (read == size as isize).then_some(info.ssi_signo as i32)
    }
}

/// Sees a machine to its end.
pub(super) struct Operator<'a> {
    vcpus: &'a Vcpus,
    ram: &'a GuestMemoryMmap,
    end: &'a End,
    started: Instant,
    /// Opened before confinement, as is `statm`.
    pagemap: Option<Pagemap>,
    statm: Option<File>,
    /// The vCPUs' states, while they are paused.
    paused: Option<Vec<CpuState>>,
}

impl<'a> Operator<'a> {
    /// Opens what it will want to read of this process.
    pub fn new(vcpus: &'a Vcpus, ram: &'a GuestMemoryMmap, end: &'a End) -> Self {
        let (pagemap, statm) = (Pagemap::open(), File::open("/proc/self/statm").ok());
        Self { vcpus, ram, end, started: Instant::now(), pagemap, statm, paused: None }
    }

    /// This process's resident memory in bytes, 0 where /proc does not tell (proc(5), statm).
    fn resident(&self) -> u64 {
        let mut text = [0; 128];
        let read = self.statm.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&text[..read]).unwrap_or_default();
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * dump::PAGE as u64)
    }

    /// Follows the machine to its end. `said` is readable whenever `end` has news.
    pub fn follow(
        &mut self,
        said: &EventFd,
        signals: &Signals,
        mut server: Option<&mut Server>,
        event: &mut dyn FnMut(Event),
    ) -> Result<Ending> {
        let mut grace: Option<Instant> = None;
        loop {
            if let Some(ending) = self.end.get() {
                return Ok(ending);
            }
            if self.end.has_panicked() && grace.is_none() {
                event(Event::Panicked);
                grace = Some(Instant::now() + PANIC_GRACE);
            }
            if grace.is_some_and(|until| until <= Instant::now()) && self.paused.is_none() {
                self.end.say(Ending::Panicked);
                continue;
            }
            let server_fd = server.as_ref().map_or(-1, |server| server.as_raw_fd());
            let left = grace.map(|until| until.saturating_duration_since(Instant::now()));
            wait([said.as_raw_fd(), signals.0.as_raw_fd(), server_fd], left).map_err(Error::host("poll"))?;
            // Non-blocking: nothing to read is no news.
            let _ = said.read();
            if let Some(signal) = signals.take() {
                self.end.say(Ending::Killed { signal });
            }
            if let Some(server) = &mut server {
                server.serve(self);
            }
        }
    }

    fn stop(&mut self) -> std::result::Result<&[CpuState], String> {
        if self.paused.is_none() {
            self.paused = Some(self.vcpus.pause()?);
        }
        Ok(self.paused.as_deref().unwrap_or_default())
    }
}

/// Waits until one of the descriptors is readable; a negative one never is. The least wait is a millisecond, so that a
/// deadline that is near is not polled for.
fn wait(fds: [RawFd; 3], patience: Option<Duration>) -> io::Result<()> {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let patience = patience.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
    // SAFETY: `polled` is valid for its length.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, patience) };
    match result {
        -1 => match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            e => Err(e),
        },
        _ => Ok(()),
    }
}

impl Handler for Operator<'_> {
    fn pause(&mut self) -> std::result::Result<(), String> {
        self.stop().map(drop)
    }

    fn resume(&mut self) -> std::result::Result<(), String> {
        if self.paused.take().is_some() {
            self.vcpus.resume();
        }
        Ok(())
    }

    fn nmi(&mut self, vcpu: Option<u8>) -> std::result::Result<(), String> {
        self.vcpus.nmi(vcpu)
    }

    fn dump(&mut self, mut file: File) -> std::result::Result<Dumped, String> {
        let was_paused = self.paused.is_some();
        let states = self.stop()?.to_vec();
        let dumped = dump::write(&mut file, self.ram, &states, self.pagemap.as_ref())
            .map_err(|e| format!("cannot write the core: {e}"));
        if let Ok(dumped) = &dumped {
            log!("dump: {dumped:?}");
        }
        if !was_paused {
            self.resume()?;
        }
        dumped
    }

    fn status(&self) -> Status {
        let state = match (self.end.get(), &self.paused) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Paused,
            (None, None) => State::Running,
        };
        Status {
            state,
            vcpus: vec![state; self.vcpus.count()],
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            memory: self.ram.iter().map(GuestMemoryRegion::len).sum(),
            resident: self.resident(),
            panicked: self.end.has_panicked(),
        }
    }

    fn quit(&mut self) {
        self.end.say(Ending::Quit);
    }
}
