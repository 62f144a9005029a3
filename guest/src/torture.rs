//! The workload: started, listened to, and outlived.

use crate::port::{uptime_ms, Port};
use crate::processes;
use crate::scratch;
use crate::spawn::{self, Started};
use anyhow::{bail, Context as _};
use mmtorture_protocol::{EventKind, Lines, Memcg, Report, Request, Scratch, ROOT_PATH};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::process::WaitStatus;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where the initramfs has the workloads.
const TORTURE: &str = "/bin/torture";

/// How long after its deadline a workload may take to end.
const GRACE_MS: u64 = 30_000;

/// Lines of the workload that make no sense: so many are reported.
const MAX_GARBLED: u32 = 16;

/// How much of the workload's standard error is kept, in bytes.
const MAX_STDERR: usize = 2048;

/// The beat of PID 1's own heart: told whether or not the workload has anything to say.
#[derive(Debug)]
pub struct Heart {
    interval: u64,
    next: u64,
    /// What each beat carries: the workload's latest counts.
    pub ops: BTreeMap<String, u64>,
}

impl Heart {
    /// A heart that beats every `interval` milliseconds.
    pub fn new(interval: u32) -> Self {
        Self { interval: interval.max(50).into(), next: uptime_ms(), ops: BTreeMap::new() }
    }

    /// Waits for one of `fds`, but no longer than until `until` (uptime in milliseconds), and beats when it is time.
    pub fn wait(&mut self, port: &mut Port, fds: &[BorrowedFd<'_>], until: u64) {
        let now = uptime_ms();
        if now >= self.next {
            self.next = now + self.interval;
            port.send(EventKind::Progress { ops: self.ops.clone() });
        }
        let left = self.next.min(until).saturating_sub(uptime_ms());
        let timeout = Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 };
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // EINTR only means to look again.
        let _ = poll(&mut polled, Some(&timeout));
    }
}

/// What the workload told so far.
#[derive(Debug, Default)]
struct Heard {
    ops: Option<BTreeMap<String, u64>>,
    violations: u32,
    garbled: u32,
    finished: bool,
}

impl Heard {
    /// Takes one line of the workload's; the event to send for it, if any.
    fn line(&mut self, line: &[u8]) -> Option<EventKind> {
        match serde_json::from_slice(line) {
            Ok(Report::Started { name, claims }) => Some(EventKind::Workload { name, claims }),
            Ok(Report::Progress { ops }) => {
                self.ops = Some(ops);
                None
            }
            Ok(Report::Violation { kind, detail }) => {
                self.violations += 1;
                Some(EventKind::Violation { kind, detail })
            }
            Ok(Report::Finished { ops }) => {
                self.ops = Some(ops);
                self.finished = true;
                None
            }
            Err(_) => {
                self.garbled += 1;
                let detail = String::from_utf8_lossy(&line[..line.len().min(256)]).into_owned();
                (self.garbled <= MAX_GARBLED).then(|| violation("report-garbled", detail))
            }
        }
    }

    /// What the end of the workload means. An error is one of the request, not of the kernel.
    fn end(&self, status: WaitStatus, stderr: &str) -> anyhow::Result<Option<EventKind>> {
        let said = || if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
        if let Some(signal) = status.terminating_signal() {
            return Ok(Some(violation(
                "workload-signal",
                format!("the workload was killed by signal {signal}{}", said()),
            )));
        }
        match status.exit_status() {
            // 2: bad request; 3: the machine lacks what it needs (torture --help). 127: it could not be executed.
            Some(code @ (2 | 3 | spawn::NOT_EXECUTED)) => bail!("the workload refused to run, status {code}{}", said()),
            Some(0) if self.finished => Ok(None),
            Some(1) if self.violations > 0 => Ok(None),
            Some(code) if !self.finished => {
                let detail = format!("the workload ended with status {code} and no last report{}", said());
                Ok(Some(violation("workload-exit", detail)))
            }
            code => Ok(Some(violation("workload-exit", format!("the workload ended with {code:?}{}", said())))),
        }
    }
}

fn violation(kind: &str, detail: String) -> EventKind {
    EventKind::Violation { kind: kind.to_owned(), detail }
}

/// Runs the workload to its end, or to the end of the patience with it; in the control group of `procs`, if there is
/// one.
///
/// # Errors
/// If it cannot be started, or refuses the request.
pub fn run(
    request: &Request,
    port: &mut Port,
    heart: &mut Heart,
    children: &OwnedFd,
    procs: Option<&Path>,
) -> anyhow::Result<()> {
    let Started { pid, stdout, stderr } =
        spawn::start(&command_line(request), procs).with_context(|| format!("cannot start {TORTURE}"))?;
    for pipe in [stdout.as_fd(), stderr.as_fd()] {
        fcntl_setfl(pipe, OFlags::NONBLOCK).context("cannot make a pipe non-blocking")?;
    }
    let deadline = uptime_ms() + u64::from(request.seconds) * 1000 + GRACE_MS;
    let (mut heard, mut lines, mut complaint) = (Heard::default(), Lines::default(), Vec::new());
    let (mut stdout_open, mut stderr_open) = (true, true);
    loop {
        drain_signals(children);
        // Before the pipes are read: what a dead process wrote is in them by then.
        let ended = processes::reap(Some(pid)).status;
        stdout_open &= read(stdout.as_fd(), |bytes| {
            lines.feed(bytes, |line| heard.line(line).into_iter().for_each(|event| port.send(event)));
        });
        stderr_open &= read(stderr.as_fd(), |bytes| {
            complaint.extend_from_slice(&bytes[..bytes.len().min(MAX_STDERR - complaint.len())]);
        });
        if let Some(ops) = heard.ops.take() {
            heart.ops = ops;
        }
        if let Some(status) = ended {
            let event = heard.end(status, String::from_utf8_lossy(&complaint).trim())?;
            event.into_iter().for_each(|event| port.send(event));
            return Ok(());
        }
        if uptime_ms() >= deadline {
            let detail = format!("{} s after its deadline: {}", GRACE_MS / 1000, processes::states());
            port.send(violation("workload-stuck", detail));
            // Blocked tasks, then all of them, onto the console (Documentation/admin-guide/sysrq.rst).
            for key in ["w", "t"] {
                let _ = std::fs::write("/proc/sysrq-trigger", key);
            }
            return Ok(());
        }
        // An end of file is readable forever: a pipe at its end is not waited for.
        let mut fds = vec![children.as_fd()];
        fds.extend(stdout_open.then(|| stdout.as_fd()));
        fds.extend(stderr_open.then(|| stderr.as_fd()));
        heart.wait(port, &fds, deadline);
    }
}

fn command_line(request: &Request) -> Vec<String> {
    let (seconds, seed) = (request.seconds.to_string(), request.seed.to_string());
    let mut line: Vec<_> =
        [TORTURE, &request.workload, "--seconds", &seconds, "--seed", &seed, "--pressure", "full", "--json"]
            .map(str::to_owned)
            .to_vec();
    // What the matrix says nothing of is the workload's own choice.
    if request.scratch != Scratch::default() {
        line.extend(["--scratch", scratch::AT].map(str::to_owned));
    }
    if request.root.is_some() {
        line.extend(["--root", ROOT_PATH].map(str::to_owned));
    }
    if let Some(mib) = working_set(request.memcg, request.swap.mib()) {
        line.extend(["--memory".to_owned(), format!("{mib}M")]);
    }
    line
}

/// The working set in a control group, in MiB: a workload sizes its own by the memory of the machine. Half as much
/// again as the limit where swap takes that, else half of it, for the OOM killer is no load.
fn working_set(memcg: Memcg, swap_mib: u64) -> Option<u64> {
    match memcg {
        Memcg::None => None,
        Memcg::V1 { mib } | Memcg::V2 { mib } if swap_mib >= mib => Some(mib + mib / 2),
        Memcg::V1 { mib } | Memcg::V2 { mib } => Some(mib / 2),
    }
}

/// Reads all there is now; false at the end of the stream.
fn read(fd: BorrowedFd<'_>, mut each: impl FnMut(&[u8])) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return false,
            Ok(n) => each(&buffer[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error == rustix::io::Errno::AGAIN,
        }
    }
}

/// Makes the descriptor of SIGCHLD unreadable until the next one.
pub fn drain_signals(children: &OwnedFd) {
    read(children.as_fd(), |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitOptions};
    use std::process::Command;

    fn heard(lines: &[&str]) -> (Heard, Vec<EventKind>) {
        let mut heard = Heard::default();
        let events = lines.iter().filter_map(|line| heard.line(line.as_bytes())).collect();
        (heard, events)
    }

    const FINISHED: &str = r#"{"report":"finished","ops":{"spawn":9}}"#;
    const VIOLATION: &str = r#"{"report":"violation","kind":"data-mismatch","detail":"page 3"}"#;

    /// How a process ends that exits with `code`, or is killed if there is none.
    #[allow(clippy::zombie_processes)] // it is waited for, by a call that gives the kind of status that `end` takes
    fn ended(code: Option<i32>) -> WaitStatus {
        let script = code.map_or("kill -9 $$".to_owned(), |code| format!("exit {code}"));
        let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let (_, status) =
            rustix::process::waitpid(Some(Pid::from_child(&child)), WaitOptions::empty()).unwrap().unwrap();
        status
    }

    #[test]
    fn reports_become_events_and_counts() {
        let (heard, events) = heard(&[
            r#"{"report":"started","name":"w","claims":[]}"#,
            r#"{"report":"progress","ops":{"spawn":4}}"#,
            VIOLATION,
            FINISHED,
        ]);
        assert_eq!(events[0], EventKind::Workload { name: "w".into(), claims: vec![] });
        assert_eq!(events[1], violation("data-mismatch", "page 3".into()));
        assert_eq!(events.len(), 2);
        assert!(heard.finished && heard.violations == 1);
        assert_eq!(heard.ops.unwrap()["spawn"], 9);
    }

    #[test]
    fn the_working_set_goes_by_the_limit_of_the_group() {
        assert_eq!(working_set(Memcg::None, 512), None);
        assert_eq!(working_set(Memcg::V2 { mib: 100 }, 512), Some(150));
        assert_eq!(working_set(Memcg::V1 { mib: 100 }, 0), Some(50));
    }

    #[test]
    fn garbage_is_reported_but_not_without_end() {
        let (_, events) = heard(&["\u{0}\u{0}{"; 100]);
        assert_eq!(events.len() as u32, MAX_GARBLED);
    }

    #[test]
    fn an_end_is_judged_once() {
        let end = |lines: &[&str], how: Option<i32>| heard(lines).0.end(ended(how), "why");
        let kind = |lines: &[&str], how| match end(lines, how).unwrap() {
            None => None,
            Some(EventKind::Violation { kind, .. }) => Some(kind),
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(&[FINISHED], Some(0)), None);
        assert_eq!(kind(&[VIOLATION, FINISHED], Some(1)), None, "told already");
        assert_eq!(kind(&[], Some(0)).unwrap(), "workload-exit");
        assert_eq!(kind(&[FINISHED], Some(1)).unwrap(), "workload-exit");
        assert_eq!(kind(&[FINISHED], Some(101)).unwrap(), "workload-exit");
        assert_eq!(kind(&[FINISHED], None).unwrap(), "workload-signal");
        assert!(end(&[], Some(2)).unwrap_err().to_string().contains("why"));
    }
}
