//! Bisects a run's failures over their series: drives the pure core with real kernels and trials.

use super::{build, Built, Runner};
use crate::bisect::{Bisect, Conclusion, Evidence, Next};
use crate::error::Result;
use crate::outcome::Outcome;
use crate::plan::{Cell, Variant};
use crate::record::Bisection;
use crate::series::Series;
use crate::trial::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Seeds of bisections begin here, clear of the matrix's own.
const FIRST_SEED: u64 = 1 << 32;

/// Bisects each new signature once per series: the cell that failed fastest stands for it.
pub fn run(runner: &Runner<'_>, trials: &[Trial], kernels: &BTreeMap<String, Built>) -> Result<Vec<Bisection>> {
    let mut bisections = Vec::new();
    for (cell, variant, trial) in suspects(runner, trials) {
        let (Some(series), Some(finding)) = (&variant.series, trial.finding()) else { continue };
        let whole = variant.patches.len() == series.patches.len();
        let bisection = if whole {
            one(runner, cell, variant, series, &finding.title, &finding.signature, trials, kernels)?
        } else {
            // Prefixes of a selection are not prefixes of the series.
            runner.progress.note(&format!("{}: bisection goes over whole series only", variant.name));
            continue;
        };
        runner.run.write_bisection(&bisection)?;
        bisections.push(bisection);
    }
    Ok(bisections)
}

/// The failures to bisect: of each series and signature, the one that came fastest.
fn suspects<'a>(runner: &'a Runner<'_>, trials: &'a [Trial]) -> Vec<(&'a Cell, &'a Arc<Variant>, &'a Trial)> {
    let mut failed: Vec<_> = trials.iter().filter(|t| t.outcome == Outcome::Fail).collect();
    failed.sort_by(|a, b| a.exposure().total_cmp(&b.exposure()));
    let mut seen = BTreeSet::new();
    let mut suspects = Vec::new();
    for trial in failed {
        let cell = runner.cells.iter().find(|c| c.id == trial.cell);
        let (Some(cell), Some(variant)) = (cell, runner.plan.variant(&trial.variant)) else { continue };
        let (Some(series), Some(finding)) = (&variant.series, trial.finding()) else { continue };
        if seen.insert((series.name.clone(), finding.signature.clone())) {
            suspects.push((cell, variant, trial));
        }
    }
    suspects
}

#[expect(clippy::too_many_arguments, reason = "a bisection is over all of these, and there is one caller")]
fn one(
    runner: &Runner<'_>,
    cell: &Cell,
    variant: &Variant,
    series: &Arc<Series>,
    title: &str,
    signature: &str,
    trials: &[Trial],
    kernels: &BTreeMap<String, Built>,
) -> Result<Bisection> {
    let patches = series.patches.len();
    runner.progress.note(&format!("bisecting {} over {patches} patches: {title}", series.name));
    let mut bisect = Bisect::new(patches, cell.seconds);
    let mut built: BTreeMap<usize, Built> = BTreeMap::new();
    // What the run itself saw of this cell, with all patches and with none, is evidence already paid for.
    for (prefix, name) in [(patches, variant.name.as_str()), (0, "base")] {
        if let Some(kernel) = kernels.get(name) {
            built.insert(prefix, kernel.clone());
        }
        let same = |t: &&Trial| {
            let c = runner.cells.iter().find(|c| c.id == t.cell);
            c.is_some_and(|c| c.variant == name && c.settings == cell.settings && c.workload == cell.workload)
        };
        for trial in trials.iter().filter(same) {
            bisect.record(prefix, evidence(trial, signature));
        }
    }
    let mut seed = FIRST_SEED;
    let conclusion = loop {
        let (prefix, seconds) = match bisect.next() {
            Next::Over(conclusion) => break conclusion,
            Next::Trial { prefix, seconds } => (prefix, seconds),
        };
        let variant = variant.prefix(prefix);
        let kernel = match built.get(&prefix) {
            Some(kernel) => kernel.clone(),
            None => built.entry(prefix).or_insert(build(runner.builder, &variant, runner.progress)?).clone(),
        };
        let trial = match &kernel {
            Ok(kernel) => {
                let cell = cell.on(&variant, Some(seconds));
                let dir = runner.run.bisect_trial_dir(&cell.id, seed);
                Some(runner.trial(&cell, seed, kernel, &dir)?)
            }
            Err(_) => None,
        };
        seed += 1;
        bisect.record(prefix, trial.map_or(Evidence::Other, |t| evidence(&t, signature)));
    };
    let culprit = match conclusion {
        Conclusion::Culprit { patch, .. } => series.patches.get(patch - 1),
        _ => None,
    };
    Ok(Bisection {
        cell: cell.id.clone(),
        title: title.to_owned(),
        signature: signature.to_owned(),
        series: series.name.clone(),
        patches: series.patches.iter().map(|p| p.stem.clone()).collect(),
        tallies: bisect.tallies().to_vec(),
        conclusion,
        culprit: culprit.map(|p| p.stem.clone()),
        subject: culprit.map(|p| p.subject.clone()),
    })
}

/// Only a finding of the same signature counts as bad, only a pass as good.
fn evidence(trial: &Trial, signature: &str) -> Evidence {
    match trial.outcome {
        Outcome::Pass => Evidence::Clean(trial.exposure()),
        Outcome::Fail if trial.seen.findings.iter().any(|f| f.primary && f.signature == signature) => {
            Evidence::Hit(trial.exposure())
        }
        _ => Evidence::Other,
    }
}
