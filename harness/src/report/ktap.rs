//! KTAP version 1, see the kernel's Documentation/dev-tools/ktap.rst: a variant a test, its trials the subtests.

use super::account::Account;
use super::text;
use crate::outcome::Outcome;
use crate::trial::Trial;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Lines of a report that stand before its trial's result.
const MAX_LINES: usize = 60;

/// The document.
pub fn render(account: &Account) -> String {
    let mut variants: BTreeMap<&str, Vec<(usize, &Trial)>> = BTreeMap::new();
    for (t, trial) in account.trials.iter().enumerate() {
        variants.entry(&trial.variant).or_default().push((t, trial));
    }
    let reports: BTreeMap<usize, &str> =
        account.bugs.iter().filter_map(|b| Some((b.trial, b.console.as_ref()?.report.as_str()))).collect();
    let mut out = format!("KTAP version 1\n1..{}\n", variants.len());
    for (v, (variant, trials)) in variants.iter().enumerate() {
        let _ = writeln!(out, "  KTAP version 1\n  # Subtest: {}\n  1..{}", name(variant), trials.len());
        for (n, (t, trial)) in trials.iter().enumerate() {
            for line in reports.get(t).iter().flat_map(|r| r.lines()).take(MAX_LINES) {
                let _ = writeln!(out, "  # {}", text::line(line).trim_end());
            }
            let (ok, said) = result(trial);
            let _ = writeln!(out, "  {ok} {} {} seed {}{said}", n + 1, name(&trial.cell), trial.seed);
        }
        let ok = if trials.iter().all(|(_, t)| result(t).0 == "ok") { "ok" } else { "not ok" };
        let _ = writeln!(out, "{ok} {} {}", v + 1, name(variant));
    }
    out
}

/// A test's name, which a `#` would end.
fn name(text: &str) -> String {
    text::line(text).replace('#', "_")
}

fn result(trial: &Trial) -> (&'static str, String) {
    let why = name(&trial.why);
    match trial.outcome {
        Outcome::Pass => ("ok", String::new()),
        Outcome::NotExercised => ("ok", format!(" # SKIP {why}")),
        Outcome::Fail => ("not ok", format!(" # {why}")),
        Outcome::Hang => ("not ok", format!(" # TIMEOUT {why}")),
        Outcome::BootFailure | Outcome::BuildFailure | Outcome::InfraError => {
            ("not ok", format!(" # ERROR {}: {why}", trial.outcome))
        }
    }
}
