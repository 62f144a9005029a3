//! From what was seen of a guest to an outcome. Pure.

use super::watch::{Seen, Stop};
use crate::oracle::{machine_failure, violation, Class, Finding};
use crate::outcome::Outcome;

/// How the machine's process ended, when we did not end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// We ended it ([`Seen::stop`] says why).
    Stopped,
    /// By itself and in order: power-off, reset, triple fault.
    Exited,
    /// It failed; what it said.
    Failed(String),
}

/// An outcome and a sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, for people.
    pub why: String,
}

/// Judges. Adds a finding where the guest vanished without a word. `banner` is what `uname -v` must begin with.
pub fn judge(seen: &mut Seen, ending: &Ending, banner: &str) -> Verdict {
    let verdict = |outcome, why: String| Verdict { outcome, why };
    if let Ending::Failed(said) = ending {
        // Findings that came first stand: a broken guest may well take its machine down.
        if fatal(seen).is_none() {
            seen.findings.extend(machine_failure(said));
            return verdict(Outcome::InfraError, said.clone());
        }
    }
    if let Some(hello) = &seen.hello {
        if !hello.build.starts_with(banner) {
            let why = format!("the guest runs '{}', not the kernel that was built ('{}')", hello.build, banner.trim());
            return verdict(Outcome::InfraError, why);
        }
    }
    if let Some(finding) = fatal(seen) {
        // Before the first event a bare panic (no init, no root) is a guest that does not boot; a report of another
        // kind is what the kernel under test did, early.
        if seen.hello.is_none() && finding.class == Class::Panic {
            return verdict(Outcome::BootFailure, finding.title.clone());
        }
        return verdict(Outcome::Fail, finding.title.clone());
    }
    if let Some(error) = &seen.error {
        return verdict(Outcome::InfraError, format!("guest: {error}"));
    }
    if seen.hello.is_none() {
        let why = match seen.stop {
            Some(Stop::NoHello) => "the guest never said hello: no event before the boot deadline",
            Some(Stop::ConsoleFlood) => "the guest flooded its console before its first event",
            _ => "the machine reset or powered off before the guest's first event",
        };
        return verdict(Outcome::BootFailure, why.to_owned());
    }
    match seen.stop {
        Some(Stop::Silent) => {
            let phase = seen.phase.map_or("boot", |p| p.name());
            seen.findings.push(violation("guest-silent", &format!("no heartbeat during {phase}, no report"), true));
            return verdict(Outcome::Hang, "the guest fell silent and the kernel did not say why".into());
        }
        Some(Stop::Overdue) => return verdict(Outcome::Hang, "the guest did not end in its time".into()),
        Some(Stop::ConsoleFlood) => return verdict(Outcome::Hang, "the guest flooded its console".into()),
        Some(Stop::NoPowerOff) | Some(Stop::Finding) | Some(Stop::NoHello) | None => {}
    }
    let Some(done) = &seen.done else {
        let phase = seen.phase.map_or("boot", |p| p.name());
        let finding =
            violation("guest-vanished", &format!("reset or powered off during {phase}, with no report"), true);
        let why = format!("the guest reset during {phase} and its kernel said nothing");
        seen.findings.push(finding);
        return verdict(Outcome::Fail, why);
    };
    if let Some(knob) = seen.knobs.iter().find(|k| k.error.is_some()) {
        let error = knob.error.as_deref().unwrap_or_default();
        return verdict(
            Outcome::NotExercised,
            format!("{}={} did not take effect: {error}", knob.dimension, knob.asked),
        );
    }
    let broken: Vec<_> = seen.claims.iter().filter(|c| !c.holds(&done.vmstat)).map(|c| c.shows.as_str()).collect();
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

/// The finding that ends a trial: the first of those, primary ones before their consequences.
fn fatal(seen: &Seen) -> Option<&Finding> {
    let mut fatal = seen.findings.iter().filter(|f| f.stops_trial());
    let first = fatal.next()?;
    Some(if first.primary { first } else { fatal.find(|f| f.primary).unwrap_or(first) })
}

/// How far the declared counters moved.
fn moved(seen: &Seen) -> String {
    let Some(done) = &seen.done else { return String::new() };
    let each: Vec<_> = seen
        .claims
        .iter()
        .map(|claim| {
            let most = claim.any_of.iter().filter_map(|name| done.vmstat.get(name)).max().copied().unwrap_or(0);
            format!("{} {most}", claim.shows)
        })
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
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
        judge(&mut seen.clone(), ending, "#mmt-abc ").outcome
    }

    #[test]
    fn a_pass_is_earned() {
        let seen = passed();
        let verdict = judge(&mut seen.clone(), &Ending::Exited, "#mmt-abc ");
        assert_eq!(verdict, Verdict { outcome: Outcome::Pass, why: "swap-out 99".into() });

        let mut idle = seen.clone();
        idle.done.as_mut().unwrap().vmstat.clear();
        assert_eq!(outcome(&idle, &Ending::Exited), Outcome::NotExercised);

        let mut undeclared = seen.clone();
        undeclared.claims.clear();
        assert_eq!(outcome(&undeclared, &Ending::Exited), Outcome::NotExercised);

        let mut knob = seen.clone();
        let error = Some("no such file".to_owned());
        knob.knobs.push(ReadBack { dimension: "thp".into(), asked: "always".into(), got: String::new(), error });
        assert_eq!(outcome(&knob, &Ending::Exited), Outcome::NotExercised);

        assert_eq!(judge(&mut seen.clone(), &Ending::Exited, "#mmt-xyz ").outcome, Outcome::InfraError);
    }

    #[test]
    fn what_is_not_known_is_not_folded_into_good_or_bad() {
        let nothing = Seen::default();
        assert_eq!(outcome(&nothing, &Ending::Failed("no such machine".into())), Outcome::InfraError);
        assert_eq!(outcome(&nothing, &Ending::Exited), Outcome::BootFailure);
        let late = Seen { stop: Some(Stop::NoHello), ..Seen::default() };
        assert_eq!(outcome(&late, &Ending::Stopped), Outcome::BootFailure);
        let silent = Seen { stop: Some(Stop::Silent), done: None, ..passed() };
        assert_eq!(outcome(&silent, &Ending::Stopped), Outcome::Hang);
        let error = Seen { error: Some("no zram".into()), done: None, ..passed() };
        assert_eq!(outcome(&error, &Ending::Exited), Outcome::InfraError);
    }

    #[test]
    fn a_guest_that_vanishes_has_failed() {
        let mut seen = Seen { done: None, phase: Some(Phase::Torture), ..passed() };
        assert_eq!(judge(&mut seen, &Ending::Exited, "#mmt-abc ").outcome, Outcome::Fail);
        assert_eq!(seen.findings[0].title, "guest vanished");
    }

    #[test]
    fn a_panic_before_hello_is_a_boot_failure_and_a_bug_is_not() {
        let mut panic = violation("x", "", true);
        panic.class = Class::Panic;
        let mut bug = panic.clone();
        bug.class = Class::KernelBug;
        let seen = |finding: Finding| Seen { findings: vec![finding], ..Seen::default() };
        assert_eq!(outcome(&seen(panic), &Ending::Exited), Outcome::BootFailure);
        assert_eq!(outcome(&seen(bug.clone()), &Ending::Exited), Outcome::Fail);
        assert_eq!(outcome(&seen(bug), &Ending::Failed("aborted".into())), Outcome::Fail);
    }
}
