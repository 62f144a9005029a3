//! Memory whose every page says which page it is: whoever reads it back knows whether the kernel lost, mixed up or
//! resurrected it.
//!
//! A page carries three words drawn from (key, page, version): its first, its last and one in between, so that a
//! page stays cheap to fill under emulation and compresses well in zram, and yet is never "same filled".

use crate::region::{Region, WORDS};
use crate::rng::mix;
use rustix::io::Errno;
use rustix::mm::Advice;
use std::ops::Range;

/// Version of a page that was never written or was discarded: it reads as zeros.
const ZERO: u32 = 0;

/// A region with known contents.
#[derive(Debug)]
pub struct Patterned {
    region: Region,
    key: u64,
    /// The identity of page 0; pages keep theirs when mremap moves them.
    first: u64,
    versions: Vec<u32>,
    next_version: u32,
}

/// A page that does not hold what was written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The particulars, for [`mmtorture_protocol::Report::Violation`].
    pub detail: String,
}

impl Patterned {
    /// Maps `pages` zero pages, aligned to `align` pages. `key` makes the patterns those of one owner.
    pub fn map(pages: usize, align: usize, key: u64) -> Result<Self, Errno> {
        let mut versions = Vec::new();
        versions.try_reserve_exact(pages).map_err(|_| Errno::NOMEM)?;
        versions.resize(pages, ZERO);
        Ok(Self { region: Region::map(pages, align)?, key, first: 0, versions, next_version: 1 })
    }

    /// Pages, holes included.
    pub fn pages(&self) -> usize {
        self.region.pages()
    }

    /// The address of page 0.
    pub fn address(&self) -> usize {
        self.region.address(0)
    }

    /// From now on writes draw versions of `generation`: the two sides of a fork then write different patterns, and
    /// a page that leaks from one to the other is seen.
    pub fn set_generation(&mut self, generation: u8) {
        self.next_version = (u32::from(generation) << 24) | (self.next_version & 0x00ff_ffff) | 1;
    }

    /// Writes a new version to every `step`-th page of `range`, as far as mapped; returns how many there were.
    pub fn fill_some(&mut self, range: Range<usize>, step: usize) -> u64 {
        let mut written = 0;
        for page in range.step_by(step) {
            if !self.region.is_live(page) {
                continue;
            }
            let version = self.next_version;
            self.next_version = self.next_version.checked_add(1).unwrap_or(1);
            self.versions[page] = version;
            for (word, value) in self.words(page, version) {
                self.region.write(page, word, value);
            }
            written += 1;
        }
        written
    }

    /// Reads every mapped page of `range` back; returns how many there were.
    pub fn verify(&self, range: Range<usize>) -> Result<u64, Mismatch> {
        let mut read = 0;
        for page in range {
            if !self.region.is_live(page) {
                continue;
            }
            let version = self.versions[page];
            for (word, expected) in self.words(page, version) {
                let found = self.region.read(page, word);
                if found != expected {
                    return Err(self.mismatch(page, word, expected, found));
                }
            }
            read += 1;
        }
        Ok(read)
    }

    /// MADV_DONTNEED: the mapped pages of `range` are zeros from now on.
    pub fn discard(&mut self, range: Range<usize>) -> Result<(), Errno> {
        let result = self.region.advise(range.clone(), Advice::LinuxDontNeed);
        if result.is_ok() {
            self.versions[range].fill(ZERO);
        }
        result
    }

    /// madvise with an advice that keeps the contents.
    pub fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), Errno> {
        debug_assert!(!matches!(advice, Advice::LinuxDontNeed | Advice::LinuxFree | Advice::LinuxWipeOnFork));
        self.region.advise(range, advice)
    }

    /// munmap of `range`.
    pub fn unmap(&mut self, range: Range<usize>) -> Result<(), Errno> {
        self.region.unmap(range)
    }

    /// The longest run of mapped pages within `range`; empty if there is none.
    pub fn longest_run(&self, range: Range<usize>) -> Range<usize> {
        self.region.runs(range).into_iter().max_by_key(ExactSizeIterator::len).unwrap_or(0..0)
    }

    /// mremap: moves the wholly mapped `range` to a place of its own.
    pub fn move_out(&mut self, range: Range<usize>) -> Result<Self, Errno> {
        let mut versions = Vec::new();
        versions.try_reserve_exact(range.len()).map_err(|_| Errno::NOMEM)?;
        versions.extend_from_slice(&self.versions[range.clone()]);
        let first = self.first + range.start as u64;
        let region = self.region.move_out(range)?;
        Ok(Self { region, key: self.key, first, versions, next_version: self.next_version })
    }

    fn words(&self, page: usize, version: u32) -> [(usize, u64); 3] {
        let id = self.first + page as u64;
        if version == ZERO {
            return [(0, 0), (1 + mix(self.key, id) as usize % (WORDS - 2), 0), (WORDS - 1, 0)];
        }
        let stamp = mix(mix(self.key, id), u64::from(version));
        // The place of the word in between depends on the page alone: every version overwrites the one before.
        let between = 1 + mix(self.key, id) as usize % (WORDS - 2);
        [(0, stamp), (between, stamp.rotate_left(21)), (WORDS - 1, !stamp)]
    }

    fn mismatch(&self, page: usize, word: usize, expected: u64, found: u64) -> Mismatch {
        let version = self.versions[page];
        let stale = (1..version).rev().take(4096).find(|&old| self.words(page, old).contains(&(word, found)));
        let other = || {
            let near = page.saturating_sub(HORIZON)..(page + HORIZON).min(self.pages());
            near.into_iter().find(|&p| {
                p != page && self.versions[p] != ZERO && self.words(p, self.versions[p]).iter().any(|w| w.1 == found)
            })
        };
        let meaning = match (found, stale) {
            (0, _) => "zeros: its contents were lost".to_owned(),
            (_, Some(old)) => format!("its own version {old}: a later write was lost"),
            _ if version == ZERO => "data where zeros are due: an old page came back".to_owned(),
            _ => match other() {
                Some(p) => format!("the contents of page {p}"),
                None => "nothing this process wrote near it".to_owned(),
            },
        };
        let detail = format!(
            "page {page} (address {:#x}, version {version}), word {word}: expected {expected:#018x}, found \
             {found:#018x}, {meaning}",
            self.region.address(page)
        );
        Mismatch { detail }
    }
}

/// How far around a bad page its contents are looked for, in pages.
const HORIZON: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> Patterned {
        let mut region = Patterned::map(64, 1, 99).unwrap();
        assert_eq!(region.fill_some(0..32, 1), 32);
        region
    }

    #[test]
    fn what_was_written_verifies_and_so_do_zeros() {
        let mut region = region();
        assert_eq!(region.verify(0..64), Ok(64));
        region.fill_some(5..9, 1);
        region.discard(7..12).unwrap();
        region.unmap(20..30).unwrap();
        assert_eq!(region.verify(0..64), Ok(54));
    }

    #[test]
    fn a_moved_run_keeps_its_identity() {
        let mut region = region();
        let moved = region.move_out(8..16).unwrap();
        assert_eq!(moved.verify(0..8), Ok(8));
        assert_eq!(region.verify(0..64), Ok(56));
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        let told = |damage: fn(&mut Patterned)| {
            let mut region = region();
            damage(&mut region);
            region.verify(0..64).unwrap_err().detail
        };
        assert!(
            told(|r| r.region.write(3, 0, 0)).contains("page 3 ") && told(|r| r.region.write(3, 0, 0)).contains("lost")
        );
        let stale = told(|r| {
            let old = r.words(3, r.versions[3])[2].1;
            r.fill_some(3..4, 1);
            r.region.write(3, WORDS - 1, old);
        });
        assert!(stale.contains("a later write was lost"), "{stale}");
        let swapped = told(|r| {
            let other = r.region.read(9, 0);
            r.region.write(3, 0, other);
        });
        assert!(swapped.contains("the contents of page 9"), "{swapped}");
        assert!(told(|r| r.region.write(40, 0, 1)).contains("an old page came back"));
        assert!(told(|r| r.region.write(3, 0, 12345)).contains("nothing this process wrote"));
    }

    #[test]
    fn the_two_sides_of_a_fork_write_different_patterns() {
        let (mut parent, mut child) = (region(), region());
        child.set_generation(1);
        parent.fill_some(0..1, 1);
        child.fill_some(0..1, 1);
        assert_ne!(parent.region.read(0, 0), child.region.read(0, 0));
        assert_eq!(child.verify(0..64), Ok(64));
    }
}
