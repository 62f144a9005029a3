//! Pieces of the page that several sections share.

use super::super::account::Account;
use super::super::text;
use crate::outcome::Outcome;
use crate::plan::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;

/// An outcome as a coloured word.
pub fn chip(outcome: Outcome) -> String {
    format!("<span class=\"chip {outcome}\">{outcome}</span>")
}

/// How many trials came to what, as a bar.
pub fn bar(counts: &BTreeMap<Outcome, usize>, missing: usize) -> String {
    let total = (counts.values().sum::<usize>() + missing).max(1) as f64;
    let parts = counts.iter().map(|(o, n)| (o.name(), *n)).chain([("missing", missing)]).filter(|(_, n)| *n > 0);
    let mut svg = String::from(
        "<svg class=\"tally\" viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" width=\"100%\" height=\"14\" aria-hidden=\"true\">",
    );
    let mut at = 0.0;
    for (name, n) in parts {
        // The fewest must be seen.
        let width = (1000.0 * n as f64 / total).max(4.0);
        let _ = write!(svg, "<rect class=\"{name}\" x=\"{at:.1}\" y=\"0\" width=\"{width:.1}\" height=\"14\"/>");
        at += width;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The cells by id.
pub fn cells(account: &Account) -> BTreeMap<&str, &Cell> {
    account.cells.iter().map(|c| (c.id.as_str(), c)).collect()
}

/// Release, build and key of each variant's kernel, as the first guest of it that spoke said.
pub fn kernels(account: &Account) -> BTreeMap<String, (String, String, String)> {
    let mut kernels: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    for trial in &account.trials {
        let kernel = kernels.entry(trial.variant.clone()).or_default();
        if kernel.2.is_empty() {
            kernel.2 = trial.kernel.chars().take(12).collect();
        }
        if let (true, Some(hello)) = (kernel.0.is_empty(), &trial.seen.hello) {
            (kernel.0, kernel.1) = (text::line(&hello.release), text::line(&hello.build));
        }
    }
    kernels
}
