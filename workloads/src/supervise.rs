//! Keeps a job's processes running until the deadline, and leaves none behind.
//!
//! The supervisor is one thread that waits for signals, complaints and the clock at once. Its processes stay in its
//! process group, so that a stop or a kill of the group reaches them; they inherit SIGINT and SIGTERM blocked, so that
//! it is the supervisor alone that a Ctrl-C stops. As a subreaper it inherits, and reaps, the children of those that die.

use crate::audit::Audit;
use crate::board::{Board, Op};
use crate::host;
use crate::life::{clipped, Life};
use crate::mix::Plan;
use crate::output::Output;
use crate::process;
use crate::rng::{mix, Rng};
use crate::scratch::Scratch;
use crate::swapping::Keep;
use anyhow::Context as _;
use mmtorture_protocol::{Report, MAX_LINE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Violations passed on; more of them tell nothing new.
const MAX_VIOLATIONS: u64 = 64;

/// How long killed processes may take to be gone. One that takes longer is stuck in the kernel.
const REAP_PATIENCE: Duration = Duration::from_secs(40);

/// Turns of a mix between two pauses.
const PAUSE_EVERY: u32 = 4;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time was up.
    Deadline,
    /// SIGINT, SIGTERM or SIGHUP: its number.
    Signal(i32),
    /// Nobody reads standard output any more.
    OutputGone,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Why it ended.
    pub end: End,
    /// How many violations were seen.
    pub violations: u64,
}

struct Slot {
    role: usize,
    index: u32,
    pid: Option<Pid>,
    lives: u64,
    /// Killed because its turn was over.
    dismissed: bool,
}

impl Slot {
    /// Sends whoever is there home.
    fn dismiss(&mut self) {
        if let Some(pid) = self.pid {
            // Unreaped, so the pid is still its own.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            self.dismissed = true;
        }
    }
}

struct Supervisor<'a> {
    plan: &'a Plan,
    seed: u64,
    /// Which turn of the rota it is.
    turn: u32,
    board: Board,
    slots: Vec<Slot>,
    complaints: OwnedFd,
    complain: OwnedFd,
    partial: Vec<u8>,
    oom_before: u64,
    oom_seen: u64,
    violations: u64,
    audit: Option<Audit>,
    swap: Keep,
    /// The pause before which turn is the next.
    next_pause: u32,
    output: &'a mut Output,
    output_gone: bool,
}

/// Runs `plan` for `time`. On a machine that exists to be tortured, whose `scratch` this is, memory is audited whenever
/// nobody is left, and the supervisor locks its own.
///
/// # Errors
/// If the machine cannot give the few things that even the supervisor needs.
pub fn run(
    plan: &Plan,
    seed: u64,
    time: Duration,
    scratch: Option<&Scratch>,
    output: &mut Output,
) -> anyhow::Result<Verdict> {
    let signals = block_signals().context("cannot watch for signals")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("cannot become a subreaper")?;
    if scratch.is_some() {
        // Progress must not wait for swap. Not inherited by the processes forked.
        let _ = rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE);
    }
    let (complaints, complain) =
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).context("cannot make a pipe for violations")?;
    let mut supervisor = Supervisor {
        plan,
        seed,
        turn: 0,
        board: Board::new(&plan.ops).context("cannot map the counters")?,
        slots: (plan.roles.iter().enumerate())
            .flat_map(|(role, r)| (0..r.role.count).map(move |index| (role, index)))
            .map(|(role, index)| Slot { role, index, pid: None, lives: 0, dismissed: false })
            .collect(),
        complaints,
        complain,
        partial: Vec::new(),
        oom_before: oom_kills(),
        oom_seen: 0,
        violations: 0,
        audit: scratch.and_then(Audit::begin),
        swap: Keep::now(),
        next_pause: PAUSE_EVERY,
        output,
        output_gone: false,
    };
    let started = Report::Started { name: plan.name.clone(), claims: plan.claims.clone() };
    supervisor.tell(&started);
    let end = supervisor.until(&signals, Instant::now() + time);
    if supervisor.end_all(&signals) {
        supervisor.audit();
    }
    if end == End::Deadline {
        let finished = Report::Finished { ops: supervisor.board.ops() };
        supervisor.tell(&finished);
    }
    Ok(Verdict { end, violations: supervisor.violations })
}

impl Supervisor<'_> {
    fn until(&mut self, signals: &OwnedFd, deadline: Instant) -> End {
        let start = Instant::now();
        let mut tick = start + self.output.interval();
        loop {
            self.reap();
            if let Some(signal) = self.pause(signals, start) {
                return End::Signal(signal);
            }
            let next_turn = self.relieve(start);
            self.spawn_missing();
            let now = Instant::now();
            if now >= deadline {
                return End::Deadline;
            }
            if now >= tick {
                tick = now + self.output.interval();
                self.swap.restore();
                let progress = Report::Progress { ops: self.board.ops() };
                self.tell(&progress);
            }
            if self.output_gone {
                return End::OutputGone;
            }
            if let Some(signal) = self.wait(signals, tick.min(deadline).min(next_turn)) {
                return End::Signal(signal);
            }
        }
    }

    /// Waits for a signal, a complaint or `until`. Returns a signal that asks to stop.
    fn wait(&mut self, signals: &OwnedFd, until: Instant) -> Option<i32> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(3600), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(&self.complaints, PollFlags::IN)];
        // EINTR only means to look again.
        let _ = poll(&mut fds, Some(&timeout));
        self.listen();
        let mut stop = None;
        while let Some(signal) = next_signal(signals) {
            if signal != libc::SIGCHLD {
                stop = Some(signal);
            }
        }
        stop
    }

    /// Before some turns of a mix everybody goes home, so that what then is left of memory's use can be told to be wrong.
    /// Returns a signal that asks to stop.
    fn pause(&mut self, signals: &OwnedFd, start: Instant) -> Option<i32> {
        let (Some(rota), Some(_)) = (&self.plan.rota, &self.audit) else { return None };
        let turn = rota.turn(start.elapsed());
        if turn < self.next_pause {
            return None;
        }
        self.next_pause = turn + PAUSE_EVERY;
        self.slots.iter_mut().for_each(Slot::dismiss);
        let (gone, asked) = self.bury(signals);
        if !gone || asked.is_some() {
            return asked;
        }
        self.audit();
        None
    }

    /// Looks at what memory is used for while nobody is there to use it.
    fn audit(&mut self) {
        let wrong = self.audit.as_ref().map(Audit::check).unwrap_or_default();
        wrong.into_iter().for_each(|detail| self.violation("memory-left", detail));
    }

    /// Dismisses those whose turn is over. Returns when the next turn begins.
    fn relieve(&mut self, start: Instant) -> Instant {
        let Some(rota) = &self.plan.rota else { return start + Duration::from_secs(1 << 30) };
        let turn = rota.turn(start.elapsed());
        if turn != self.turn {
            self.turn = turn;
            for slot in &mut self.slots {
                if !rota.on_duty(turn, self.plan.roles[slot.role].part) {
                    slot.dismiss();
                }
            }
        }
        start + rota.ends(turn)
    }

    fn spawn_missing(&mut self) {
        for at in 0..self.slots.len() {
            let part = self.plan.roles[self.slots[at].role].part;
            let on_duty = self.plan.rota.as_ref().is_none_or(|rota| rota.on_duty(self.turn, part));
            if self.slots[at].pid.is_some() || !on_duty {
                continue;
            }
            let Slot { role, index, lives, .. } = self.slots[at];
            let place = ((role as u64) << 16 | u64::from(index)) << 40 | lives;
            let seed = mix(self.seed, place);
            let placed = &self.plan.roles[role];
            let (board, complain) = ((&self.board, placed.own), self.complain.as_fd());
            let forked = process::fork(|| {
                let who = format!("{}.{index} life {lives}", placed.role.name);
                let mut life = Life::new(Rng::new(seed), who, (seed, index), board, complain);
                (placed.role.live)(&mut life);
                0
            });
            match forked {
                Ok(pid) => {
                    self.slots[at].pid = Some(pid);
                    self.slots[at].lives += 1;
                    self.slots[at].dismissed = false;
                    self.board.add(Op::SPAWN.place(0), 1);
                }
                Err(Errno::NOMEM | Errno::AGAIN) => {
                    // The next tick or exit brings another try.
                    self.board.add(Op::ENOMEM.place(0), 1);
                    return;
                }
                Err(errno) => self.violation("unexpected-errno", format!("fork: {errno}")),
            }
        }
    }

    /// Collects every process that is dead; true if none is left.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.judge(pid, status),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn judge(&mut self, pid: Pid, status: WaitStatus) {
        let slot = self.slots.iter_mut().find(|slot| slot.pid == Some(pid));
        let (who, ours) = match slot {
            Some(slot) => {
                slot.pid = None;
                let name = self.plan.roles[slot.role].role.name;
                (format!("{name}.{} life {}", slot.index, slot.lives - 1), !slot.dismissed)
            }
            None if self.plan.strangers => return,
            None => (format!("a forked process, pid {pid}"), false),
        };
        match (status.terminating_signal(), status.exit_status()) {
            (Some(libc::SIGKILL), _) => {
                let killed = oom_kills().saturating_sub(self.oom_before);
                if killed > self.oom_seen {
                    self.oom_seen += 1;
                    self.board.add(Op::OOM_KILL.place(0), 1);
                } else if ours {
                    // Others get SIGKILL whenever the process that forked them exits, and at the end of a turn.
                    let detail = format!("{who} got SIGKILL, and the kernel counts no OOM kill for it");
                    self.violation("workload-signal", detail);
                }
            }
            (Some(signal), _) => {
                let name = Signal::from_named_raw(signal).map_or_else(|| signal.to_string(), |s| format!("{s:?}"));
                self.violation("workload-signal", format!("{who} was killed by signal {name}"));
            }
            (None, Some(0)) => {}
            (None, code) => {
                let code = code.map_or_else(|| "no status".to_owned(), |code| format!("status {code}"));
                self.violation("workload-exit", format!("{who} ended with {code}"));
            }
        }
    }

    fn stuck(&mut self) {
        let left = crate::left::processes().join(" | ");
        let detail = format!("processes are left {} s after SIGKILL: {left}", REAP_PATIENCE.as_secs());
        self.violation("workload-stuck", clipped(detail));
    }

    /// Kills and reaps everything; whether nothing is left.
    fn end_all(&mut self, signals: &OwnedFd) -> bool {
        for slot in &mut self.slots {
            if let Some(pid) = slot.pid.take() {
                // Unreaped, so the pid is still its own. Its death is our doing and no longer to be judged by slot.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        self.bury(signals).0
    }

    /// Kills and reaps until nobody is left, with patience; whether that is so, and a signal that meanwhile asked to stop.
    fn bury(&mut self, signals: &OwnedFd) -> (bool, Option<i32>) {
        let patience = Instant::now() + REAP_PATIENCE;
        let mut asked = None;
        let mut gone = self.reap();
        while !gone && Instant::now() < patience {
            // Those whose parents died are ours, and it may be that nobody killed them: a suite's programs start others.
            for child in process::children() {
                let _ = rustix::process::kill_process(child, Signal::KILL);
            }
            asked = asked.or(self.wait(signals, patience.min(Instant::now() + Duration::from_millis(100))));
            gone = self.reap();
        }
        self.listen();
        if !gone {
            self.stuck();
        }
        (gone, asked)
    }

    /// Passes on what the processes complained of.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = rustix::io::read(&self.complaints, &mut buffer) {
            self.partial.extend_from_slice(&buffer[..n]);
            while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(Report::Violation { kind, detail }) => self.violation(&kind, detail),
                    _ => self.violation("report-garbled", String::from_utf8_lossy(&line).into_owned()),
                }
            }
            if self.partial.len() > MAX_LINE {
                self.partial.clear();
                self.violation("report-garbled", "a line without end in the pipe of violations".to_owned());
            }
        }
    }

    fn violation(&mut self, kind: &str, detail: String) {
        self.violations += 1;
        if self.violations <= MAX_VIOLATIONS {
            self.tell(&Report::Violation { kind: kind.to_owned(), detail });
        }
    }

    fn tell(&mut self, report: &Report) {
        self.output_gone |= self.output.report(report).is_err();
    }
}

/// Processes that the OOM killer has taken since boot.
pub fn oom_kills() -> u64 {
    host::vmstat().get("oom_kill").copied().unwrap_or(0)
}

/// Blocks the signals that the supervisor handles, and opens a descriptor that they are read from.
fn block_signals() -> std::io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigemptyset before any other use, and outlives the calls that read it. signalfd
    // returns a new descriptor that nobody else owns, or -1, which is not wrapped.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
            libc::sigaddset(&mut set, signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(std::io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn next_signal(signals: &OwnedFd) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        // ssi_signo is the first field, a u32 (signalfd(2)).
        Ok(n) if n == info.len() => i32::from_ne_bytes(info[..4].try_into().ok()?).into(),
        _ => None,
    }
}
