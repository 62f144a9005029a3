//! Which of several loads shows a failure most often a second. Pure: it asks for trials and is told what they came to.
//!
//! A load is a workload with some settings. It fails at a rate, so many times a second of torture, that is unknown and
//! constant; the prior is even on a grid of the rate's logarithm, and all sums over the grid are done in full. Loads
//! race until one is shown to be as fast as any, give or take [`AS_FAST`]: finer differences are not worth their
//! trials. Of those that are, the smallest wins.

use super::{Aim, Evidence, Tally};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// A load is as fast as another if it fails at least at so much of its rate.
pub const AS_FAST: f64 = 0.5;

/// The lowest and the highest rate, a second: once in three hours, ten times a second.
const RATES: (f64, f64) = (1e-4, 10.0);

/// So many rates are on the grid: neighbours differ by a tenth.
const STEPS: usize = 120;

/// So many trials of a load may come to nothing usable before it is given up.
const MOST_OTHER: u32 = 3;

fn rates() -> &'static [f64] {
    static GRID: OnceLock<Vec<f64>> = OnceLock::new();
    GRID.get_or_init(|| {
        let step = (RATES.1 / RATES.0).ln() / (STEPS - 1) as f64;
        (0..STEPS).map(|i| RATES.0 * (step * i as f64).exp()).collect()
    })
}

/// How likely each rate of the grid is.
#[derive(Debug, Clone, PartialEq)]
struct Belief(Vec<f64>);

impl Belief {
    fn of(tally: &Tally) -> Self {
        let (hits, seconds) = (f64::from(tally.hits), tally.hit_seconds + tally.clean_seconds);
        let ln: Vec<f64> = rates().iter().map(|rate| hits * rate.ln() - rate * seconds).collect();
        let most = ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = ln.iter().map(|l| (l - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        Self(weights)
    }

    /// The chance that the rate is at most this.
    fn up_to(&self, rate: f64) -> f64 {
        // A little more, for a rate of the grid that was computed another way.
        self.0.iter().zip(rates()).filter(|(_, r)| **r <= rate * 1.001).map(|(w, _)| w).sum()
    }

    /// The least rate that is not exceeded with this chance.
    fn quantile(&self, chance: f64) -> f64 {
        let mut sum = 0.0;
        let reached = |(w, rate): (&f64, &f64)| {
            sum += w;
            (sum >= chance).then_some(*rate)
        };
        self.0.iter().zip(rates()).find_map(reached).unwrap_or(RATES.1)
    }
}

/// The rate of a load, in failures a second of torture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// As likely higher as lower.
    pub median: f64,
    /// Lower with a chance of 5 %.
    pub low: f64,
    /// Higher with a chance of 5 %.
    pub high: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Run a trial of this load.
    Trial(usize),
    /// The race is over.
    Over {
        /// The load to use: the smallest of those that are as fast as any, or the likeliest.
        best: usize,
        /// How likely it is as fast as any.
        confidence: f64,
    },
    /// No load of the race failed at all, or can be tried.
    None,
}

/// Loads, and a race of some of them.
#[derive(Debug, Clone)]
pub struct Race {
    aim: Aim,
    tallies: Vec<Tally>,
    /// Those that race, smallest first.
    field: Vec<usize>,
    spent: f64,
}

impl Race {
    /// Of no loads yet.
    pub fn new(aim: Aim) -> Self {
        Self { aim, tallies: Vec::new(), field: Vec::new(), spent: 0.0 }
    }

    /// One more load. Loads are numbered from 0.
    pub fn add(&mut self) -> usize {
        self.tallies.push(Tally::default());
        self.tallies.len() - 1
    }

    /// Begins a race of these loads, the smallest first. What was seen of them before counts.
    pub fn start(&mut self, field: Vec<usize>) {
        self.field = field;
    }

    /// A trial of a load came to `evidence`, and cost so many seconds.
    pub fn record(&mut self, load: usize, evidence: Evidence, cost: f64) {
        self.spent += cost.max(0.0);
        if let Some(tally) = self.tallies.get_mut(load) {
            tally.add(evidence);
        }
    }

    /// What to do now.
    pub fn next(&self) -> Step {
        let field: Vec<usize> = self.field.iter().copied().filter(|&load| !self.is_closed(load)).collect();
        let beliefs: Vec<Belief> = field.iter().map(|&load| Belief::of(&self.tallies[load])).collect();
        let chances: Vec<f64> = (0..field.len()).map(|i| as_fast(&beliefs, i, AS_FAST)).collect();
        let failed = |i: &usize| self.tallies[field[*i]].hits > 0;
        let Some(leader) = (0..field.len()).max_by(|&a, &b| chances[a].total_cmp(&chances[b])) else {
            return Step::None;
        };
        // A prior is no reason to leave a smaller load untried.
        let untried = |load: &&usize| self.tallies[**load] == Tally::default();
        if let Some(load) = field.iter().find(untried).filter(|_| self.spent < self.aim.budget) {
            return Step::Trial(*load);
        }
        let winner = (0..field.len()).filter(failed).find(|&i| chances[i] >= self.aim.confidence);
        if let Some(i) = winner {
            return Step::Over { best: field[i], confidence: chances[i] };
        }
        if self.spent >= self.aim.budget {
            let best = (0..field.len()).filter(failed).max_by(|&a, &b| chances[a].total_cmp(&chances[b]));
            return best.map_or(Step::None, |i| Step::Over { best: field[i], confidence: chances[i] });
        }
        // The leader, or the one that is likeliest to be faster: whichever is less known.
        let faster = |i: usize| 1.0 - at_least(&beliefs[leader], &beliefs[i], 1.0);
        let others = (0..field.len()).filter(|&i| i != leader);
        let challenger = others.max_by(|&a, &b| faster(a).total_cmp(&faster(b)));
        let known = |i: usize| {
            let tally = &self.tallies[field[i]];
            (tally.hits, tally.hit_seconds + tally.clean_seconds)
        };
        let less = |a: usize, b: usize| if known(b) < known(a) { b } else { a };
        Step::Trial(field[challenger.map_or(leader, |challenger| less(leader, challenger))])
    }

    /// Whether too many trials of it came to nothing.
    pub fn is_closed(&self, load: usize) -> bool {
        let tally = &self.tallies[load];
        tally.hits + tally.clean == 0 && tally.other >= MOST_OTHER
    }

    /// What was seen of a load.
    pub fn tally(&self, load: usize) -> &Tally {
        &self.tallies[load]
    }

    /// How often it fails.
    pub fn rate(&self, load: usize) -> Rate {
        let belief = Belief::of(&self.tallies[load]);
        Rate { median: belief.quantile(0.5), low: belief.quantile(0.05), high: belief.quantile(0.95) }
    }

    /// What it has cost so far, in seconds.
    pub fn spent(&self) -> f64 {
        self.spent
    }
}

/// The chance that the `i`-th is at least `share` as fast as every other one.
fn as_fast(beliefs: &[Belief], i: usize, share: f64) -> f64 {
    let others = |rate: f64| -> f64 {
        let each = beliefs.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, b)| b.up_to(rate / share));
        each.product()
    };
    beliefs[i].0.iter().zip(rates()).filter(|(w, _)| **w > 1e-9).map(|(w, rate)| w * others(*rate)).sum()
}

/// The chance that `a` is at least `share` as fast as `b`.
fn at_least(a: &Belief, b: &Belief, share: f64) -> f64 {
    a.0.iter().zip(rates()).filter(|(w, _)| **w > 1e-9).map(|(w, rate)| w * b.up_to(rate / share)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AIM: Aim = Aim { confidence: 0.95, budget: 1e9, longest: 30.0, shortest: 30.0 };

    /// A uniform number from 0 to 1.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// A trial of a load that fails at this rate.
    fn trial(rate: f64, random: &mut Random) -> (Evidence, f64) {
        let at = -(1.0 - random.next()).ln() / rate.max(1e-12);
        if at <= AIM.longest {
            (Evidence::Hit(at), at + 2.0)
        } else {
            (Evidence::Clean(AIM.longest), AIM.longest + 2.0)
        }
    }

    /// Races loads of these rates; the first is the one that failed in the run. Yields the winner and the cost.
    fn play(rates: &[f64], random: &mut Random) -> (Option<usize>, f64, usize) {
        let mut race = Race::new(AIM);
        for _ in rates {
            race.add();
        }
        race.start((0..rates.len()).rev().collect());
        race.record(0, Evidence::Hit(10.0), 0.0);
        for trials in 0..2000 {
            match race.next() {
                Step::Trial(load) => {
                    let (evidence, cost) = trial(rates[load], random);
                    race.record(load, evidence, cost);
                }
                Step::Over { best, .. } => return (Some(best), race.spent(), trials),
                Step::None => return (None, race.spent(), trials),
            }
        }
        panic!("no end");
    }

    #[test]
    fn seeded_races_are_won_by_a_load_as_fast_as_any() {
        let mut random = Random(7);
        let (mut right, mut cost, mut gained, mut trials) = (0, 0.0, 0, 0);
        const RACES: usize = 400;
        for _ in 0..RACES {
            // A mix that fails each 40 s, and eight of its members: one fails each 5 s, one each 40 s, the others
            // never.
            let mut rates = vec![1.0 / 40.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            let (fast, slow) = (1 + (random.next() * 4.0) as usize, 5 + (random.next() * 4.0) as usize);
            (rates[fast], rates[slow]) = (0.2, 1.0 / 40.0);
            let (won, spent, played) = play(&rates, &mut random);
            let won = won.unwrap();
            right += usize::from(won == fast);
            gained += usize::from(rates[won] > rates[0]);
            cost += spent;
            trials += played;
        }
        println!(
            "{right} of {RACES} right, {gained} faster than the mix, {:.0} s, {} trials",
            cost / RACES as f64,
            trials / RACES
        );
        assert!(right * 100 >= RACES * 93, "{right} of {RACES}");
    }

    #[test]
    fn of_equals_the_smallest_and_of_none_the_whole() {
        let mut random = Random(3);
        let mut smallest = 0;
        for _ in 0..100 {
            // The last is the smallest.
            let (won, ..) = play(&[0.1, 0.1, 0.1], &mut random);
            smallest += usize::from(won != Some(0));
            // It takes all of the mix: no member fails alone.
            let (won, ..) = play(&[0.1, 0.0, 0.0, 0.0], &mut random);
            assert_eq!(won, Some(0));
        }
        assert!(smallest >= 60, "{smallest}");
    }

    #[test]
    fn a_load_of_no_use_is_given_up() {
        let mut race = Race::new(AIM);
        race.add();
        race.start(vec![0]);
        for _ in 0..3 {
            assert_eq!(race.next(), Step::Trial(0));
            race.record(0, Evidence::Other, 1.0);
        }
        assert_eq!(race.next(), Step::None);
    }

    #[test]
    fn a_race_ends_with_its_budget() {
        let mut race = Race::new(Aim { budget: 100.0, ..AIM });
        let (a, b) = (race.add(), race.add());
        race.start(vec![a, b]);
        race.record(a, Evidence::Hit(25.0), 60.0);
        race.record(b, Evidence::Clean(30.0), 60.0);
        let Step::Over { best, confidence } = race.next() else { panic!() };
        assert!(best == a && confidence < 0.95, "{confidence}");
    }

    proptest! {
        #[test]
        fn a_rate_lies_where_it_was_seen(hits in 1u32..200, seconds in 20.0..2000.0f64) {
            let mut race = Race::new(AIM);
            race.add();
            for _ in 0..hits {
                race.record(0, Evidence::Hit(seconds / f64::from(hits)), 1.0);
            }
            let rate = race.rate(0);
            let seen = f64::from(hits) / seconds;
            prop_assert!(rate.low <= rate.median && rate.median <= rate.high);
            prop_assume!(seen < RATES.1 / 2.0);
            prop_assert!(rate.low <= seen * 1.11 && rate.high >= seen / 1.11, "{rate:?} {seen}");
        }

        /// The chances that each is the fastest make at least a whole: of two on the same rate both are.
        #[test]
        fn some_load_is_as_fast_as_any(tallies in prop::collection::vec((0u32..5, 1.0..100.0f64), 1..6)) {
            let tally = |(hits, seconds): &(u32, f64)| Tally { hits: *hits, clean_seconds: *seconds, ..Tally::default() };
            let beliefs: Vec<Belief> = tallies.iter().map(|t| Belief::of(&tally(t))).collect();
            let sum = |share| (0..beliefs.len()).map(|i| as_fast(&beliefs, i, share)).sum::<f64>();
            prop_assert!(sum(1.0) > 1.0 - 1e-6 && sum(AS_FAST) >= sum(1.0) - 1e-9);
        }
    }
}
