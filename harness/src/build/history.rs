//! How many objects a build will compile, from what builds before it did. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// As many builds as are remembered.
const MOST: usize = 64;

/// What the builds in a work tree took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// The files that changed since the last build that ended well.
    pub pending: BTreeSet<String>,
    /// Objects that the first build compiled.
    full: Option<usize>,
    /// Builds after it, the newest last.
    builds: Vec<(BTreeSet<String>, usize)>,
}

impl History {
    /// The objects that the next build will compile: as many as when the same files changed, or at least as many as
    /// when some of them did. In a tree where nothing was built, what a first build took `elsewhere`. `None`: nothing
    /// like it was built.
    pub fn estimate(&self, first: bool, elsewhere: Option<usize>) -> Option<usize> {
        if first {
            return self.full.or(elsewhere);
        }
        let like = |(files, _): &&(BTreeSet<String>, usize)| *files == self.pending;
        let part = |(files, _): &&(BTreeSet<String>, usize)| files.is_subset(&self.pending);
        let builds = || self.builds.iter().rev();
        builds().find(like).or_else(|| builds().filter(part).max_by_key(|(_, objects)| *objects)).map(|(_, n)| *n)
    }

    /// Notes that a build has compiled `objects`; `first`: from nothing.
    pub fn built(&mut self, first: bool, objects: usize) {
        let changed = std::mem::take(&mut self.pending);
        if first {
            self.full = Some(objects);
        } else if !changed.is_empty() {
            self.builds.retain(|(files, _)| *files != changed);
            self.builds.push((changed, objects));
            let surplus = self.builds.len().saturating_sub(MOST);
            self.builds.drain(..surplus);
        }
    }

    /// What the first build took.
    pub fn full(&self) -> Option<usize> {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_expected_to_take_what_one_like_it_took() {
        let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut history = History::default();
        assert_eq!(history.estimate(true, Some(1000)), Some(1000), "another tree's");
        history.built(true, 732);
        assert_eq!(history.full(), Some(732));
        let mut build = |names: &[&str], objects| {
            history.pending = files(names);
            let expected = history.estimate(false, Some(1000));
            history.built(false, objects);
            expected
        };
        assert_eq!(build(&["mm/rmap.c"], 8), None);
        assert_eq!(build(&["mm/rmap.c"], 9), Some(8));
        assert_eq!(build(&["mm/rmap.c", "mm/internal.h"], 40), Some(9), "at least");
        assert_eq!(build(&["mm/rmap.c", "mm/internal.h"], 40), Some(40));
    }
}
