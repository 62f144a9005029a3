//! Who does not die, and where in the kernel they are: all that can be said of a process that SIGKILL does not end.

use std::fmt::Write as _;
use std::fs;

/// Threads of a process that are told.
const THREADS: usize = 6;

/// Frames of a thread that are told: the innermost ones.
const FRAMES: usize = 12;

/// A line for each process that was forked from this one, or from one that was: state, name, and where its threads are.
pub fn processes() -> Vec<String> {
    let own = std::process::id();
    let all: Vec<Status> = numbers("/proc").into_iter().filter_map(Status::read).collect();
    let forked = |of: &Status| {
        // A few generations; a loop would be a kernel's that has lost its way.
        let mut at = of;
        (0..8).any(|_| match all.iter().find(|status| status.pid == at.parent) {
            Some(parent) if parent.pid != own => {
                at = parent;
                false
            }
            Some(_) => true,
            None => false,
        })
    };
    all.iter().filter(|status| status.pid != own && forked(status)).map(describe).collect()
}

struct Status {
    pid: u32,
    parent: u32,
    name: String,
    state: String,
}

impl Status {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    fn parse(pid: u32, text: &str) -> Option<Self> {
        let of = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()));
        Some(Self { pid, parent: of("PPid")?.parse().ok()?, name: of("Name")?.into(), state: of("State")?.into() })
    }
}

fn describe(status: &Status) -> String {
    let mut line = format!("{} (pid {}) {}", status.name, status.pid, status.state);
    for thread in numbers(&format!("/proc/{}/task", status.pid)).into_iter().take(THREADS) {
        // For root, and where the kernel has CONFIG_STACKTRACE.
        let stack = fs::read_to_string(format!("/proc/{}/task/{thread}/stack", status.pid)).unwrap_or_default();
        let _ = write!(line, "; {thread}: {}", frames(&stack));
    }
    line
}

/// The functions of /proc/PID/stack, whose lines are `[<0>] function+0x1/0x2`.
fn frames(stack: &str) -> String {
    let functions = stack.lines().filter_map(|line| line.rsplit(' ').next()?.split('+').next());
    functions.take(FRAMES).collect::<Vec<_>>().join(" < ")
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_told_and_this_process_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let all = processes();
        child.kill().unwrap();
        child.wait().unwrap();
        let of = |pid: u32| all.iter().any(|line| line.contains(&format!("(pid {pid})")));
        assert!(of(child.id()) && !of(std::process::id()) && !of(1), "{all:#?}");
    }

    #[test]
    fn the_innermost_functions_come_first() {
        let stack = "[<0>] folio_wait_bit_common+0x1a2/0x3b0\n[<0>] do_swap_page+0x9f/0xa40\n[<0>] asm_exc_page_fault+0x22/0x30\n";
        assert_eq!(frames(stack), "folio_wait_bit_common < do_swap_page < asm_exc_page_fault");
        assert_eq!(frames(""), "");
    }

    #[test]
    fn a_status_names_state_and_parent() {
        let text = "Name:\ttorture\nUmask:\t0022\nState:\tD (disk sleep)\nTgid:\t9\nPid:\t9\nPPid:\t7\n";
        let status = Status::parse(9, text).unwrap();
        assert_eq!((status.parent, &*status.name, &*status.state), (7, "torture", "D (disk sleep)"));
        assert!(Status::parse(9, "Name:\tx\n").is_none());
    }
}
