//! Bisects a run's failures over their series: drives the pure core with real kernels and trials. [`Session`] does so
//! over any line of suspects.

use super::bars::bars;
use super::journal::{Entry, Journal, Of};
use super::play::{Mean, Play};
use super::{build, pool, seeds, Built, Runner};
use crate::bisect::verify::passes_needed;
use crate::bisect::{Aim, Conclusion, Evidence, Next, Prices, MAX_OTHER};
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::oracle::Finding;
use crate::outcome::Outcome;
use crate::plan::{Cell, Variant};
use crate::record::{Bisection, Verification};
use crate::series::{Selection, Series};
use crate::trial::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The shortest trial, in seconds: a workload needs a while to build up pressure.
const SHORTEST: u32 = 10;

/// What building a neighbour of a kernel that there is takes, in seconds, until one was built.
const BUILD: f64 = 40.0;

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

/// What a bisection goes over: versions in a line, each of which has one suspect more than the one before it.
pub(super) trait Line {
    /// What it is called.
    fn name(&self) -> &str;
    /// What one of its suspects is called.
    fn kind(&self) -> &'static str;
    /// The suspects' names, in order.
    fn names(&self) -> Vec<String>;
    /// The kernel that is called so; `None` if there cannot be one.
    fn variant(&self, of: Of) -> Option<Variant>;
    /// Whether there is a kernel of that version, as far as that is known for little.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    fn is_cached(&self, version: usize, builder: &Builder<'_>) -> Result<bool>;
}

/// The patches of a failure's series.
impl Line for Failure<'_> {
    fn name(&self) -> &str {
        &self.series.name
    }

    fn kind(&self) -> &'static str {
        "patches"
    }

    fn names(&self) -> Vec<String> {
        self.series.patches.iter().map(|p| p.stem.clone()).collect()
    }

    fn variant(&self, of: Of) -> Option<Variant> {
        match of {
            Of::Prefix(version) => Some(self.variant.prefix(version)),
            Of::Switched(_) | Of::Load(_) => Some(Variant::clone(self.variant)),
            Of::Without(patch) => {
                let without = Selection::Without(patch);
                let patches = without.resolve(self.series.patches.len()).ok()?;
                Some(Variant::new(&self.variant.recipe, Some((self.series, without)), patches))
            }
        }
    }

    fn is_cached(&self, version: usize, builder: &Builder<'_>) -> Result<bool> {
        builder.cached_variant(&self.variant.prefix(version))
    }
}

/// A failure of a cell, which alone counts as one.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The cell.
    pub(super) cell: &'a Cell,
    /// The finding's title.
    pub(super) title: &'a str,
    /// Its signature.
    pub(super) signature: &'a str,
}

/// What a trial of a version came to.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) version: usize,
    pub(super) seed: u64,
    pub(super) cell: String,
    pub(super) evidence: Evidence,
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

/// Bisects one failure, or goes on with it where its log ends. `None` where that cannot be done; the user was told
/// why.
///
/// # Errors
/// The host fails, or a signal came. What was learned until then is in the log.
pub fn one(runner: &Runner<'_>, failure: &Failure<'_>, trials: &[Trial], ask: Ask) -> Result<Option<Bisection>> {
    if failure.variant.patches.len() != failure.series.patches.len() {
        // Prefixes of a selection are not prefixes of the series.
        runner.progress.note(&format!("{}: bisection goes over whole series only", failure.variant.name));
        return Ok(None);
    }
    let target = Target { cell: failure.cell, title: failure.title, signature: failure.signature };
    let log = runner.run.bisect_log(&failure.cell.id, failure.signature)?;
    let mut session = Session::open(runner, failure, target, &log, ask, || seen_in_run(runner, failure, trials))?;
    let conclusion = session.search()?;
    let verification = session.verified(&conclusion)?;
    let culprit = match conclusion {
        Conclusion::Culprit { patch, .. } => failure.series.patches.get(patch - 1),
        _ => None,
    };
    let subject = culprit.map(|p| p.subject.clone());
    let bisection = session.result(conclusion, verification, subject);
    runner.run.write_bisection(&bisection)?;
    Ok(Some(bisection))
}

/// What the run itself saw of this cell, with all patches and with none, is evidence already paid for.
fn seen_in_run(runner: &Runner<'_>, failure: &Failure<'_>, trials: &[Trial]) -> Vec<Known> {
    let cell = failure.cell;
    let base = failure.variant.prefix(0);
    let mut known = Vec::new();
    for (version, name) in [(failure.series.patches.len(), &failure.variant.name), (0, &base.name)] {
        let same = |t: &&Trial| {
            let c = runner.cells.iter().find(|c| c.id == t.cell);
            c.is_some_and(|c| c.variant == *name && c.settings == cell.settings && c.workload == cell.workload)
        };
        known.extend(trials.iter().filter(same).map(|trial| Known {
            version,
            seed: trial.seed,
            cell: trial.cell.clone(),
            evidence: evidence(trial, failure.signature, f64::from(cell.seconds)),
        }));
    }
    known
}

/// A bisection under way.
pub(super) struct Session<'a> {
    runner: &'a Runner<'a>,
    line: &'a dyn Line,
    target: Target<'a>,
    aim: Aim,
    play: Play,
    journal: Journal,
    /// Trials of versions of the line.
    known: Vec<Known>,
    /// Trials of other kernels: the verification's.
    aside: Vec<(Of, Evidence)>,
    kernels: BTreeMap<String, Built>,
    builds: Mean,
    seed: u64,
    slots: usize,
}

impl<'a> Session<'a> {
    /// Begins one, or goes on where the log at `path` ends. `known` is asked for only by one that begins.
    pub(super) fn open(
        runner: &'a Runner<'a>,
        line: &'a dyn Line,
        target: Target<'a>,
        path: &Path,
        ask: Ask,
        known: impl FnOnce() -> Vec<Known>,
    ) -> Result<Self> {
        let (cell, suspects) = (target.cell, line.names().len());
        let longest = f64::from(cell.seconds);
        let aim =
            Aim { confidence: ask.confidence, budget: ask.budget, longest, shortest: f64::from(SHORTEST).min(longest) };
        let (journal, entries) = Journal::open(path)?;
        let shape = std::iter::once(&cell.shape);
        let mut session = Self {
            runner,
            line,
            target,
            aim,
            play: Play::new(suspects, aim),
            journal,
            known: Vec::new(),
            aside: Vec::new(),
            kernels: BTreeMap::new(),
            builds: Mean::new(BUILD),
            seed: seeds::first(seeds::LINES, path),
            slots: pool::slots(shape, runner.machine.overhead_mib(), runner.jobs),
        };
        if entries.is_empty() {
            let what = format!("bisecting {} over {suspects} {}: {}", line.name(), line.kind(), target.title);
            runner.progress.note(&what);
            let (cell, signature) = (cell.id.clone(), target.signature.to_owned());
            session.journal.add(&Entry::Began { cell, signature, aim })?;
            for k in known() {
                session.learn(Of::Prefix(k.version), k.seed, &k.cell, k.evidence, 0.0)?;
            }
        } else {
            session.replay(&entries);
            let n = entries.len() - 1;
            runner.progress.note(&format!("going on with the bisection of {} after {n} trials", line.name()));
        }
        Ok(session)
    }

    /// As if all of it had just been seen.
    fn replay(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Entry::Trial { of, seed, cell, evidence, cost, beside } = entry else { continue };
            self.seed = self.seed.max(seed.saturating_add(1));
            self.note(*of, *seed, cell, *evidence, *cost, *beside);
        }
    }

    fn learn(&mut self, of: Of, seed: u64, cell: &str, evidence: Evidence, cost: f64) -> Result<()> {
        self.journal.add(&Entry::Trial { of, seed, cell: cell.to_owned(), evidence, cost, beside: 0.0 })?;
        self.note(of, seed, cell, evidence, cost, 0.0);
        Ok(())
    }

    fn note(&mut self, of: Of, seed: u64, cell: &str, evidence: Evidence, cost: f64, beside: f64) {
        self.play.learn(of, evidence, cost, beside);
        self.remember(of, seed, cell, evidence);
    }

    fn remember(&mut self, of: Of, seed: u64, cell: &str, evidence: Evidence) {
        match of {
            Of::Prefix(version) => self.known.push(Known { version, seed, cell: cell.to_owned(), evidence }),
            Of::Without(_) | Of::Switched(_) | Of::Load(_) => self.aside.push((of, evidence)),
        }
    }

    /// Makes trials until it is known, or the budget is spent.
    pub(super) fn search(&mut self) -> Result<Conclusion> {
        let names = self.line.names();
        let count = names.len();
        let mut cached: Vec<bool> = Vec::with_capacity(count + 1);
        for version in 0..=count {
            let tried = self.known.iter().any(|k| k.version == version && k.evidence != Evidence::Unbuildable);
            cached.push(tried || self.line.is_cached(version, self.runner.builder)?);
        }
        loop {
            let build: Vec<f64> = cached.iter().map(|&c| if c { 0.0 } else { self.builds.get() }).collect();
            let prices = Prices { build: &build, boot: self.play.boots.get() };
            match self.play.bisect.next(self.slots, &prices) {
                Next::Over(conclusion) => return Ok(conclusion),
                Next::Trials { versions, seconds } => {
                    let kernels: Vec<Of> = versions.iter().map(|&v| Of::Prefix(v)).collect();
                    self.trials(&kernels, seconds)?;
                    for version in versions {
                        cached[version] = true;
                    }
                    let drawn = bars(self.play.bisect.posterior(), &names);
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
            let variant = self.variant(of)?;
            let start = Instant::now();
            let built = self.kernel(&variant)?;
            let seed = self.seed;
            self.seed += 1;
            let cell = self.target.cell.on(&variant, Some(seconds.ceil() as u32));
            match built {
                Ok(kernel) => jobs.push((of, cell, seed, kernel, start.elapsed().as_secs_f64())),
                Err(_) => {
                    self.learn(of, seed, &cell.id, Evidence::Unbuildable, start.elapsed().as_secs_f64())?;
                }
            }
        }
        let (signature, longest, journal) = (self.target.signature, self.aim.longest, &self.journal);
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
                Ok((*of, *seed, cell.id.clone(), evidence, cost, beside))
            },
            // The kernels are there.
            |_| Ok(()),
        )?;
        for (of, seed, cell, evidence, cost, beside) in done {
            self.note(of, seed, &cell, evidence, cost, beside);
        }
        Ok(())
    }

    fn version(&self, version: usize) -> Variant {
        self.line.variant(Of::Prefix(version)).expect("a line has all of its versions")
    }

    fn variant(&self, of: Of) -> Result<Variant> {
        self.line.variant(of).ok_or_else(|| Error::host(format!("{} has no version {of:?}", self.line.name())))
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

    /// Shows that the answer holds, if it is one.
    pub(super) fn verified(&mut self, conclusion: &Conclusion) -> Result<Option<Verification>> {
        match conclusion {
            Conclusion::Culprit { patch, .. } => self.verify(*patch).map(Some),
            _ => Ok(None),
        }
    }

    /// With the culprit in, it fails; with it out, it passes as often as the confidence needs.
    fn verify(&mut self, patch: usize) -> Result<Verification> {
        let last = self.line.names().len();
        let needed = passes_needed(self.play.bisect.counts(patch, last), self.aim.confidence);
        let Some(needed) = needed else {
            return Ok(Verification::not("the bug shows too rarely for passes to say anything"));
        };
        // Without the patch alone where that makes a kernel; else without it and all that follow.
        let without = Of::Without(patch);
        let removed = if self.applies(without)? { without } else { Of::Prefix(patch - 1) };
        let name = match removed {
            Of::Without(patch) => format!("without patch {patch}"),
            _ => self.version(patch - 1).name,
        };
        let mut tries = 0;
        loop {
            let with = self.play.bisect.counts(patch, patch).hits;
            let (hits, passes) = self.seen(removed);
            if hits > 0 {
                let why = format!("{name} fails the same way ({hits} times, {passes} passes)");
                return Ok(Verification::not(&why));
            }
            if with > 0 && passes >= needed {
                let why =
                    format!("{} failed {with} times; {name} passed {passes} times in a row", self.version(patch).name);
                return Ok(Verification { verified: true, why });
            }
            let other = self.aside.iter().filter(|(of, e)| *of == removed && *e == Evidence::Other).count();
            if passes == 0 && other >= MAX_OTHER as usize {
                return Ok(Verification::not(&format!("{other} trials of {name} said nothing")));
            }
            // A verification that does not come to its end must end.
            tries += 1;
            if self.play.bisect.spent() >= self.aim.budget || tries > 4 * (needed + 10) {
                let why = format!("the budget is spent: {name} passed {passes} of {needed} times");
                return Ok(Verification::not(&why));
            }
            let next = if with == 0 { Of::Prefix(patch) } else { removed };
            self.trials(&[next], self.play.bisect.length())?;
            if next == removed && matches!(self.kernels.get(&self.variant(next)?.name), Some(Err(_))) {
                return Ok(Verification::not(&format!("{name} does not build")));
            }
        }
    }

    /// Hits and passes of a kernel.
    fn seen(&self, of: Of) -> (u32, u32) {
        if let Of::Prefix(version) = of {
            let counts = self.play.bisect.counts(version, version);
            return (counts.hits, counts.clean);
        }
        let of_it = || self.aside.iter().filter(|(o, _)| *o == of);
        let hits = of_it().filter(|(_, e)| matches!(e, Evidence::Hit(_))).count() as u32;
        let passes = of_it().filter(|(_, e)| matches!(e, Evidence::Clean(_))).count() as u32;
        (hits, passes)
    }

    /// Whether the patches apply one after the other and make a kernel.
    fn applies(&mut self, of: Of) -> Result<bool> {
        let Some(variant) = self.line.variant(of) else { return Ok(false) };
        match self.runner.builder.check(&variant, &|_| {}) {
            Ok(_) => Ok(self.kernel(&variant)?.is_ok()),
            Err(Error::Request(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What was seen of the line's versions, before it began and since.
    pub(super) fn known(&self) -> &[Known] {
        &self.known
    }

    /// All that it came to; `subject` is the culprit's.
    pub(super) fn result(
        &self,
        conclusion: Conclusion,
        verification: Option<Verification>,
        subject: Option<String>,
    ) -> Bisection {
        let names = self.line.names();
        let culprit = match conclusion {
            Conclusion::Culprit { patch, .. } => names.get(patch - 1).cloned(),
            _ => None,
        };
        let posterior = self.play.bisect.posterior();
        Bisection {
            cell: self.target.cell.id.clone(),
            title: self.target.title.to_owned(),
            signature: self.target.signature.to_owned(),
            series: self.line.name().to_owned(),
            patches: names,
            tallies: self.play.bisect.tallies(),
            posterior: posterior.patches.iter().chain([&posterior.none]).map(|s| s.mass).collect(),
            seconds: self.play.bisect.spent(),
            conclusion,
            culprit,
            subject,
            verification,
        }
    }
}

/// The finding of the trial that failed soonest.
///
/// # Errors
/// None failed.
pub(super) fn soonest<'a>(cell: &Cell, trials: &'a [Trial]) -> Result<&'a Finding> {
    let failed = trials.iter().filter(|t| t.outcome == Outcome::Fail && t.finding().is_some());
    let failed = failed.min_by(|a, b| a.exposure().total_cmp(&b.exposure()));
    let finding = failed.and_then(Trial::finding);
    finding.ok_or_else(|| Error::request(format!("{} did not fail in that run: there is nothing to look for", cell.id)))
}

/// Only a finding of the same signature counts as bad, only a pass as good.
pub(super) fn evidence(trial: &Trial, signature: &str, longest: f64) -> Evidence {
    let seconds = f64::from(trial.seconds);
    match trial.outcome {
        Outcome::Pass => Evidence::Clean(seconds),
        Outcome::Fail
            if trial.seen.findings.iter().any(|f| f.primary && f.is_failure() && f.signature == signature) =>
        {
            Evidence::Hit(trial.exposure())
        }
        Outcome::NotExercised if seconds < longest => Evidence::TooShort,
        _ => Evidence::Other,
    }
}
