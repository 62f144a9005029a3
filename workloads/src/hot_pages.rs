//! `hot-pages`: a handful of pages that several threads of a process read and write all the time, while everything is done to
//! them that the kernel knows: forks, page-out, protection, migration.
//!
//! Kernel paths: wp_page_copy() and do_wp_page() under threads, do_swap_page() of one entry by several threads at once,
//! copy_pte_range() and copy_nonpresent_pte() under writers, try_to_unmap() with and without deferred flushes, the huge
//! zero page and its end, collapse_huge_page() under writers, shrink_folio_list() with clean pages that are read. Races:
//! what each processor still has in its TLB; the second thread that faults where the first one is done already. Others have
//! many pages, of which a race meets one in a thousand; here it meets these. A process is about all of that, or about swap
//! only; beside it another has a huge page split and collapsed under its writes.
//! Shown by: pgfault, and the counts of forks and pageouts.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::region::{HUGE, WORDS};
use crate::rng::mix;
use crate::scratch::Scratch;
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The table's entry.
pub struct HotPages;

ops!(OPS:
    FORK = "forks",
    PAGEOUT = "pageouts",
    COLD = "cold-ranges",
    COLOR = "protections",
    DISCARD = "discards",
    ZERO = "huge-zero-reads",
    COLLAPSE = "collapses",
    FILE = "files",
    REUSE = "pages-reused",
    MOVE = "node-moves",
);

/// How many processes there are of each kind, of four threads and of two: one, or on a small guest nobody ever runs beside
/// another thread of its own.
const PROCESSES: usize = 1;

/// The pages that are hot.
const HOT: usize = 16;

/// The pages that are only read.
const CONSTANT: usize = 16;

/// The pages that are given back and taken again each time those are paged out.
const REUSED: usize = 32;

/// The pages of a huge page that are written to while it is collapsed: a few, so that each is written to many times while
/// they are copied.
const COLLAPSED: usize = 48;

/// What an owner does before its process ends: long enough for some dozens of forks and collapses beside it.
const ROUNDS: usize = 8000;

/// The same of one whose pages are only swapped: a second or so.
const SWAPPED_ROUNDS: usize = 2000;

impl Workload for HotPages {
    fn name(&self) -> &'static str {
        "hot-pages"
    }

    fn about(&self) -> &'static str {
        "a handful of pages that many threads write and read while they are forked and swapped"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        size.each_resident(PROCESSES, 3 * HUGE)?;
        let says = vec![size.says(host), format!("{HOT} pages of four threads, {COLLAPSED} of two")];
        let (seed, scratch, nodes) = (ask.seed, ask.scratch.clone(), host.nodes);
        let hot = move |life: &mut Life<'_>| {
            if life.rng.percent(50) {
                swapped(life, mix(seed, life.id));
                return;
            }
            let Some(window) = life.window(Window::anonymous(2 * HUGE, HUGE)) else { return };
            let Some(ledger) = life.ledger(2 * HUGE, mix(seed, life.id)) else { return };
            let Some(constants) = Constants::new(life, &scratch, mix(!seed, life.id)) else { return };
            zero(life, &window);
            play(life, &window, &ledger, &constants, nodes);
            std::mem::forget((window, constants));
        };
        let collapsed = move |life: &mut Life<'_>| {
            let Some(window) = life.window(Window::anonymous(HUGE, HUGE)) else { return };
            let Some(ledger) = life.ledger(HUGE, mix(seed, !life.id)) else { return };
            collapse(life, &window, &ledger);
            std::mem::forget(window);
        };
        let roles = vec![Role::new("hot", PROCESSES as u32, hot), Role::new("collapsed", PROCESSES as u32, collapsed)];
        let claims = vec![claim("forks", &["forks"], 4), claim("pageouts", &["pageouts"], 4)];
        Ok(Job { says, claims, roles })
    }
}

/// Pages of a file that are written once and then only read: clean, so that reclaim frees them as soon as they are unmapped.
struct Constants {
    window: Window,
    ledger: Ledger,
    /// Memory that is given back and taken again, so that what was freed is soon somebody else's.
    reuse: Window,
}

impl Constants {
    fn new(life: &mut Life<'_>, scratch: &Scratch, key: u64) -> Option<Self> {
        let file = life.file(FILE, scratch, CONSTANT)?;
        let window = life.window(Window::file(&file, 0, CONSTANT, 1))?;
        let ledger = life.ledger(CONSTANT, key)?;
        life.put(&window, &ledger, 0..CONSTANT);
        life.check_or(FILE, "msync", window.sync(0..CONSTANT), &[Errno::INTR]);
        Some(Self { window, ledger, reuse: life.window(Window::anonymous(REUSED, 1))? })
    }

    fn look(&self, life: &Life<'_>) -> bool {
        life.look(&self.window, &self.ledger, 0..CONSTANT)
    }

    /// Pages them out, and takes as many pages for something else at once.
    fn page_out(&self, life: &Life<'_>) {
        life.advise_window(PAGEOUT, &self.window, 0..CONSTANT, libc::MADV_PAGEOUT);
        life.check(REUSE, "madvise(MADV_DONTNEED)", self.reuse.advise(0..REUSED, libc::MADV_DONTNEED));
        for page in 0..REUSED {
            [0, WORDS - 1].iter().for_each(|&word| self.reuse.word(page, word).store(life.id, Ordering::Relaxed));
        }
    }
}

/// Reads where nobody has written: a huge zero page where there are huge pages. Half of them stay until the end.
fn zero(life: &mut Life<'_>, window: &Window) {
    life.did(ZERO);
    let page = life.rng.between(HUGE, 2 * HUGE - 1);
    if window.word(page, 0).load(Ordering::Relaxed) != 0 {
        life.violation("data-mismatch", &format!("page {page} was never written to and is not empty"));
    }
    if life.rng.percent(50) {
        window.word(page, 1).store(life.id, Ordering::Relaxed);
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger, constants: &Constants, nodes: usize) {
    if life.rng.percent(50) {
        // Base pages, which are copied one by one.
        life.advise_window(COLOR, window, 0..HUGE, libc::MADV_NOHUGEPAGE);
    }
    let owner: Owner<'_, '_> = Box::new(move |life| {
        for _ in 0..ROUNDS {
            let span = life.rng.span(HOT, HOT);
            if life.rng.percent(5) {
                life.let_go(DISCARD, window, ledger, span.clone());
            }
            // Several writes between two looks: readers are to see one of them, and none that is older.
            for _ in 0..4 {
                life.put(window, ledger, span.clone());
            }
            if !life.look(window, ledger, 0..HOT) {
                return;
            }
        }
    });
    let reader = || -> Helper<'_, '_> {
        Box::new(move |life| {
            for _ in 0..32 {
                if !life.look(window, ledger, 0..HOT) || !constants.look(life) {
                    return;
                }
            }
        })
    };
    let other: Helper<'_, '_> = Box::new(move |life| {
        let span = if life.rng.percent(50) { life.rng.span(HOT, HOT) } else { 0..HOT };
        match life.rng.below(16) {
            0..=3 => fork(life, window, ledger, span),
            4..=8 => life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT),
            9 => life.advise_window(COLD, window, span, libc::MADV_COLD),
            10..=12 => constants.page_out(life),
            13 | 14 if nodes > 1 => life.move_to_nodes(MOVE, window, span, nodes),
            _ => {
                let executable = life.rng.percent(50);
                life.check(COLOR, "mprotect", window.recolor(span, executable));
            }
        }
        // Long enough for the others to have it all in their TLBs again.
        std::thread::sleep(std::time::Duration::from_micros(life.rng.below(3000) as u64));
    });
    life.crew(vec![owner], vec![reader(), reader(), other]);
}

/// Nothing but swap: pages that three threads want back as soon as a fourth has paged them out.
fn swapped(life: &mut Life<'_>, key: u64) {
    let Some(window) = life.window(Window::anonymous(HOT, 1)) else { return };
    let Some(ledger) = life.ledger(HOT, key) else { return };
    let (window, ledger) = (&window, &ledger);
    let owner: Owner<'_, '_> = Box::new(move |life| {
        for _ in 0..SWAPPED_ROUNDS {
            life.put(window, ledger, 0..HOT);
            if !life.look(window, ledger, 0..HOT) {
                return;
            }
        }
    });
    let reader = || -> Helper<'_, '_> {
        Box::new(move |life| {
            life.look(window, ledger, 0..HOT);
        })
    };
    let pager: Helper<'_, '_> = Box::new(move |life| {
        life.advise_window(PAGEOUT, window, 0..HOT, libc::MADV_PAGEOUT);
        std::thread::sleep(std::time::Duration::from_micros(life.rng.below(1000) as u64));
    });
    life.crew(vec![owner], vec![reader(), reader(), pager]);
}

/// A huge page is split by letting go of a page that nobody uses, and collapsed under a thread that writes to others. Nothing
/// else is done to it: a protection or a child would keep it from being collapsed.
fn collapse(life: &mut Life<'_>, window: &Window, ledger: &Ledger) {
    let owner: Owner<'_, '_> = Box::new(move |life| {
        for _ in 0..ROUNDS {
            let span = life.rng.span(COLLAPSED, COLLAPSED);
            (0..8).for_each(|_| life.put(window, ledger, span.clone()));
            if !life.look(window, ledger, 0..COLLAPSED) {
                return;
            }
        }
    });
    let collapser: Helper<'_, '_> = Box::new(move |life| {
        let unused = life.rng.between(COLLAPSED, HUGE - 1);
        life.check(DISCARD, "madvise(MADV_DONTNEED)", window.advise(unused..unused + 1, libc::MADV_DONTNEED));
        std::thread::sleep(std::time::Duration::from_micros(life.rng.below(1000) as u64));
        life.collapse(COLLAPSE, window, 0..HUGE);
    });
    life.crew(vec![owner], vec![collapser]);
}

/// A child that shares the pages for a while, pages some of them out, and then writes to what only it will see.
fn fork(life: &mut Life<'_>, window: &Window, ledger: &Ledger, span: Range<usize>) {
    let noted: Vec<_> = span.clone().map(|page| ledger.noted(page)).collect();
    let forked = life.fork(|life| {
        if life.rng.percent(50) {
            life.advise_window(PAGEOUT, window, span.clone(), libc::MADV_PAGEOUT);
        }
        let copies = || span.clone().zip(noted.iter()).map(|(page, &noted)| ledger.check_copy(window, page, noted));
        if !life.judge(copies()) {
            return;
        }
        for page in span.clone() {
            // Not of the ledger's words: what that knows is the parent's.
            window.word(page, 7).store(life.id, Ordering::Relaxed);
        }
        life.judge(copies());
        for page in span.clone() {
            let found = window.word(page, 7).load(Ordering::Relaxed);
            if found != life.id {
                life.violation(
                    "data-mismatch",
                    &format!("page {page} of a copy: expected {:#x}, found {found:#x}", life.id),
                );
                return;
            }
        }
    });
    let Some(pid) = life.check(FORK, "fork", forked) else { return };
    if life.rng.percent(70) {
        life.reap(&[pid]);
    }
}
