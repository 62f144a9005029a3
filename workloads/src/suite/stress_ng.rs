//! `stress-ng:CLASS`: the stressors of a class, one after the other, two instances each, with `--verify`.
//!
//! One stressor for each start of stress-ng, so that what it finds has a name. Its own words `fail:`, and a stressor that
//! dies of a signal which is not the OOM killer's, are violations called `stress-ng-STRESSOR`. What it cannot do here is
//! counted as `refused`.

use super::program::{self, Program};
use super::root::{Root, TMP};
use super::Job;
use crate::board::{ops, Op};
use crate::job::{claim, Role};
use crate::life::Life;
use std::time::Duration;

ops!(OPS: STRESSOR = "stressors", LATE = "stressors-killed-late");

/// The program.
const STRESS_NG: &str = "/usr/bin/stress-ng";

/// Instances of each stressor.
const INSTANCES: &str = "2";

/// How long after its time stress-ng may take to end what it started, which swaps.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exit statuses (stress-ng(1)): a stressor failed, or died of a signal. The others say that it has no resources, or that it
/// does not do that here.
const FAILED: i32 = 2;
const BY_SIGNAL: i32 = 5;

/// Asks stress-ng for the stressors of `class`.
///
/// # Errors
/// One line: there is no stress-ng, or it has no such class.
pub fn prepare(root: Root, class: &str, seconds: u32) -> Result<Job, String> {
    let list = Program {
        args: vec![STRESS_NG.to_owned(), "--class".to_owned(), format!("{class}?")],
        dir: TMP,
        limit: PATIENCE,
    };
    let mut stressors = Vec::new();
    let ended = program::run(&root, &list, |line| stressors.extend(listed(line)));
    let ended = ended.map_err(|errno| format!("stress-ng: {errno}"))?;
    if stressors.is_empty() {
        return Err(format!(
            "stress-ng of class {class}: {}; expected {STRESS_NG} to list its stressors",
            ended.says()
        ));
    }
    let says =
        vec![format!("{} stressors of class {class}, {seconds} s each: {}", stressors.len(), stressors.join(" "))];
    let role = Role::new("stress-ng", 1, move |life| {
        // For as long as the supervisor lets us.
        loop {
            for stressor in &stressors {
                stress(life, &root, stressor, seconds);
            }
        }
    });
    Ok(Job {
        says,
        ops: OPS.iter().map(|&op| op.to_owned()).collect(),
        claims: vec![claim("stressors", &["stressors"], 1), claim("faults", &["pgfault"], 256)],
        roles: vec![role],
    })
}

/// The stressors in `class 'vm' stressors: brk dev-shm`.
fn listed(line: &str) -> Vec<String> {
    let list = line.strip_prefix("class '").and_then(|rest| rest.split_once("' stressors: "));
    list.map(|(_, list)| list.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

fn stress(life: &mut Life<'_>, root: &Root, stressor: &str, seconds: u32) {
    let seed = life.rng.next().to_string();
    let (option, time) = (format!("--{stressor}"), format!("{seconds}s"));
    let args = [
        STRESS_NG,
        &option,
        INSTANCES,
        "--timeout",
        &time,
        "--seed",
        &seed,
        "--verify",
        "--oomable",
        "--temp-path",
        TMP,
    ];
    let limit = Duration::from_secs(seconds.into()) + PATIENCE;
    let program = Program { args: args.map(str::to_owned).to_vec(), dir: TMP, limit };
    let kind = format!("stress-ng-{stressor}");
    let oom_before = crate::supervise::oom_kills();
    let ended = program::run(root, &program, |line| {
        if let Some(failure) = failure(line) {
            life.violation(&kind, failure);
        }
    });
    let Some(ended) = life.check(STRESSOR, "fork", ended) else { return };
    let oom = crate::supervise::oom_kills() > oom_before;
    match (ended.code(), ended.signal()) {
        (None, None) => life.did(LATE),
        (Some(0), _) => {}
        // Its parent tells neither which signal nor whose.
        _ if oom => life.did(Op::OOM_KILL),
        // The words that say why have been told.
        (Some(FAILED), _) if ended.tail.iter().any(|line| failure(line).is_some()) => {}
        (Some(FAILED | BY_SIGNAL) | None, _) => life.violation(&kind, &ended.says()),
        _ => life.did(Op::REFUSED),
    }
}

/// What stress-ng says of a failure: `stress-ng: fail:  [41] vm: detected 3 bit errors`.
fn failure(line: &str) -> Option<&str> {
    line.strip_prefix("stress-ng: fail:").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stressors_are_listed_and_failures_heard() {
        assert_eq!(listed("class 'vm' stressors: brk dev-shm"), ["brk", "dev-shm"]);
        assert!(listed("Unknown class: 'vn', available classes: cpu").is_empty());
        assert_eq!(failure("stress-ng: fail:  [41] vm: bit errors"), Some("[41] vm: bit errors"));
        assert_eq!(failure("stress-ng: info:  [41] successful run"), None);
    }
}
