//! How long a trial should be. Races tend to show early or not at all, so a shorter trial often says nearly as much.
//!
//! All trials are read through one horizon: what failed later than that counts as clean, so that a trial that ran longer
//! says exactly what one of that length would have said, and the posterior needs no law of the times to failure. The
//! times only decide where the horizon stands, and it only ever comes nearer: a trial that is too short for it cannot
//! come about.

/// With so many failures their times are looked at first, and again whenever their number has doubled.
pub const ENOUGH: usize = 1;

/// The horizon stays beyond so many times the latest failure, divided by the number of failures: one early failure may
/// have been luck.
const BEYOND: f64 = 3.0;

/// A new horizon must be shorter by this factor: small steps are not worth what they forget.
const STEP: f64 = 0.85;

/// The horizon that says most a second, from the times of the failures so far (in seconds), when a trial costs `boot`
/// seconds beside its length, and bad versions fail at the rate `bad` by the `present` horizon and good ones at `good`.
pub fn choose(times: &[f64], present: f64, least: f64, boot: f64, bad: f64, good: f64) -> f64 {
    if times.len() < ENOUGH || present <= least {
        return present;
    }
    let sum: f64 = times.iter().sum::<f64>().max(0.1);
    // The share of failures within `t` under a constant hazard with the prior 1/hazard: it owns up to how few were seen.
    let by = |t: f64| 1.0 - (sum / (sum + t)).powf(times.len() as f64);
    let observed = |t: f64| times.iter().filter(|&&x| x <= t).count() as f64 / times.len() as f64;
    let whole = by(present);
    let mean = sum / times.len() as f64;
    let least = least.max(BEYOND * times.iter().copied().fold(0.0, f64::max) / times.len() as f64);
    let worth = |t: f64| {
        // Whichever is worse: the law, or what was seen.
        let share = (by(t) / whole).min(observed(t)).min(1.0);
        let (p, q) = (bad * share, good * (t / present));
        let hit = f64::midpoint(p, q);
        let said = entropy(hit) - f64::midpoint(entropy(p), entropy(q));
        said / (boot + hit * mean.min(t) + (1.0 - hit) * t)
    };
    let mut best = (worth(present), present);
    let mut t = present * STEP;
    while t >= least {
        let worth = worth(t);
        if worth > best.0 {
            best = (worth, t);
        }
        t *= 0.95;
    }
    best.1
}

fn entropy(p: f64) -> f64 {
    let term = |x: f64| if x > 0.0 { -x * x.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}
