//! Files that are written again and again while the workload runs, each by a process of its own: such a write may take
//! as long as it likes, and PID 1 must not wait for it.

use mmtorture_protocol::Repeat;
use std::time::Duration;

/// Starts writing. The process is killed with all others when the workload has ended.
///
/// # Errors
/// If there is no process to be had.
pub fn start(repeat: &Repeat) -> std::io::Result<()> {
    // SAFETY: this program never starts a thread, so the child inherits no lock held by anyone else.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            // PID 1's own place in the queue is for its heartbeat.
            let _ = rustix::process::setpriority_process(None, 0);
            loop {
                let _ = crate::knobs::write(&repeat.path, &repeat.value);
                std::thread::sleep(Duration::from_millis(repeat.every_ms.into()));
            }
        }
        _ => Ok(()),
    }
}
