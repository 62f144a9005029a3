//! Who does not die, and where in the kernel they are: all that can be said of a process that SIGKILL does not end.

use crate::process::{fields, numbers};
use rustix::process::Pid;
use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity, CpuSet};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// Threads of a process that are told.
const THREADS: usize = 6;

/// Frames of a thread that are told: the innermost ones.
const FRAMES: usize = 12;

/// How often they are looked at.
const LOOKS: usize = 8;

/// The time from one look to the next.
const BETWEEN: Duration = Duration::from_millis(40);

/// A line for each process that was forked from this one, or from one that was: name, state, and of each thread how much
/// processor time it got while it was looked at, and where it is. Takes a third of a second.
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
    let left: Vec<_> = all.iter().filter(|status| status.pid != own && forked(status)).collect();
    let mut threads: Vec<Vec<Thread>> = left.iter().map(|status| Thread::all(status.pid)).collect();
    let _shared = OneProcessor::share(threads.iter().flatten());
    for _ in 0..LOOKS {
        std::thread::sleep(BETWEEN);
        threads.iter_mut().flatten().for_each(Thread::look);
    }
    left.iter().zip(&threads).map(|(status, threads)| describe(status, threads)).collect()
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

fn describe(status: &Status, threads: &[Thread]) -> String {
    let mut line = format!("{} (pid {}) {}", status.name, status.pid, status.state);
    for thread in threads {
        let [user, system] = thread.ran();
        let _ = write!(line, "; {}: {}", thread.number, thread.frames);
        if user + system > 0 {
            let _ = write!(line, " ({user} ticks as user, {system} as system)");
        }
    }
    line
}

/// Of a thread that has a processor at the moment, the kernel tells no stack (unwind_start()): so for a while all share one,
/// and whoever reads has it.
struct OneProcessor {
    before: Option<CpuSet>,
}

impl OneProcessor {
    fn share<'a>(threads: impl Iterator<Item = &'a Thread>) -> Self {
        let before = sched_getaffinity(None).ok();
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        let who = threads.filter_map(|thread| Pid::from_raw(i32::try_from(thread.number).ok()?));
        for who in std::iter::once(None).chain(who.map(Some)) {
            // Who has ended meanwhile needs none.
            let _ = sched_setaffinity(who, &one);
        }
        Self { before }
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(None, before);
        }
    }
}

/// What was seen of a thread.
struct Thread {
    folder: String,
    number: u32,
    frames: String,
    /// Clock ticks as user and as system: at first, and now.
    ticks: [Option<[u64; 2]>; 2],
}

impl Thread {
    fn all(pid: u32) -> Vec<Self> {
        let folder = format!("/proc/{pid}/task");
        let new = |number| {
            let folder = format!("{folder}/{number}");
            let mut thread = Self { folder, number, frames: String::new(), ticks: [None; 2] };
            thread.look();
            thread.ticks[0] = thread.ticks[1];
            thread
        };
        numbers(&folder).into_iter().take(THREADS).map(new).collect()
    }

    fn look(&mut self) {
        if self.frames.is_empty() {
            // For root, and where the kernel has CONFIG_STACKTRACE.
            self.frames = frames(&fs::read_to_string(format!("{}/stack", self.folder)).unwrap_or_default());
        }
        self.ticks[1] = fs::read_to_string(format!("{}/stat", self.folder)).ok().and_then(|stat| ticks(&stat));
    }

    /// Ticks since the first look.
    fn ran(&self) -> [u64; 2] {
        let [Some(before), Some(now)] = self.ticks else { return [0; 2] };
        [0, 1].map(|i| now[i].saturating_sub(before[i]))
    }
}

/// utime and stime of /proc/PID/stat (proc(5)).
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let mut fields = fields(stat)?.skip(11);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

/// The functions of /proc/PID/stack, whose lines are `[<0>] function+0x1/0x2`.
fn frames(stack: &str) -> String {
    let functions = stack.lines().filter_map(|line| line.rsplit(' ').next()?.split('+').next());
    functions.take(FRAMES).collect::<Vec<_>>().join(" < ")
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
    fn who_runs_is_told_how() {
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let all = processes();
        child.kill().unwrap();
        child.wait().unwrap();
        let line = all.iter().find(|line| line.contains(&format!("(pid {})", child.id()))).unwrap();
        assert!(line.contains("ticks as user"), "{line}");
    }

    #[test]
    fn ticks_come_after_any_name() {
        let stat = "7 (a ) b) R 1 7 7 0 -1 4194304 100 0 0 0 21 4 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), Some([21, 4]));
        assert_eq!(ticks("7 (a"), None);
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
