//! A failure that is run again: how often it comes, how soon, and whether it is the same one. Pure.

pub mod bundle;
mod script;

use crate::bisect::model::Counts;
use crate::bisect::verify::passes_needed;
use crate::outcome::Outcome;
use crate::stats::{quantile, wilson};
use crate::trial::Trial;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Of the interval around a rate, in percent, and of what a fix is asked for.
const CONFIDENCE: f64 = 0.95;

/// What is to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// The run.
    pub run: String,
    /// Its cell.
    pub cell: String,
    /// The seed of the trial.
    pub seed: u64,
    /// What that trial came to.
    pub outcome: Outcome,
    /// Its finding's title, or the words for its outcome.
    pub title: String,
    /// The finding's signature. Without one, the outcome has to be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Sought {
    /// What that trial of that run showed; `None` if nothing that could come again.
    pub fn of(run: &str, trial: &Trial) -> Option<Self> {
        if !matches!(trial.outcome, Outcome::Fail | Outcome::Hang | Outcome::BootFailure) {
            return None;
        }
        let finding = trial.finding();
        Some(Self {
            run: run.to_owned(),
            cell: trial.cell.clone(),
            seed: trial.seed,
            outcome: trial.outcome,
            title: finding.map_or_else(|| trial.why.clone(), |f| f.title.clone()),
            signature: finding.map(|f| f.signature.clone()),
        })
    }

    fn is_same(&self, trial: &Trial) -> bool {
        match &self.signature {
            Some(signature) => trial.seen.findings.iter().any(|f| f.primary && f.signature == *signature),
            None => trial.outcome == self.outcome,
        }
    }

    /// What `trial` came to, as seen from here.
    pub fn look(&self, trial: &Trial) -> Again {
        let came = match trial.outcome {
            Outcome::InfraError | Outcome::BuildFailure | Outcome::NotExercised => Came::Unusable,
            _ if self.is_same(trial) => Came::Same,
            Outcome::Pass => Came::Pass,
            Outcome::Fail | Outcome::Hang | Outcome::BootFailure => Came::Other,
        };
        let title = trial.finding().map_or_else(|| trial.why.clone(), |f| f.title.clone());
        let seconds = trial.seen.times.torture_ms.map(|_| trial.exposure());
        Again { seed: trial.seed, came, seconds, title }
    }
}

/// How a trial compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Came {
    /// The same signature.
    Same,
    /// Nothing, in the whole trial.
    Pass,
    /// A failure, but another one.
    Other,
    /// It says nothing of the kernel: not exercised, or the host failed.
    Unusable,
}

/// A trial that was run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Again {
    /// Its seed.
    pub seed: u64,
    /// What came.
    pub came: Came,
    /// How long the workload ran, up to its finding if there was one, in seconds. `None` if it never began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The finding's title, or the outcome's reason.
    pub title: String,
}

/// A rate with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Trials that showed it.
    pub hits: u32,
    /// Of so many.
    pub of: u32,
    /// The lower end of Wilson's score interval, at 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Rate {
    fn new(hits: usize, of: usize) -> Option<Self> {
        let (hits, of) = (u32::try_from(hits).ok()?, u32::try_from(of).ok()?);
        let (low, high) = wilson(hits, of)?;
        Some(Self { hits, of, low, high })
    }
}

/// Times to failure, in seconds of torture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The soonest.
    pub least: f64,
    /// A quarter failed by then.
    pub lower_quartile: f64,
    /// Half.
    pub median: f64,
    /// Three quarters.
    pub upper_quartile: f64,
    /// The latest.
    pub most: f64,
}

/// What running a failure again came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// What was sought.
    pub of: Sought,
    /// The trials, in order; the first has the seed of the one that failed.
    pub trials: Vec<Again>,
    /// How often it came, of the trials that showed it or passed. `None` if there were none.
    pub rate: Option<Rate>,
    /// How soon, if it came.
    pub times: Option<Times>,
    /// So many passes in a row would show with 95 % that a change has fixed it. `None` if no bearable number would.
    pub passes_for_a_fix: Option<u32>,
    /// What is not as it was in the run.
    pub differs: Vec<String>,
}

impl Reproduction {
    /// From the trials.
    pub fn new(of: Sought, trials: Vec<Again>, differs: Vec<String>) -> Self {
        let count = |came| trials.iter().filter(|t| t.came == came).count();
        let (same, pass) = (count(Came::Same), count(Came::Pass));
        let rate = Rate::new(same, same + pass);
        let mut seconds: Vec<f64> = trials.iter().filter(|t| t.came == Came::Same).filter_map(|t| t.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |share| quantile(&seconds, share);
        let times = at(0.0).zip(at(0.25)).zip(at(0.5)).zip(at(0.75)).zip(at(1.0)).map(
            |((((least, lower_quartile), median), upper_quartile), most)| Times {
                least,
                lower_quartile,
                median,
                upper_quartile,
                most,
            },
        );
        let passes_for_a_fix = rate
            .filter(|r| r.hits > 0)
            .and_then(|rate| passes_needed(Counts { hits: rate.hits, clean: rate.of - rate.hits }, CONFIDENCE));
        Self { of, trials, rate, times, passes_for_a_fix, differs }
    }

    /// Whether it came at all.
    pub fn came(&self) -> bool {
        self.trials.iter().any(|t| t.came == Came::Same)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "reproduce: {} ({}, seed {})", self.of.title, self.of.cell, self.of.seed);
        for differs in &self.differs {
            let _ = writeln!(text, "           not as it was: {differs}");
        }
        let _ = match self.rate {
            Some(rate) => writeln!(
                text,
                "           came again in {} of {} trials: {:.0} % (95 %: {:.0} to {:.0} %)",
                rate.hits,
                rate.of,
                100.0 * f64::from(rate.hits) / f64::from(rate.of),
                100.0 * rate.low,
                100.0 * rate.high
            ),
            None => writeln!(text, "           no trial showed it or passed"),
        };
        if let Some(first) = self.trials.first().filter(|t| t.seed == self.of.seed) {
            let came = match first.came {
                Came::Same => "failed the same way",
                Came::Pass => "passed",
                Came::Other => "failed in another way",
                Came::Unusable => "said nothing",
            };
            let _ = writeln!(text, "           the same seed {came}");
        }
        if let Some(times) = &self.times {
            let _ = writeln!(
                text,
                "           time to failure: median {:.1} s, quartiles {:.1} and {:.1}, from {:.1} to {:.1}",
                times.median, times.lower_quartile, times.upper_quartile, times.least, times.most
            );
        }
        match self.passes_for_a_fix {
            Some(passes) => {
                let _ = writeln!(text, "           a fix is shown, at 95 %, by {passes} passes in a row");
            }
            None if self.came() => text.push_str("           too rare for passes to show a fix\n"),
            None => {}
        }
        for (came, words) in [(Came::Other, "failed in another way"), (Came::Unusable, "of no use")] {
            let mut titles: BTreeMap<&str, usize> = BTreeMap::new();
            for trial in self.trials.iter().filter(|t| t.came == came) {
                *titles.entry(&trial.title).or_default() += 1;
            }
            for (title, times) in titles {
                let _ = writeln!(text, "           {words}: {title} ({times} times)");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought() -> Sought {
        Sought {
            run: "r".into(),
            cell: "s-all.anon-churn.904d7715".into(),
            seed: 3,
            outcome: Outcome::Fail,
            title: "kernel BUG in f".into(),
            signature: Some("kernel-bug|f".into()),
        }
    }

    fn again(seed: u64, came: Came, seconds: f64) -> Again {
        Again { seed, came, seconds: Some(seconds), title: "kernel BUG in g".into() }
    }

    #[test]
    fn only_what_says_something_is_in_the_rate() {
        let trials = vec![
            again(3, Came::Same, 4.0),
            again(7, Came::Pass, 30.0),
            again(8, Came::Same, 1.0),
            again(9, Came::Same, 2.0),
            again(10, Came::Other, 0.5),
            again(11, Came::Unusable, 3.0),
        ];
        let all = Reproduction::new(sought(), trials, vec!["the machine: QEMU with TCG then".into()]);
        let rate = all.rate.unwrap();
        assert_eq!((rate.hits, rate.of), (3, 4));
        assert!(rate.low < 0.75 && 0.75 < rate.high);
        insta::assert_snapshot!(all.text(), @r"
        reproduce: kernel BUG in f (s-all.anon-churn.904d7715, seed 3)
                   not as it was: the machine: QEMU with TCG then
                   came again in 3 of 4 trials: 75 % (95 %: 30 to 95 %)
                   the same seed failed the same way
                   time to failure: median 2.0 s, quartiles 1.5 and 3.0, from 1.0 to 4.0
                   a fix is shown, at 95 %, by 6 passes in a row
                   failed in another way: kernel BUG in g (1 times)
                   of no use: kernel BUG in g (1 times)
        ");
    }

    #[test]
    fn the_manual_shows_what_is_printed() {
        let seconds = [1.0, 1.2, 1.5, 1.8, 2.0, 2.6, 3.0, 3.4, 4.0];
        let same = seconds.iter().map(|&seconds| again(1, Came::Same, seconds));
        let trials = same.chain([again(2, Came::Pass, 30.0)]).collect();
        let of = Sought {
            cell: "delay-rmap-all.anon-churn.904d7715".into(),
            seed: 1,
            title: "kernel BUG in migrate_pages_batch".into(),
            ..sought()
        };
        let manual = include_str!("../../../docs/reproduce.md");
        let printed = Reproduction::new(of, trials, Vec::new()).text();
        assert!(manual.contains(&printed), "docs/reproduce.md has not:\n{printed}");
    }

    #[test]
    fn nothing_is_no_rate() {
        let none = Reproduction::new(sought(), vec![again(3, Came::Other, 1.0)], Vec::new());
        assert!(none.rate.is_none() && none.times.is_none() && !none.came());
        let passed = Reproduction::new(sought(), vec![again(3, Came::Pass, 30.0)], Vec::new());
        assert!(passed.rate.is_some() && passed.passes_for_a_fix.is_none() && !passed.came());
    }
}
