//! How a bisection went: its log played again, with the posterior after each trial. Pure.

use crate::bisect::{Bisect, Evidence};
use crate::run::bisecting::{Mean, BOOT};
use crate::run::journal::{Entry, Of};

/// A trial of a bisection.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The kernel.
    pub of: Of,
    /// What it came to.
    pub evidence: Evidence,
    /// What it cost, in seconds of wall time, with its kernel's build. 0 for what the run had seen anyway.
    pub cost: f64,
    /// How likely each patch was after it, and at the end "none of them".
    pub posterior: Vec<f64>,
}

/// Plays the log of a bisection over `patches` patches.
pub fn course(patches: usize, entries: &[Entry]) -> Vec<Step> {
    let aim = entries.iter().find_map(|entry| match entry {
        Entry::Began { aim, .. } => Some(*aim),
        Entry::Trial { .. } => None,
    });
    let Some(aim) = aim else { return Vec::new() };
    let mut play = Play { bisect: Bisect::new(patches, aim), boots: Mean::new(BOOT) };
    entries.iter().filter_map(|entry| play.step(entry)).collect()
}

/// A bisection as its log tells it so far.
struct Play {
    bisect: Bisect,
    boots: Mean,
}

impl Play {
    fn step(&mut self, entry: &Entry) -> Option<Step> {
        let Entry::Trial { of, evidence, cost, beside, .. } = entry else { return None };
        if *cost > 0.0 && *evidence != Evidence::Unbuildable {
            self.boots.add(*beside);
        }
        match of {
            Of::Prefix(version) => self.bisect.record(*version, *evidence, *cost),
            Of::Without(_) | Of::Switched(_) => self.bisect.spend(*cost),
        }
        self.bisect.look(self.boots.get());
        let posterior = self.bisect.posterior();
        let posterior = posterior.patches.iter().chain([&posterior.none]).map(|suspect| suspect.mass).collect();
        Some(Step { of: *of, evidence: *evidence, cost: *cost, posterior })
    }
}
