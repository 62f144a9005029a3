//! How long cells take, before they have run: for the order, for shards, and for whoever waits.

use super::{Cell, Variant};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of times. All are seconds on a machine that does nothing else.
pub trait Times {
    /// One trial of the cell, from the start of its guest to the end.
    fn trial(&self, cell: &Cell) -> f64;

    /// Building the variant; `first` if nothing of its source has been built.
    fn build(&self, variant: &Variant, first: bool) -> f64;
}

/// What is assumed where nothing is known. The same everywhere, so that every machine cuts the same shards.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults;

/// From the start of a guest to its workload, and from its end to the end of the trial: 1 to 3 s under TCG.
const AROUND_A_TRIAL: f64 = 3.0;

/// A thousand objects on two cores: 200 to 650 s were seen.
const FIRST_BUILD: f64 = 600.0;

/// What a few patches to mm/ change, and the link: 8 to 35 s were seen.
const NEXT_BUILD: f64 = 30.0;

impl Times for Defaults {
    fn trial(&self, cell: &Cell) -> f64 {
        f64::from(cell.seconds) + AROUND_A_TRIAL
    }

    fn build(&self, _: &Variant, first: bool) -> f64 {
        if first {
            FIRST_BUILD
        } else {
            NEXT_BUILD
        }
    }
}

/// How long some cells take: one trial at a time, on a machine that has built nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Kernels to build.
    pub kernels: usize,
    /// Seconds for that.
    pub build_seconds: f64,
    /// Trials to run.
    pub trials: usize,
    /// Seconds for them.
    pub trial_seconds: f64,
}

impl Estimate {
    /// Of these cells, with so many trials each.
    pub fn of<'a>(
        cells: impl IntoIterator<Item = &'a Cell>,
        variants: &[Arc<Variant>],
        trials: u32,
        times: &dyn Times,
    ) -> Self {
        let mut kernels: BTreeSet<&str> = BTreeSet::new();
        let mut estimate = Self { kernels: 0, build_seconds: 0.0, trials: 0, trial_seconds: 0.0 };
        for cell in cells {
            kernels.insert(cell.kernel());
            estimate.trials += trials as usize;
            estimate.trial_seconds += f64::from(trials) * times.trial(cell);
        }
        for (i, variant) in variants.iter().filter(|v| kernels.contains(v.name.as_str())).enumerate() {
            estimate.kernels += 1;
            estimate.build_seconds += times.build(variant, i == 0);
        }
        estimate
    }

    /// All of it, in minutes, rounded up.
    pub fn minutes(&self) -> u64 {
        ((self.build_seconds + self.trial_seconds) / 60.0).ceil() as u64
    }
}
