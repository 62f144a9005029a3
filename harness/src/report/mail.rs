//! A report as one writes it to linux-mm: what, where, on which tree and patches, the report itself, and how to see it.

use super::account::{Account, Bug};
use super::{counters, text};
use crate::run::summary;
use crate::stats::median;
use std::fmt::Write;

/// The most of one report, in bytes, and the reports that are given whole.
const MAX_REPORT: usize = 8 << 10;
const MAX_REPORTS: usize = 5;
/// Reasons of what says nothing.
const MAX_SILENT: usize = 10;

/// The mail, its subject in the first line.
pub fn render(account: &Account) -> String {
    let mut out = format!("Subject: {}\n\nHi,\n\n", subject(account));
    let header = &account.header;
    let took = header.took().map_or_else(String::new, |t| format!(" in {t}"));
    out.push_str(&text::wrap(&format!(
        "mmtorture {} ran matrix '{}' ({}{took}): {}.",
        header.version,
        text::line(&header.matrix),
        text::count(account.trials.len(), "trial"),
        text::line(&account.headline()),
    )));
    for problem in &header.problems {
        let _ = writeln!(out, "  {}", text::line(problem));
    }
    for (n, bug) in account.bugs.iter().enumerate() {
        tell(&mut out, account, n, bug);
    }
    let silent = account.silent();
    if !silent.is_empty() || account.missing() > 0 {
        out.push_str(
            "\nNot exercised, or not known\n---------------------------\n\nThese say nothing about the kernel:\n\n",
        );
        for (outcome, why, times, _) in silent.iter().take(MAX_SILENT) {
            let _ = writeln!(out, "  {times} x {outcome}: {why}");
        }
        if silent.len() > MAX_SILENT {
            let _ = writeln!(out, "  and {} other reasons", silent.len() - MAX_SILENT);
        }
        if account.missing() > 0 {
            let _ = writeln!(out, "  {} not run", text::count(account.missing(), "planned trial"));
        }
    }
    environment(&mut out, account);
    out
}

fn subject(account: &Account) -> String {
    let Some(bug) = account.bugs.first() else {
        return format!("[mmtorture] {}: {}", text::line(&account.header.matrix), text::line(&account.headline()));
    };
    let title = text::line(&bug.finding.title);
    let blamed = account
        .bisection(bug)
        .and_then(|b| b.result.subject.as_deref())
        .map(|s| format!(" after \"{}\"", text::line(s)));
    let others = match account.bugs.len() - 1 {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("[BUG] {title}{}{others}", blamed.unwrap_or_default())
}

fn tell(out: &mut String, account: &Account, n: usize, bug: &Bug) {
    let finding = &bug.finding;
    let title = text::line(&finding.title);
    let _ = writeln!(out, "\n{title}\n{}\n", "-".repeat(title.chars().count().min(72)));
    for detail in [&finding.condition, &finding.reason].into_iter().flatten() {
        let _ = writeln!(out, "  {}", text::line(detail));
    }
    if let Some(location) = &finding.location {
        let _ = writeln!(out, "  at {}", text::line(location));
    }
    for (variant, (k, of)) in account.rates(bug) {
        let _ = writeln!(out, "  on {}: in {k} of {}", text::line(variant), text::count(of, "trial"));
    }
    let times = account.times_to_fail(bug);
    if let ([first, ..], [.., last]) = (times.as_slice(), times.as_slice()) {
        let median = median(&mut times.clone()).unwrap_or_default();
        let _ = writeln!(
            out,
            "  after {} of the workload (median; {} to {})",
            text::seconds(median),
            text::seconds(*first),
            text::seconds(*last)
        );
    }
    if let Some(bisection) = account.bisection(bug) {
        let _ = write!(out, "\nBisection over {}:\n\n", text::line(&bisection.result.series));
        for line in summary::bisection(&bisection.result).lines() {
            let _ = writeln!(out, "  {}", text::line(line));
        }
    }
    let needs = account.needs(bug).map(|needs| ("What it needs of its settings", summary::needs(needs)));
    let commits = account.revisions(bug).map(|found| ("Bisection over commits", summary::revisions(found)));
    let loads = account.loads(bug).map(|found| ("How soon loads show it", summary::loads(found)));
    for (what, told) in needs.chain(commits).chain(loads) {
        let _ = write!(out, "\n{what}:\n\n");
        for line in told.lines() {
            let _ = writeln!(out, "  {}", text::line(line));
        }
    }
    match &bug.console {
        Some(console) if n < MAX_REPORTS && !console.report.is_empty() => {
            let shown = text::head(&console.report, MAX_REPORT);
            let _ = write!(out, "\n{}", text::visible(shown));
            if shown.len() < console.report.len() || console.left_out > 0 {
                out.push_str("[...]\n");
            }
        }
        _ => {}
    }
    if let Some(decoded) = bug.decoded.as_ref().filter(|_| n < MAX_REPORTS) {
        let stack = decoded.text();
        let _ = write!(out, "\nIn the source:\n\n{}", text::visible(text::head(&stack, MAX_REPORT)));
    }
    let trial = &account.trials[bug.trial];
    let _ = writeln!(out, "\nTo reproduce (seed {}):\n\n  {}", trial.seed, account.command(trial));
    if let Some(cell) = account.cell(trial) {
        let settings: Vec<_> = cell.settings.iter().map(|(d, s)| text::line(&format!("{d}={s}"))).collect();
        let _ = writeln!(out, "\nworkload {}, {}", text::line(&cell.workload), settings.join(" "));
    }
}

fn environment(out: &mut String, account: &Account) {
    out.push_str("\nEnvironment\n-----------\n\n");
    let _ = writeln!(out, "machine: {}", text::line(&account.header.machine));
    let mut seen: Vec<&str> = Vec::new();
    for trial in &account.trials {
        if let (false, Some(hello)) = (seen.contains(&trial.variant.as_str()), &trial.seen.hello) {
            seen.push(&trial.variant);
            let _ = writeln!(
                out,
                "{}: {} {}",
                text::line(&trial.variant),
                text::line(&hello.release),
                text::line(&hello.build)
            );
        }
    }
    for (name, workload) in counters::counters(account) {
        let claims: Vec<String> = workload
            .counters
            .iter()
            .filter(|(_, c)| c.claim.is_some() && c.most > 0)
            .map(|(name, c)| format!("{} {}", text::line(name), text::number(c.median.round() as i64)))
            .collect();
        let _ = writeln!(out, "{} moved (median): {}", text::line(&name), claims.join(", "));
    }
    out.push_str("\nThe matrix:\n\n");
    for line in account.matrix.lines() {
        let _ = writeln!(out, "  {}", text::visible(line).trim_end());
    }
}
