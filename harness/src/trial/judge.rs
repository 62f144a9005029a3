//! From what was seen of a guest to an outcome. Pure.

use super::watch::{Seen, Stop};
use crate::machine::ending::Ending;
use crate::oracle::{unprinted, violation, Class};
use crate::outcome::Outcome;

/// An outcome and a sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, for people.
    pub why: String,
}

/// Judges. Adds findings that only the machine saw. `banner` is what `uname -v` must begin with, `cpus` what
/// the guest must have.
pub fn judge(seen: &mut Seen, ending: &Ending, banner: &str, cpus: u32) -> Verdict {
    let verdict = |outcome, why: String| Verdict { outcome, why };
    heard(seen, ending);
    if matches!(ending, Ending::Failed { .. } | Ending::InternalError { .. }) {
        // Findings that came first stand: a broken guest may well take its machine down.
        if seen.fatal().is_none() {
            if matches!(ending, Ending::InternalError { .. }) {
                seen.findings.push(violation("kvm-internal-error", &ending.to_string(), true));
            }
            return verdict(Outcome::InfraError, ending.to_string());
        }
    }
    if let Some(hello) = &seen.hello {
        if !hello.build.starts_with(banner) {
            let why = format!("the guest runs '{}', not the kernel that was built ('{}')", hello.build, banner.trim());
            return verdict(Outcome::InfraError, why);
        }
    }
    if let Some(finding) = seen.fatal() {
        // Before the first event a bare panic (no init, no root) or triple fault is a guest that does not boot; a report of another
        // kind is what the kernel under test did, early.
        if seen.hello.is_none() && matches!(finding.class, Class::Panic | Class::TripleFault) {
            return verdict(Outcome::BootFailure, finding.title.clone());
        }
        return verdict(Outcome::Fail, finding.title.clone());
    }
    if let Some(error) = &seen.error {
        return verdict(Outcome::InfraError, format!("guest: {error}"));
    }
    if seen.hello.is_none() {
        let why = match seen.stop {
            Some(Stop::NoHello) => "the guest never said hello: no event before the boot deadline".to_owned(),
            Some(Stop::ConsoleFlood) => "the guest flooded its console before its first event".to_owned(),
            _ => format!("{ending} before the guest's first event"),
        };
        return verdict(Outcome::BootFailure, why);
    }
    match seen.stop {
        Some(Stop::Silent) => {
            let why = match &seen.stood_in {
                Some(function) => format!("the guest fell silent; an NMI found a CPU in {function}"),
                None => {
                    let phase = seen.phase.map_or("boot", |p| p.name());
                    seen.findings.push(violation("guest-silent", &format!("no heartbeat during {phase}"), true));
                    "the guest fell silent and the kernel did not say why".to_owned()
                }
            };
            return verdict(Outcome::Hang, why);
        }
        Some(Stop::Overdue) => return verdict(Outcome::Hang, "the guest did not end in its time".into()),
        Some(Stop::ConsoleFlood) => return verdict(Outcome::Hang, "the guest flooded its console".into()),
        Some(Stop::NoPowerOff | Stop::Finding | Stop::Panicked | Stop::NoHello) | None => {}
    }
    let Some(done) = &seen.done else {
        let phase = seen.phase.map_or("boot", |p| p.name());
        let finding = violation("guest-vanished", &format!("{ending} during {phase}, with no report"), true);
        let why = format!("the guest vanished ({ending}) during {phase} and its kernel said nothing");
        seen.findings.push(finding);
        return verdict(Outcome::Fail, why);
    };
    if let Some(hello) = seen.hello.as_ref().filter(|hello| hello.cpus != cpus) {
        return verdict(Outcome::NotExercised, format!("the guest has {} CPUs, not {cpus}", hello.cpus));
    }
    if let Some(knob) = seen.knobs.iter().find(|k| k.error.is_some()) {
        let error = knob.error.as_deref().unwrap_or_default();
        return verdict(
            Outcome::NotExercised,
            format!("{}={} did not take effect: {error}", knob.dimension, knob.asked),
        );
    }
    let broken: Vec<_> =
        seen.claims.iter().filter(|c| !c.holds(&done.vmstat, &done.ops)).map(|c| c.shows.as_str()).collect();
    if seen.claims.is_empty() {
        return verdict(Outcome::NotExercised, "the workload declared nothing, so nothing shows that it ran".into());
    }
    if !broken.is_empty() {
        return verdict(Outcome::NotExercised, format!("did not happen: {}", broken.join(", ")));
    }
    // Warnings do not end a trial, but they are no pass.
    let mut failures = seen.findings.iter().filter(|f| f.is_failure());
    if let Some(first) = failures.clone().find(|f| f.primary).or_else(|| failures.next()) {
        return verdict(Outcome::Fail, first.title.clone());
    }
    verdict(Outcome::Pass, moved(seen))
}

/// Adds what only the machine heard of.
fn heard(seen: &mut Seen, ending: &Ending) {
    if seen.panicked && seen.fatal().is_none() {
        let detail = "the kernel told the machine that it panics, and the console does not say why";
        seen.findings.push(unprinted(Class::Panic, "no report", "kernel panic without a report", detail, true));
    }
    if let Ending::TripleFault { .. } = ending {
        // After a report it is what became of that.
        let primary = seen.fatal().is_none();
        seen.findings.push(unprinted(Class::TripleFault, "no report", "triple fault", &ending.to_string(), primary));
    }
}

/// How far the declared counters moved.
fn moved(seen: &Seen) -> String {
    let Some(done) = &seen.done else { return String::new() };
    let by = |claim: &mmtorture_protocol::Claim| claim.moved(&done.vmstat, &done.ops);
    let each: Vec<_> = seen.claims.iter().map(|claim| format!("{} {}", claim.shows, by(claim))).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Finding;
    use crate::trial::watch::{Done, Hello, ReadBack};
    use mmtorture_protocol::{Claim, Phase};
    use std::collections::BTreeMap;

    fn passed() -> Seen {
        Seen {
            hello: Some(Hello { release: "6.1".into(), build: "#mmt-abc SMP".into(), cpus: 2, mem_kib: 1 }),
            phase: Some(Phase::TearDown),
            claims: vec![Claim { shows: "swap-out".into(), any_of: vec!["pswpout".into()], at_least: 10 }],
            done: Some(Done { elapsed_ms: 1, vmstat: BTreeMap::from([("pswpout".into(), 99)]), ops: BTreeMap::new() }),
            ..Seen::default()
        }
    }

    fn outcome(seen: &Seen, ending: &Ending) -> Outcome {
        judge(&mut seen.clone(), ending, "#mmt-abc ", 2).outcome
    }

    #[test]
    fn a_pass_is_earned() {
        let seen = passed();
        let verdict = judge(&mut seen.clone(), &Ending::PowerOff, "#mmt-abc ", 2);
        assert_eq!(verdict, Verdict { outcome: Outcome::Pass, why: "swap-out 99".into() });

        let mut idle = seen.clone();
        idle.done.as_mut().unwrap().vmstat.clear();
        assert_eq!(outcome(&idle, &Ending::PowerOff), Outcome::NotExercised);

        let mut undeclared = seen.clone();
        undeclared.claims.clear();
        assert_eq!(outcome(&undeclared, &Ending::PowerOff), Outcome::NotExercised);

        let mut alone = seen.clone();
        alone.hello.as_mut().unwrap().cpus = 1;
        assert_eq!(outcome(&alone, &Ending::PowerOff), Outcome::NotExercised);

        let mut knob = seen.clone();
        let error = Some("no such file".to_owned());
        knob.knobs.push(ReadBack { dimension: "thp".into(), asked: "always".into(), got: String::new(), error });
        assert_eq!(outcome(&knob, &Ending::PowerOff), Outcome::NotExercised);

        assert_eq!(judge(&mut seen.clone(), &Ending::PowerOff, "#mmt-xyz ", 2).outcome, Outcome::InfraError);
    }

    #[test]
    fn what_is_not_known_is_not_folded_into_good_or_bad() {
        let nothing = Seen::default();
        assert_eq!(outcome(&nothing, &Ending::Failed { why: "no such machine".into() }), Outcome::InfraError);
        assert_eq!(outcome(&nothing, &Ending::PowerOff), Outcome::BootFailure);
        let late = Seen { stop: Some(Stop::NoHello), ..Seen::default() };
        assert_eq!(outcome(&late, &Ending::Stopped), Outcome::BootFailure);
        let silent = Seen { stop: Some(Stop::Silent), done: None, ..passed() };
        assert_eq!(outcome(&silent, &Ending::Stopped), Outcome::Hang);
        let error = Seen { error: Some("no zram".into()), done: None, ..passed() };
        assert_eq!(outcome(&error, &Ending::PowerOff), Outcome::InfraError);
    }

    #[test]
    fn a_guest_that_vanishes_has_failed() {
        let mut seen = Seen { done: None, phase: Some(Phase::Torture), ..passed() };
        assert_eq!(judge(&mut seen, &Ending::PowerOff, "#mmt-abc ", 2).outcome, Outcome::Fail);
        assert_eq!(seen.findings[0].title, "guest vanished");
    }

    /// What was torturing when its machine ended.
    fn torturing() -> Seen {
        Seen { done: None, phase: Some(Phase::Torture), ..passed() }
    }

    fn bug() -> Finding {
        let mut bug = violation("x", "", true);
        bug.class = Class::KernelBug;
        bug
    }

    #[test]
    fn each_ending_is_told_apart() {
        let judged = |mut seen: Seen, ending: &Ending| {
            let verdict = judge(&mut seen, ending, "#mmt-abc ", 2);
            let findings: Vec<_> = seen.findings.iter().map(|f| (f.title.clone(), f.primary)).collect();
            (verdict.outcome, verdict.why, findings)
        };
        let vanished = |how: &str| {
            let why = format!("the guest vanished ({how}) during torture and its kernel said nothing");
            (Outcome::Fail, why, vec![("guest vanished".to_owned(), true)])
        };
        assert_eq!(judged(torturing(), &Ending::PowerOff), vanished("power-off"));
        assert_eq!(judged(torturing(), &Ending::Reset { by: Some("i8042".into()) }), vanished("reset by i8042"));
        assert_eq!(judged(torturing(), &Ending::Unknown), vanished("ended in order"));

        let fault = Ending::TripleFault { vcpu: Some(1), registers: None };
        let finding = |primary| ("triple fault".to_owned(), primary);
        assert_eq!(judged(torturing(), &fault), (Outcome::Fail, "triple fault".into(), vec![finding(true)]));
        let after = Seen { findings: vec![bug()], ..torturing() };
        assert_eq!(judged(after, &fault), (Outcome::Fail, "x".into(), vec![("x".to_owned(), true), finding(false)]));
        assert_eq!(judged(Seen::default(), &fault).0, Outcome::BootFailure);

        let silent = "kernel panic without a report".to_owned();
        for ending in [Ending::Panicked, Ending::Reset { by: None }, Ending::Stopped] {
            let seen = Seen { panicked: true, ..torturing() };
            assert_eq!(judged(seen, &ending), (Outcome::Fail, silent.clone(), vec![(silent.clone(), true)]));
        }
        let told = Seen { panicked: true, findings: vec![bug()], ..torturing() };
        assert_eq!(judged(told, &Ending::Reset { by: None }).2, [("x".to_owned(), true)]);

        let error = Ending::InternalError { suberror: Some(1), instruction: "480fc74f20".into(), registers: None };
        let why = "KVM internal error 1 at instruction 480fc74f20".to_owned();
        let finding = ("kvm internal error".to_owned(), true);
        assert_eq!(judged(torturing(), &error), (Outcome::InfraError, why, vec![finding]));
        let after = Seen { findings: vec![bug()], ..torturing() };
        assert_eq!(judged(after, &error).0, Outcome::Fail);

        let silent = Seen { stop: Some(Stop::Silent), stood_in: Some("shrink_lruvec".into()), ..torturing() };
        let why = "the guest fell silent; an NMI found a CPU in shrink_lruvec".to_owned();
        assert_eq!(judged(silent, &Ending::Stopped), (Outcome::Hang, why, vec![]));
        let silent = Seen { stop: Some(Stop::Silent), ..torturing() };
        assert_eq!(judged(silent, &Ending::Stopped).2, [("guest silent".to_owned(), true)]);
    }

    #[test]
    fn a_panic_before_hello_is_a_boot_failure_and_a_bug_is_not() {
        let mut panic = violation("x", "", true);
        panic.class = Class::Panic;
        let mut bug = panic.clone();
        bug.class = Class::KernelBug;
        let seen = |finding: Finding| Seen { findings: vec![finding], ..Seen::default() };
        assert_eq!(outcome(&seen(panic), &Ending::PowerOff), Outcome::BootFailure);
        assert_eq!(outcome(&seen(bug.clone()), &Ending::PowerOff), Outcome::Fail);
        assert_eq!(outcome(&seen(bug), &Ending::Failed { why: "aborted".into() }), Outcome::Fail);
    }
}
