//! `fsx-mm`: one thread does to a mapping whatever comes to its mind, as fsx does to a file, and knows to the byte what must
//! be in it. Other workloads have threads that race; this one has sequences, of which each step prepares what the next one
//! meets: lazily freed and written to, then split, then paged out; aged, then zapped, then reclaimed.
//!
//! Kernel paths: all that madvise(2), mremap(2), fork(2), mlock(2), fallocate(2) and ftruncate(2) do to anonymous pages, huge
//! and not, and to the pages of files in tmpfs and on disks, by two shared mappings, a private one and read(2) and write(2).
//! Shown by: pswpout or nr_written, and the counts of steps.

mod anonymous;
mod file;
mod history;
mod model;

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pressure;
use crate::region::HUGE;
use crate::rng::mix;
use crate::size::Size;
use rustix::io::Errno;
use std::ops::Range;

/// The table's entry.
pub struct FsxMm;

ops!(OPS:
    DISCARD = "discards",
    FREE = "lazy-frees",
    COLD = "cold-ranges",
    AGE = "agings",
    PAGEOUT = "pageouts",
    COLLAPSE = "collapses",
    ADVICE = "huge-page-advices",
    COLOR = "protections",
    SHIFT = "shifts",
    LOCK = "locks",
    MOVE = "node-moves",
    FORK = "forks",
    FILE = "files",
    SYSCALL = "file-reads-and-writes",
    PUNCH = "holes",
    TRUNCATE = "truncations",
    SYNC = "syncs",
    DROP = "cache-drops",
    REMAP = "remaps",
    POPULATE = "populations",
);

/// How many processes there are of each kind.
const PROCESSES: usize = 2;

/// The pages of an anonymous mapping.
const ANONYMOUS: usize = 3 * HUGE;

/// The pages of a file: a huge page, and some that are none.
const FILE_PAGES: usize = HUGE + HUGE / 2;

/// What a process does before it ends.
const STEPS: usize = 400;

/// Pages of most steps: few, so that one page meets several.
const STROKE: usize = 48;

/// Steps that are made at one place before the next is drawn, on average.
const IN_A_ROW: usize = 5;

impl Workload for FsxMm {
    fn name(&self) -> &'static str {
        "fsx-mm"
    }

    fn about(&self) -> &'static str {
        "random sequences of everything that can be done to a mapping, each step checked"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        size.each_resident(2 * PROCESSES, ANONYMOUS)?;
        let says = vec![size.says(host), ask.scratch.says(), format!("{PROCESSES} processes of each kind")];
        let (seed, scratch, nodes) = (ask.seed, ask.scratch.clone(), host.nodes);
        let roles = vec![
            Role::new("anonymous", PROCESSES as u32, move |life| anonymous::live(life, mix(seed, life.id), nodes)),
            Role::new("file", PROCESSES as u32, move |life| file::live(life, mix(seed, life.id), &scratch)),
        ];
        let mut claims = vec![claim("pageouts", &["pageouts"], 16), claim("forks", &["forks"], 2)];
        if ask.full() {
            claims.push(claim("write-back", &["pswpout", "zswpout", "nr_written"], 16));
        }
        Ok(Job { says, claims, roles })
    }
}

/// Where the steps are: some in a row at one place, since what one of them prepares the next one there is to meet.
#[derive(Debug, Clone, Default)]
struct Focus {
    at: Range<usize>,
    /// How many steps are still to be there.
    left: usize,
    /// Which of two mappings most of them are made in: what one mapping's entries say, the other's do not.
    by: usize,
}

impl Focus {
    /// Where the next step is.
    fn next(&mut self, life: &mut Life<'_>, pages: usize) -> Range<usize> {
        if self.left == 0 {
            *self = Self { at: place(life, pages), left: life.rng.between(2, 2 * IN_A_ROW), by: life.rng.below(2) };
        }
        self.left -= 1;
        // Now and then a part of it only, so that not all of its pages have gone through the same.
        if life.rng.percent(80) {
            return self.at.clone();
        }
        let part = life.rng.span(self.at.len(), self.at.len());
        self.at.start + part.start..self.at.start + part.end
    }

    /// Which of two mappings the step is made in.
    fn mapping(&self, life: &mut Life<'_>) -> usize {
        if life.rng.percent(80) {
            self.by
        } else {
            1 - self.by
        }
    }
}

/// Any place: a few pages, or now and then a huge page or a half of one.
fn place(life: &mut Life<'_>, pages: usize) -> Range<usize> {
    if life.rng.percent(80) {
        return life.rng.span(pages, STROKE);
    }
    let long = if life.rng.percent(50) { HUGE } else { HUGE / 2 };
    let at = life.rng.below(pages / long) * long;
    at..at + long
}

/// The huge page that a range begins in, if `pages` pages have all of it.
fn whole(range: &Range<usize>, pages: usize) -> Range<usize> {
    let at = (range.start / HUGE * HUGE).min(pages / HUGE * HUGE - HUGE);
    at..at + HUGE
}

/// Up to eight pages of `range`, its ends among them.
fn samples(life: &mut Life<'_>, range: &Range<usize>) -> Vec<usize> {
    let inner = (0..6).map(|_| range.start + life.rng.below(range.len()));
    inner.chain([range.start, range.end - 1]).collect()
}

/// Makes all pages of this process old, or its mappings clean of soft-dirty bits: `what` is 1 or 4
/// (Documentation/admin-guide/mm/soft-dirty.rst). Kernels are built without it, too.
fn age(life: &Life<'_>, what: &str) {
    let may = [Errno::NOENT, Errno::INVAL, Errno::ACCESS, Errno::PERM, Errno::INTR];
    life.check_or(AGE, "clear_refs", pressure::write("/proc/self/clear_refs", what), &may);
}

/// Waits for the children of earlier steps.
fn gather(life: &Life<'_>, children: &mut Vec<rustix::process::Pid>) {
    life.reap(children);
    children.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_huge_page_of_a_range_is_within_the_mapping() {
        assert_eq!(whole(&(0..1), ANONYMOUS), 0..HUGE);
        assert_eq!(whole(&(HUGE - 1..HUGE + 5), ANONYMOUS), 0..HUGE);
        assert_eq!(whole(&(2 * HUGE + 7..2 * HUGE + 9), ANONYMOUS), 2 * HUGE..3 * HUGE);
        // A file's last pages are no huge page.
        assert_eq!(whole(&(FILE_PAGES - 2..FILE_PAGES), FILE_PAGES), 0..HUGE);
    }
}
