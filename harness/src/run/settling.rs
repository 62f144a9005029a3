//! Which settings a failure needs: drives the pure core with real trials, all on the kernel that failed.

use super::bisecting::{evidence, soonest, Ask, Mean, BOOT};
use super::journal::{Entry, Journal, Of};
use super::{build, Runner};
use crate::bisect::settings::{Reduction, Step, Thrown, MOST};
use crate::bisect::{Aim, Evidence, Tally};
use crate::build::Kernel;
use crate::error::{Error, Result};
use crate::plan::{Cell, Switch, Variant};
use crate::record::{Need, Needs, Over};
use crate::trial::Trial;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Seeds of these searches begin here, clear of the matrix's own and of those of bisections.
const FIRST_SEED: u64 = 1 << 33;

/// Searches, or goes on where the log ends.
///
/// # Errors
/// The cell did not fail, or has no setting to be tried without; the host fails, or a signal came. What was learned until
/// then is in the log.
pub fn run(runner: &Runner<'_>, cell: &Cell, trials: &[Trial], ask: Ask) -> Result<Needs> {
    let finding = soonest(cell, trials)?;
    let variant = runner.plan.variant_of(cell)?;
    let mut switches = runner.plan.switches(cell, variant);
    switches.truncate(MOST);
    if switches.is_empty() {
        return Err(Error::request(format!("{} has no setting that could be plainer on the same kernel", cell.id)));
    }
    let kernel = build(runner.builder, variant, runner.progress)?.map_err(Error::host)?;
    let longest = f64::from(cell.seconds);
    let aim = Aim { confidence: ask.confidence, budget: ask.budget, longest, shortest: longest };
    let (journal, entries) =
        Journal::open(&runner.run.search_log(Over::Settings, &cell.id, &finding.signature, "")?)?;
    let mut session = Session {
        runner,
        cell,
        variant,
        kernel,
        signature: &finding.signature,
        reduction: Reduction::new(switches.len(), aim),
        switches,
        longest,
        journal,
        tallies: BTreeMap::new(),
        boots: Mean::new(BOOT),
        seed: FIRST_SEED,
    };
    if entries.is_empty() {
        let what = format!("which of {} settings it needs: {}", session.switches.len(), finding.title);
        runner.progress.note(&what);
        let (cell, signature) = (cell.id.clone(), finding.signature.clone());
        session.journal.add(&Entry::Began { cell, signature, aim })?;
        // What the run itself saw is evidence already paid for.
        for trial in trials {
            let evidence = evidence(trial, session.signature, longest);
            session.learn(0, trial.seed, &trial.cell, evidence, 0.0, 0.0)?;
        }
    } else {
        session.replay(&entries);
        runner.progress.note(&format!("going on after {} trials", entries.len() - 1));
    }
    session.search()?;
    let needs = session.result(&finding.title);
    runner.run.write_search(Over::Settings, &cell.id, &finding.signature, &needs)?;
    Ok(needs)
}

struct Session<'a> {
    runner: &'a Runner<'a>,
    cell: &'a Cell,
    variant: &'a Arc<Variant>,
    kernel: Kernel,
    signature: &'a str,
    switches: Vec<Switch>,
    reduction: Reduction,
    longest: f64,
    journal: Journal,
    tallies: BTreeMap<Thrown, Tally>,
    boots: Mean,
    seed: u64,
}

impl Session<'_> {
    fn learn(
        &mut self,
        thrown: Thrown,
        seed: u64,
        cell: &str,
        evidence: Evidence,
        cost: f64,
        beside: f64,
    ) -> Result<()> {
        let of = Of::Switched(thrown);
        self.journal.add(&Entry::Trial { of, seed, cell: cell.to_owned(), evidence, cost, beside })?;
        self.note(thrown, evidence, cost, beside);
        Ok(())
    }

    fn note(&mut self, thrown: Thrown, evidence: Evidence, cost: f64, beside: f64) {
        if cost > 0.0 {
            self.boots.add(beside);
        }
        self.tallies.entry(thrown).or_default().add(evidence);
        self.reduction.record(thrown, evidence, cost);
    }

    /// As if all of it had just been seen: the same is concluded after the same trials.
    fn replay(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Entry::Trial { of: Of::Switched(thrown), seed, evidence, cost, beside, .. } = entry else { continue };
            if *cost > 0.0 {
                self.next();
                self.seed = self.seed.max(seed.saturating_add(1));
            }
            self.note(*thrown, *evidence, *cost, *beside);
        }
    }

    fn next(&mut self) -> Step {
        let (plan, cell, variant, switches) = (self.runner.plan, self.cell, self.variant, &self.switches);
        let legal = |thrown| plan.switched(cell, variant, &of(switches, thrown), cell.seconds).is_some();
        self.reduction.next(self.boots.get(), &legal)
    }

    fn search(&mut self) -> Result<()> {
        let runner = self.runner;
        let mut told = 0;
        loop {
            let step = self.next();
            let verdicts = self.reduction.verdicts();
            for (switch, verdict) in self.switches.iter().zip(verdicts).skip(told) {
                let what = format!("{}={}: {}", switch.dimension, switch.setting, verdict.name());
                runner.progress.note(&what);
            }
            told = verdicts.len();
            let Step::Trial { thrown, seconds } = step else { return Ok(()) };
            runner.interrupt.check()?;
            let chosen = of(&self.switches, thrown);
            let cell = runner.plan.switched(self.cell, self.variant, &chosen, seconds.ceil() as u32);
            let cell = cell.ok_or_else(|| Error::host("a cell that was legal is not"))?;
            let seed = self.seed;
            self.seed += 1;
            let words: Vec<_> = chosen.iter().map(|s| format!("{}={}", s.dimension, s.instead)).collect();
            runner.progress.note(&format!("with {}", if words.is_empty() { "all".into() } else { words.join(" ") }));
            let start = Instant::now();
            let trial = runner.trial(&cell, seed, &self.kernel, &runner.run.bisect_trial_dir(&cell.id, seed))?;
            let cost = start.elapsed().as_secs_f64();
            let evidence = evidence(&trial, self.signature, self.longest);
            self.learn(thrown, seed, &cell.id, evidence, cost, (cost - trial.exposure()).max(0.0))?;
        }
    }

    fn result(&self, title: &str) -> Needs {
        let mut thrown: Thrown = 0;
        let mut settings = Vec::new();
        for (i, (switch, verdict)) in self.switches.iter().zip(self.reduction.verdicts()).enumerate() {
            let with = thrown | 1 << i;
            if verdict.is_irrelevant() {
                thrown = with;
            }
            settings.push(Need {
                dimension: switch.dimension.clone(),
                setting: switch.setting.clone(),
                instead: switch.instead.clone(),
                verdict: *verdict,
                tally: self.tallies.get(&with).copied().unwrap_or_default(),
            });
        }
        let mut smallest = self.cell.settings.clone();
        for switch in of(&self.switches, self.reduction.thrown()) {
            smallest.insert(switch.dimension.clone(), switch.instead.clone());
        }
        Needs {
            cell: self.cell.id.clone(),
            title: title.to_owned(),
            signature: self.signature.to_owned(),
            settings,
            smallest,
            seconds: self.reduction.spent(),
        }
    }
}

/// The switches that are thrown.
fn of(switches: &[Switch], thrown: Thrown) -> Vec<&Switch> {
    switches.iter().enumerate().filter(|(i, _)| thrown & (1 << i) != 0).map(|(_, switch)| switch).collect()
}
