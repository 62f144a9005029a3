//! Runs work that may sit in KVM_RUN in a thread of its own, and kicks it out when its time is up.

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Between two kicks. One may come just before the thread enters KVM_RUN, and be lost.
const KICK_INTERVAL: Duration = Duration::from_millis(2);

/// How long a thread is kicked before it is given up. On a busy host it may wait that long for a CPU to leave by.
const GRACE: Duration = Duration::from_millis(600);

/// Does `work` for at most `deadline`. From then on, the flag that it gets is set and its system calls are
/// interrupted (EINTR) until it returns.
///
/// `None` if it never returns: its thread is left behind then, as KVM_RUN in a broken host kernel cannot be ended.
pub(super) fn within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Option<T> {
    install_handler();
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = channel();
    let flag = Arc::clone(&stop);
    // A send fails only if the receiver has given up.
    let thread = Builder::new().name("kvm-probe".to_owned()).spawn(move || {
        listen_to_kicks_only();
        drop(sender.send(work(&flag)));
    });
    let thread = thread.ok()?;
    let mut result = receiver.recv_timeout(deadline);
    stop.store(true, Ordering::Release);
    let kicked = Instant::now();
    while matches!(result, Err(RecvTimeoutError::Timeout)) && kicked.elapsed() < GRACE {
        // SAFETY: `thread` is neither joined nor detached, so its pthread_t is valid, even if it has ended.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGRTMIN()) };
        result = receiver.recv_timeout(KICK_INTERVAL);
    }
    let result = result.ok()?;
    // It has sent its last word, so this does not block.
    drop(thread.join());
    Some(result)
}

/// Another's signal (a child's end, a resized terminal) would interrupt a system call like a kick.
fn listen_to_kicks_only() {
    // SAFETY: the set is filled in before it is used, and only this thread's mask changes.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut blocked);
        libc::sigdelset(&mut blocked, libc::SIGRTMIN());
        libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, std::ptr::null_mut());
    }
}

/// A signal interrupts a system call only if it has a handler; without one, SIGRTMIN would end the process.
fn install_handler() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: an all-zero sigaction is valid: no flags (so no SA_RESTART: KVM_RUN must return), an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        // SAFETY: `action` is initialized and its handler does nothing, which is safe in a signal handler.
        unsafe { libc::sigaction(libc::SIGRTMIN(), &action, std::ptr::null_mut()) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_in_time_is_left_alone() {
        assert_eq!(within(Duration::from_secs(60), |stop| !stop.load(Ordering::Acquire)), Some(true));
    }

    #[test]
    fn a_system_call_is_interrupted_at_the_deadline() {
        let started = Instant::now();
        let waited = within(Duration::from_millis(20), |stop| {
            while !stop.load(Ordering::Acquire) {
                // SAFETY: waits for a signal; touches no memory.
                unsafe { libc::pause() };
            }
            "kicked"
        });
        assert_eq!(waited, Some("kicked"));
        assert!(started.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_panic_is_no_result() {
        assert_eq!(within::<()>(Duration::from_secs(60), |_| panic!("expected by the test")), None);
    }
}
