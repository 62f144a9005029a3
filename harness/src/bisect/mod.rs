//! Which patch of a series breaks a cell. Pure: it asks for trials and is told what they came to.
//!
//! The suspects are the patches, and "none of them". [`model`] says how likely each is, [`choose`] which trial to run
//! next, [`horizon`] how long it should be, [`verify`] what shows that the answer holds. docs/bisection.md explains the
//! model.

pub mod choose;
pub mod git_log;
pub mod horizon;
pub mod model;
pub mod settings;
pub mod verify;
pub mod workload;

use model::{Counts, Posterior};
use serde::{Deserialize, Serialize};

/// So many trials of one version may come to nothing usable before the bisection goes around it.
pub const MAX_OTHER: u32 = 5;

/// An answer that is not one suspect names so many of them that they hold this much of the posterior.
const CREDIBLE: f64 = 0.9;

/// Nobody is accused while it is likelier than this that no patch is to blame: the harm of a false accusation is
/// another than that of naming the neighbour.
const MOST_NONE: f64 = 0.03;

/// Of the doubt that the asked confidence leaves, a patch that is named may have this share, and "no patch" that. The
/// posterior is right in the mean of the prior's rates; rates that are hard to tell apart are wrong more often than
/// that, and those who ask for 95 % mean whatever rates they have.
const DOUBT_OF_PATCH: f64 = 0.6;
const DOUBT_OF_NONE: f64 = 0.2;

/// A trial that was too short to exercise anything makes the next so many times as long.
const LENGTHEN: f64 = 2.0;

/// What a trial came to, as seen from one signature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The same signature, after so many seconds of torture.
    Hit(f64),
    /// A pass of a workload that was asked to run for so many seconds.
    Clean(f64),
    /// Anything else: another finding, a hang, a boot failure, not exercised.
    Other,
    /// What the workload declares did not happen, in a trial that was shorter than the cell's own.
    TooShort,
    /// There is no kernel of this version, and trying again will not make one.
    Unbuildable,
}

/// All evidence on one version, for people.
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

impl Tally {
    /// Counts one more trial.
    pub fn add(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Hit(seconds) => {
                self.hits += 1;
                self.hit_seconds += seconds;
            }
            Evidence::Clean(seconds) => {
                self.clean += 1;
                self.clean_seconds += seconds;
            }
            Evidence::Other | Evidence::TooShort | Evidence::Unbuildable => self.other += 1,
        }
    }
}

/// What is asked of a bisection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aim {
    /// How sure is sure. 0.5 to 0.9999.
    pub confidence: f64,
    /// What it may cost, in the same unit as the prices of trials: seconds.
    pub budget: f64,
    /// The longest trial, in seconds: the cell's own.
    pub longest: f64,
    /// The shortest that still builds up pressure.
    pub shortest: f64,
}

/// What trials cost, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Prices<'a> {
    /// The kernel of each version, 0 patches to all: 0 where there is one.
    pub build: &'a [f64],
    /// What a trial takes beside its torture: boot and tear-down.
    pub boot: f64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Run a trial of each of these versions, so many patches applied, for so many seconds.
    Trials {
        /// The versions. One may be there twice.
        versions: Vec<usize>,
        /// How long.
        seconds: f64,
    },
    /// It is over.
    Over(Conclusion),
}

/// What a bisection came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "conclusion")]
pub enum Conclusion {
    /// This patch, counted from 1.
    Culprit {
        /// Which.
        patch: usize,
        /// How likely it is.
        confidence: f64,
    },
    /// No patch of the series: the source without any fails this way as well.
    PreExisting {
        /// How likely it is that no patch is to blame.
        confidence: f64,
    },
    /// No patch of the series: it hardly ever happens, with them or without.
    NotReproduced {
        /// How likely it is that no patch is to blame.
        confidence: f64,
    },
    /// The budget or the versions that can be tried do not suffice to say more than this.
    Unclear {
        /// The likeliest suspects, the first counted from 1, in order.
        patches: Vec<usize>,
        /// Whether it may be none of them.
        or_none: bool,
        /// How likely it is that one of these is true.
        confidence: f64,
    },
}

/// A bisection.
#[derive(Debug, Clone)]
pub struct Bisect {
    aim: Aim,
    /// All trials, in order: how many patches, and what it came to.
    trials: Vec<(usize, Evidence)>,
    /// By version: why not to try it.
    closed: Vec<bool>,
    counts: Vec<Counts>,
    times: Vec<f64>,
    horizon: f64,
    /// No trial is shorter, though it may be read through a nearer horizon.
    length: f64,
    /// How many failures there must be before the horizon is looked at again.
    look_at: usize,
    spent: f64,
    posterior: Posterior,
}

impl Bisect {
    /// Over a series of `patches`, of which nothing is known.
    pub fn new(patches: usize, aim: Aim) -> Self {
        let counts = vec![Counts::default(); patches + 1];
        Self {
            aim,
            trials: Vec::new(),
            closed: vec![false; patches + 1],
            posterior: Posterior::of(&counts),
            counts,
            times: Vec::new(),
            horizon: aim.longest.max(0.1),
            length: 0.0,
            look_at: horizon::ENOUGH,
            spent: 0.0,
        }
    }

    /// A trial of the first `version` patches came to `evidence`, and cost so many seconds, with its build.
    pub fn record(&mut self, version: usize, evidence: Evidence, cost: f64) {
        if version >= self.counts.len() {
            return;
        }
        self.spent += cost.max(0.0);
        self.trials.push((version, evidence));
        match evidence {
            Evidence::Hit(seconds) => self.times.push(seconds),
            Evidence::Clean(_) => {}
            Evidence::Other => {
                let useless = self.trials.iter().filter(|t| t.0 == version && t.1 == Evidence::Other).count();
                let usable =
                    self.trials.iter().any(|t| t.0 == version && matches!(t.1, Evidence::Hit(_) | Evidence::Clean(_)));
                self.closed[version] |= !usable && useless >= MAX_OTHER as usize;
            }
            Evidence::TooShort => self.length = (self.length() * LENGTHEN).min(self.aim.longest),
            Evidence::Unbuildable => self.closed[version] = true,
        }
        read(&mut self.counts[version], evidence, self.horizon);
        self.posterior = Posterior::of(&self.counts);
    }

    /// Something that it asked for beside its own trials cost so many seconds.
    pub fn spend(&mut self, cost: f64) {
        self.spent += cost.max(0.0);
    }

    /// Lets the horizon come nearer if the times to failure say so; `boot` as in [`Prices`]. [`Self::next`] does it.
    pub fn look(&mut self, boot: f64) {
        let seen: Vec<f64> = self.times.iter().copied().filter(|&t| t <= self.horizon).collect();
        if seen.len() < self.look_at {
            return;
        }
        self.look_at = seen.len() * 2;
        let (bad, good) = (self.posterior.bad_rate(), self.posterior.good_rate());
        let horizon = horizon::choose(&seen, self.horizon, self.aim.shortest, boot, bad, good);
        if horizon < self.horizon {
            self.horizon = horizon;
            self.counts.fill(Counts::default());
            for &(version, evidence) in &self.trials {
                read(&mut self.counts[version], evidence, horizon);
            }
            self.posterior = Posterior::of(&self.counts);
        }
    }

    /// The evidence so far, by version.
    pub fn tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.counts.len()];
        for &(version, evidence) in &self.trials {
            tallies[version].add(evidence);
        }
        tallies
    }

    /// How likely each suspect is.
    pub fn posterior(&self) -> &Posterior {
        &self.posterior
    }

    /// How long trials are now, in seconds.
    pub fn length(&self) -> f64 {
        self.horizon.max(self.length)
    }

    /// What was seen of the versions from `first` to `last`, as read through the present horizon.
    pub fn counts(&self, first: usize, last: usize) -> Counts {
        let range = self.counts.iter().take(last + 1).skip(first);
        range.fold(Counts::default(), |sum, c| Counts { hits: sum.hits + c.hits, clean: sum.clean + c.clean })
    }

    /// What it has cost so far, in seconds.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// What to do now, with room for `slots` trials at once.
    pub fn next(&mut self, slots: usize, prices: &Prices<'_>) -> Next {
        self.look(prices.boot);
        if let Some(conclusion) = self.sure() {
            return Next::Over(conclusion);
        }
        if self.spent >= self.aim.budget {
            return Next::Over(self.credible());
        }
        let price = |version, hit| self.price(version, hit, prices);
        let versions = if slots <= 1 {
            choose::best(&self.posterior, &price).into_iter().collect()
        } else {
            let after = |path: &[choose::Foreseen]| {
                let mut counts = self.counts.clone();
                for &(version, failed) in path {
                    let counts = &mut counts[version];
                    *(if failed { &mut counts.hits } else { &mut counts.clean }) += 1;
                }
                Posterior::of(&counts)
            };
            choose::batch(slots, after, &price)
        };
        if versions.is_empty() {
            return Next::Over(self.credible());
        }
        Next::Trials { versions, seconds: self.length() }
    }

    /// What a trial of `version` costs if it fails with the chance `hit`; `None` where it cannot be tried.
    fn price(&self, version: usize, hit: f64, prices: &Prices<'_>) -> Option<f64> {
        if self.closed[version] {
            return None;
        }
        let within: Vec<f64> = self.times.iter().copied().filter(|&t| t <= self.horizon).collect();
        let to_hit =
            if within.is_empty() { self.horizon / 2.0 } else { within.iter().sum::<f64>() / within.len() as f64 };
        let build = prices.build.get(version).copied().unwrap_or_default();
        // A new version sees about 1/rate trials, so its build is shared by as many.
        Some(build * self.posterior.bad_rate() + prices.boot + hit * to_hit + (1.0 - hit) * self.horizon)
    }

    /// The suspects that no version that can be tried tells apart, each group with its mass.
    fn groups(&self) -> Vec<(Vec<usize>, f64)> {
        let mut groups: Vec<(Vec<usize>, f64)> = Vec::new();
        for (i, suspect) in self.posterior.patches.iter().enumerate() {
            // Patch i + 1 and the one before it differ by what version i shows.
            match groups.last_mut().filter(|_| i > 0 && self.closed[i]) {
                Some((patches, mass)) => {
                    patches.push(i + 1);
                    *mass += suspect.mass;
                }
                None => groups.push((vec![i + 1], suspect.mass)),
            }
        }
        groups
    }

    /// The conclusion, if one is likely enough.
    fn sure(&self) -> Option<Conclusion> {
        let enough = |share: f64| 1.0 - share * (1.0 - self.aim.confidence);
        let none = self.posterior.none.mass;
        if none >= enough(DOUBT_OF_NONE) {
            return Some(self.nobody(none));
        }
        if none > MOST_NONE {
            return None;
        }
        let (patches, mass) = self.groups().into_iter().find(|g| g.1 >= enough(DOUBT_OF_PATCH))?;
        // However often it fails with the patch: nothing is known of how often it does without.
        if self.counts(0, patches[0] - 1) == Counts::default() {
            return None;
        }
        Some(match patches.as_slice() {
            [patch] => Conclusion::Culprit { patch: *patch, confidence: mass },
            _ => Conclusion::Unclear { patches, or_none: false, confidence: mass },
        })
    }

    fn nobody(&self, confidence: f64) -> Conclusion {
        let base = self.counts[0];
        if base.hits > 0 {
            Conclusion::PreExisting { confidence }
        } else {
            Conclusion::NotReproduced { confidence }
        }
    }

    /// What is known when no more can be: the fewest suspects that hold most of the posterior.
    fn credible(&self) -> Conclusion {
        let mut all: Vec<(Option<usize>, f64)> =
            self.posterior.patches.iter().enumerate().map(|(i, s)| (Some(i + 1), s.mass)).collect();
        all.push((None, self.posterior.none.mass));
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut mass = 0.0;
        let mut patches = Vec::new();
        let mut or_none = false;
        for (suspect, its) in all {
            if mass >= CREDIBLE {
                break;
            }
            mass += its;
            match suspect {
                Some(patch) => patches.push(patch),
                None => or_none = true,
            }
        }
        patches.sort_unstable();
        Conclusion::Unclear { patches, or_none, confidence: mass }
    }
}

/// Reads a trial through the horizon.
fn read(counts: &mut Counts, evidence: Evidence, horizon: f64) {
    match evidence {
        Evidence::Hit(seconds) if seconds <= horizon => counts.hits += 1,
        Evidence::Hit(_) => counts.clean += 1,
        Evidence::Clean(seconds) if seconds >= horizon => counts.clean += 1,
        Evidence::Clean(_) | Evidence::Other | Evidence::TooShort | Evidence::Unbuildable => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AIM: Aim = Aim { confidence: 0.95, budget: 1e9, longest: 30.0, shortest: 5.0 };

    /// Plays a bisection in which `answer` plays the kernel, after a failure of the whole series.
    fn play(
        patches: usize,
        aim: Aim,
        slots: usize,
        mut answer: impl FnMut(usize, f64) -> Evidence,
    ) -> (Conclusion, usize) {
        let mut bisect = Bisect::new(patches, aim);
        bisect.record(patches, Evidence::Hit(2.0), 0.0);
        let build = vec![0.0; patches + 1];
        for round in 0..5_000 {
            match bisect.next(slots, &Prices { build: &build, boot: 2.0 }) {
                Next::Over(conclusion) => return (conclusion, round),
                Next::Trials { versions, seconds } => {
                    assert!((aim.shortest..=aim.longest).contains(&seconds) && versions.len() <= slots);
                    for version in versions {
                        let evidence = answer(version, seconds);
                        bisect.record(version, evidence, seconds);
                    }
                }
            }
        }
        panic!("no end");
    }

    proptest! {
        #[test]
        fn a_bug_that_always_shows_is_pinned(patches in 1usize..40, at in 0usize..40, slots in 1usize..4) {
            let culprit = 1 + at % patches;
            let (conclusion, rounds) = play(patches, AIM, slots, |version, seconds| {
                if version >= culprit { Evidence::Hit(2.0) } else { Evidence::Clean(seconds) }
            });
            let Conclusion::Culprit { patch, confidence } = conclusion else { panic!("{conclusion:?}") };
            prop_assert_eq!(patch, culprit);
            prop_assert!(confidence >= 0.95);
            prop_assert!(rounds < 40, "{}", rounds);
        }

        /// In whatever order it hears of trials, it comes to the same.
        #[test]
        fn order_does_not_matter(trials in prop::collection::vec((0usize..6, 0u8..3), 1..30)) {
            let of = |trials: &mut dyn Iterator<Item = &(usize, u8)>| {
                let mut bisect = Bisect::new(5, AIM);
                for &(version, what) in trials {
                    let evidence = [Evidence::Hit(3.0), Evidence::Clean(30.0), Evidence::Other][what as usize];
                    bisect.record(version, evidence, 1.0);
                }
                bisect.posterior().clone()
            };
            prop_assert_eq!(of(&mut trials.iter()), of(&mut trials.iter().rev()));
        }

        /// Whatever it is told, it ends with its budget, and what said nothing has no weight.
        #[test]
        fn it_ends(patches in 1usize..20, answers in prop::collection::vec(0u8..5, 1..50)) {
            let mut i = 0;
            let aim = Aim { budget: 3000.0, ..AIM };
            play(patches, aim, 1, |_, seconds| {
                i += 1;
                match answers[i % answers.len()] {
                    0 => Evidence::Hit(1.0),
                    1 => Evidence::Clean(seconds),
                    2 => Evidence::TooShort,
                    3 => Evidence::Unbuildable,
                    _ => Evidence::Other,
                }
            });
        }
    }

    #[test]
    fn what_the_source_has_is_not_the_series_fault() {
        let (conclusion, _) = play(5, AIM, 1, |_, _| Evidence::Hit(2.0));
        assert!(matches!(conclusion, Conclusion::PreExisting { .. }), "{conclusion:?}");
    }

    #[test]
    fn what_does_not_come_back_is_not_blamed_on_anyone() {
        let (conclusion, _) = play(5, AIM, 1, |_, seconds| Evidence::Clean(seconds));
        assert!(matches!(conclusion, Conclusion::NotReproduced { .. }), "{conclusion:?}");
    }

    #[test]
    fn versions_that_cannot_be_built_leave_their_neighbours_together() {
        let (conclusion, _) = play(8, AIM, 1, |version, seconds| match version {
            3 | 4 => Evidence::Unbuildable,
            5.. => Evidence::Hit(1.0),
            _ => Evidence::Clean(seconds),
        });
        let Conclusion::Unclear { patches, or_none: false, confidence } = conclusion else { panic!("{conclusion:?}") };
        assert_eq!(patches, [3, 4, 5]);
        assert!(confidence >= 0.95);
    }

    #[test]
    fn a_spent_budget_leaves_the_likeliest() {
        let aim = Aim { budget: 25.0, ..AIM };
        let (conclusion, _) = play(
            8,
            aim,
            1,
            |version, seconds| if version >= 4 { Evidence::Hit(1.0) } else { Evidence::Clean(seconds) },
        );
        let Conclusion::Unclear { patches, confidence, .. } = conclusion else { panic!("{conclusion:?}") };
        assert!(patches.contains(&4) && confidence >= CREDIBLE, "{patches:?} {confidence}");
    }

    #[test]
    fn early_failures_bring_the_horizon_nearer_and_late_ones_then_count_as_clean() {
        let mut bisect = Bisect::new(2, AIM);
        for (version, evidence) in [(2, Evidence::Hit(29.0)), (0, Evidence::Clean(30.0))] {
            bisect.record(version, evidence, 1.0);
        }
        for _ in 0..12 {
            bisect.record(2, Evidence::Hit(0.5), 1.0);
        }
        bisect.look(2.0);
        assert!(bisect.length() < 29.0, "{}", bisect.length());
        assert_eq!(bisect.counts(2, 2), Counts { hits: 12, clean: 1 });
        assert_eq!(bisect.counts(0, 0), Counts { hits: 0, clean: 1 });
        // A trial that exercised nothing lengthens the next ones, and leaves the horizon where it is.
        let before = bisect.length();
        bisect.record(0, Evidence::TooShort, 1.0);
        assert!(bisect.length() >= (2.0 * before).min(30.0));
        assert_eq!(bisect.counts(2, 2), Counts { hits: 12, clean: 1 });
    }
}
