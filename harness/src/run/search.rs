//! What the searches over settings and over loads have in common: both try other cells on the kernel that failed.

use super::bisecting::{evidence, Ask};
use super::journal::{Entry, Journal, Of};
use super::{build, seeds, Runner};
use crate::bisect::{Aim, Evidence};
use crate::build::Kernel;
use crate::error::{Error, Result};
use crate::oracle::Finding;
use crate::plan::{Cell, Variant};
use crate::record::Over;
use crate::trial::Trial;
use std::sync::Arc;
use std::time::Instant;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// What is searched over.
    pub(super) over: Over,
    /// The cell that failed.
    pub(super) cell: &'a Cell,
    /// How.
    pub(super) finding: &'a Finding,
    /// Its variant.
    pub(super) variant: &'a Arc<Variant>,
    /// What the cell itself is called in the log.
    pub(super) own: Of,
    /// How sure, how long.
    pub(super) ask: Ask,
}

impl Question<'_> {
    /// How long its trials are: as long as the one that failed might have been.
    pub(super) fn aim(&self) -> Aim {
        let longest = f64::from(self.cell.seconds);
        Aim { confidence: self.ask.confidence, budget: self.ask.budget, longest, shortest: longest }
    }
}

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) runner: &'a Runner<'a>,
    pub(super) question: Question<'a>,
    kernel: Kernel,
    journal: Journal,
    seed: u64,
}

/// What a trial came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) of: Of,
    pub(super) evidence: Evidence,
    pub(super) cost: f64,
    pub(super) beside: f64,
}

impl<'a> Search<'a> {
    /// Begins one, or goes on where its log ends; `what` is told of one that begins. Yields what the log has, in order: of
    /// one that begins, what the run itself saw in `trials`, which is evidence already paid for.
    ///
    /// # Errors
    /// The kernel cannot be built, the log is damaged, or a signal came.
    pub(super) fn open(
        runner: &'a Runner<'a>,
        question: Question<'a>,
        trials: &[Trial],
        what: &str,
    ) -> Result<(Self, Vec<Told>)> {
        let Question { over, cell, finding, own, .. } = question;
        let aim = question.aim();
        let kernel = build(runner.builder, question.variant, runner.progress)?.map_err(Error::host)?;
        let log = runner.run.search_log(over, &cell.id, &finding.signature, "")?;
        let (journal, mut entries) = Journal::open(&log)?;
        if entries.is_empty() {
            runner.progress.note(&format!("{what}: {}", finding.title));
            entries.push(Entry::Began { cell: cell.id.clone(), signature: finding.signature.clone(), aim });
            entries.extend(trials.iter().map(|trial| Entry::Trial {
                of: own,
                seed: trial.seed,
                cell: trial.cell.clone(),
                evidence: evidence(trial, &finding.signature, aim.longest),
                cost: 0.0,
                beside: 0.0,
            }));
            entries.iter().try_for_each(|entry| journal.add(entry))?;
        } else {
            runner.progress.note(&format!("going on after {} trials", entries.len() - 1));
        }
        let kind = match over {
            Over::Settings => seeds::SETTINGS,
            Over::Workload => seeds::LOADS,
            Over::Git => seeds::LINES,
        };
        let mut seed = seeds::first(kind, &log);
        let mut told = Vec::new();
        for entry in entries {
            let Entry::Trial { of, seed: used, evidence, cost, beside, .. } = entry else { continue };
            if cost > 0.0 {
                seed = seed.max(used.saturating_add(1));
            }
            told.push(Told { of, evidence, cost, beside });
        }
        Ok((Self { runner, question, kernel, journal, seed }, told))
    }

    /// Runs a trial of `cell`, which the log calls `of`.
    ///
    /// # Errors
    /// The host fails, or a signal came.
    pub(super) fn trial(&mut self, cell: &Cell, of: Of) -> Result<Told> {
        let (runner, Question { finding, .. }) = (self.runner, &self.question);
        runner.interrupt.check()?;
        let seed = self.seed;
        self.seed += 1;
        let start = Instant::now();
        let trial = runner.trial(cell, seed, &self.kernel, &runner.run.bisect_trial_dir(&cell.id, seed))?;
        let cost = start.elapsed().as_secs_f64();
        let evidence = evidence(&trial, &finding.signature, self.question.aim().longest);
        let beside = (cost - trial.exposure()).max(0.0);
        self.journal.add(&Entry::Trial { of, seed, cell: cell.id.clone(), evidence, cost, beside })?;
        Ok(Told { of, evidence, cost, beside })
    }

    /// Puts what it came to beside its log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, result: &impl serde::Serialize) -> Result<()> {
        let Question { over, cell, finding, .. } = &self.question;
        self.runner.run.write_search(*over, &cell.id, &finding.signature, result)
    }
}
