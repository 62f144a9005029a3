//! The next trial: the one that is expected to say most for its price.

use super::model::Posterior;

/// So many outcomes of trials that were not run yet are thought through when a batch is chosen.
const SCENARIOS: usize = 8;

/// A version that was not tried yet, and whether it is thought to fail.
pub type Foreseen = (usize, bool);

/// The entropy of a coin, in nats.
fn entropy(p: f64) -> f64 {
    let term = |x: f64| if x > 0.0 { -x * x.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// What a trial of each version, 0 patches to all, is expected to say of which suspect it is, in nats; and the chance
/// that it fails. In one pass: the mutual information of the trial's outcome and the suspect.
pub fn gains(posterior: &Posterior) -> Vec<(f64, f64)> {
    let none = &posterior.none;
    // Beyond a version's patches, all suspects think it good.
    let (mut hit, mut known) = (none.mass * none.bad, none.mass * entropy(none.bad));
    for s in &posterior.patches {
        hit += s.mass * s.good;
        known += s.mass * entropy(s.good);
    }
    let mut gains = Vec::with_capacity(posterior.patches.len() + 1);
    gains.push(((entropy(hit) - known).max(0.0), hit));
    for s in &posterior.patches {
        hit += s.mass * (s.bad - s.good);
        known += s.mass * (entropy(s.bad) - entropy(s.good));
        let chance = hit.clamp(0.0, 1.0);
        gains.push(((entropy(chance) - known).max(0.0), chance));
    }
    gains
}

/// The version to try next, if any says anything: the most nats a second. `price` is in seconds, by version and the
/// chance that it fails; `None` where it cannot be tried.
pub fn best(posterior: &Posterior, price: &dyn Fn(usize, f64) -> Option<f64>) -> Option<usize> {
    best_of(&gains(posterior), price)
}

fn best_of(gains: &[(f64, f64)], price: &dyn Fn(usize, f64) -> Option<f64>) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (version, &(gain, hit)) in gains.iter().enumerate() {
        let Some(price) = price(version, hit) else { continue };
        let worth = gain / price.max(1e-9);
        if gain > 1e-12 && best.is_none_or(|(most, _)| worth > most) {
            best = Some((worth, version));
        }
    }
    best.map(|(_, version)| version)
}

/// `count` trials to run at once, each chosen for what it adds to those before it, whatever they will come to.
///
/// `after` is the posterior that would be, had trials of these versions come to these outcomes (`true` failed).
pub fn batch(
    count: usize,
    after: impl Fn(&[Foreseen]) -> Posterior,
    price: &dyn Fn(usize, f64) -> Option<f64>,
) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut scenarios = vec![(1.0, Vec::new(), gains(&after(&[])))];
    while chosen.len() < count {
        let versions = scenarios[0].2.len();
        let mut expected = vec![(0.0, 0.0); versions];
        for (weight, _, gains) in &scenarios {
            for (sum, gain) in expected.iter_mut().zip(gains) {
                sum.0 += weight * gain.0;
                sum.1 += weight * gain.1;
            }
        }
        let Some(version) = best_of(&expected, price) else { break };
        chosen.push(version);
        if chosen.len() == count {
            break;
        }
        let mut next: Vec<(f64, Vec<Foreseen>)> = Vec::new();
        for (weight, path, gains) in &scenarios {
            let hit = gains[version].1;
            for (failed, chance) in [(true, hit), (false, 1.0 - hit)] {
                let mut path = path.clone();
                path.push((version, failed));
                next.push((weight * chance, path));
            }
        }
        next.sort_by(|a, b| b.0.total_cmp(&a.0));
        next.truncate(SCENARIOS);
        let whole: f64 = next.iter().map(|n| n.0).sum();
        scenarios = next
            .into_iter()
            .map(|(weight, path)| {
                let gains = gains(&after(&path));
                (weight / whole, path, gains)
            })
            .collect();
    }
    chosen
}
