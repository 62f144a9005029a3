//! System calls that rustix lacks.

use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, AsRawFd as _};

/// Collapse into huge pages, since 6.1 (include/uapi/asm-generic/mman-common.h).
pub const MADV_COLLAPSE: i32 = 25;

/// What MADV_COLLAPSE says where others race with it, or where there are no huge pages to be had or to be allowed
/// (madvise_collapse_errno()).
pub const COLLAPSE_MAY: &[Errno] = &[Errno::INVAL, Errno::BUSY];

/// Move pages that are ours alone (include/uapi/linux/mempolicy.h).
const MPOL_MF_MOVE: libc::c_long = 2;

fn result(value: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(value).map_err(|_| last())
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// madvise(2) by number, on memory of the caller's that is only ever accessed by volatile or atomic words.
///
/// # Errors
/// Its own.
pub fn madvise(at: *mut u8, bytes: usize, advice: i32) -> Result<(), Errno> {
    // SAFETY: whatever the advice does to the contents of the caller's memory is seen by volatile or atomic reads.
    match unsafe { libc::madvise(at.cast(), bytes, advice) } {
        0 => Ok(()),
        _ => Err(last()),
    }
}

/// process_madvise(2) on a range of another process.
///
/// # Errors
/// Its own; ESRCH if that process is gone, EPERM without CAP_SYS_NICE.
pub fn process_madvise(pidfd: impl AsFd, at: *mut u8, bytes: usize, advice: i32) -> Result<usize, Errno> {
    let range = libc::iovec { iov_base: at.cast(), iov_len: bytes };
    // SAFETY: `range` lives as long as the call, which reads one iovec and touches no memory of this process.
    result(unsafe {
        libc::syscall(libc::SYS_process_madvise, pidfd.as_fd().as_raw_fd(), &raw const range, 1, advice, 0)
    })
}

/// process_mrelease(2): tears down the memory of a process that is about to die.
///
/// # Errors
/// EINVAL if it is not dying, ESRCH if it is gone, EAGAIN if its memory cannot be had now.
pub fn process_mrelease(pidfd: impl AsFd) -> Result<usize, Errno> {
    // SAFETY: touches no memory of this process.
    result(unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_fd().as_raw_fd(), 0) })
}

/// What move_pages(2) and mbind(2) say where there are no nodes, or not that one, and of pages that are busy or not there.
pub const MOVE_MAY: &[Errno] =
    &[Errno::NOSYS, Errno::NODEV, Errno::INVAL, Errno::PERM, Errno::BUSY, Errno::NOENT, Errno::IO];

/// move_pages(2) of this process's pages. Returns how many it left where they were.
///
/// # Errors
/// Its own; ENOSYS without CONFIG_NUMA and CONFIG_MIGRATION.
pub fn move_pages(pages: &[*mut u8], nodes: &[i32]) -> Result<usize, Errno> {
    let mut status = vec![0i32; pages.len()];
    assert_eq!(pages.len(), nodes.len());
    // SAFETY: the arrays are all as long as the count says, and live as long as the call. The pages keep their contents.
    result(unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            nodes.as_ptr(),
            status.as_mut_ptr(),
            MPOL_MF_MOVE,
        )
    })
}

/// mbind(2) to one node, moving what is there.
///
/// # Errors
/// Its own; ENOSYS without CONFIG_NUMA, EIO never.
pub fn bind_to(at: *mut u8, bytes: usize, node: usize) -> Result<usize, Errno> {
    let mask = 1u64 << node;
    // SAFETY: the mask has the 64 bits that the call may read. The pages keep their contents.
    result(unsafe { libc::syscall(libc::SYS_mbind, at, bytes, libc::MPOL_BIND, &raw const mask, 64, MPOL_MF_MOVE) })
}

/// process_vm_readv(2) of one range of another process.
///
/// # Errors
/// Its own.
pub fn read_from(pid: Pid, from: *const u8, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: from.cast_mut().cast(), iov_len: into.len() };
    // SAFETY: the local range is `into`; the remote one is not of this process.
    result(unsafe { libc::process_vm_readv(pid.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0) }
        as i64)
}

/// process_vm_writev(2) to one range of another process.
///
/// # Errors
/// Its own.
pub fn write_to(pid: Pid, to: *mut u8, bytes: &[u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: to.cast(), iov_len: bytes.len() };
    // SAFETY: the local range is `bytes`, which is only read; the remote one is not of this process.
    result(unsafe { libc::process_vm_writev(pid.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0) }
        as i64)
}

/// vmsplice(2) of this process's pages into a pipe: the pipe then refers to the pages themselves.
///
/// # Errors
/// Its own.
pub fn vmsplice(pipe: impl AsFd, at: *const u8, bytes: usize) -> Result<usize, Errno> {
    let range = libc::iovec { iov_base: at.cast_mut().cast(), iov_len: bytes };
    // SAFETY: the range is the caller's, is not gifted, and is accessed as atomics only.
    let done = unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &raw const range, 1, libc::SPLICE_F_NONBLOCK) };
    result(done as i64)
}

/// swapoff(2).
///
/// # Errors
/// Its own; ENOMEM if what is swapped fits nowhere.
pub fn swapoff(device: &std::ffi::CStr) -> Result<(), Errno> {
    // SAFETY: the string is NUL-terminated.
    result(unsafe { libc::swapoff(device.as_ptr()) }.into()).map(|_| ())
}

/// swapon(2).
///
/// # Errors
/// Its own.
pub fn swapon(device: &std::ffi::CStr) -> Result<(), Errno> {
    // SAFETY: the string is NUL-terminated.
    result(unsafe { libc::swapon(device.as_ptr(), 0) }.into()).map(|_| ())
}
