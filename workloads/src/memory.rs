//! What every workload does to patterned memory, counted and judged.

use crate::board::Op;
use crate::life::Life;
use crate::pattern::Patterned;
use rustix::io::Errno;
use rustix::mm::Advice;
use std::ops::Range;

/// Pages between two updates of a counter: few enough that it moves even where memory is slow.
const STEP: usize = 256;

impl Life<'_> {
    /// Maps patterned memory, see [`Patterned::map`]; `None` under pressure.
    pub fn map(&self, pages: usize, align: usize, key: u64) -> Option<Patterned> {
        match Patterned::map(pages, align, key) {
            Ok(region) => Some(region),
            Err(errno) => self.check(Op::ENOMEM, "mmap", Err(errno)),
        }
    }

    /// Writes to every mapped page of `range`.
    pub fn fill(&self, region: &mut Patterned, range: Range<usize>) {
        self.fill_some(region, range, 1);
    }

    /// Writes to every `step`-th page of `range`, as far as mapped.
    pub fn fill_some(&self, region: &mut Patterned, range: Range<usize>, step: usize) {
        for start in range.clone().step_by(STEP * step) {
            self.did_n(Op::FILL, region.fill_some(start..(start + STEP * step).min(range.end), step));
        }
    }

    /// Whether the mapped pages of `range` hold what they should; a violation if not.
    pub fn verify(&self, region: &Patterned, range: Range<usize>) -> bool {
        for start in range.clone().step_by(STEP) {
            match region.verify(start..(start + STEP).min(range.end)) {
                Ok(pages) => self.did_n(Op::VERIFY, pages),
                Err(mismatch) => {
                    self.violation("data-mismatch", &mismatch.detail);
                    return false;
                }
            }
        }
        true
    }

    /// madvise with an advice that keeps the contents, and that the kernel may not know: EINVAL is no violation.
    pub fn advise(&self, op: Op, region: &Patterned, range: Range<usize>, advice: Advice) {
        match region.advise(range, advice) {
            // MADV_HUGEPAGE without CONFIG_TRANSPARENT_HUGEPAGE, MADV_PAGEOUT before 5.4, ...
            Err(Errno::INVAL) => self.did(Op::UNSUPPORTED),
            result => {
                self.check(op, "madvise", result);
            }
        }
    }

    /// MADV_DONTNEED on `range`.
    pub fn discard(&self, op: Op, region: &mut Patterned, range: Range<usize>) {
        self.check(op, "madvise(MADV_DONTNEED)", region.discard(range));
    }

    /// munmap of `range`.
    pub fn unmap(&self, op: Op, region: &mut Patterned, range: Range<usize>) {
        self.check(op, "munmap", region.unmap(range));
    }

    /// mremap of the longest mapped run of `range` to a place of its own.
    pub fn move_out(&self, op: Op, region: &mut Patterned, range: Range<usize>) -> Option<Patterned> {
        let run = region.longest_run(range);
        if run.is_empty() {
            return None;
        }
        self.check(op, "mremap", region.move_out(run))
    }
}
