//! Bisects a run's failures over their series: drives the pure core with real kernels and trials.

use super::bars::bars;
use super::journal::{Entry, Journal, Of};
use super::{build, pool, Built, Runner};
use crate::bisect::verify::passes_needed;
use crate::bisect::{Aim, Bisect, Conclusion, Evidence, Next, Prices};
use crate::error::{Error, Result};
use crate::hash::Hasher;
use crate::outcome::Outcome;
use crate::plan::{Cell, Variant};
use crate::record::{Bisection, Verification};
use crate::series::{Selection, Series};
use crate::trial::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Seeds of bisections begin here, clear of the matrix's own.
const FIRST_SEED: u64 = 1 << 32;

/// So many of them are one bisection's.
const SEEDS: u64 = 1 << 16;

/// The shortest trial, in seconds: a workload needs a while to build up pressure.
const SHORTEST: u32 = 10;

/// What building a neighbour of a kernel that there is takes, in seconds, until one was built.
const BUILD: f64 = 40.0;

/// What a trial takes beside its torture, in seconds, until one was run.
pub(crate) const BOOT: f64 = 5.0;

/// What is asked of a run's bisections.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// How sure is sure.
    pub confidence: f64,
    /// Seconds of wall time for each.
    pub budget: f64,
}

/// A failure to bisect.
pub struct Failure<'a> {
    /// The cell that failed.
    pub cell: &'a Cell,
    /// Its variant.
    pub variant: &'a Arc<Variant>,
    /// Its series.
    pub series: &'a Arc<Series>,
    /// The finding's title.
    pub title: &'a str,
    /// Its signature: nothing else counts as a failure.
    pub signature: &'a str,
}

/// Bisects each new signature once per series: the cell that failed fastest stands for it.
pub fn run(runner: &Runner<'_>, trials: &[Trial], ask: Ask) -> Result<Vec<Bisection>> {
    let mut bisections = Vec::new();
    for failure in failures(runner, trials) {
        if let Some(bisection) = one(runner, &failure, trials, ask)? {
            bisections.push(bisection);
        }
    }
    Ok(bisections)
}

/// The failures to bisect: of each series and signature, the one that came fastest.
pub fn failures<'a>(runner: &'a Runner<'_>, trials: &'a [Trial]) -> Vec<Failure<'a>> {
    let mut failed: Vec<_> = trials.iter().filter(|t| t.outcome == Outcome::Fail).collect();
    failed.sort_by(|a, b| a.exposure().total_cmp(&b.exposure()));
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    for trial in failed {
        let cell = runner.cells.iter().find(|c| c.id == trial.cell);
        let (Some(cell), Some(variant)) = (cell, runner.plan.variant(&trial.variant)) else { continue };
        let (Some(series), Some(finding)) = (&variant.series, trial.finding()) else { continue };
        if seen.insert((&series.name, &finding.signature)) {
            failures.push(Failure { cell, variant, series, title: &finding.title, signature: &finding.signature });
        }
    }
    failures
}

/// Bisects one failure, or goes on with it where its log ends. `None` where that cannot be done; the user was told why.
///
/// # Errors
/// The host fails, or a signal came. What was learned until then is in the log.
pub fn one(runner: &Runner<'_>, failure: &Failure<'_>, trials: &[Trial], ask: Ask) -> Result<Option<Bisection>> {
    if failure.variant.patches.len() != failure.series.patches.len() {
        // Prefixes of a selection are not prefixes of the series.
        runner.progress.note(&format!("{}: bisection goes over whole series only", failure.variant.name));
        return Ok(None);
    }
    let mut session = Session::open(runner, failure, trials, ask)?;
    let conclusion = session.search()?;
    let verification = match conclusion {
        Conclusion::Culprit { patch, .. } => Some(session.verify(patch)?),
        _ => None,
    };
    let bisection = session.result(conclusion, verification);
    runner.run.write_bisection(&bisection)?;
    Ok(Some(bisection))
}

/// A bisection under way.
struct Session<'a> {
    runner: &'a Runner<'a>,
    failure: &'a Failure<'a>,
    aim: Aim,
    bisect: Bisect,
    journal: Journal,
    /// Trials of versions that are no prefixes: the verification's.
    aside: Vec<(Of, Evidence)>,
    kernels: BTreeMap<String, Built>,
    builds: Mean,
    boots: Mean,
    seed: u64,
    slots: usize,
}

/// The mean of what was measured, or a guess.
pub(crate) struct Mean {
    sum: f64,
    count: u32,
    guess: f64,
}

impl Mean {
    pub(crate) fn new(guess: f64) -> Self {
        Self { sum: 0.0, count: 0, guess }
    }

    pub(crate) fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }

    pub(crate) fn get(&self) -> f64 {
        if self.count == 0 {
            self.guess
        } else {
            self.sum / f64::from(self.count)
        }
    }
}

impl<'a> Session<'a> {
    fn open(runner: &'a Runner<'a>, failure: &'a Failure<'a>, trials: &[Trial], ask: Ask) -> Result<Self> {
        let patches = failure.series.patches.len();
        let longest = f64::from(failure.cell.seconds);
        let aim =
            Aim { confidence: ask.confidence, budget: ask.budget, longest, shortest: f64::from(SHORTEST).min(longest) };
        let path = runner.run.bisect_log(&failure.cell.id, failure.signature)?;
        let (journal, entries) = Journal::open(&path)?;
        let shape = std::iter::once(&failure.cell.shape);
        let mut session = Self {
            runner,
            failure,
            aim,
            bisect: Bisect::new(patches, aim),
            journal,
            aside: Vec::new(),
            kernels: BTreeMap::new(),
            builds: Mean::new(BUILD),
            boots: Mean::new(BOOT),
            seed: first_seed(&failure.cell.id, failure.signature),
            slots: pool::slots(shape, runner.machine.overhead_mib(), runner.jobs),
        };
        if entries.is_empty() {
            let what = format!("bisecting {} over {patches} patches: {}", failure.series.name, failure.title);
            runner.progress.note(&what);
            session.journal.add(&Entry::Began {
                cell: failure.cell.id.clone(),
                signature: failure.signature.to_owned(),
                aim,
            })?;
            session.take_over(trials)?;
        } else {
            session.replay(&entries);
            let n = entries.len() - 1;
            runner.progress.note(&format!("going on with the bisection of {} after {n} trials", failure.series.name));
        }
        Ok(session)
    }

    /// What the run itself saw of this cell, with all patches and with none, is evidence already paid for.
    fn take_over(&mut self, trials: &[Trial]) -> Result<()> {
        let (cell, patches) = (self.failure.cell, self.failure.series.patches.len());
        let base = self.variant(Of::Prefix(0));
        for (version, name) in [(patches, &self.failure.variant.name), (0, &base.name)] {
            let same = |t: &&Trial| {
                let c = self.runner.cells.iter().find(|c| c.id == t.cell);
                c.is_some_and(|c| c.variant == *name && c.settings == cell.settings && c.workload == cell.workload)
            };
            for trial in trials.iter().filter(same) {
                let evidence = evidence(trial, self.failure.signature, self.aim.longest);
                self.learn(Of::Prefix(version), trial.seed, &trial.cell, evidence, 0.0)?;
            }
        }
        Ok(())
    }

    /// As if all of it had just been seen.
    fn replay(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Entry::Trial { of, seed, evidence, cost, beside, .. } = entry else { continue };
            if *cost > 0.0 && *evidence != Evidence::Unbuildable {
                self.boots.add(*beside);
            }
            self.seed = self.seed.max(seed.saturating_add(1));
            self.note(*of, *evidence, *cost);
            // The horizon comes nearer at the same trials as it did.
            self.bisect.look(self.boots.get());
        }
    }

    fn learn(&mut self, of: Of, seed: u64, cell: &str, evidence: Evidence, cost: f64) -> Result<()> {
        self.journal.add(&Entry::Trial { of, seed, cell: cell.to_owned(), evidence, cost, beside: 0.0 })?;
        self.note(of, evidence, cost);
        Ok(())
    }

    fn note(&mut self, of: Of, evidence: Evidence, cost: f64) {
        match of {
            Of::Prefix(version) => self.bisect.record(version, evidence, cost),
            Of::Without(_) | Of::Switched(_) => {
                self.aside.push((of, evidence));
                self.bisect.spend(cost);
            }
        }
    }

    fn search(&mut self) -> Result<Conclusion> {
        let names = self.names();
        let count = names.len();
        let mut cached: Vec<bool> = Vec::with_capacity(count + 1);
        for version in 0..=count {
            cached.push(self.runner.builder.cached_variant(&self.variant(Of::Prefix(version)))?);
        }
        loop {
            let build: Vec<f64> = cached.iter().map(|&c| if c { 0.0 } else { self.builds.get() }).collect();
            let prices = Prices { build: &build, boot: self.boots.get() };
            match self.bisect.next(self.slots, &prices) {
                Next::Over(conclusion) => return Ok(conclusion),
                Next::Trials { versions, seconds } => {
                    let kernels: Vec<Of> = versions.iter().map(|&v| Of::Prefix(v)).collect();
                    self.trials(&kernels, seconds)?;
                    for version in versions {
                        cached[version] = true;
                    }
                    let drawn = bars(self.bisect.posterior(), &names);
                    self.runner.progress.note(&drawn);
                }
            }
        }
    }

    /// Runs a trial of each of these kernels, all at once, and learns from them.
    fn trials(&mut self, kernels: &[Of], seconds: f64) -> Result<()> {
        let runner = self.runner;
        let mut jobs = Vec::new();
        for &of in kernels {
            runner.interrupt.check()?;
            let variant = self.variant(of);
            let start = Instant::now();
            let built = self.kernel(&variant)?;
            let seed = self.seed;
            self.seed += 1;
            let cell = self.failure.cell.on(&variant, Some(seconds.ceil() as u32));
            match built {
                Ok(kernel) => jobs.push((of, cell, seed, kernel, start.elapsed().as_secs_f64())),
                Err(_) => {
                    self.learn(of, seed, &cell.id, Evidence::Unbuildable, start.elapsed().as_secs_f64())?;
                }
            }
        }
        let (signature, longest, journal) = (self.failure.signature, self.aim.longest, &self.journal);
        let done = pool::run(
            self.slots,
            &jobs,
            |_| true,
            |(of, cell, seed, kernel, built)| {
                runner.interrupt.check()?;
                let start = Instant::now();
                let trial = runner.trial(cell, *seed, kernel, &runner.run.bisect_trial_dir(&cell.id, *seed))?;
                let (took, evidence) = (start.elapsed().as_secs_f64(), evidence(&trial, signature, longest));
                let cost = built + took;
                // At once: the others of this batch may run for a while.
                let beside = (took - trial.exposure()).max(0.0);
                journal.add(&Entry::Trial { of: *of, seed: *seed, cell: cell.id.clone(), evidence, cost, beside })?;
                Ok((*of, evidence, cost, beside))
            },
            // The kernels are there.
            |_| Ok(()),
        )?;
        for (of, evidence, cost, beside) in done {
            self.boots.add(beside);
            self.note(of, evidence, cost);
        }
        Ok(())
    }

    fn variant(&self, of: Of) -> Variant {
        match of {
            Of::Prefix(version) => self.failure.variant.prefix(version),
            Of::Switched(_) => Variant::clone(self.failure.variant),
            Of::Without(patch) => {
                let series = self.failure.series;
                let without = Selection::Without(patch);
                let patches = without.resolve(series.patches.len()).expect("a suspect is a patch of the series");
                Variant::new(&self.failure.variant.recipe, Some((series, without)), patches)
            }
        }
    }

    fn kernel(&mut self, variant: &Variant) -> Result<Built> {
        if let Some(built) = self.kernels.get(&variant.name) {
            return Ok(built.clone());
        }
        let cached = self.runner.builder.cached_variant(variant)?;
        let start = Instant::now();
        let built = build(self.runner.builder, variant, self.runner.progress)?;
        if !cached && built.is_ok() {
            self.builds.add(start.elapsed().as_secs_f64());
        }
        self.kernels.insert(variant.name.clone(), built.clone());
        Ok(built)
    }

    /// With the culprit in, it fails; with it out, it passes as often as the confidence needs.
    fn verify(&mut self, patch: usize) -> Result<Verification> {
        let last = self.failure.series.patches.len();
        let needed = passes_needed(self.bisect.counts(patch, last), self.aim.confidence);
        let Some(needed) = needed else {
            return Ok(Verification::not("the bug shows too rarely for passes to say anything"));
        };
        // Without the patch alone where that makes a kernel; else without it and all that follow.
        let without = Of::Without(patch);
        let (removed, name) = match self.applies(without)? {
            true => (without, format!("without patch {patch}")),
            false if patch == 1 => (Of::Prefix(0), "base".to_owned()),
            false => (Of::Prefix(patch - 1), format!("prefix:{}", patch - 1)),
        };
        let mut tries = 0;
        loop {
            let with = self.bisect.counts(patch, patch).hits;
            let (hits, passes) = self.seen(removed);
            if hits > 0 {
                let why = format!("{name} fails the same way ({hits} times, {passes} passes)");
                return Ok(Verification::not(&why));
            }
            if with > 0 && passes >= needed {
                let version = if patch == last { "the whole series".to_owned() } else { format!("prefix:{patch}") };
                let why = format!("{version} failed {with} times; {name} passed {passes} times in a row");
                return Ok(Verification { verified: true, why });
            }
            // A verification that does not come to its end must end.
            tries += 1;
            if self.bisect.spent() >= self.aim.budget || tries > 4 * (needed + 10) {
                let why = format!("the budget is spent: {name} passed {passes} of {needed} times");
                return Ok(Verification::not(&why));
            }
            let next = if with == 0 { Of::Prefix(patch) } else { removed };
            self.trials(&[next], self.bisect.length())?;
            if next == removed && matches!(self.kernels.get(&self.variant(next).name), Some(Err(_))) {
                return Ok(Verification::not(&format!("{name} does not build")));
            }
        }
    }

    /// Hits and passes of a kernel.
    fn seen(&self, of: Of) -> (u32, u32) {
        if let Of::Prefix(version) = of {
            let counts = self.bisect.counts(version, version);
            return (counts.hits, counts.clean);
        }
        let of_it = || self.aside.iter().filter(|(o, _)| *o == of);
        let hits = of_it().filter(|(_, e)| matches!(e, Evidence::Hit(_))).count() as u32;
        let passes = of_it().filter(|(_, e)| matches!(e, Evidence::Clean(_))).count() as u32;
        (hits, passes)
    }

    /// Whether the patches apply one after the other and make a kernel.
    fn applies(&mut self, of: Of) -> Result<bool> {
        let variant = self.variant(of);
        match self.runner.builder.check(&variant, &|_| {}) {
            Ok(_) => Ok(self.kernel(&variant)?.is_ok()),
            Err(Error::Request(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn names(&self) -> Vec<String> {
        self.failure.series.patches.iter().map(|p| p.stem.clone()).collect()
    }

    fn result(&self, conclusion: Conclusion, verification: Option<Verification>) -> Bisection {
        let (series, failure) = (self.failure.series, self.failure);
        let culprit = match conclusion {
            Conclusion::Culprit { patch, .. } => series.patches.get(patch - 1),
            _ => None,
        };
        let posterior = self.bisect.posterior();
        Bisection {
            cell: failure.cell.id.clone(),
            title: failure.title.to_owned(),
            signature: failure.signature.to_owned(),
            series: series.name.clone(),
            patches: self.names(),
            tallies: self.bisect.tallies(),
            posterior: posterior.patches.iter().chain([&posterior.none]).map(|s| s.mass).collect(),
            seconds: self.bisect.spent(),
            conclusion,
            culprit: culprit.map(|p| p.stem.clone()),
            subject: culprit.map(|p| p.subject.clone()),
            verification,
        }
    }
}

/// Bisections share cells (`base` is the start of every series), in one run or in two that are merged: each has seeds of
/// its own, for a trial is told from others by its cell and seed.
fn first_seed(cell: &str, signature: &str) -> u64 {
    let hash = Hasher::new("bisection").field(cell).field(signature).finish();
    FIRST_SEED + SEEDS * u64::from_str_radix(&hash[..4], 16).unwrap_or(0)
}

/// Only a finding of the same signature counts as bad, only a pass as good.
pub(super) fn evidence(trial: &Trial, signature: &str, longest: f64) -> Evidence {
    let seconds = f64::from(trial.seconds);
    match trial.outcome {
        Outcome::Pass => Evidence::Clean(seconds),
        Outcome::Fail if trial.seen.findings.iter().any(|f| f.primary && f.signature == signature) => {
            Evidence::Hit(trial.exposure())
        }
        Outcome::NotExercised if seconds < longest => Evidence::TooShort,
        _ => Evidence::Other,
    }
}
