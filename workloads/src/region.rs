//! Anonymous memory straight from mmap(2), and the page table games that workloads play with it.
//!
//! A [`Region`] knows which of its pages are still its own, so that a hole punched by munmap can never be read,
//! written or unmapped again: the kernel may have given that address to somebody else meanwhile.

use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, MremapFlags, ProtFlags};
use std::ops::Range;

/// Bytes in a base page. x86-64 has no other base page size.
pub const PAGE: usize = 4096;

/// 64-bit words in a base page.
pub const WORDS: usize = PAGE / 8;

/// Base pages in a PMD-sized THP on x86-64.
pub const HUGE: usize = 512;

/// A private anonymous mapping, possibly with holes.
#[derive(Debug)]
pub struct Region {
    base: *mut u8,
    live: Vec<bool>,
}

impl Region {
    /// Maps `pages` pages of zeros, the first one at a multiple of `align` pages.
    pub fn map(pages: usize, align: usize) -> Result<Self, Errno> {
        let mut live = Vec::new();
        // Running out of memory is an ordinary event in a torture; aborting on it would look like a finding.
        live.try_reserve_exact(pages).map_err(|_| Errno::NOMEM)?;
        live.resize(pages, true);
        let slack = align.max(1) - 1;
        let bytes = (pages + slack).checked_mul(PAGE).ok_or(Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                // An ordinary process may ask for more than RAM + swap in total; what is touched is what counts.
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?
        .cast::<u8>();
        let skip = start.align_offset(align.max(1) * PAGE) / PAGE;
        let base = start.wrapping_add(skip * PAGE);
        let trim = |from: *mut u8, pages: usize| {
            if pages > 0 {
                // SAFETY: head and tail of the mapping made above, which nothing refers to yet. A failure only
                // leaves untouched address space behind.
                let _ = unsafe { mm::munmap(from.cast(), pages * PAGE) };
            }
        };
        trim(start, skip);
        trim(base.wrapping_add(pages * PAGE), slack - skip);
        Ok(Self { base, live })
    }

    /// Pages, holes included.
    pub fn pages(&self) -> usize {
        self.live.len()
    }

    /// Whether `page` is mapped still.
    pub fn is_live(&self, page: usize) -> bool {
        self.live.get(page).copied().unwrap_or(false)
    }

    /// The address of a page, for messages.
    pub fn address(&self, page: usize) -> usize {
        self.base.wrapping_add(page * PAGE) as usize
    }

    /// Reads one word. Volatile: the kernel changes pages behind the compiler's back.
    ///
    /// # Panics
    /// If the page is a hole or the word is out of bounds.
    pub fn read(&self, page: usize, word: usize) -> u64 {
        let at = self.word(page, word);
        // SAFETY: `word` checked that the page is mapped and the word is in it; anonymous memory is always
        // readable, any bit pattern is a u64, and `at` is 8-byte aligned.
        unsafe { at.read_volatile() }
    }

    /// Writes one word.
    ///
    /// # Panics
    /// If the page is a hole or the word is out of bounds.
    pub fn write(&mut self, page: usize, word: usize, value: u64) {
        let at = self.word(page, word);
        // SAFETY: as in `read`; `&mut self` makes this the only access in this process, and the mapping is private.
        unsafe { at.write_volatile(value) }
    }

    fn word(&self, page: usize, word: usize) -> *mut u64 {
        assert!(self.is_live(page) && word < WORDS, "page {page} of {}, word {word}", self.pages());
        self.base.wrapping_add(page * PAGE + word * 8).cast()
    }

    /// Runs of mapped pages within `range`.
    pub fn runs(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut at = range.start;
        let end = range.end.min(self.pages());
        while at < end {
            let stop = (at..end).find(|&page| !self.live[page]).unwrap_or(end);
            if stop > at {
                runs.push(at..stop);
            }
            at = stop + 1;
        }
        runs
    }

    /// madvise(2) on the mapped pages of `range`. After `LinuxDontNeed` and `LinuxFree` the contents are no longer
    /// what was written; that is for the caller to know.
    pub fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), Errno> {
        for run in self.runs(range) {
            // SAFETY: the run is wholly ours, and no reference into it exists: all access is by volatile word.
            unsafe { mm::madvise(self.base.wrapping_add(run.start * PAGE).cast(), run.len() * PAGE, advice) }?;
        }
        Ok(())
    }

    /// munmap(2) of the mapped pages of `range`, which become a hole for good.
    pub fn unmap(&mut self, range: Range<usize>) -> Result<(), Errno> {
        for run in self.runs(range) {
            // SAFETY: the run is wholly ours, and is marked as a hole before anything can touch it again.
            unsafe { mm::munmap(self.base.wrapping_add(run.start * PAGE).cast(), run.len() * PAGE) }?;
            self.live[run].fill(false);
        }
        Ok(())
    }

    /// mremap(2): moves the page tables of `range` elsewhere. What was here becomes a hole; the pages live on in
    /// the region returned, from its page 0 on.
    ///
    /// Every page of `range` must be mapped; EINVAL otherwise.
    pub fn move_out(&mut self, range: Range<usize>) -> Result<Self, Errno> {
        if range.is_empty() || self.runs(range.clone()) != [range.clone()] {
            return Err(Errno::INVAL);
        }
        // Congruent modulo a PMD where it can be, so that the kernel's move_normal_pmd/move_huge_pmd are taken.
        let huge = self.address(range.start).is_multiple_of(HUGE * PAGE) && range.len() >= HUGE;
        let target = Self::map(range.len(), if huge { HUGE } else { 1 })?;
        let bytes = range.len() * PAGE;
        // SAFETY: source and target are whole runs of our own mappings and do not overlap. The target's zero pages,
        // replaced by this, have never been touched; the source is marked as a hole at once.
        unsafe {
            mm::mremap_fixed(
                self.base.wrapping_add(range.start * PAGE).cast(),
                bytes,
                bytes,
                MremapFlags::MAYMOVE,
                target.base.cast(),
            )
        }?;
        self.live[range].fill(false);
        Ok(target)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // ENOMEM (too many mappings) leaves the pages mapped until the process exits: harmless.
        let _ = self.unmap(0..self.pages());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_what_is_written_until_they_are_discarded() {
        let mut region = Region::map(8, 1).unwrap();
        region.write(3, 511, 42);
        assert_eq!((region.read(3, 511), region.read(3, 0)), (42, 0));
        region.advise(3..4, Advice::LinuxDontNeed).unwrap();
        assert_eq!(region.read(3, 511), 0);
    }

    #[test]
    fn a_hole_is_skipped_and_never_touched() {
        let mut region = Region::map(10, 1).unwrap();
        region.unmap(2..4).unwrap();
        region.unmap(3..5).unwrap();
        assert_eq!(region.runs(0..10), [0..2, 5..10]);
        assert_eq!(region.runs(2..5), []);
        region.advise(0..10, Advice::LinuxDontNeed).unwrap();
        assert!(std::panic::catch_unwind(|| region.read(3, 0)).is_err());
        assert!(std::panic::catch_unwind(|| region.read(10, 0)).is_err());
    }

    #[test]
    fn a_move_takes_the_contents_along() {
        let mut region = Region::map(16, 1).unwrap();
        (0..16).for_each(|page| region.write(page, 7, 100 + page as u64));
        let moved = region.move_out(4..8).unwrap();
        assert_eq!((0..4).map(|page| moved.read(page, 7)).collect::<Vec<_>>(), [104, 105, 106, 107]);
        assert_eq!(region.runs(0..16), [0..4, 8..16]);
        assert_eq!(region.move_out(3..9).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn alignment_is_kept() {
        let region = Region::map(HUGE + 3, HUGE).unwrap();
        assert_eq!(region.address(0) % (HUGE * PAGE), 0);
        assert_eq!(region.read(HUGE + 2, 0), 0);
    }
}
