//! Seeds of searches. A trial is told from others by its cell and seed, and searches share cells (`base` is the start of
//! every series, a plain cell the end of many a search over settings), in one run or in two that are merged. So each
//! search has seeds of its own, clear of the matrix's.

use crate::hash::Hasher;
use std::path::Path;

/// From here on those of bisections over patches and commits.
pub(super) const LINES: u64 = 1 << 32;
/// Those of searches over settings.
pub(super) const SETTINGS: u64 = 1 << 33;
/// Those of searches over loads.
pub(super) const LOADS: u64 = 1 << 34;

/// So many of them are one search's.
const EACH: u64 = 1 << 16;

/// The first seed of the search with that log, of a kind whose seeds begin at `kind`.
pub(super) fn first(kind: u64, log: &Path) -> u64 {
    let name = log.file_name().unwrap_or_default().as_encoded_bytes();
    let hash = Hasher::new("bisection").field(name).finish();
    kind + EACH * u64::from_str_radix(&hash[..4], 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_have_seeds_of_their_own() {
        let first = |kind, name: &str| first(kind, Path::new(name));
        let (a, b) =
            (first(SETTINGS, "r/bisect/settings/a.log.jsonl"), first(SETTINGS, "r/bisect/settings/b.log.jsonl"));
        assert!(a.abs_diff(b) >= EACH);
        assert_eq!(a, first(SETTINGS, "elsewhere/a.log.jsonl"), "wherever the run is");
        for (kind, next) in [(LINES, SETTINGS), (SETTINGS, LOADS)] {
            assert!((kind..next).contains(&first(kind, "a.log.jsonl")));
            // Whatever the name.
            assert!(kind + EACH * 0xffff + EACH <= next);
        }
    }
}
