//! What several workloads find in the same kernels, side by side: the table of docs/comparison.md.
//!
//! Usage: `side_by_side DOCUMENT SERIES COMMIT RESULTS`. The runs in RESULTS have trials of `base` and of broken kernels, each
//! under every workload. What a workload finds in `base` as well is not counted: it says nothing about a patch. SERIES has
//! the patches that its `only:K` variants are called after. COMMIT is told as it is. In DOCUMENT, what is below the line
//! [`MARK`] is replaced.

mod document;

use anyhow::Context as _;
use mmtorture_harness::outcome::Outcome;
use mmtorture_harness::record;
use mmtorture_harness::report::text;
use mmtorture_harness::series::Series;
use mmtorture_harness::trial::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What is below it is made.
const MARK: &str = "<!-- below: made by `make compare` -->\n";

/// After what time findings are counted.
const WITHIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [document, series, commit, results] = &args[..] else {
        eprintln!("usage: side_by_side DOCUMENT SERIES COMMIT RESULTS");
        return ExitCode::from(2);
    };
    document::remake(document, MARK, table(Path::new(series), commit, Path::new(results)))
}

/// A trial and the workload of its cell.
struct Tried {
    workload: String,
    trial: Trial,
}

impl Tried {
    /// By when it has found what it found `after` that time. That is at the end of its workload for what came at a moment
    /// that nobody noted, as a warning, which ends no trial, and for what is audited when the workload is over.
    fn by(&self, after: Option<Duration>) -> Duration {
        let end = Duration::from_secs(self.trial.seconds.into());
        after.map_or(end, |after| after.min(end))
    }

    /// What it says about the kernel, and when: a signature, or a hang.
    fn found(&self) -> Option<(&str, Option<Duration>)> {
        let signature = match (self.trial.outcome, self.trial.finding()) {
            (Outcome::Fail, Some(finding)) => &finding.signature,
            (Outcome::Hang, _) => "hang",
            _ => return None,
        };
        Some((signature, self.trial.seen.times.to_finding()))
    }
}

fn table(series: &Path, commit: &str, results: &Path) -> anyhow::Result<String> {
    let series = Series::load(Path::new("."), series)?;
    let (tried, machines) = read(results)?;
    let mut workloads: Vec<&str> = tried.iter().map(|tried| &*tried.workload).collect();
    workloads.sort_unstable();
    workloads.dedup();
    let of_base = |workload: &str| -> BTreeSet<&str> {
        let base = tried.iter().filter(|tried| tried.trial.variant == "base" && tried.workload == workload);
        base.filter_map(|tried| tried.found().map(|(signature, _)| signature)).collect()
    };
    let known: BTreeMap<&str, BTreeSet<&str>> = workloads.iter().map(|&of| (of, of_base(of))).collect();

    let mut rows: BTreeMap<(usize, &str), BTreeMap<&str, &Tried>> = BTreeMap::new();
    for tried in tried.iter().filter(|tried| tried.trial.variant != "base") {
        let row = (number(&tried.trial.variant), &*tried.trial.variant);
        rows.entry(row).or_default().insert(&tried.workload, tried);
    }
    let mut out = format!("Made at commit {commit}; {}.\n\n", machines.into_iter().collect::<Vec<_>>().join("; "));
    out += &format!("| kernel | {} |\n|---{}|\n", workloads.join(" | "), "|---".repeat(workloads.len()));
    let mut counts: BTreeMap<(&str, Duration), usize> = BTreeMap::new();
    for ((_, variant), row) in &rows {
        out += &format!("| {} |", name(&series, variant));
        for &workload in &workloads {
            let Some(tried) = row.get(workload) else {
                out += " not tried |";
                continue;
            };
            let found = tried.found().filter(|(signature, _)| !known[workload].contains(signature));
            for within in WITHIN {
                let in_time = found.is_some_and(|(_, after)| tried.by(after) <= within);
                *counts.entry((workload, within)).or_default() += usize::from(in_time);
            }
            out += &match found {
                Some((_, Some(after))) => format!(" {} |", text::seconds(after.as_secs_f64())),
                Some((_, None)) => format!(" ≤ {} s |", tried.trial.seconds),
                None if tried.trial.outcome == Outcome::Pass => " - |".to_owned(),
                None => format!(" ({}) |", tried.trial.outcome.name()),
            };
        }
        out += "\n";
    }
    for within in WITHIN {
        out += &format!("| **found within {} s** |", within.as_secs());
        for &workload in &workloads {
            out += &format!(" **{} of {}** |", counts.get(&(workload, within)).unwrap_or(&0), rows.len());
        }
        out += "\n";
    }
    out += "\n";
    for (workload, known) in known.iter().filter(|(_, known)| !known.is_empty()) {
        let known: Vec<_> = known.iter().map(|signature| text::line(signature)).collect();
        out += &format!("`{workload}` says of `base` as well, and it is not counted: {}.\n", known.join("; "));
    }
    Ok(out)
}

/// All trials, and the machines that ran them.
fn read(results: &Path) -> anyhow::Result<(Vec<Tried>, BTreeSet<String>)> {
    let (mut all, mut machines) = (Vec::new(), BTreeSet::new());
    for (run, header) in record::list(results).map_err(anyhow::Error::msg)? {
        machines.insert(header.machine);
        let cells = run.cells().map_err(anyhow::Error::msg)?;
        for (_, trial) in run.trials().map_err(anyhow::Error::msg)? {
            let cell = cells.iter().find(|cell| cell.id == trial.cell).context("a trial without a cell")?;
            all.push(Tried { workload: cell.workload.clone(), trial });
        }
    }
    Ok((all, machines))
}

/// What a kernel is called: after the one patch of the series that it has, or after the series that it has whole.
fn name<'a>(series: &'a Series, variant: &'a str) -> &'a str {
    let patch = series.patches.iter().find(|patch| variant == format!("{}/only:{}", series.name, patch.number));
    patch.map_or(variant.trim_end_matches("/all"), document::name)
}

/// The number in `SERIES/only:NUMBER`, so that ten comes after nine.
fn number(variant: &str) -> usize {
    variant.rsplit(':').next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}
