//! What every workload does to patterned memory, counted and judged.

use crate::board::Op;
use crate::ledger::Ledger;
use crate::life::Life;
use crate::pattern::Patterned;
use crate::scratch::Scratch;
use crate::window::Window;
use rustix::io::Errno;
use rustix::mm::Advice;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// Pages between two updates of a counter: few enough that it moves even where memory is slow.
const STEP: usize = 256;

/// About how many runs of pages one move_pages(2) sends to different nodes.
const RUNS: usize = 8;

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

    /// A new file; `None` under pressure. Where files are on a disk, every other one is a memfd all the same, or a mix there
    /// would know only half of the page cache.
    pub fn file(&mut self, op: Op, scratch: &Scratch, pages: usize) -> Option<OwnedFd> {
        let memfd = scratch.on_disk() && self.rng.percent(50);
        self.check(op, "a scratch file", scratch.file(pages, memfd))
    }

    /// Lets private pages go whose one writer this is. At once: of what is let go lazily (MADV_FREE) other threads may see the
    /// old contents when the writer has written to a new page already. Reclaim clears the entry first and flushes TLBs later,
    /// once for many pages (try_to_unmap_flush()), and a fault does not wait for that. `fsx-mm` lets go lazily.
    pub fn let_go(&self, op: Op, window: &Window, ledger: &Ledger, range: Range<usize>) {
        range.clone().for_each(|page| ledger.forget(page));
        self.check(op, "madvise(MADV_DONTNEED)", window.advise(range, libc::MADV_DONTNEED));
    }

    /// A ledger for `pages` pages; `None` under pressure.
    pub fn ledger(&self, pages: usize, key: u64) -> Option<Ledger> {
        Ledger::new(pages, key).map_err(|errno| self.check::<()>(Op::ENOMEM, "mmap", Err(errno))).ok()
    }

    /// What `result` holds; `None` under pressure.
    pub fn window(&self, result: Result<Window, Errno>) -> Option<Window> {
        result.map_err(|errno| self.check::<()>(Op::ENOMEM, "mmap", Err(errno))).ok()
    }

    /// Writes to pages whose one writer this is.
    pub fn put(&self, window: &Window, ledger: &Ledger, range: Range<usize>) {
        self.did_n(Op::FILL, range.len() as u64);
        range.for_each(|page| ledger.write(window, page));
    }

    /// Whether pages hold what the ledger says; a violation if not.
    pub fn look(&self, window: &Window, ledger: &Ledger, range: Range<usize>) -> bool {
        self.did_n(Op::VERIFY, range.len() as u64);
        self.judge(range.into_iter().map(|page| ledger.check(window, page)))
    }

    /// Whether all checks went well; a violation for the first that did not.
    pub fn judge(&self, checks: impl IntoIterator<Item = Result<(), String>>) -> bool {
        let wrong = checks.into_iter().find_map(Result::err);
        wrong.inspect(|detail| self.violation("data-mismatch", detail)).is_none()
    }

    /// madvise by number on a part of a window: EINVAL is a kernel that does not know it.
    pub fn advise_window(&self, op: Op, window: &Window, range: Range<usize>, advice: i32) {
        match window.advise(range, advice) {
            Err(Errno::INVAL) => self.did(Op::UNSUPPORTED),
            result => {
                self.check(op, "madvise", result);
            }
        }
    }

    /// move_pages(2) of a part of a window, runs of pages to any of `nodes` nodes: half of them are not there already.
    ///
    /// At most some [`RUNS`] runs: a huge page that small entries map moves, whole, with the first page of each, and the system
    /// call heeds no signal (do_pages_move()).
    pub fn move_to_nodes(&mut self, op: Op, window: &Window, range: Range<usize>, nodes: usize) {
        let mut node = self.rng.below(nodes);
        let change = (100 * RUNS / range.len().max(1)).clamp(1, 50);
        let (addresses, nodes): (Vec<_>, Vec<_>) = range
            .map(|page| {
                if self.rng.percent(change) {
                    node = self.rng.below(nodes);
                }
                (window.address(page), node as i32)
            })
            .unzip();
        self.check_or(op, "move_pages", crate::sys::move_pages(&addresses, &nodes), crate::sys::MOVE_MAY);
    }

    /// MADV_COLLAPSE of a part of a window. Whether it succeeds is up to what others do to it.
    pub fn collapse(&self, op: Op, window: &Window, range: Range<usize>) {
        let result = window.advise(range, crate::sys::MADV_COLLAPSE);
        self.check_or(op, "madvise(MADV_COLLAPSE)", result, crate::sys::COLLAPSE_MAY);
    }
}
