//! What a filter refuses, said: a process that just dies of SIGSYS is a riddle.

use std::io::Write;

/// Lets a refused system call be told on standard error, with its number, before the process ends.
pub(super) fn install_handler() {
    // SAFETY: an all-zero sigaction is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = refused as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler is async-signal-safe; the old action is not asked for.
    unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
}

/// `si_syscall`'s offset in siginfo_t on x86-64 (include/uapi/asm-generic/siginfo.h, _sigsys): libc has no accessor.
const SI_SYSCALL: usize = 24;

extern "C" fn refused(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t, in which a SIGSYS has its system call's number at that offset.
    let number = unsafe { info.byte_add(SI_SYSCALL).cast::<i32>().read() };
    let mut line = [0; 64];
    let mut rest = &mut line[..];
    // Formats into a buffer on the stack: no allocation, no lock.
    let _ = writeln!(rest, "seccomp: system call {number} refused");
    let length = 64 - rest.len();
    // SAFETY: both are async-signal-safe, and allowed by every filter; the buffer is valid for `length` bytes.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        libc::_exit(3);
    }
}
