//! Which patch of a series breaks a cell. Pure: it asks for trials and is told what they came to.
//!
//! The failing state is the whole series; the hypotheses are its prefixes. Failures are taken to come at random in time
//! at an unknown rate. From `k` failures seen in `S` seconds of torture, the chance that a kernel which has the bug runs
//! clean for `T` seconds is `(S / (S + T))^k`: the predictive survival of an exponential law whose rate has the
//! scale-free prior 1/rate. A prefix is called good once that chance is at most [`MISS`], and bad at its first failure
//! with the same signature; a trial that came to anything else says nothing.

use serde::{Deserialize, Serialize};

/// The chance of calling a bad prefix good that a single verdict may have.
const MISS: f64 = 0.01;

/// So many failures of the whole series are seen before any prefix is judged; from one failure little can be said of
/// the rate.
const HITS_FIRST: u32 = 3;

/// The least clean time for a good verdict, in seconds: a workload needs a while to build up pressure.
const LEAST_SECONDS: f64 = 10.0;

/// So many trials of one prefix may come to nothing usable before the bisection gives up on it.
const MAX_OTHER: u32 = 5;

/// So many trials one prefix may take.
const MAX_TRIALS: u32 = 50;

/// What a trial came to, as seen from one signature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The same signature, after so many seconds of torture.
    Hit(f64),
    /// A pass of so many seconds.
    Clean(f64),
    /// Anything else: another finding, a hang, a boot or build failure, not exercised.
    Other,
}

/// All evidence on one prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Failures.
    pub hits: u32,
    /// Seconds of torture up to failures.
    pub hit_seconds: f64,
    /// Passes.
    pub clean: u32,
    /// Seconds of passes.
    pub clean_seconds: f64,
    /// Trials that said nothing.
    pub other: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Run a trial of that prefix for so many seconds.
    Trial {
        /// How many patches.
        prefix: usize,
        /// How long.
        seconds: u32,
    },
    /// It is over.
    Over(Conclusion),
}

/// What a bisection came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "conclusion")]
pub enum Conclusion {
    /// This patch, counted from 1.
    Culprit {
        /// Which.
        patch: usize,
        /// The chance that no prefix was called good by bad luck.
        confidence: f64,
    },
    /// The source fails without any patch.
    PreExisting,
    /// It is one of the patches `first` to `last`, and the trials do not say which.
    Unclear {
        /// The first suspect, counted from 1.
        first: usize,
        /// The last.
        last: usize,
    },
    /// The whole series did not fail again.
    NotReproduced,
}

/// A bisection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bisect {
    /// By number of patches, 0 to all.
    tallies: Vec<Tally>,
    /// The longest trial, in seconds.
    longest: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Good,
    Bad,
    Open,
    GivenUp,
}

impl Bisect {
    /// Over a series of `patches`, with trials of at most `longest` seconds.
    pub fn new(patches: usize, longest: u32) -> Self {
        Self { tallies: vec![Tally::default(); patches + 1], longest: longest.max(1) }
    }

    /// The evidence so far.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// A trial of the first `prefix` patches came to `evidence`.
    pub fn record(&mut self, prefix: usize, evidence: Evidence) {
        let Some(tally) = self.tallies.get_mut(prefix) else { return };
        match evidence {
            Evidence::Hit(seconds) => {
                tally.hits += 1;
                tally.hit_seconds += seconds.max(0.1);
            }
            Evidence::Clean(seconds) => {
                tally.clean += 1;
                tally.clean_seconds += seconds.max(0.0);
            }
            Evidence::Other => tally.other += 1,
        }
    }

    /// What to do now.
    pub fn next(&self) -> Next {
        let all = self.tallies.len() - 1;
        let whole = &self.tallies[all];
        if whole.hits == 0 && self.state(all) == State::GivenUp {
            return Next::Over(Conclusion::NotReproduced);
        }
        if self.rate().0 < HITS_FIRST && self.state_of_search(whole) != State::GivenUp {
            return Next::Trial { prefix: all, seconds: self.longest };
        }
        // The two ends first: a bug that the source has is nobody's fault in the series.
        let (mut good, mut bad) = (0, all);
        match self.state(0) {
            State::Bad => return Next::Over(Conclusion::PreExisting),
            State::Open => return self.trial(0),
            State::GivenUp => return Next::Over(Conclusion::Unclear { first: 1, last: all }),
            State::Good => {}
        }
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.state(middle) {
                State::Good => good = middle,
                State::Bad => bad = middle,
                State::Open => return self.trial(middle),
                State::GivenUp => return Next::Over(Conclusion::Unclear { first: good + 1, last: bad }),
            }
        }
        let confidence = (0..bad).filter(|&k| self.state(k) == State::Good).map(|k| 1.0 - self.miss(k)).product();
        Next::Over(Conclusion::Culprit { patch: bad, confidence })
    }

    fn trial(&self, prefix: usize) -> Next {
        let (hits, seconds) = self.rate();
        let needed = seconds * (MISS.powf(-1.0 / f64::from(hits.max(1))) - 1.0);
        let left = needed.max(LEAST_SECONDS) - self.tallies[prefix].clean_seconds;
        // A second more than the sum asks for, or rounding would cost a trial.
        let seconds = (left.max(0.0) as u32).saturating_add(2).clamp(1, self.longest);
        Next::Trial { prefix, seconds }
    }

    fn state(&self, prefix: usize) -> State {
        let tally = &self.tallies[prefix];
        if tally.hits > 0 {
            State::Bad
        } else if tally.clean_seconds >= LEAST_SECONDS && self.miss(prefix) <= MISS {
            State::Good
        } else {
            self.state_of_search(tally)
        }
    }

    fn state_of_search(&self, tally: &Tally) -> State {
        if tally.other >= MAX_OTHER || tally.hits + tally.clean + tally.other >= MAX_TRIALS {
            State::GivenUp
        } else {
            State::Open
        }
    }

    /// Failures seen, and the seconds of torture that they took, over all prefixes that failed.
    fn rate(&self) -> (u32, f64) {
        let failed = self.tallies.iter().filter(|t| t.hits > 0);
        failed.fold((0, 0.0), |(k, s), t| (k + t.hits, s + t.hit_seconds + t.clean_seconds))
    }

    /// The chance that this prefix would look so clean if it had the bug.
    fn miss(&self, prefix: usize) -> f64 {
        let (hits, seconds) = self.rate();
        if hits == 0 {
            return 1.0;
        }
        (seconds / (seconds + self.tallies[prefix].clean_seconds)).powf(f64::from(hits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays a bisection in which `answer` plays the kernel; yields the conclusion and the trials.
    fn play(patches: usize, mut answer: impl FnMut(usize, u32) -> Evidence) -> (Conclusion, usize) {
        let mut bisect = Bisect::new(patches, 60);
        for trials in 0..10_000 {
            match bisect.next() {
                Next::Over(conclusion) => return (conclusion, trials),
                Next::Trial { prefix, seconds } => {
                    assert!((1..=60).contains(&seconds));
                    bisect.record(prefix, answer(prefix, seconds));
                }
            }
        }
        panic!("no end");
    }

    proptest! {
        #[test]
        fn a_bug_that_always_shows_is_pinned(patches in 1usize..40, at in 0usize..40, ttf in 0.1f64..10.0) {
            let culprit = 1 + at % patches;
            let (conclusion, trials) = play(patches, |prefix, seconds| {
                if prefix >= culprit { Evidence::Hit(ttf) } else { Evidence::Clean(f64::from(seconds)) }
            });
            let Conclusion::Culprit { patch, confidence } = conclusion else { panic!("{conclusion:?}") };
            prop_assert_eq!(patch, culprit);
            prop_assert!(confidence > 0.9);
            prop_assert!(trials < 40, "{}", trials);
        }

        /// Whatever it is told, it ends.
        #[test]
        fn it_ends(patches in 1usize..20, answers in prop::collection::vec(0u8..3, 1..50)) {
            let mut i = 0;
            play(patches, |_, seconds| {
                i += 1;
                match answers[i % answers.len()] {
                    0 => Evidence::Hit(1.0),
                    1 => Evidence::Clean(f64::from(seconds)),
                    _ => Evidence::Other,
                }
            });
        }
    }

    #[test]
    fn what_the_source_has_is_not_the_series_fault() {
        assert_eq!(play(5, |_, _| Evidence::Hit(2.0)).0, Conclusion::PreExisting);
    }

    #[test]
    fn what_does_not_come_back_is_not_blamed_on_anyone() {
        assert_eq!(play(5, |_, s| Evidence::Clean(f64::from(s))).0, Conclusion::NotReproduced);
    }

    #[test]
    fn a_prefix_that_cannot_be_judged_leaves_suspects() {
        let (conclusion, _) = play(8, |prefix, seconds| match prefix {
            0..=3 => Evidence::Clean(f64::from(seconds)),
            4 => Evidence::Other,
            _ => Evidence::Hit(1.0),
        });
        assert_eq!(conclusion, Conclusion::Unclear { first: 1, last: 8 });
    }

    #[test]
    fn other_outcomes_are_neither_good_nor_bad() {
        let mut tries = std::collections::BTreeMap::new();
        let (conclusion, _) = play(4, |prefix, seconds| {
            let n = tries.entry(prefix).or_insert(0);
            *n += 1;
            match (*n, prefix) {
                (1..=2, _) => Evidence::Other,
                (_, 3..) => Evidence::Hit(1.5),
                _ => Evidence::Clean(f64::from(seconds)),
            }
        });
        assert!(matches!(conclusion, Conclusion::Culprit { patch: 3, .. }), "{conclusion:?}");
    }

    /// Of bugs with exponential times to failure, at least as many are pinned as is claimed. Seeded: always the same.
    #[test]
    fn the_stated_confidence_is_earned() {
        let mut state = 42u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        let (mut right, mut claimed, runs) = (0.0, 0.0, 400);
        for _ in 0..runs {
            let mean = 1.0 + 10.0 * uniform();
            let culprit = 1 + (uniform() * 8.0) as usize;
            let (conclusion, _) = play(8, |prefix, seconds| {
                let at = -mean * uniform().ln();
                if prefix >= culprit && at < f64::from(seconds) {
                    Evidence::Hit(at)
                } else {
                    Evidence::Clean(f64::from(seconds))
                }
            });
            if let Conclusion::Culprit { patch, confidence } = conclusion {
                right += f64::from(u8::from(patch == culprit));
                claimed += confidence;
            }
        }
        assert!(right >= claimed - 0.02 * f64::from(runs), "claimed {claimed}, right {right}");
        assert!(right / f64::from(runs) > 0.93, "{right} of {runs}");
    }
}
