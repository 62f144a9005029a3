//! The fewest trials in the mean that any rule can have, were it told p, q and the rate r that "no patch" would have.
//!
//! A rule that names the culprit with the chance `a`, whichever of n patches it is, and accuses somebody with the chance
//! `b` when all versions fail at the rate r, names patch k with the chance b/n then, in the mean over k. So its trials
//! must be expected to tell patch k from "none" by kl(a, b/n) nats, whatever r is (Wald; the data-processing inequality
//! and the convexity of kl). A trial of a bad version brings kl(p, r) nats, one of a good version kl(q, r).

/// What is asked: the culprit in 95 % of them, nobody falsely in 97 %.
const RIGHT: f64 = 0.95;
const ACCUSED: f64 = 0.03;

/// The relative entropy of two coins, in nats. `b` is neither 0 nor 1.
fn kl(a: f64, b: f64) -> f64 {
    let term = |x: f64, y: f64| if x > 0.0 { x * (x / y).ln() } else { 0.0 };
    term(a, b) + term(1.0 - a, 1.0 - b)
}

/// The fewest trials for these rates and so many patches, whatever `r` is.
pub fn trials(patches: usize, bad: f64, good: f64) -> f64 {
    let any: Vec<f64> = (1..200).map(|i| f64::from(i) / 200.0).collect();
    trials_if(patches, bad, good, &any)
}

/// The fewest if `r` is one of `rates`, each between 0 and 1.
fn trials_if(patches: usize, bad: f64, good: f64, rates: &[f64]) -> f64 {
    let worst = |share: f64| {
        let nats = rates.iter().map(|&r| share * kl(bad, r) + (1.0 - share) * kl(good, r));
        nats.fold(f64::INFINITY, f64::min)
    };
    let best = (0..=400).map(|i| worst(f64::from(i) / 400.0)).fold(0.0, f64::max);
    kl(RIGHT, ACCUSED / patches as f64) / best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound does not live on a rate that no table has. 0 is left out: one failure tells it from all others.
    #[test]
    fn it_is_nearly_as_high_if_none_has_only_rates_of_the_tables() {
        let rates = [0.01, 0.05, 0.1, 0.3, 0.5, 0.9];
        let least = [0.9, 0.5, 0.3, 0.1].map(|bad| format!("{:.1}", trials_if(8, bad, 0.01, &rates)));
        assert_eq!(least, ["9.8", "22.3", "42.1", "212.4"]);
    }
}
