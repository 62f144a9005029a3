//! Watching one guest: what its two streams say, and when to end it. Pure: time comes in with the bytes.

use crate::oracle::expect::Expectations;
use crate::oracle::{violation, Class, Finding, Frame, Notice, Oracle, Severity};
use jiff::civil::Date;
use mmtorture_protocol::{Claim, Event, EventKind, Lines, Phase};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long to wait for what. Host time, from the machine's start where not said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// To the guest's first event.
    pub boot: Duration,
    /// Between two events, later. Longer than the kernel's own detectors need to speak up (soft lockup 20 s, RCU stall
    /// 21 s), so that a hang which the kernel can explain is explained.
    pub silence: Duration,
    /// From the first event to the last.
    pub life: Duration,
    /// From the last event to the machine's end.
    pub power_off: Duration,
    /// From the end of a fatal report to the machine's end: what the kernel adds belongs to it.
    pub after_report: Duration,
    /// A report that has been silent for so long is complete.
    pub quiet: Duration,
    /// From the interrupt that a silent guest is sent to the machine's end.
    pub after_nmi: Duration,
    /// The longest console, in bytes: a guest that floods it must not fill the host's disk.
    pub console_bytes: u64,
}

impl Limits {
    /// Limits for a workload of `seconds` on a machine of that slowness.
    pub fn new(seconds: u32, slowness: u32, boot_seconds: Option<u32>) -> Self {
        let boot = boot_seconds.map_or(10 + 5 * u64::from(slowness), u64::from);
        Self {
            boot: Duration::from_secs(boot),
            silence: Duration::from_secs(45),
            life: Duration::from_secs(u64::from(seconds) + 60 + 12 * u64::from(slowness)),
            power_off: Duration::from_secs(5 + u64::from(slowness)),
            after_report: Duration::from_millis(1500),
            quiet: Duration::from_millis(400),
            after_nmi: Duration::from_secs(2),
            console_bytes: 256 << 20,
        }
    }
}

/// Why we end a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// A finding that makes the rest of the trial worthless.
    Finding,
    /// No first event in time.
    NoHello,
    /// The events ceased.
    Silent,
    /// The kernel told the machine that it panics, and told nobody why.
    Panicked,
    /// The guest lives on past its time.
    Overdue,
    /// The guest said that it is done, but does not power off.
    NoPowerOff,
    /// The console is larger than anybody would read.
    ConsoleFlood,
}

/// What the guest said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub build: String,
    /// Online CPUs.
    pub cpus: u32,
    /// MemTotal, in KiB.
    pub mem_kib: u64,
}

/// A knob as it was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// Its dimension.
    pub dimension: String,
    /// What was asked for.
    pub asked: String,
    /// What the guest shows.
    pub got: String,
    /// Why it is not what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The workload's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How long it ran, in milliseconds of guest time.
    pub elapsed_ms: u64,
    /// What moved in /proc/vmstat.
    pub vmstat: BTreeMap<String, i64>,
    /// What it did.
    pub ops: BTreeMap<String, u64>,
}

/// When things happened, in milliseconds of host time since the machine's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The first event.
    pub hello_ms: Option<u64>,
    /// The workload's start.
    pub torture_ms: Option<u64>,
    /// The first line of the first finding that ends a trial.
    pub finding_ms: Option<u64>,
    /// The last byte of its report.
    pub report_end_ms: Option<u64>,
    /// The machine's end.
    pub end_ms: u64,
}

impl Times {
    /// From the workload's start to the first finding.
    pub fn to_finding(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.finding_ms?.saturating_sub(self.torture_ms?)))
    }
}

/// All that was seen of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who it is; `None` if it never said.
    pub hello: Option<Hello>,
    /// The last phase that began.
    pub phase: Option<Phase>,
    /// The knobs.
    pub knobs: Vec<ReadBack>,
    /// What the workload declares.
    pub claims: Vec<Claim>,
    /// The end, if it was reached.
    pub done: Option<Done>,
    /// What the guest's PID 1 could not do.
    pub error: Option<String>,
    /// The findings, in order.
    pub findings: Vec<Finding>,
    /// What the console said that a healthy kernel under pressure says as well, by class: how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<String, u64>,
    /// The kernel told the machine that it panics (pvpanic).
    #[serde(default)]
    pub panicked: bool,
    /// Where a CPU of a guest that had fallen silent stood when it was interrupted: a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood_in: Option<String>,
    /// Times.
    pub times: Times,
    /// Why we ended it, if we did.
    pub stop: Option<Stop>,
}

impl Seen {
    /// The finding that ends a trial: the first of those, primary ones before their consequences.
    pub fn fatal(&self) -> Option<&Finding> {
        let mut fatal = self.findings.iter().filter(|f| f.stops_trial());
        let first = fatal.next()?;
        Some(if first.primary { first } else { fatal.find(|f| f.primary).unwrap_or(first) })
    }
}

/// The findings of one boot are kept up to so many; a kernel that reports more repeats itself.
const MAX_FINDINGS: usize = 64;

/// Watches one guest.
pub struct Watch {
    limits: Limits,
    trial: String,
    oracle: Oracle,
    expectations: Expectations,
    today: Date,
    lines: Lines,
    seen: Seen,
    console_bytes: u64,
    last_console: Duration,
    last_event: Duration,
    /// A report that ends the trial was opened, and its end was (or was not yet) seen.
    fatal: Option<Fatal>,
    done_at: Option<Duration>,
    panicked_at: Option<Duration>,
    /// When a silent guest was interrupted.
    asked: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Fatal {
    opened: Duration,
    completed: Option<Duration>,
}

impl Watch {
    /// Watches the guest of the trial called `trial`.
    pub fn new(limits: Limits, trial: String) -> Self {
        Self {
            limits,
            trial,
            oracle: Oracle::with_noise(),
            expectations: Expectations::default(),
            today: Date::ZERO,
            lines: Lines::default(),
            seen: Seen::default(),
            console_bytes: 0,
            last_console: Duration::ZERO,
            last_event: Duration::ZERO,
            fatal: None,
            done_at: None,
            panicked_at: None,
            asked: None,
        }
    }

    /// Watches with findings in mind that are no failures on this day.
    pub fn expecting(self, expectations: Expectations, today: Date) -> Self {
        Self { expectations, today, ..self }
    }

    /// The console said `bytes`.
    pub fn console(&mut self, now: Duration, bytes: &[u8]) {
        self.console_bytes += bytes.len() as u64;
        self.last_console = now;
        let notices = self.oracle.feed(bytes);
        self.take(now, notices);
    }

    /// The event port said `bytes`.
    pub fn events(&mut self, now: Duration, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        // What is no event is noise: the port belongs to a kernel that may be broken.
        lines.feed(bytes, |line| {
            if let Ok(event) = serde_json::from_slice::<Event>(line) {
                self.event(now, event.kind);
            }
        });
        self.lines = lines;
    }

    /// The kernel told the machine that it panics.
    pub fn panicked(&mut self, now: Duration) {
        // Who was interrupted for his silence panics because we want him to.
        if self.asked.is_none() {
            self.seen.panicked = true;
            self.panicked_at.get_or_insert(now);
        }
    }

    /// The silent guest was interrupted, and its kernel panics over that (`unknown_nmi_panic`) if it can do anything at
    /// all. [`Watch::tick`] gives it time for that.
    pub fn asked(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// Whether it was.
    pub fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The finding that ends the trial, once its report is complete.
    pub fn finding(&self) -> Option<&Finding> {
        self.seen.fatal()
    }

    /// Time passes. Says whether the machine is to be ended now.
    pub fn tick(&mut self, now: Duration) -> Option<Stop> {
        if now.saturating_sub(self.last_console) >= self.limits.quiet {
            let notices = self.oracle.quiet();
            self.take(now, notices);
        }
        let stop = self.stop(now);
        self.seen.stop = self.seen.stop.or(stop);
        stop
    }

    /// When [`Watch::tick`] is needed at the latest, from now.
    pub fn patience(&self) -> Duration {
        self.limits.quiet / 4
    }

    /// The phase that the guest is in.
    pub fn phase(&self) -> Option<Phase> {
        self.seen.phase
    }

    /// The machine ended. `now` is its end.
    pub fn finish(mut self, now: Duration) -> Seen {
        let notices = self.oracle.finish();
        self.take(now, notices);
        self.seen.times.end_ms = millis(now);
        self.seen
    }

    fn stop(&self, now: Duration) -> Option<Stop> {
        let since = |then: Duration| now.saturating_sub(then);
        let limits = &self.limits;
        if let Some(asked) = self.asked {
            let answered = self.seen.stood_in.is_some() && since(self.last_console) >= limits.quiet;
            return (answered || since(asked) >= limits.after_nmi).then_some(Stop::Silent);
        }
        if let Some(fatal) = self.fatal {
            // Complete and silent; or complete and still talking; or never complete.
            let silent = since(self.last_console) >= limits.quiet;
            let complete = fatal.completed.is_some_and(|at| silent || since(at) >= limits.after_report);
            if complete || since(fatal.opened) >= limits.after_report * 4 {
                return Some(Stop::Finding);
            }
        }
        if self.fatal.is_none() && self.panicked_at.is_some_and(|at| since(at) >= limits.after_report) {
            return Some(Stop::Panicked);
        }
        if self.console_bytes > limits.console_bytes {
            return Some(Stop::ConsoleFlood);
        }
        if let Some(done) = self.done_at {
            return (since(done) >= limits.power_off).then_some(Stop::NoPowerOff);
        }
        let Some(hello) = self.seen.times.hello_ms else {
            return (now >= limits.boot).then_some(Stop::NoHello);
        };
        if since(self.last_event) >= limits.silence {
            return Some(Stop::Silent);
        }
        (since(Duration::from_millis(hello)) >= limits.life).then_some(Stop::Overdue)
    }

    fn take(&mut self, now: Duration, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                // Perhaps the panic that we asked for.
                Notice::Opened { class: Class::Panic, .. } if self.asked.is_some() => {}
                Notice::Opened { severity, .. } if severity.stops_trial() => self.opened(now),
                Notice::Opened { .. } => {}
                Notice::Completed(finding) if finding.class.is_noise() => {
                    *self.seen.noise.entry(finding.class.to_string()).or_default() += 1;
                }
                Notice::Completed(mut finding) => {
                    if self.asked.is_some() {
                        self.answered(&mut finding);
                    }
                    finding.expected = self.expectations.reason(&finding, self.today);
                    if finding.expected.is_some() && finding.severity.stops_trial() {
                        self.pardon();
                    }
                    if finding.stops_trial() {
                        // A report may turn out worse than its first line said.
                        self.opened(now);
                        if let Some(fatal) = &mut self.fatal {
                            fatal.completed.get_or_insert(now);
                        }
                        self.seen.times.report_end_ms.get_or_insert(millis(self.last_console));
                    }
                    if self.seen.findings.len() < MAX_FINDINGS {
                        self.seen.findings.push(*finding);
                    }
                }
            }
        }
    }

    /// The report that was to end the trial turned out to be expected: what nobody has completed yet is not held against it.
    fn pardon(&mut self) {
        if self.fatal.is_some_and(|fatal| fatal.completed.is_none()) {
            self.fatal = None;
            self.seen.times.finding_ms = None;
        }
    }

    /// If this is the panic that we asked for: it is no failure of the kernel's, it says where a CPU stood.
    fn answered(&mut self, finding: &mut Finding) {
        if finding.class != Class::Panic || !finding.reason.as_deref().is_some_and(|r| r.starts_with("NMI")) {
            return;
        }
        let function = interrupted(&finding.frames).unwrap_or("an unknown place").to_owned();
        let title = std::mem::replace(&mut finding.title, format!("hang in {function}"));
        finding.alt_titles = vec![title];
        finding.signature = format!("{}|hang|{function}", finding.class);
        finding.severity = Severity::Warning;
        self.seen.stood_in = Some(function);
    }

    fn opened(&mut self, now: Duration) {
        self.fatal.get_or_insert(Fatal { opened: now, completed: None });
        self.seen.times.finding_ms.get_or_insert(millis(now));
    }

    fn event(&mut self, now: Duration, event: EventKind) {
        let hello_came = self.seen.hello.is_some();
        match event {
            EventKind::Hello { trial, release, build, cpus, mem_kib, .. } => {
                // Another trial's name cannot be: it would be a stale initramfs, or a guest that makes things up.
                if !hello_came && trial == self.trial {
                    self.seen.hello = Some(Hello { release, build, cpus, mem_kib });
                    self.seen.times.hello_ms = Some(millis(now));
                }
            }
            // Before hello only an error counts: PID 1 may be unable to read who it is.
            EventKind::Error { message } => {
                self.seen.error.get_or_insert(message);
                self.done_at.get_or_insert(now);
            }
            _ if !hello_came => return,
            EventKind::Phase { phase } => {
                self.seen.phase = Some(phase);
                if phase == Phase::Torture {
                    self.seen.times.torture_ms.get_or_insert(millis(now));
                }
            }
            EventKind::Knob { dimension, asked, got, error, .. } => {
                if self.seen.knobs.len() < 1024 {
                    self.seen.knobs.push(ReadBack { dimension, asked, got, error });
                }
            }
            EventKind::Workload { claims, .. } => self.seen.claims = claims,
            EventKind::Progress { .. } => {}
            EventKind::Violation { kind, detail } => {
                // A report that is still being printed came first: this is what it did to the workload.
                let primary = self.fatal.is_none();
                let mut finding = violation(&kind, &detail, primary);
                finding.expected = self.expectations.reason(&finding, self.today);
                if finding.stops_trial() {
                    self.opened(now);
                    if let Some(fatal) = self.fatal.as_mut().filter(|_| primary) {
                        fatal.completed = Some(now);
                    }
                }
                if self.seen.findings.len() < MAX_FINDINGS {
                    self.seen.findings.push(finding);
                }
            }
            EventKind::Done { elapsed_ms, vmstat, ops } => {
                self.seen.done.get_or_insert(Done { elapsed_ms, vmstat, ops });
                self.done_at.get_or_insert(now);
            }
        }
        self.last_event = now;
    }
}

/// The function that a non-maskable interrupt found: what stands below its entry (arch/x86/entry/entry_64.S).
fn interrupted(frames: &[Frame]) -> Option<&str> {
    const ENTRIES: &[&str] = &["exc_nmi", "asm_exc_nmi", "end_repeat_nmi"];
    let entry = frames.iter().rposition(|f| !f.unreliable && ENTRIES.contains(&f.function.as_str()))?;
    frames[entry + 1..].iter().find(|f| !f.unreliable).map(|f| f.function.as_str())
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
