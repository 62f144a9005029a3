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
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // State and parent.
        fields(&stat).is_some_and(|mut fields| fields.nth(1) == Some(&me))
    };
    numbers("/proc").into_iter().filter(is_child).filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)).collect()
}

/// The fields of /proc/PID/stat that come after the name, which may hold anything (proc(5)).
pub fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat[stat.rfind(')')? + 1..].split_whitespace())
}

/// The numbers that a folder of /proc has entries of, in order: processes, or threads.
pub fn numbers(folder: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
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
