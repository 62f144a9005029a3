//! Which settings a failure needs. Pure: it asks for trials and is told what they came to.
//!
//! A switch puts a plainer setting in the place of one of the cell's. Switch after switch is tried on top of those that
//! turned out not to matter: each is a bisection between two cells, the one that still fails and the same with this
//! switch thrown. If the second fails at the first one's rate, the setting is irrelevant and the switch stays thrown; if
//! it does not, the setting is needed. What remains is a smallest failing cell, as far as single settings go: of two
//! that can stand in for each other, the later one in order is found needed.

use super::{Aim, Bisect, Conclusion, Evidence, Next, Prices};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most switches.
pub const MOST: usize = 32;

/// Which switches are thrown, a bit each.
pub type Thrown = u32;

/// What is known of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// With the switch thrown it fails no more, or far more rarely.
    Needed {
        /// How likely that is.
        confidence: f64,
    },
    /// It fails all the same.
    Irrelevant {
        /// How likely that is.
        confidence: f64,
    },
    /// The trials did not say, or the budget is spent.
    Open,
    /// There is no such cell.
    Illegal,
}

impl Verdict {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Needed { .. } => "needed",
            Self::Irrelevant { .. } => "irrelevant",
            Self::Open => "open",
            Self::Illegal => "not tried",
        }
    }

    /// Whether it fails all the same.
    pub fn is_irrelevant(self) -> bool {
        matches!(self, Self::Irrelevant { .. })
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Run the cell with these switches thrown for so many seconds.
    Trial {
        /// Which.
        thrown: Thrown,
        /// How long.
        seconds: f64,
    },
    /// It is over.
    Over,
}

/// The search.
#[derive(Debug, Clone)]
pub struct Reduction {
    aim: Aim,
    switches: usize,
    /// One for each switch that was looked at, in order.
    verdicts: Vec<Verdict>,
    thrown: Thrown,
    /// Version 0 is the cell with the next switch thrown, version 1 the one that fails.
    bisect: Bisect,
    seen: BTreeMap<Thrown, Vec<Evidence>>,
    spent: f64,
}

impl Reduction {
    /// Over so many switches, at most [`MOST`].
    pub fn new(switches: usize, aim: Aim) -> Self {
        // Times to failure differ between settings: a horizon that suits one cell would hide the failures of another.
        let switches = switches.min(MOST);
        // The asked confidence is that in the whole search: each verdict has its share of the doubt.
        let confidence = 1.0 - (1.0 - aim.confidence) / switches.max(1) as f64;
        let aim = Aim { shortest: aim.longest, confidence, ..aim };
        let bisect = Bisect::new(1, aim);
        Self { aim, switches, verdicts: Vec::new(), thrown: 0, bisect, seen: BTreeMap::new(), spent: 0.0 }
    }

    /// A trial of the cell with these switches thrown came to `evidence`, and cost so many seconds.
    pub fn record(&mut self, thrown: Thrown, evidence: Evidence, cost: f64) {
        self.spent += cost.max(0.0);
        self.seen.entry(thrown).or_default().push(evidence);
        if thrown == self.thrown {
            self.bisect.record(1, evidence, cost);
        } else if thrown == self.candidate() {
            self.bisect.record(0, evidence, cost);
        }
    }

    /// What to do now. `boot` is what a trial takes beside its torture, in seconds; `legal` says whether there is a cell
    /// with these switches thrown.
    pub fn next(&mut self, boot: f64, legal: &dyn Fn(Thrown) -> bool) -> Step {
        while self.verdicts.len() < self.switches {
            if !legal(self.candidate()) {
                self.conclude(Verdict::Illegal);
                continue;
            }
            match self.bisect.next(1, &Prices { build: &[0.0, 0.0], boot }) {
                Next::Trials { versions, seconds } => {
                    let thrown = if versions.first() == Some(&0) { self.candidate() } else { self.thrown };
                    return Step::Trial { thrown, seconds };
                }
                Next::Over(Conclusion::Culprit { confidence, .. }) => self.conclude(Verdict::Needed { confidence }),
                Next::Over(Conclusion::PreExisting { confidence }) => self.conclude(Verdict::Irrelevant { confidence }),
                Next::Over(_) => self.conclude(Verdict::Open),
            }
        }
        Step::Over
    }

    /// What is known of each setting so far.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The switches that do not matter: thrown in the smallest cell that fails.
    pub fn thrown(&self) -> Thrown {
        self.thrown
    }

    /// What it has cost so far, in seconds.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    fn candidate(&self) -> Thrown {
        self.thrown | 1_u32.checked_shl(self.verdicts.len() as u32).unwrap_or(0)
    }

    fn conclude(&mut self, verdict: Verdict) {
        if let Verdict::Irrelevant { .. } = verdict {
            self.thrown = self.candidate();
        }
        self.verdicts.push(verdict);
        let budget = (self.aim.budget - self.spent).max(0.0);
        self.bisect = Bisect::new(1, Aim { budget, ..self.aim });
        for (version, thrown) in [(1, self.thrown), (0, self.candidate())] {
            for evidence in
                self.seen.get(&thrown).into_iter().flatten().filter(|_| version == 1 || thrown != self.thrown)
            {
                self.bisect.record(version, *evidence, 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AIM: Aim = Aim { confidence: 0.95, budget: 1e9, longest: 30.0, shortest: 10.0 };

    /// Plays a search in which `fails` says how likely a trial is to fail, by the switches that are thrown.
    fn play(switches: usize, aim: Aim, seed: u64, fails: impl Fn(Thrown) -> f64) -> (Reduction, usize) {
        let mut reduction = Reduction::new(switches, aim);
        reduction.record(0, Evidence::Hit(2.0), 0.0);
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for trials in 0..2_000 {
            match reduction.next(3.0, &|_| true) {
                Step::Over => return (reduction, trials),
                Step::Trial { thrown, seconds } => {
                    let hit = random() < fails(thrown);
                    let evidence = if hit { Evidence::Hit(random() * 6.0) } else { Evidence::Clean(seconds) };
                    reduction.record(thrown, evidence, seconds);
                }
            }
        }
        panic!("no end");
    }

    fn needed(reduction: &Reduction) -> Thrown {
        let bits = reduction.verdicts().iter().enumerate().filter(|(_, v)| matches!(v, Verdict::Needed { .. }));
        bits.fold(0, |mask, (i, _)| mask | 1 << i)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn a_bug_that_always_shows_needs_what_it_needs(truth in 0u32..64) {
            let (reduction, _) = play(6, AIM, 1, |thrown| f64::from(u8::from(thrown & truth == 0)));
            prop_assert_eq!(needed(&reduction), truth);
            prop_assert_eq!(reduction.thrown(), !truth & 63, "the others are thrown");
        }
    }

    /// 400 searches over five settings each, seeded.
    #[test]
    fn of_races_it_says_the_truth_as_often_as_was_asked() {
        let (mut right, mut trials) = (0, 0);
        for seed in 0..400_u64 {
            let truth = (seed % 32) as u32;
            let (reduction, ran) = play(5, AIM, seed + 1, |t| if t & truth == 0 { 0.7 } else { 0.005 });
            right += u32::from(needed(&reduction) == truth && reduction.thrown() == !truth & 31);
            trials += ran;
        }
        println!("{right} of 400 right, {} trials each", trials / 400);
        // The confidence is that in all five verdicts together.
        assert!(right >= 380, "{right}");
    }

    #[test]
    fn a_setting_that_only_makes_it_slower_is_irrelevant() {
        let mut reduction = Reduction::new(1, Aim { budget: 1000.0, ..AIM });
        for seconds in [1.0, 1.5, 2.0, 2.5] {
            reduction.record(0, Evidence::Hit(seconds), 5.0);
        }
        while let Step::Trial { thrown, seconds } = reduction.next(3.0, &|_| true) {
            assert!((seconds - 30.0).abs() < 1e-9, "every trial is as long as the cell's");
            let after = if thrown == 0 { 2.0 } else { 25.0 };
            reduction.record(thrown, Evidence::Hit(after), after);
        }
        assert!(reduction.verdicts()[0].is_irrelevant(), "{:?}", reduction.verdicts());
    }

    #[test]
    fn of_two_that_stand_in_for_each_other_one_remains() {
        let (reduction, _) = play(3, AIM, 1, |thrown| if thrown & 0b011 == 0b011 { 0.0 } else { 1.0 });
        assert_eq!((needed(&reduction), reduction.thrown()), (0b010, 0b101));
    }

    #[test]
    fn what_cannot_be_tried_is_not_concluded() {
        let mut reduction = Reduction::new(2, AIM);
        reduction.record(0, Evidence::Hit(2.0), 0.0);
        let legal = |thrown: Thrown| thrown & 1 == 0;
        loop {
            match reduction.next(3.0, &legal) {
                Step::Over => break,
                // Nothing is exercised without the second setting.
                Step::Trial { thrown: 2, .. } => reduction.record(2, Evidence::Other, 30.0),
                Step::Trial { thrown, .. } => reduction.record(thrown, Evidence::Hit(1.0), 1.0),
            }
        }
        assert_eq!(reduction.verdicts(), [Verdict::Illegal, Verdict::Open]);
        let (spent, _) = play(4, Aim { budget: 20.0, ..AIM }, 1, |_| 0.5);
        assert!(spent.verdicts().contains(&Verdict::Open) && spent.verdicts().len() == 4);
    }
}
