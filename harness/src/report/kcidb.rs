//! KCIDB v5.3: a variant a checkout and a build, a trial a test, a bug an issue with an incident for each of its trials.

use super::account::Account;
use super::text;
use crate::hash::Hasher;
use crate::outcome::Outcome;
use crate::trial::Trial;
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Who says it. A CI system that submits puts its own name here: it may hold `a-z`, `0-9` and `_`.
const ORIGIN: &str = "mmtorture";
/// The schema's limit for an excerpt, in characters.
const MAX_EXCERPT: usize = 16 << 10;

/// The object, indented.
pub fn render(account: &Account) -> String {
    let run = text::line(&account.header.id);
    let cells: BTreeMap<_, _> = account.cells.iter().map(|c| (c.id.as_str(), c)).collect();
    let excerpts: BTreeMap<usize, String> = account
        .bugs
        .iter()
        .filter_map(|b| Some((b.trial, text::visible(text::head(&b.console.as_ref()?.report, MAX_EXCERPT / 2)))))
        .map(|(t, text)| (t, text.chars().take(MAX_EXCERPT).collect()))
        .collect();
    let mut variants: BTreeMap<&str, &Trial> = BTreeMap::new();
    for trial in &account.trials {
        variants.entry(&trial.variant).or_insert(trial);
    }
    let (mut checkouts, mut builds) = (Vec::new(), Vec::new());
    for (variant, trial) in &variants {
        let id = format!("{ORIGIN}:{run}/{}", text::line(variant));
        checkouts.push(json!({
            "id": id, "origin": ORIGIN, "comment": text::line(variant), "valid": true,
            "start_time": account.header.started.to_string(),
        }));
        let built = trial.outcome != Outcome::BuildFailure;
        let mut build = json!({
            "id": id, "checkout_id": id, "origin": ORIGIN, "architecture": std::env::consts::ARCH,
            "status": if built { "PASS" } else { "FAIL" },
            "comment": text::line(variant),
            "misc": {"kernel": trial.kernel, "release": trial.seen.hello.as_ref().map(|h| text::line(&h.release))},
        });
        if !built {
            build["log_excerpt"] = json!(text::line(&trial.why).chars().take(MAX_EXCERPT).collect::<String>());
        }
        builds.push(build);
    }
    let test_id = |trial: &Trial| format!("{ORIGIN}:{run}/{}/{}", text::line(&trial.cell), trial.seed);
    let tests: Vec<Value> = account
        .trials
        .iter()
        .enumerate()
        .filter(|(_, trial)| trial.outcome != Outcome::BuildFailure)
        .map(|(t, trial)| {
            let cell = cells.get(trial.cell.as_str());
            let workload = cell.map_or("unknown", |c| &c.workload);
            let mut test = json!({
                "id": test_id(trial), "origin": ORIGIN, "build_id": format!("{ORIGIN}:{run}/{}", text::line(&trial.variant)),
                "path": format!("mmtorture.{}", path(workload)),
                "status": status(trial.outcome),
                "comment": text::line(&trial.why),
                "duration": trial.seen.times.end_ms as f64 / 1000.0,
                "environment": {"comment": text::line(&trial.machine), "misc": cell.map_or(json!({}), |c| json!(c.settings))},
                "misc": {"cell": trial.cell, "seed": trial.seed.to_string(), "outcome": trial.outcome},
            });
            if let Some(excerpt) = excerpts.get(&t) {
                test["log_excerpt"] = json!(excerpt);
            }
            test
        })
        .collect();
    let (mut issues, mut incidents) = (Vec::new(), Vec::new());
    for bug in &account.bugs {
        // The same signature is the same issue, whichever run saw it.
        let hash = Hasher::new("kcidb issue").field(&bug.finding.signature).finish();
        let id = format!("{ORIGIN}:{}", &hash[..16]);
        issues.push(json!({
            "id": id, "version": 1, "origin": ORIGIN,
            "report_subject": text::line(&bug.finding.title),
            "culprit": {"code": true, "tool": false, "harness": false},
            "comment": text::line(&bug.finding.title),
            "misc": {"signature": bug.finding.signature},
        }));
        incidents.extend(bug.trials.iter().map(|&t| {
            let test = test_id(&account.trials[t]);
            json!({
                "id": format!("{test}/{}", &hash[..16]), "origin": ORIGIN, "issue_id": id, "issue_version": 1,
                "test_id": test, "present": true,
            })
        }));
    }
    let all = json!({
        "version": {"major": 5, "minor": 3},
        "checkouts": checkouts, "builds": builds, "tests": tests, "issues": issues, "incidents": incidents,
    });
    // The schema takes a NUL nowhere.
    let mut text = serde_json::to_string_pretty(&all).unwrap_or_default().replace("\\u0000", "\u{2400}");
    text.push('\n');
    text
}

/// KCIDB's words: FAIL is the tested code's fault, MISS the harness's, ERROR the test's.
fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail | Outcome::Hang => "FAIL",
        Outcome::NotExercised => "ERROR",
        Outcome::BootFailure | Outcome::BuildFailure | Outcome::InfraError => "MISS",
    }
}

/// A part of a test's path.
fn path(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
