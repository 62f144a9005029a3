//! What a probe found, and the verdict that follows from it. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// From this ratio of guest to host on, a KVM is not native.
///
/// On hardware virtualization a loop of register instructions leaves the guest only for the host's timer, so the
/// ratio is 1, and with stolen time on a busy host rarely 2 in the best of several rounds; where it is more, there is
/// another look (`clock`). Whatever has to translate or emulate instructions is beyond 5 (TCG), beyond 100 if one by one.
pub const NATIVE_RATIO: f64 = 3.0;

/// Instructions that a sentence names; the report has them all.
const NAMED: usize = 4;

/// XSAVE, without which a kernel uses none of what needs it.
const XSAVE: &[&str] = &["1:ecx:26"];

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What to make of it.
    pub verdict: Verdict,
    /// What the verdict stands on; `None` if no guest could be made.
    pub measured: Option<Measured>,
    /// How long the probe took, in milliseconds.
    pub took_ms: u64,
}

/// What to make of a host's KVM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Verdict {
    /// Guests run on the CPU itself, and every instruction that a kernel needs works.
    Native,
    /// Guests run, but are emulated, or stop at instructions that a kernel needs.
    Software {
        /// Guest time over host time of the counted loop; `None` if it did not come to its end.
        ratio: Option<f64>,
        /// The instructions that did not work, in the order in which they were tried.
        stops_at: Vec<StopAt>,
    },
    /// No guest can be made.
    Absent {
        /// Why not.
        reason: Absence,
    },
}

/// Why no guest can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Absence {
    /// There is no device, or none behind its node.
    NoDevice,
    /// The device may not be opened by this user.
    NoPermission {
        /// The group that owns it: its name, or its number if it has none.
        group: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The device cannot be opened for another reason.
    OpenFails {
        /// `errno`.
        errno: i32,
    },
    /// The device speaks another version of the API than 12, the only one since Linux 2.6.22; -1 if it is no KVM.
    WrongVersion {
        /// What it says.
        version: i32,
    },
    /// It opens, but makes no VM.
    CreateFails {
        /// The call that failed.
        step: String,
        /// `errno`.
        errno: i32,
    },
}

/// What the guests of a probe did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The timed loop.
    pub counted: Result<LoopTime, Stop>,
    /// One for each instruction, in the order in which they were tried.
    pub checks: Vec<Check>,
    /// Whether KVM hears of XSETBV. One that does not runs kernels all the same, but without XSAVE.
    pub xsetbv: Outcome,
}

/// How long one round of the counted loop (a decrement and a taken branch) takes, at best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoopTime {
    /// In the guest, in nanoseconds.
    pub guest_ns: f64,
    /// On the host, in nanoseconds.
    pub native_ns: f64,
}

impl LoopTime {
    /// How many times slower the guest is.
    pub fn ratio(&self) -> f64 {
        self.guest_ns / self.native_ns
    }
}

/// What came of one instruction's guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The instruction, or the event, that it tries.
    pub instruction: String,
    /// How that went.
    pub outcome: Outcome,
}

/// How the guest for an instruction ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "how")]
pub enum Outcome {
    /// With the right answer.
    Passed,
    /// Not tried: the KVM's CPUID does not offer it, so a kernel does without.
    NotOffered,
    /// Not tried: the guests before it used up the probe's time.
    NotRun,
    /// Otherwise.
    Stopped(Stop),
}

/// An instruction that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopAt {
    /// Which.
    pub instruction: String,
    /// How its guest ended.
    pub how: Stop,
}

/// How a guest ended that should have ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Stop {
    /// KVM_EXIT_INTERNAL_ERROR. Suberror 1 is an instruction that KVM's emulator lacks.
    InternalError {
        /// `kvm_run.internal.suberror`.
        suberror: u32,
    },
    /// The CPU raised an exception that the guest did not expect.
    Exception {
        /// Its vector.
        vector: u8,
    },
    /// KVM_EXIT_SHUTDOWN: a triple fault.
    TripleFault,
    /// KVM_EXIT_FAIL_ENTRY: the CPU refused the guest's state.
    FailEntry {
        /// The hardware's reason.
        reason: u64,
    },
    /// It reached its end with a wrong result.
    WrongAnswer {
        /// What it said.
        got: u32,
        /// What it should have said.
        expected: u32,
    },
    /// It did not end in time, and was kicked out.
    Timeout,
    /// It did not end in time, and KVM_RUN did not return when kicked: the host's kernel is stuck there, or far too
    /// busy. Its thread is left behind.
    Stuck,
    /// A call to KVM failed.
    Call {
        /// Which.
        step: String,
        /// `errno`.
        errno: i32,
    },
    /// Any other exit.
    Exit {
        /// As kvm-ioctls names it.
        name: String,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InternalError { suberror } => write!(f, "internal error {suberror}"),
            Self::Exception { vector } => write!(f, "exception {vector}"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::FailEntry { reason } => write!(f, "failed entry {reason:#x}"),
            Self::WrongAnswer { got, expected } => write!(f, "wrong result {got:#x}, not {expected:#x}"),
            Self::Timeout => f.write_str("no end in time"),
            Self::Stuck => f.write_str("not to be kicked out"),
            Self::Call { step, errno } => write!(f, "{step}: {}", errno_text(*errno)),
            Self::Exit { name } => write!(f, "exit {name}"),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str("no /dev/kvm: KVM is not available here"),
            Self::NoPermission { group, mode } => {
                write!(f, "no permission to open /dev/kvm: it belongs to group {group}, mode {mode:04o}")?;
                // Group read and write.
                match mode & 0o060 == 0o060 {
                    true => write!(f, "; join that group"),
                    false => Ok(()),
                }
            }
            Self::OpenFails { errno } => write!(f, "/dev/kvm cannot be opened: {}", errno_text(*errno)),
            Self::WrongVersion { version } => write!(f, "/dev/kvm speaks version {version} of the KVM API, not 12"),
            Self::CreateFails { step, errno } => {
                write!(f, "/dev/kvm opens but makes no VM: {step}: {}", errno_text(*errno))
            }
        }
    }
}

fn errno_text(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

impl Verdict {
    /// What follows from measurements.
    pub fn of(measured: &Measured) -> Self {
        let ratio = measured.counted.as_ref().ok().map(LoopTime::ratio);
        let counted = measured.counted.as_ref().err();
        let first = counted.map(|how| StopAt { instruction: "a counted loop".to_owned(), how: how.clone() });
        let rest = measured.checks.iter().filter_map(|check| match &check.outcome {
            Outcome::Stopped(how) => Some(StopAt { instruction: check.instruction.clone(), how: how.clone() }),
            _ => None,
        });
        let stops_at: Vec<StopAt> = first.into_iter().chain(rest).collect();
        // What was not run is not known to work. Time runs out only where guests are slow or hang.
        let all_run = measured.checks.iter().all(|check| check.outcome != Outcome::NotRun);
        match ratio {
            Some(ratio) if ratio < NATIVE_RATIO && stops_at.is_empty() && all_run => Self::Native,
            _ => Self::Software { ratio, stops_at },
        }
    }
}

impl Report {
    pub(super) fn absent(reason: Absence, took: Duration) -> Self {
        Self { verdict: Verdict::Absent { reason }, measured: None, took_ms: took.as_millis() as u64 }
    }

    pub(super) fn of(measured: Measured, took: Duration) -> Self {
        Self { verdict: Verdict::of(&measured), measured: Some(measured), took_ms: took.as_millis() as u64 }
    }

    /// Whether this KVM is better than QEMU's TCG for running kernels under test. Only a native one is.
    pub fn usable_for_torture(&self) -> bool {
        self.verdict == Verdict::Native
    }

    /// CPUID bits that guests had better not see here, as `mmtorture-vmm --mask-cpuid` takes them.
    pub fn masks(&self) -> &'static [&'static str] {
        match self.measured.as_ref().map(|measured| &measured.xsetbv) {
            Some(Outcome::Stopped(Stop::WrongAnswer { .. })) => XSAVE,
            _ => &[],
        }
    }

    /// The verdict in one sentence, without a full stop.
    pub fn sentence(&self) -> String {
        let ratio = self.measured.as_ref().and_then(|m| m.counted.as_ref().ok()).map(LoopTime::ratio);
        match &self.verdict {
            Verdict::Native => match ratio {
                Some(ratio) => {
                    let without =
                        if self.masks().is_empty() { "" } else { ", without XSAVE (KVM does not hear of XSETBV)" };
                    format!("native KVM: a guest runs at {} of the host's speed{without}", percent(ratio))
                }
                None => "native KVM".to_owned(),
            },
            Verdict::Software { ratio, stops_at } => {
                let kind = match ratio {
                    Some(ratio) if *ratio < NATIVE_RATIO => "incomplete KVM".to_owned(),
                    Some(ratio) => format!("software KVM: about {} x slower than native", about(*ratio)),
                    None => "unusable KVM".to_owned(),
                };
                let named: Vec<String> =
                    stops_at.iter().take(NAMED).map(|stop| format!("{} ({})", stop.instruction, stop.how)).collect();
                let more = match stops_at.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                let untried = self.measured.iter().flat_map(|measured| &measured.checks);
                let untried = match untried.filter(|check| check.outcome == Outcome::NotRun).count() {
                    0 => String::new(),
                    n => format!(", had no time for {n} instructions"),
                };
                match named.is_empty() {
                    true => format!("{kind}{untried}"),
                    false => format!("{kind}, stops at {}{more}{untried}", named.join(", ")),
                }
            }
            Verdict::Absent { reason } => reason.to_string(),
        }
    }
}

/// A number of which two digits mean something.
fn about(ratio: f64) -> String {
    let unit = 10f64.powf(ratio.log10().floor() - 1.0).max(1.0);
    format!("{:.0}", (ratio / unit).round() * unit)
}

/// Speed as a share of the host's. Noise can make a guest seem faster than its host; it is not.
fn percent(ratio: f64) -> String {
    format!("{:.0} %", (100.0 / ratio).min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(instruction: &str, outcome: Outcome) -> Check {
        Check { instruction: instruction.to_owned(), outcome }
    }

    fn report(guest_ns: f64, checks: &[(&str, Outcome)]) -> Report {
        let checks = checks.iter().map(|(name, outcome)| check(name, outcome.clone())).collect();
        let counted = Ok(LoopTime { guest_ns, native_ns: 0.5 });
        Report::of(Measured { counted, checks, xsetbv: Outcome::Passed }, Duration::from_millis(40))
    }

    const EMULATOR: Outcome = Outcome::Stopped(Stop::InternalError { suberror: 1 });

    #[test]
    fn native_is_fast_and_complete() {
        let native = report(0.55, &[("int3", Outcome::Passed), ("xsave", Outcome::NotOffered)]);
        assert_eq!(native.verdict, Verdict::Native);
        assert!(native.usable_for_torture());
        assert_eq!(native.sentence(), "native KVM: a guest runs at 91 % of the host's speed");
        assert_eq!(report(0.49, &[]).sentence(), "native KVM: a guest runs at 100 % of the host's speed");
    }

    #[test]
    fn slow_is_software_even_if_complete() {
        let slow = report(0.5 * NATIVE_RATIO, &[("int3", Outcome::Passed)]);
        assert_eq!(slow.verdict, Verdict::Software { ratio: Some(NATIVE_RATIO), stops_at: vec![] });
        assert!(!slow.usable_for_torture());
        assert_eq!(slow.sentence(), "software KVM: about 3 x slower than native");
    }

    #[test]
    fn a_kvm_that_does_not_hear_of_xsetbv_is_native_without_xsave() {
        let mut native = report(0.55, &[]);
        assert!(native.masks().is_empty());
        let unheard = Stop::WrongAnswer { got: 0, expected: 0x600d };
        native.measured.as_mut().unwrap().xsetbv = Outcome::Stopped(unheard);
        assert_eq!(native.masks(), ["1:ecx:26"]);
        assert!(native.usable_for_torture());
    }

    #[test]
    fn stops_are_named() {
        let slow = report(15.4, &[("int3", Outcome::Passed), ("cmpxchg16b", EMULATOR)]);
        let text = "software KVM: about 31 x slower than native, stops at cmpxchg16b (internal error 1)";
        assert_eq!(slow.sentence(), text);
        let many = report(15.4, &["a", "b", "c", "d", "e", "f"].map(|name| (name, EMULATOR)));
        assert!(many.sentence().ends_with("d (internal error 1) and 2 more"), "{}", many.sentence());
    }

    #[test]
    fn ratios_are_rounded_to_what_they_mean() {
        assert_eq!([3.0, 9.6, 30.8, 99.6, 3086.0, 123_456.0].map(about), ["3", "10", "31", "100", "3100", "120000"]);
    }

    #[test]
    fn fast_but_incomplete_is_not_usable() {
        let odd = report(0.5, &[("rdtsc", Outcome::Stopped(Stop::WrongAnswer { got: 0, expected: 1 }))]);
        assert!(!odd.usable_for_torture());
        assert_eq!(odd.sentence(), "incomplete KVM, stops at rdtsc (wrong result 0x0, not 0x1)");
        let unfinished = report(0.5, &[("rdtsc", Outcome::NotRun)]);
        assert!(!unfinished.usable_for_torture());
        assert_eq!(unfinished.sentence(), "incomplete KVM, had no time for 1 instructions");
    }

    #[test]
    fn a_loop_without_end_has_no_ratio() {
        let measured = Measured { counted: Err(Stop::Timeout), checks: vec![], xsetbv: Outcome::NotRun };
        let report = Report::of(measured, Duration::from_secs(1));
        assert!(matches!(report.verdict, Verdict::Software { ratio: None, .. }));
        assert_eq!(report.sentence(), "unusable KVM, stops at a counted loop (no end in time)");
    }

    #[test]
    fn absence_says_why_and_what_to_do() {
        let text = |reason| Report::absent(reason, Duration::ZERO).sentence();
        assert_eq!(text(Absence::NoDevice), "no /dev/kvm: KVM is not available here");
        let group = Absence::NoPermission { group: "kvm".to_owned(), mode: 0o660 };
        let said = "no permission to open /dev/kvm: it belongs to group kvm, mode 0660; join that group";
        assert_eq!(text(group), said);
        let closed = Absence::NoPermission { group: "root".to_owned(), mode: 0o600 };
        assert_eq!(text(closed), "no permission to open /dev/kvm: it belongs to group root, mode 0600");
        assert_eq!(text(Absence::WrongVersion { version: 13 }), "/dev/kvm speaks version 13 of the KVM API, not 12");
        let busy = Absence::CreateFails { step: "KVM_CREATE_VM".to_owned(), errno: libc::EBUSY };
        assert!(text(busy).starts_with("/dev/kvm opens but makes no VM: KVM_CREATE_VM: "));
    }

    #[test]
    fn json_round_trips() {
        let before = report(15.4, &[("int3", EMULATOR), ("lidt", Outcome::Passed), ("xsave", Outcome::NotOffered)]);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), before);
        let stop =
            r#"{"instruction":"int3","outcome":{"kind":"stopped","how":{"kind":"internal-error","suberror":1}}}"#;
        assert!(json.contains(stop), "{json}");
    }
}
