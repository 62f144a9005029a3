//! The guest's processes: all of them are, in the end, PID 1's to kill and to reap.

use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::os::fd::{FromRawFd as _, OwnedFd};

/// How many processes a report lists.
const MAX_LISTED: usize = 48;

/// Blocks SIGCHLD and opens a descriptor that becomes readable when a child died.
///
/// # Errors
/// If the kernel lacks signalfd.
pub fn watch_children() -> std::io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigemptyset before any other use and outlives the calls that read it. signalfd
    // returns a new descriptor that nobody else owns, or -1, which is not wrapped.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(std::io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// What [`reap`] found.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    /// How the process that was asked about ended, if it did.
    pub status: Option<WaitStatus>,
    /// Whether no child at all is left.
    pub none_left: bool,
}

/// Reaps every child that is dead, orphans included.
pub fn reap(wanted: Option<Pid>) -> Reaped {
    let mut found = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if Some(pid) == wanted {
                    found = Some(status);
                }
            }
            Ok(None) => return Reaped { status: found, none_left: false },
            Err(_) => return Reaped { status: found, none_left: true },
        }
    }
}

/// Sends SIGKILL to every process but PID 1. A process group alone would miss those that left it.
pub fn kill_all() {
    // SAFETY: kill has no memory effects here; this process is PID 1 of its own machine (checked at start), and -1
    // never means the caller.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Every user process as `pid name state wait-channel`, separated by `; `.
pub fn states() -> String {
    let mut pids: Vec<u32> = std::fs::read_dir("/proc")
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    pids.sort_unstable();
    let read = |pid: u32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let lines: Vec<String> = pids
        .into_iter()
        .filter(|&pid| pid > 2)
        .filter_map(|pid| {
            let stat = read(pid, "stat");
            let (name, state) = name_and_state(&stat)?;
            Some(format!("{pid} {name} {state} {}", read(pid, "wchan").trim()))
        })
        .take(MAX_LISTED)
        .collect();
    lines.join("; ")
}

/// Name and state letter out of /proc/PID/stat; `None` for a kernel thread (child of kthreadd, PID 2) and for garbage.
fn name_and_state(stat: &str) -> Option<(&str, &str)> {
    // The name is in parentheses and may itself hold any character, parentheses too.
    let name = stat.get(stat.find('(')? + 1..stat.rfind(')')?)?;
    let mut rest = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = rest.next()?;
    (rest.next()? != "2").then_some((name, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(name_and_state("17 (a) b (c)) D 1 17 17 0"), Some(("a) b (c)", "D")));
        assert_eq!(name_and_state("40 (kswapd0) S 2 0 0"), None);
        assert_eq!(name_and_state(")("), None);
        assert_eq!(name_and_state(""), None);
    }

    #[test]
    fn this_process_is_among_the_states() {
        assert!(
            std::process::id() <= 2
                || states().contains(&format!("{} ", std::process::id()))
                || states().matches(';').count() + 1 == MAX_LISTED
        );
    }
}
