//! Getting a vCPU's thread out of KVM_RUN.

use kvm_ioctls::VcpuFd;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Once;
use std::thread::JoinHandle;

/// What it takes to kick a vCPU.
pub(super) struct Kick {
    /// Of the vCPU's kvm_run, which is mapped for as long as its VcpuFd lives.
    immediate_exit: *mut u8,
}

// SAFETY: the pointer is only used as an AtomicU8, which any thread may do.
unsafe impl Send for Kick {}
// SAFETY: as above.
unsafe impl Sync for Kick {}

impl Kick {
    pub fn of(fd: &mut VcpuFd) -> Self {
        Self { immediate_exit: &raw mut fd.get_kvm_run().immediate_exit }
    }

    /// Makes the thread's KVM_RUN, or its next one, return with EINTR.
    pub fn kick(&self, thread: &JoinHandle<VcpuFd>) {
        // SAFETY: `thread`, not yet joined, holds the VcpuFd, and with it the mapping of kvm_run; the thread itself and
        // the kernel access this byte without tearing it.
        unsafe { AtomicU8::from_ptr(self.immediate_exit) }.store(1, Ordering::SeqCst);
        // SAFETY: `thread` is neither joined nor detached, so its pthread_t is valid even if it has ended.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGRTMIN()) };
    }
}

/// Lets SIGRTMIN interrupt system calls, and do nothing else.
pub(super) fn install_handler() {
    extern "C" fn ignore(_: libc::c_int) {}
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: an all-zero sigaction is valid: no flags (no SA_RESTART above all), an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
        // SAFETY: `ignore` does nothing, so it is async-signal-safe; the old action is not asked for.
        let result = unsafe { libc::sigaction(libc::SIGRTMIN(), &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0, "SIGRTMIN can be handled");
    });
}
