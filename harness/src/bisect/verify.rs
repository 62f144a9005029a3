//! What shows that an answer holds: with the culprit in, the bug shows; with it out, it stays away for as long as the
//! confidence needs.

use super::model::{miss, Counts};

/// The most passes that a verification asks for.
const MOST: u32 = 200;

/// How many passes in a row a version without the culprit needs before it is shown to be clean: a bad version, of
/// which `bad` was seen, would pass as often with a chance of at most 1 - `confidence`. `None` if that takes too many.
pub fn passes_needed(bad: Counts, confidence: f64) -> Option<u32> {
    (1..=MOST).find(|&trials| miss(bad, trials) <= 1.0 - confidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bug_that_always_shows_needs_few_passes_and_a_rare_one_many() {
        let needed = |hits, clean| passes_needed(Counts { hits, clean }, 0.95);
        assert!(needed(10, 0).unwrap() <= 3);
        assert!((6..=16).contains(&needed(10, 20).unwrap()), "{:?}", needed(10, 20));
        assert!(needed(3, 27).unwrap() >= 25);
    }

    proptest! {
        #[test]
        fn more_confidence_needs_more(hits in 0u32..20, clean in 0u32..60) {
            let bad = Counts { hits, clean };
            let of = |c| passes_needed(bad, c).unwrap_or(u32::MAX);
            prop_assert!(of(0.9) <= of(0.95) && of(0.95) <= of(0.99));
        }
    }
}
