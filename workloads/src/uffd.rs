//! userfaultfd(2), as far as workloads need it (include/uapi/linux/userfaultfd.h).

use crate::region::PAGE;
use rustix::io::Errno;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const API: u64 = 0xaa;
const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
const USER_MODE_ONLY: i32 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;
const FLAG_WP: u64 = 1 << 1;
const REGISTER_MISSING: u64 = 1 << 0;
const REGISTER_WP: u64 = 1 << 1;
const COPY_WP: u64 = 1 << 1;
const WRITEPROTECT_WP: u64 = 1 << 0;

/// _IOWR(0xAA, number, [u64; words]).
const fn request(number: u64, words: u64) -> libc::Ioctl {
    (3 << 30 | (words * 8) << 16 | API << 8 | number) as libc::Ioctl
}

/// A descriptor that faults are read from and answered by.
#[derive(Debug)]
pub struct Uffd {
    fd: OwnedFd,
    wp: bool,
}

/// A fault that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Where, at a page's beginning.
    pub address: usize,
    /// Whether a page is there, and protected.
    pub protected: bool,
}

impl Uffd {
    /// A descriptor for faults of user code, with write protection where the kernel has it.
    ///
    /// # Errors
    /// ENOSYS without CONFIG_USERFAULTFD, EPERM where this user must not.
    pub fn new() -> Result<Self, Errno> {
        for (features, wp) in
            [(FEATURE_PAGEFAULT_FLAG_WP | FEATURE_MISSING_SHMEM, true), (FEATURE_MISSING_SHMEM, false)]
        {
            let flags = USER_MODE_ONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
            // SAFETY: takes flags only; a descriptor that it returns is ours alone.
            let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
            if fd < 0 {
                return Err(last());
            }
            // SAFETY: as above.
            let uffd = Self { fd: unsafe { OwnedFd::from_raw_fd(fd as i32) }, wp };
            // After EINVAL, features that it lacks, a descriptor is of no use any more.
            match uffd.call(0x3f, &mut [API, features, 0]) {
                Err(Errno::INVAL) => {}
                result => return result.map(|()| uffd),
            }
        }
        Err(Errno::INVAL)
    }

    /// Whether pages can be protected.
    pub fn can_protect(&self) -> bool {
        self.wp
    }

    /// From now on faults of these bytes are ours.
    ///
    /// # Errors
    /// EINVAL for memory that cannot be watched.
    pub fn register(&self, at: *mut u8, bytes: usize, wp: bool) -> Result<(), Errno> {
        let mode = if wp { REGISTER_MISSING | REGISTER_WP } else { REGISTER_MISSING };
        self.call(0x00, &mut [at as u64, bytes as u64, mode, 0])
    }

    /// The next fault, if there is one.
    pub fn fault(&self) -> Option<Fault> {
        let mut message = [0u8; 32];
        if rustix::io::read(&self.fd, &mut message) != Ok(message.len()) || message[0] != EVENT_PAGEFAULT {
            return None;
        }
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| message[at + i]));
        Some(Fault { address: word(16) as usize / PAGE * PAGE, protected: word(8) & FLAG_WP != 0 })
    }

    /// Waits for a fault, for so many milliseconds.
    pub fn wait(&self, milliseconds: i64) {
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    /// Puts a copy of `page` where one is missing.
    ///
    /// # Errors
    /// EEXIST if one is there, ENOENT, EAGAIN if the mapping changes.
    pub fn copy(&self, to: usize, page: &[u8; PAGE], protect: bool) -> Result<(), Errno> {
        let mode = if protect && self.wp { COPY_WP } else { 0 };
        self.call(0x03, &mut [to as u64, page.as_ptr() as u64, PAGE as u64, mode, 0])
    }

    /// Protects pages against writes, or unprotects them and wakes who waits.
    ///
    /// # Errors
    /// ENOENT, EAGAIN if the mapping changes.
    pub fn protect(&self, at: usize, bytes: usize, protect: bool) -> Result<(), Errno> {
        self.call(0x06, &mut [at as u64, bytes as u64, if protect { WRITEPROTECT_WP } else { 0 }])
    }

    fn call<const WORDS: usize>(&self, number: u64, argument: &mut [u64; WORDS]) -> Result<(), Errno> {
        // SAFETY: the request's number says how long the argument is. Pages that it fills are registered by their owner,
        // who accesses them as atomics only.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), request(number, WORDS as u64), argument.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(last()),
        }
    }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
