//! How a bisection went: its log played again, with the posterior after each trial. Pure.

use crate::bisect::Evidence;
use crate::run::journal::{Entry, Of};
use crate::run::play::Play;

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
    let mut play = Play::new(patches, aim);
    let trials = entries.iter().filter_map(|entry| {
        let Entry::Trial { of, evidence, cost, beside, .. } = entry else { return None };
        play.learn(*of, *evidence, *cost, *beside);
        let posterior = play.bisect.posterior();
        let posterior = posterior.patches.iter().chain([&posterior.none]).map(|suspect| suspect.mass).collect();
        Some(Step { of: *of, evidence: *evidence, cost: *cost, posterior })
    });
    trials.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::Aim;

    fn trial(of: Of, evidence: Evidence) -> Entry {
        Entry::Trial { of, seed: 1, cell: "c".into(), evidence, cost: 12.0, beside: 2.0 }
    }

    #[test]
    fn each_trial_sharpens_it() {
        let aim = Aim { confidence: 0.95, budget: 1e6, longest: 10.0, shortest: 10.0 };
        let began = Entry::Began { cell: "c".into(), signature: "s".into(), aim };
        let mut entries = vec![began, trial(Of::Prefix(2), Evidence::Hit(1.0))];
        for _ in 0..6 {
            entries.push(trial(Of::Prefix(1), Evidence::Clean(10.0)));
            entries.push(trial(Of::Prefix(2), Evidence::Hit(1.0)));
        }
        entries.push(trial(Of::Without(2), Evidence::Clean(10.0)));
        let steps = course(2, &entries);
        assert_eq!(steps.len(), 14);
        for step in &steps {
            let sum: f64 = step.posterior.iter().sum();
            assert!(step.posterior.len() == 3 && (sum - 1.0).abs() < 1e-9, "{step:?}");
        }
        let second: Vec<f64> = steps.iter().map(|step| step.posterior[1]).collect();
        assert!(second[0] < 0.5 && second[13] > 0.99, "{second:?}");
        assert!((second[13] - second[12]).abs() < 1e-12, "what is no prefix tells nothing of prefixes");
        assert_eq!(course(2, &entries[1..]), [], "a log that does not say what was asked");
    }
}
