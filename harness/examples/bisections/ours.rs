//! The bisection of the harness itself, with nothing between it and the dice.

use super::kernel::{Account, Ended, Kernel, Prices, LENGTH};
use mmtorture_harness::bisect::{Aim, Bisect, Conclusion, Evidence, Next};

pub fn bisect(kernel: &mut Kernel, prices: Prices, shortest: f64, most: usize) -> Ended {
    let patches = kernel.case.patches;
    let mut account = Account::new(patches, prices);
    let aim = Aim { confidence: 0.95, budget: f64::INFINITY, longest: LENGTH, shortest };
    let mut bisect = Bisect::new(patches, aim);
    // The failure that started it all.
    let first = kernel.time();
    bisect.record(patches, Evidence::Hit(first), 0.0);
    while (account.ended.trials as usize) < most {
        let builds = account.builds();
        let prices = mmtorture_harness::bisect::Prices { build: &builds, boot: prices.boot };
        match bisect.next(1, &prices) {
            Next::Over(conclusion) => {
                account.ended.named = match conclusion {
                    Conclusion::Culprit { patch, .. } => Some(patch),
                    Conclusion::PreExisting { .. } | Conclusion::NotReproduced { .. } => Some(0),
                    Conclusion::Unclear { .. } => None,
                };
                break;
            }
            Next::Trials { versions, seconds } => {
                for version in versions {
                    let (hit, cost) = account.trial(kernel, version, seconds);
                    bisect.record(version, hit.map_or(Evidence::Clean(seconds), Evidence::Hit), cost);
                }
            }
        }
    }
    account.ended
}
