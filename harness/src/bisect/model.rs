//! The posterior: how likely each suspect is, given all that was seen, whatever the two unknown rates are.
//!
//! A version is a number of patches applied. If patch `k` is the culprit, versions from `k` on fail at the rate `p`
//! (the chance that a trial shows the signature), those before it at the rate `q`; if none is, all fail at one rate `r`.
//! The rates have priors on grids, and every sum over them is done in full: the posterior is exact for those priors.

use std::sync::OnceLock;

/// Rates of a bad version. Below six in a hundred there is little to bisect in an hour. The grids are fine where rates
/// are low: with a thousand trials there, a rate between two points of a coarse grid would fit neither.
const BAD: [f64; 16] = [0.06, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97];

/// A rate weighs as this power of it: more for rare ones, so that a bug that shows rarely is not taken for one that shows
/// often.
const BAD_POWER: f64 = -0.7;

/// Rates of a good version, and their weights. A signature is narrow, so most have next to none; but some bugs have
/// several ways to show.
const GOOD: [(f64, f64); 9] = [
    (0.0003, 1.0),
    (0.003, 1.0),
    (0.01, 1.0),
    (0.017, 0.5),
    (0.025, 0.5),
    (0.035, 0.4),
    (0.05, 0.4),
    (0.07, 0.3),
    (0.1, 0.3),
];

/// A bad version fails at least so many times as often as a good one, or the patch is not worth the name of a culprit.
const LEAST_RATIO: f64 = 1.5;

/// Rates that are nearer to each other than by this factor weigh [`ALIKE_WEIGHT`] times as much. They are the hardest to
/// tell apart: without that, one such bug in five would be pinned on a wrong patch or on none.
const ALIKE: f64 = 2.2;
const ALIKE_WEIGHT: f64 = 8.0;

/// The one rate of all versions if no patch is to blame, and the weights. It is the low rates if the failure was noise,
/// the high ones if the source has the bug. Those that chance makes look most like a patch's doing weigh most, so that
/// no more than some three in a hundred bisections accuse a patch falsely; at a few rates it is five (docs/bisection.md).
const ANY: [(f64, f64); 22] = [
    (0.003, 0.05),
    (0.01, 0.05),
    (0.02, 0.06),
    (0.03, 0.15),
    (0.04, 0.18),
    (0.05, 0.14),
    (0.06, 0.04),
    (0.07, 0.04),
    (0.085, 0.03),
    (0.1, 0.03),
    (0.12, 0.04),
    (0.15, 0.05),
    (0.2, 0.05),
    (0.25, 0.05),
    (0.3, 0.05),
    (0.4, 0.02),
    (0.5, 0.01),
    (0.6, 0.01),
    (0.7, 0.01),
    (0.8, 0.01),
    (0.9, 0.01),
    (0.97, 0.01),
];

/// The prior chance that no patch of the series is the culprit.
const NONE: f64 = 0.5;

/// What was seen of one version, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Trials that failed with the signature.
    pub hits: u32,
    /// Trials that passed.
    pub clean: u32,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self { hits: self.hits + other.hits, clean: self.clean + other.clean }
    }

    fn minus(self, other: Self) -> Self {
        Self { hits: self.hits - other.hits, clean: self.clean - other.clean }
    }
}

/// A grid of rates, ready for sums.
struct Grid {
    rate: Vec<f64>,
    ln: Vec<f64>,
    ln_not: Vec<f64>,
}

impl Grid {
    fn new(rates: impl Iterator<Item = f64>) -> Self {
        let rate: Vec<_> = rates.collect();
        let ln = rate.iter().map(|r| r.ln()).collect();
        let ln_not = rate.iter().map(|r| (-r).ln_1p()).collect();
        Self { rate, ln, ln_not }
    }

    /// The likelihood of `seen` under each rate, and the logarithm of the factor that was taken out of all of them.
    fn likelihood(&self, seen: Counts, out: &mut Vec<f64>) -> f64 {
        let (hits, clean) = (f64::from(seen.hits), f64::from(seen.clean));
        out.clear();
        out.extend(self.ln.iter().zip(&self.ln_not).map(|(ln, ln_not)| hits * ln + clean * ln_not));
        let most = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for x in out {
            *x = (*x - most).exp();
        }
        most
    }
}

/// The priors.
struct Prior {
    bad: Grid,
    good: Grid,
    /// By bad rate, then good rate.
    joint: Vec<f64>,
    /// The one rate of all versions when no patch is to blame.
    any: Grid,
    any_weight: Vec<f64>,
}

impl Prior {
    fn get() -> &'static Self {
        static PRIOR: OnceLock<Prior> = OnceLock::new();
        PRIOR.get_or_init(|| {
            let mut joint: Vec<f64> = BAD.iter().flat_map(|&p| GOOD.iter().map(move |&q| weight(p, q))).collect();
            let mut any_weight: Vec<f64> = ANY.iter().map(|r| r.1).collect();
            normalise(&mut joint);
            normalise(&mut any_weight);
            Self {
                any: Grid::new(ANY.iter().map(|r| r.0)),
                any_weight,
                bad: Grid::new(BAD.iter().copied()),
                good: Grid::new(GOOD.iter().map(|q| q.0)),
                joint,
            }
        })
    }
}

/// The weight of a bad rate, before what goes with it.
fn bad_weight(bad: f64) -> f64 {
    bad.powf(BAD_POWER)
}

/// The weight of a pair of rates.
fn weight(bad: f64, (good, good_weight): (f64, f64)) -> f64 {
    let alike = match bad / good {
        ratio if ratio < LEAST_RATIO => 0.0,
        ratio if ratio < ALIKE => ALIKE_WEIGHT,
        _ => 1.0,
    };
    bad_weight(bad) * good_weight * alike
}

fn normalise(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
}

/// One hypothesis, given what was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suspect {
    /// How likely it is.
    pub mass: f64,
    /// If it is true, the expected rate of a bad version.
    pub bad: f64,
    /// And of a good one.
    pub good: f64,
}

/// How likely everything is.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// The patches in order: the first patch is `patches[0]`.
    pub patches: Vec<Suspect>,
    /// That no patch is to blame; both rates are the one that all versions then have.
    pub none: Suspect,
}

impl Posterior {
    /// From what was seen of each version, 0 patches to all of them. Takes time in proportion to the number of versions
    /// that were tried, and to that of the patches.
    pub fn of(versions: &[Counts]) -> Self {
        let prior = Prior::get();
        let all = versions.iter().fold(Counts::default(), |sum, v| sum.plus(*v));
        let count = versions.len().saturating_sub(1);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let share = ((1.0 - NONE) / count.max(1) as f64).ln();
        let mut good = Counts::default();
        let mut last: Option<Suspect> = None;
        let mut patches = Vec::with_capacity(count);
        for before in versions.iter().take(count) {
            // Between two versions that were tried, all suspects have the same evidence.
            if let Some(same) = last.filter(|_| *before == Counts::default()) {
                patches.push(same);
                continue;
            }
            good = good.plus(*before);
            let (ln, bad_rate, good_rate) = sum(prior, all.minus(good), good, &mut a, &mut b);
            let suspect = Suspect { mass: ln + share, bad: bad_rate, good: good_rate };
            patches.push(suspect);
            last = Some(suspect);
        }
        let ln = prior.any.likelihood(all, &mut a);
        let total: f64 = a.iter().zip(&prior.any_weight).map(|(l, w)| l * w).sum();
        let rate =
            a.iter().zip(&prior.any_weight).zip(&prior.any.rate).map(|((l, w), r)| l * w * r).sum::<f64>() / total;
        let mut none = Suspect { mass: ln + total.ln() + NONE.ln(), bad: rate, good: rate };

        let most = patches.iter().map(|s| s.mass).fold(none.mass, f64::max);
        let mut whole = 0.0;
        for suspect in patches.iter_mut().chain([&mut none]) {
            suspect.mass = (suspect.mass - most).exp();
            whole += suspect.mass;
        }
        for suspect in patches.iter_mut().chain([&mut none]) {
            suspect.mass /= whole;
        }
        Self { patches, none }
    }

    /// The expected rate of a version that has the bug, if some patch brought it.
    pub fn bad_rate(&self) -> f64 {
        self.expected(|s| s.bad)
    }

    /// The expected rate of a version that has it not.
    pub fn good_rate(&self) -> f64 {
        self.expected(|s| s.good)
    }

    fn expected(&self, rate: impl Fn(&Suspect) -> f64) -> f64 {
        let mass: f64 = self.patches.iter().map(|s| s.mass).sum();
        if mass <= 0.0 {
            return rate(&self.none);
        }
        self.patches.iter().map(|s| s.mass * rate(s)).sum::<f64>() / mass
    }
}

/// The logarithm of the likelihood of `bad` and `good`, and the rates that are then expected.
fn sum(prior: &Prior, bad: Counts, good: Counts, a: &mut Vec<f64>, b: &mut Vec<f64>) -> (f64, f64, f64) {
    let taken = prior.bad.likelihood(bad, a) + prior.good.likelihood(good, b);
    let (mut total, mut p, mut q) = (0.0, 0.0, 0.0);
    for ((a, rate), row) in a.iter().zip(&prior.bad.rate).zip(prior.joint.chunks_exact(b.len())) {
        let (mut part, mut part_q) = (0.0, 0.0);
        for ((w, b), good_rate) in row.iter().zip(&*b).zip(&prior.good.rate) {
            part += w * b;
            part_q += w * b * good_rate;
        }
        total += a * part;
        p += a * part * rate;
        q += a * part_q;
    }
    if total > 0.0 {
        (taken + total.ln(), p / total, q / total)
    } else {
        // Less likely than a number can say.
        (f64::NEG_INFINITY, 0.5, 0.0)
    }
}

/// The chance that a version with the bug, of which other bad versions showed `bad`, passes `trials` times in a row.
pub fn miss(bad: Counts, trials: u32) -> f64 {
    let prior = Prior::get();
    let mut likelihood = Vec::new();
    prior.bad.likelihood(bad, &mut likelihood);
    let (mut whole, mut missed) = (0.0, 0.0);
    for ((l, bad), not) in likelihood.iter().zip(BAD).zip(&prior.bad.ln_not) {
        let w = bad_weight(bad);
        whole += l * w;
        missed += l * w * (not * f64::from(trials)).exp();
    }
    missed / whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions() -> impl Strategy<Value = Vec<Counts>> {
        let counts = (0u32..6, 0u32..12).prop_map(|(hits, clean)| Counts { hits, clean });
        prop::collection::vec(prop_oneof![Just(Counts::default()), counts], 2..12)
    }

    /// The same by the definition: each trial's chance under each pair of rates, multiplied and summed.
    fn brute(versions: &[Counts]) -> Vec<f64> {
        let patches = versions.len() - 1;
        let pairs = || BAD.iter().flat_map(|&p| GOOD.iter().map(move |&q| (p, q)));
        let whole: f64 = pairs().map(|(p, q)| weight(p, q)).sum();
        let chance = |rate: &dyn Fn(usize) -> f64| -> f64 {
            let of = |(v, c): (usize, &Counts)| rate(v).powi(c.hits as i32) * (1.0 - rate(v)).powi(c.clean as i32);
            versions.iter().enumerate().map(of).product()
        };
        let mut masses: Vec<f64> = (1..=patches)
            .map(|k| {
                let sum: f64 =
                    pairs().map(|(p, q)| weight(p, q) / whole * chance(&|v| if v >= k { p } else { q.0 })).sum();
                sum * (1.0 - NONE) / patches as f64
            })
            .collect();
        let any: f64 = ANY.iter().map(|r| r.1).sum();
        masses.push(NONE * ANY.iter().map(|&(r, w)| w / any * chance(&|_| r)).sum::<f64>());
        normalise(&mut masses);
        masses
    }

    fn masses(posterior: &Posterior) -> Vec<f64> {
        posterior.patches.iter().chain([&posterior.none]).map(|s| s.mass).collect()
    }

    proptest! {
        #[test]
        fn it_is_what_the_definition_says(versions in versions()) {
            let posterior = Posterior::of(&versions);
            let masses = masses(&posterior);
            prop_assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (a, b) in masses.iter().zip(brute(&versions)) {
                prop_assert!((a - b).abs() < 1e-9, "{} is not {}", a, b);
            }
        }

        /// One more failure changes each suspect by the chance that it gave to it: the expected rates are right, and a
        /// suspect that thinks the version good gains only if it thought failures likelier than all did.
        #[test]
        fn a_failure_speaks_for_those_who_expected_it(versions in versions(), at in 0usize..12) {
            let at = at % versions.len();
            let before = Posterior::of(&versions);
            let mut more = versions.clone();
            more[at].hits += 1;
            let after = Posterior::of(&more);
            let expected = |k: usize, s: &Suspect| if at > k { s.bad } else { s.good };
            let chances: Vec<f64> =
                before.patches.iter().enumerate().map(|(k, s)| expected(k, s)).chain([before.none.bad]).collect();
            let hit: f64 = masses(&before).iter().zip(&chances).map(|(m, c)| m * c).sum();
            for ((old, new), chance) in masses(&before).iter().zip(masses(&after)).zip(&chances) {
                prop_assert!((new - old * chance / hit).abs() < 1e-7);
                prop_assert!(chance > &hit || new <= old + 1e-9);
            }
        }
    }

    #[test]
    fn thousands_of_trials_are_no_trouble() {
        let versions = vec![Counts { hits: 0, clean: 5000 }, Counts { hits: 3000, clean: 3000 }];
        let posterior = Posterior::of(&versions);
        assert!(posterior.patches[0].mass > 0.999_999);
        assert!((posterior.bad_rate() - 0.5).abs() < 0.05);
    }
}
