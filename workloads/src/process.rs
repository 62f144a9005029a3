//! Forking, and dying together: no process of a workload outlives the one that started it.

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};
use std::panic::AssertUnwindSafe;

/// Exit status of a process whose code panicked. 101 as Rust's own.
pub const PANICKED: i32 = 101;

/// Forks a process that runs `body` and exits with its result, its memory still mapped: exit_mmap(2)'s work is what
/// most workloads are about.
///
/// The process gets SIGKILL when its parent dies, and is the first that the OOM killer takes.
///
/// # Errors
/// ENOMEM and EAGAIN under pressure.
pub fn fork(body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    let parent = process::getpid();
    // SAFETY: where threads run beside this one (see Life::crew), the only locks that they take are malloc's, which fork
    // of the C library hands to the child in order.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN));
    }
    if let Some(child) = Pid::from_raw(pid) {
        return Ok(child);
    }
    let status = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let tied = process::set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have died before the line above: then no signal will come.
        if tied.is_err() || process::getppid() != Some(parent) {
            return 0;
        }
        // Raising the score needs no privilege. Where /proc lacks it, the OOM killer judges by size alone.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        body()
    }))
    .unwrap_or(PANICKED);
    // SAFETY: _exit ends the process without the parent's atexit handlers and buffered output, and without
    // unmapping first what the body left mapped.
    unsafe { libc::_exit(status) }
}

/// The children of this process, dead ones included. A process sees its own: none but us can reap them, so that no number
/// among these is another's by now.
pub fn children() -> Vec<Pid> {
    let me = process::getpid().as_raw_nonzero().to_string();
    let parent = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; state and parent come after it (proc(5)).
        stat[stat.rfind(')')?..].split_whitespace().nth(2).map(str::to_owned)
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let pids = pids.filter(|name| name.bytes().all(|c| c.is_ascii_digit()) && parent(name).as_ref() == Some(&me));
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_among_the_children() {
        let child = fork(|| {
            std::thread::sleep(std::time::Duration::from_secs(30));
            0
        })
        .unwrap();
        assert!(children().contains(&child));
        process::kill_process(child, Signal::KILL).unwrap();
        process::waitpid(Some(child), process::WaitOptions::empty()).unwrap();
        assert!(!children().contains(&child));
    }
}
