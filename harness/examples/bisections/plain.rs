//! `git bisect run` with every version tried up to k times: bad at the first failure, good after k passes.

use super::kernel::{Account, Ended, Kernel, Prices, LENGTH};

pub fn bisect(kernel: &mut Kernel, prices: Prices, tries: usize) -> Ended {
    let patches = kernel.case.patches;
    let mut account = Account::new(patches, prices);
    let (mut good, mut bad) = (0, patches);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        let fails = (0..tries).any(|_| account.trial(kernel, middle, LENGTH).0.is_some());
        if fails {
            bad = middle;
        } else {
            good = middle;
        }
    }
    account.ended.named = Some(bad);
    account.ended
}
