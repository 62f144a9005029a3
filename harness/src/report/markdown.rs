//! Markdown for the page of a CI job: short, since those pages have limits (GitHub's is 1 MiB a step).

use super::account::{Account, Verdict};
use super::text;
use crate::outcome::Outcome;
use crate::run::summary;
use std::fmt::Write;

/// Bugs that are told, bugs that are told with their report, and bytes of one report.
const MAX_BUGS: usize = 50;
const MAX_REPORTS: usize = 10;
const MAX_REPORT: usize = 6 << 10;
/// Rows of what says nothing.
const MAX_SILENT: usize = 20;

/// The document.
pub fn render(account: &Account) -> String {
    let mark = match account.verdict() {
        Verdict::Failed | Verdict::NotAsExpected => "❌",
        Verdict::Passed | Verdict::AsExpected => "✅",
        Verdict::Inconclusive => "⚠️",
    };
    let mut out = format!("## {mark} {}: {}\n\n", inline(&account.header.matrix), inline(&account.headline()));
    for problem in &account.header.problems {
        let _ = writeln!(out, "- {}", inline(problem));
    }
    let counts = account.counts();
    let names: Vec<_> = counts.keys().map(|o| o.name()).collect();
    let numbers: Vec<_> = counts.values().map(|&n| text::number(n as u64)).collect();
    if !counts.is_empty() {
        let _ = writeln!(
            out,
            "\n| {} |\n|{}\n| {} |",
            names.join(" | "),
            " ---: |".repeat(names.len()),
            numbers.join(" | ")
        );
    }
    for (n, bug) in account.bugs.iter().take(MAX_BUGS).enumerate() {
        let finding = &bug.finding;
        let _ = writeln!(out, "\n### {}\n", inline(&finding.title));
        for detail in [&finding.condition, &finding.reason].into_iter().flatten() {
            let _ = writeln!(out, "{}\n", code(detail));
        }
        if let Some(location) = &finding.location {
            let _ = writeln!(out, "- at {}", code(location));
        }
        for (variant, (k, of)) in account.rates(bug).into_iter().filter(|(_, (k, _))| *k > 0) {
            let _ = writeln!(out, "- in {k} of {} on {}", text::count(of, "trial"), code(variant));
        }
        if let Some(bisection) = account.bisection(bug) {
            let _ = writeln!(out, "\n{}", fenced(&summary::bisection(&bisection.result)));
        }
        for needs in account.needs(bug) {
            let _ = writeln!(out, "\n{}", fenced(&summary::needs(needs)));
        }
        for found in account.revisions(bug).map(summary::revisions).chain(account.loads(bug).map(summary::loads)) {
            let _ = writeln!(out, "\n{}", fenced(&found));
        }
        let _ = writeln!(out, "\n{}", fenced(&account.command(&account.trials[bug.trial])));
        if let Some(console) = bug.console.as_ref().filter(|c| n < MAX_REPORTS && !c.report.is_empty()) {
            let report = text::head(&console.report, MAX_REPORT);
            let _ = writeln!(out, "\n<details><summary>Report</summary>\n\n{}\n</details>", fenced(report));
        }
        if let Some(decoded) = bug.decoded.as_ref().filter(|_| n < MAX_REPORTS) {
            let stack = decoded.text();
            let stack = fenced(text::head(&stack, MAX_REPORT));
            let _ = writeln!(out, "\n<details><summary>Stack</summary>\n\n{stack}\n</details>");
        }
    }
    if account.bugs.len() > MAX_BUGS {
        let _ = writeln!(out, "\nand {} more.", text::count(account.bugs.len() - MAX_BUGS, "bug"));
    }
    let silent = account.silent();
    if !silent.is_empty() {
        out.push_str("\n### Not exercised, or not known\n\n| outcome | why | trials |\n| --- | --- | ---: |\n");
        for (outcome, why, n, _) in silent.iter().take(MAX_SILENT) {
            let _ = writeln!(out, "| {} | {} | {n} |", Outcome::name(*outcome), inline(why));
        }
    }
    let took = account.header.took().map_or_else(String::new, |t| format!(" in {t}"));
    let _ = writeln!(
        out,
        "\n{}{took}, {}. Results: {}",
        text::count(account.trials.len(), "trial"),
        inline(&account.header.machine),
        code(&account.place)
    );
    out
}

/// Text in which nothing is markup: CommonMark takes a backslash before any ASCII punctuation.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for c in text::line(text).chars() {
        if c.is_ascii_punctuation() && !",.:;%/-()'=".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Text as code, within a line.
fn code(text: &str) -> String {
    let text = text::line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    format!("{fence} {text} {fence}")
}

/// Text as a block of code.
fn fenced(text: &str) -> String {
    let text = text::visible(text);
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_no_markup() {
        assert_eq!(inline("a|b <img> [x](y)\n# *"), "a\\|b \\<img\\> \\[x\\](y) \\# \\*");
        assert_eq!(code("a ``` b"), "```` a ``` b ````");
        assert_eq!(fenced("```\n</details>\n"), "````text\n```\n</details>\n````");
    }
}
