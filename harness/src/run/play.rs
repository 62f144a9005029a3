//! A bisection as far as it went: what it goes on from, and what a report draws. Pure.

use super::journal::Of;
use crate::bisect::{Aim, Bisect, Evidence};

/// What a trial takes beside its torture, in seconds, until one was run.
pub(super) const BOOT: f64 = 5.0;

/// The mean of what was measured, or a guess.
pub(super) struct Mean {
    sum: f64,
    count: u32,
    guess: f64,
}

impl Mean {
    pub(super) fn new(guess: f64) -> Self {
        Self { sum: 0.0, count: 0, guess }
    }

    pub(super) fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }

    pub(super) fn get(&self) -> f64 {
        if self.count == 0 {
            self.guess
        } else {
            self.sum / f64::from(self.count)
        }
    }
}

/// A bisection and what it knows of prices.
pub(crate) struct Play {
    pub(crate) bisect: Bisect,
    pub(super) boots: Mean,
}

impl Play {
    pub(crate) fn new(suspects: usize, aim: Aim) -> Self {
        Self { bisect: Bisect::new(suspects, aim), boots: Mean::new(BOOT) }
    }

    /// A trial of that kernel came to this, just now or when the log was written: a search that was killed goes on as one that
    /// was not. `cost` is all of its seconds, 0 if an earlier search paid; `beside` those that were not torture.
    pub(crate) fn learn(&mut self, of: Of, evidence: Evidence, cost: f64, beside: f64) {
        if cost > 0.0 && evidence != Evidence::Unbuildable {
            self.boots.add(beside);
        }
        match of {
            Of::Prefix(version) => self.bisect.record(version, evidence, cost),
            Of::Without(_) | Of::Switched(_) | Of::Load(_) => self.bisect.spend(cost),
        }
        // The horizon comes nearer at the same trials in either case.
        self.bisect.look(self.boots.get());
    }
}
