//! `mmtorture prune`.

use super::{print, print_json, Format, ResultsArg};
use crate::error::{Error, Result};
use crate::prune::policy::{Age, Policy};
use crate::prune::{prune, Report};
use crate::size::Size;
use crate::table::table;
use std::fmt::Write;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mmtorture prune --dry-run                        what would go, and how much room that gives
  mmtorture prune                                  passes after 14 days, all others after 90
  mmtorture prune --passes 2d --failures forever   passes after 2 days, others never
  mmtorture prune --passes 0d --failures 0d --keep 10   all but the newest ten runs

What goes are consoles, events, machine logs and memory dumps. Outcomes, findings, counters and bisections stay, so that \
`history`, `report` and `show` still tell of the run, and `reproduce` and `bisect` still go on from it. A run's age counts \
from its end. A run that a process adds to is not touched.")]
pub(super) struct Args {
    /// How long to keep what is large of trials that passed
    #[arg(long, value_name = "AGE", default_value_t = Age::days(14))]
    passes: Age,
    /// The same of all other trials; by default 90d, or as long as passes
    #[arg(long, value_name = "AGE")]
    failures: Option<Age>,
    /// Leave so many of the newest runs whole, whatever their age
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let results = &args.results.dir;
    if !results.is_dir() {
        return Err(Error::request(format!("there is no folder {}, expected one with runs in it", results.display())));
    }
    let policy = Policy::new(args.passes, args.failures, args.keep).map_err(Error::request)?;
    let report = prune(results, &policy, jiff::Timestamp::now(), args.dry_run)?;
    match args.format {
        Format::Json => print_json(&serde_json::json!({
            "dry_run": args.dry_run, "pruned": report.pruned, "held": report.held, "freed": freed(&report),
        }))?,
        Format::Table => print(&text(&report, &policy, args.dry_run))?,
    }
    Ok(0)
}

fn freed(report: &Report) -> Size {
    Size(report.pruned.iter().map(|run| run.bytes).sum())
}

fn text(report: &Report, policy: &Policy, dry_run: bool) -> String {
    let mut text = String::new();
    if !report.pruned.is_empty() {
        let row =
            |run: &crate::prune::Pruned| vec![run.run.clone(), run.trials.to_string(), Size(run.bytes).to_string()];
        let rows: Vec<_> = report.pruned.iter().map(row).collect();
        text = table(&["RUN", "TRIALS", "FREED"], &rows) + "\n";
    }
    for run in &report.held {
        let _ = writeln!(text, "{run} is in use: left as it is");
    }
    let would = if dry_run { "would be " } else { "" };
    let _ = match report.pruned.len() {
        0 => writeln!(text, "nothing to prune (kept: {policy})"),
        1 => writeln!(text, "{} in 1 run {would}freed (kept: {policy})", freed(report)),
        n => writeln!(text, "{} in {n} runs {would}freed (kept: {policy})", freed(report)),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::Pruned;

    #[test]
    fn what_went_and_what_did_not_is_said() {
        let policy = Policy::new(Age::days(14), None, 1).unwrap();
        let pruned = |run: &str, bytes| Pruned { run: run.to_owned(), trials: 12, bytes };
        let report = Report {
            pruned: vec![pruned("20261124T020000Z-nightly", 3 << 20), pruned("20261125T020000Z-nightly", 5 << 10)],
            held: vec!["20261126T020000Z-nightly".to_owned()],
        };
        insta::assert_snapshot!(text(&report, &policy, true), @r"
        RUN                       TRIALS  FREED
        20261124T020000Z-nightly  12      3.0 MiB
        20261125T020000Z-nightly  12      5.0 KiB

        20261126T020000Z-nightly is in use: left as it is
        3.0 MiB in 2 runs would be freed (kept: passes 14d, failures 90d, the newest 1)
        ");
        insta::assert_snapshot!(text(&Report::default(), &policy, false), @"nothing to prune (kept: passes 14d, failures 90d, the newest 1)");
    }
}
