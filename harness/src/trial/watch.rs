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
        let mut fatal = self.seen.findings.iter().filter(|f| f.severity.stops_trial());
        let first = fatal.next()?;
        Some(if first.primary { first } else { fatal.find(|f| f.primary).unwrap_or(first) })
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
                self.opened(now);
                if let Some(fatal) = self.fatal.as_mut().filter(|_| primary) {
                    fatal.completed = Some(now);
                }
                if self.seen.findings.len() < MAX_FINDINGS {
                    let mut finding = violation(&kind, &detail, primary);
                    finding.expected = self.expectations.reason(&finding, self.today);
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
mod tests {
    use super::*;
    use crate::oracle::Class;

    fn watch() -> Watch {
        Watch::new(Limits::new(10, 1, None), "t".into())
    }

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn say(watch: &mut Watch, at: f64, events: &[&str]) {
        for event in events {
            watch.events(s(at), format!("{{\"uptime_ms\":1,{event}}}\n").as_bytes());
        }
    }

    const HELLO: &str =
        r##""event":"hello","version":1,"trial":"t","release":"6.1","build":"#x","cpus":2,"mem_kib":1000"##;
    const TORTURE: &str = r#""event":"phase","phase":"torture""#;
    const DONE: &str = r#""event":"done","elapsed_ms":10000,"vmstat":{},"ops":{}"#;
    const BUG: &str = "[    4.000000][  T100] ------------[ cut here ]------------\n\
[    4.000001][  T100] kernel BUG at mm/migrate.c:1160!\n\
[    4.000002][  T100] invalid opcode: 0000 [#1] SMP NOPTI\n\
[    4.000003][  T100] CPU: 1 PID: 100 Comm: torture Not tainted 6.1.192 #1\n\
[    4.000004][  T100] RIP: 0010:migrate_pages+0x10/0x100\n\
[    4.000005][  T100] Call Trace:\n\
[    4.000006][  T100]  <TASK>\n\
[    4.000007][  T100]  compact_zone+0x10/0x100\n\
[    4.000008][  T100]  </TASK>\n\
[    4.000009][  T100] ---[ end trace 0000000000000000 ]---\n";

    #[test]
    fn a_guest_that_never_says_hello_is_ended() {
        let mut watch = watch();
        watch.console(s(1.0), b"Linux version 6.1\n");
        assert_eq!(watch.tick(s(14.9)), None);
        assert_eq!(watch.tick(s(15.0)), Some(Stop::NoHello));
        say(&mut watch, 15.0, &[&HELLO.replace("\"t\"", "\"other\"")]);
        assert_eq!(watch.finish(s(16.0)).hello, None, "another trial's hello is not ours");
    }

    #[test]
    fn a_report_ends_the_trial_within_two_seconds_of_its_end() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.console(s(4.0), BUG.as_bytes());
        assert_eq!(watch.tick(s(4.1)), None, "the report may go on");
        assert_eq!(watch.tick(s(4.6)), Some(Stop::Finding));
        let seen = watch.finish(s(4.7));
        assert_eq!(seen.times.to_finding(), Some(s(2.0)));
        assert_eq!(seen.findings.len(), 1);
        assert_eq!(seen.findings[0].location.as_deref(), Some("mm/migrate.c:1160"));
    }

    #[test]
    fn a_kernel_that_does_not_stop_talking_is_ended_all_the_same() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.console(s(4.0), BUG.as_bytes());
        let mut now = 4.0;
        let stop = loop {
            now += 0.1;
            watch.console(s(now), format!("[    {now:.6}][  T200] ordinary line\n").as_bytes());
            if let Some(stop) = watch.tick(s(now)) {
                break stop;
            }
            assert!(now < 12.0);
        };
        assert_eq!(stop, Stop::Finding);
        assert!(now <= 4.0 + 6.1, "{now}");
    }

    #[test]
    fn silence_is_a_hang_only_after_the_kernel_had_its_say() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        assert_eq!(watch.tick(s(46.9)), None);
        assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
    }

    /// In the form of 6.1: what an NMI that nobody knows makes of a kernel with `unknown_nmi_panic`.
    const NMI: &str = "[   50.000000][    C0] Uhhuh. NMI received for unknown reason 20 on CPU 0.\n\
[   50.000001][    C0] Kernel panic - not syncing: NMI: Not continuing\n\
[   50.000002][    C0] CPU: 0 PID: 100 Comm: torture Not tainted 6.1.192 #1\n\
[   50.000003][    C0] Call Trace:\n\
[   50.000004][    C0]  <NMI>\n\
[   50.000005][    C0]  dump_stack_lvl+0x34/0x44\n\
[   50.000006][    C0]  panic+0x101/0x2a0\n\
[   50.000007][    C0]  nmi_panic.cold+0xc/0xc\n\
[   50.000008][    C0]  unknown_nmi_error.cold+0x46/0x49\n\
[   50.000009][    C0]  exc_nmi+0x10c/0x130\n\
[   50.000010][    C0]  end_repeat_nmi+0x16/0x67\n\
[   50.000011][    C0] RIP: 0010:shrink_folio_list+0x55/0x1000\n\
[   50.000012][    C0]  ? shrink_folio_list+0x55/0x1000\n\
[   50.000013][    C0]  </NMI>\n\
[   50.000014][    C0]  <TASK>\n\
[   50.000015][    C0]  shrink_lruvec+0x5d/0x100\n\
[   50.000016][    C0]  </TASK>\n";

    #[test]
    fn a_silent_guest_is_asked_where_it_stands() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
        watch.asked(s(47.0));
        assert_eq!(watch.tick(s(47.1)), None, "it may answer");
        watch.panicked(s(47.2));
        watch.console(s(47.2), NMI.as_bytes());
        assert_eq!(watch.tick(s(47.3)), None);
        assert_eq!(watch.tick(s(47.7)), Some(Stop::Silent));
        let seen = watch.finish(s(47.8));
        assert_eq!(seen.stood_in.as_deref(), Some("shrink_folio_list"));
        assert_eq!((seen.findings[0].title.as_str(), seen.stop), ("hang in shrink_folio_list", Some(Stop::Silent)));
        assert!(!seen.findings[0].severity.stops_trial(), "we made it panic");
        assert!(!seen.panicked && seen.times.finding_ms.is_none());
    }

    #[test]
    fn a_silent_guest_that_does_not_answer_is_ended() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        assert_eq!(watch.tick(s(47.0)), Some(Stop::Silent));
        watch.asked(s(47.0));
        assert_eq!(watch.tick(s(48.9)), None);
        assert_eq!(watch.tick(s(49.0)), Some(Stop::Silent));
    }

    #[test]
    fn a_panic_that_only_the_machine_hears_of_ends_the_trial() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.panicked(s(3.0));
        assert_eq!(watch.tick(s(4.4)), None, "the kernel may still say why");
        assert_eq!(watch.tick(s(4.5)), Some(Stop::Panicked));
        assert!(watch.finish(s(4.6)).panicked);
    }

    #[test]
    fn a_guest_that_lives_too_long_is_overdue() {
        let mut watch = watch();
        let mut now = 2.0;
        say(&mut watch, now, &[HELLO, TORTURE]);
        while watch.tick(s(now)).is_none() {
            now += 1.0;
            say(&mut watch, now, &[r#""event":"progress","ops":{}"#]);
        }
        assert_eq!((watch.seen.stop, now), (Some(Stop::Overdue), 2.0 + 10.0 + 72.0));
    }

    #[test]
    fn a_guest_that_is_done_has_a_while_to_power_off() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE, DONE]);
        assert_eq!(watch.tick(s(7.9)), None);
        assert_eq!(watch.tick(s(8.0)), Some(Stop::NoPowerOff));
    }

    #[test]
    fn a_violation_is_a_finding_and_noise_is_nothing() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.events(s(3.0), b"\xff\x00{\n[1,2]\n{\"event\":\"hello\"}\n");
        say(&mut watch, 3.0, &[r#""event":"violation","kind":"data-mismatch","detail":"page 7""#]);
        assert_eq!(watch.tick(s(3.5)), Some(Stop::Finding));
        let seen = watch.finish(s(4.0));
        assert_eq!(seen.findings[0].title, "data mismatch");
        assert!(seen.findings[0].primary);
    }

    #[test]
    fn what_a_bug_does_to_the_workload_is_its_consequence() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        let (head, rest) = BUG.split_at(BUG.find("Call Trace").unwrap());
        watch.console(s(4.0), head.as_bytes());
        say(&mut watch, 4.1, &[r#""event":"violation","kind":"workload-signal","detail":"11""#]);
        watch.console(s(4.2), rest.as_bytes());
        assert_eq!(watch.tick(s(4.7)), Some(Stop::Finding));
        let findings = watch.finish(s(5.0)).findings;
        let primary: Vec<_> = findings.iter().filter(|f| f.primary).map(|f| f.class).collect();
        assert_eq!(primary, [Class::KernelBug]);
    }

    #[test]
    fn a_console_flood_is_bounded() {
        let mut watch = watch();
        watch.limits.console_bytes = 1000;
        watch.console(s(0.1), &[b'x'; 1001]);
        assert_eq!(watch.tick(s(0.2)), Some(Stop::ConsoleFlood));
    }

    #[test]
    fn noise_is_counted_and_is_no_finding() {
        let mut watch = watch();
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.console(s(3.0), b"[    3.000000][  T100] cc1[44]: segfault at 0 ip 0 sp 0 error 4 in cc1[0+1]\n");
        let seen = watch.finish(s(4.0));
        assert!(seen.findings.is_empty());
        assert_eq!(seen.noise, BTreeMap::from([("user-fault".to_owned(), 1)]));
    }

    #[test]
    fn an_expected_report_does_not_end_the_trial() {
        let expectations = Expectations { kinds: vec!["kernel-bug".parse().unwrap()], rules: Vec::new() };
        let mut watch = watch().expecting(expectations, Date::constant(2026, 1, 1));
        say(&mut watch, 2.0, &[HELLO, TORTURE]);
        watch.console(s(4.0), BUG.as_bytes());
        assert_eq!(watch.tick(s(4.6)), None);
        assert_eq!(watch.tick(s(8.0)), None);
        let seen = watch.finish(s(9.0));
        assert_eq!(seen.findings[0].expected.as_deref(), Some("expect: kernel-bug"));
        assert!(!seen.findings[0].is_failure() && seen.times.finding_ms.is_none());
    }
}
