//! The rule of git_bayesect 1.2, as it works with its default settings: two failure rates with Jeffreys priors, no
//! suspect "none" (but the oldest version is a suspect), the version that leaves the least expected entropy next, the
//! middle of equals, and an end when one version has 95 %. Written anew, and held to sequences that the package
//! itself produced: `cargo test --example bisections`.

use super::kernel::{Account, Ended, Kernel, Prices, LENGTH};

/// ln B(1/2 + a, 1/2 + b), for counts.
struct LnBeta(Vec<f64>, Vec<f64>);

impl LnBeta {
    fn new(most: usize) -> Self {
        // ln Γ(n + 1/2) and ln Γ(n + 1).
        let (mut half, mut whole) = (vec![0.5 * std::f64::consts::PI.ln()], vec![0.0]);
        for n in 0..most {
            half.push(half[n] + (n as f64 + 0.5).ln());
            whole.push(whole[n] + (n as f64 + 1.0).ln());
        }
        Self(half, whole)
    }

    fn of(&self, a: usize, b: usize) -> f64 {
        self.0[a] + self.0[b] - self.1[a + b]
    }
}

pub struct Bayesect {
    ln_beta: LnBeta,
    /// By age as it counts: the newest version first. Up to and with this version.
    fails: Vec<usize>,
    total: Vec<usize>,
    pub mass: Vec<f64>,
}

impl Bayesect {
    pub fn new(versions: usize, most: usize) -> Self {
        let mut this = Self {
            ln_beta: LnBeta::new(most + 2),
            fails: vec![0; versions],
            total: vec![0; versions],
            mass: Vec::new(),
        };
        this.update();
        this
    }

    pub fn record(&mut self, age: usize, failed: bool) {
        for i in age..self.total.len() {
            self.total[i] += 1;
            self.fails[i] += usize::from(failed);
        }
        self.update();
    }

    fn ends(&self) -> (usize, usize) {
        (*self.fails.last().unwrap_or(&0), *self.total.last().unwrap_or(&0))
    }

    fn update(&mut self) {
        let (fails, total) = self.ends();
        let ln: Vec<f64> = (0..self.total.len())
            .map(|i| {
                let (f, t) = (self.fails[i], self.total[i]);
                self.ln_beta.of(f, t - f) + self.ln_beta.of(fails - f, (total - t) - (fails - f))
            })
            .collect();
        let most = ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.mass = ln.iter().map(|l| (l - most).exp()).collect();
        let sum: f64 = self.mass.iter().sum();
        self.mass.iter_mut().for_each(|m| *m /= sum);
    }

    pub fn select(&self) -> usize {
        let (fails, total) = self.ends();
        let n = self.mass.len();
        let mean = |f: usize, t: usize| (0.5 + f as f64) / (1.0 + t as f64);
        let new: Vec<f64> = (0..n).map(|i| mean(self.fails[i], self.total[i])).collect();
        let old: Vec<f64> = (0..n).map(|i| mean(fails - self.fails[i], total - self.total[i])).collect();
        let term = |w: f64| if w > 0.0 { w * w.log2() } else { 0.0 };
        // Expected entropy of both outcomes: for each, ln S * S - sum of w ln w.
        let mut expected = vec![0.0; n];
        for failed in [true, false] {
            let of = |rate: f64| if failed { rate } else { 1.0 - rate };
            let (mut s, mut log) = (0.0, 0.0);
            for (mass, new) in self.mass.iter().zip(&new) {
                s += mass * of(*new);
                log += term(mass * of(*new));
            }
            for (((expected, mass), new), old) in expected.iter_mut().zip(&self.mass).zip(&new).zip(&old) {
                if s > 0.0 {
                    *expected += s * s.log2() - log;
                }
                // What is newer than the version that is tried fails at the old rate.
                s += mass * (of(*old) - of(*new));
                log += term(mass * of(*old)) - term(mass * of(*new));
            }
        }
        let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
        let equal = |e: f64| (e - least).abs() <= 1e-12 + 1e-12 * least.abs();
        (0..n).filter(|&i| equal(expected[i])).min_by_key(|&i| i.abs_diff(n / 2)).unwrap_or(0)
    }
}

/// Bisects until each of `levels` (rising) is reached, or `most` trials; yields what it had come to by then.
pub fn bisect(kernel: &mut Kernel, prices: Prices, levels: &[f64], most: usize) -> Vec<Ended> {
    let patches = kernel.case.patches;
    let mut account = Account::new(patches, prices);
    let mut bayesect = Bayesect::new(patches + 1, most + 1);
    // The failure that started it all.
    bayesect.record(0, true);
    let mut ends = Vec::new();
    while ends.len() < levels.len() {
        let (age, mass) =
            bayesect.mass.iter().copied().enumerate().fold((0, 0.0), |best, m| if m.1 > best.1 { m } else { best });
        if mass >= levels[ends.len()] {
            ends.push(Ended { named: Some(patches - age), ..account.ended });
        } else if account.ended.trials as usize >= most {
            ends.push(account.ended);
        } else {
            let age = bayesect.select();
            let (hit, _) = account.trial(kernel, patches - age, LENGTH);
            bayesect.record(age, hit.is_some());
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions, what the package chose and was told, the likeliest version at the end and its mass.
    #[test]
    fn it_chooses_as_the_package_does() {
        let (f, t) = (false, true);
        let sequences: [(usize, [(usize, bool); 12], usize, f64); 3] = [
            (
                9,
                [(4, f), (2, f), (1, t), (2, t), (4, f), (3, f), (1, t), (2, t), (3, f), (3, f), (2, t), (3, f)],
                2,
                0.904_056,
            ),
            (
                9,
                [(4, t), (7, f), (5, f), (4, f), (2, f), (1, f), (0, t), (0, t), (0, f), (1, f), (0, f), (8, f)],
                0,
                0.245_19,
            ),
            (
                33,
                [
                    (16, f),
                    (8, t),
                    (12, f),
                    (10, t),
                    (11, t),
                    (12, f),
                    (11, f),
                    (9, t),
                    (10, t),
                    (11, t),
                    (12, f),
                    (12, t),
                ],
                11,
                0.185_313,
            ),
        ];
        for (versions, trials, likeliest, mass) in sequences {
            let mut bayesect = Bayesect::new(versions, 100);
            bayesect.record(0, true);
            for (age, failed) in trials {
                assert_eq!(bayesect.select(), age);
                bayesect.record(age, failed);
            }
            assert!((bayesect.mass[likeliest] - mass).abs() < 1e-6);
            assert!(bayesect.mass.iter().all(|&m| m <= bayesect.mass[likeliest]));
        }
    }
}
