//! `thp-split-collapse`: huge pages are made, split, collapsed again and torn apart by threads of one process, while others
//! of its threads write to them and check them.
//!
//! Kernel paths: do_huge_pmd_anonymous_page(), __split_huge_pmd() (mprotect, a fork, MADV_DONTNEED or MADV_COLD of a
//! part), split_huge_page_to_list() and the deferred split queue, collapse_huge_page() by MADV_COLLAPSE, the swap-out
//! of huge pages. Races: collapse against faults, zaps and forks; split against migration and reclaim; mapcounts of
//! pages mapped both whole and in part. Shown by: thp_fault_alloc, thp_split_page, thp_split_pmd,
//! thp_collapse_alloc.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::HUGE;
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;

/// The table's entry.
pub struct ThpSplitCollapse;

ops!(OPS:
    DISCARD = "discards",
    COLOR = "mprotects",
    COLD = "partial-colds",
    PAGEOUT = "pageouts",
    COLLAPSE = "collapses",
    SPLIT = "debugfs-splits",
    FORK = "forks",
    HUGEPAGE = "huge-regions",
    COMPACT = "compactions",
);

/// How many processes there are, of five threads each.
const PROCESSES: usize = 3;

/// The most huge pages of a process.
const MOST: usize = 12;

/// What an owner does before its process ends and the next begins.
const ROUNDS: usize = 300;

/// Where huge pages are split by address (mm/huge_memory.c, split_huge_pages_write()).
const SPLIT_HUGE_PAGES: &str = "/sys/kernel/debug/split_huge_pages";

impl Workload for ThpSplitCollapse {
    fn name(&self) -> &'static str {
        "thp-split-collapse"
    }

    fn about(&self) -> &'static str {
        "huge pages are split and collapsed while threads write to them"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(PROCESSES * 2, 2 * HUGE)?.min(MOST * HUGE) / HUGE * HUGE;
        let seed = ask.seed;
        let by_debugfs = ask.full() && crate::host::writable(SPLIT_HUGE_PAGES);
        let says = vec![size.says(host), format!("{PROCESSES} processes with {} huge pages each", pages / HUGE)];
        let mut roles = vec![Role::new("thp", PROCESSES as u32, move |life| {
            let Some(window) = life.window(Window::anonymous(pages, HUGE)) else { return };
            let Some(ledger) = life.ledger(pages, seed ^ life.id) else { return };
            life.advise_window(HUGEPAGE, &window, 0..pages, libc::MADV_HUGEPAGE);
            play(life, &window, &ledger, by_debugfs);
            std::mem::forget(window);
        })];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        let mut claims = vec![claim("thp-fault", &["thp_fault_alloc"], 4)];
        if ask.full() {
            claims.push(claim("thp-split", &["thp_split_page"], 4));
            claims.push(claim("thp-split-pmd", &["thp_split_pmd"], 4));
            claims.push(claim("thp-collapse", &["thp_collapse_alloc"], 1));
        }
        Ok(Job { says, claims, roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger, by_debugfs: bool) {
    let pages = window.pages();
    let half = pages / 2;
    let owner = |own: std::ops::Range<usize>| -> Owner<'_, '_> {
        Box::new(move |life| {
            for _ in 0..ROUNDS {
                let span = life.rng.span(own.len(), HUGE);
                let span = own.start + span.start..own.start + span.end;
                // What the other owner wrote is looked at as well: by another processor, through another TLB.
                let anywhere = life.rng.span(pages, HUGE / 4);
                if !life.look(window, ledger, span.clone()) || !life.look(window, ledger, anywhere) {
                    return;
                }
                match life.rng.below(6) {
                    // A whole huge page, or it would be split first.
                    0 if life.rng.percent(50) => {
                        let at = span.start / HUGE * HUGE;
                        let whole = at.max(own.start)..(at + HUGE).min(own.end);
                        life.let_go(DISCARD, window, ledger, whole);
                    }
                    0 => life.let_go(DISCARD, window, ledger, span),
                    1 => fork(life, window, ledger, span),
                    _ => life.put(window, ledger, span),
                }
            }
        })
    };
    let splitter: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, HUGE);
        match life.rng.below(if by_debugfs { 5 } else { 4 }) {
            0 => {
                life.check(COLOR, "mprotect", window.recolor(span, life.rng.clone().percent(50)));
            }
            1 => life.advise_window(COLD, window, span, libc::MADV_COLD),
            2 => life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT),
            3 => std::thread::yield_now(),
            _ => {
                let (from, to) = (window.address(0) as usize, window.address(pages) as usize);
                let ask = format!("{},{from:#x},{to:#x}", std::process::id());
                // EINVAL: no mm any more, or none yet.
                life.check_or(
                    SPLIT,
                    SPLIT_HUGE_PAGES,
                    pressure::write(SPLIT_HUGE_PAGES, &ask),
                    &[Errno::INVAL, Errno::BUSY],
                );
            }
        }
    });
    let collapser: Helper<'_, '_> = Box::new(move |life| {
        let at = life.rng.below(pages / HUGE) * HUGE;
        if life.rng.percent(30) {
            // One mapping again, or there is no huge page to be had across its parts.
            life.check(COLOR, "mprotect", window.recolor(0..pages, false));
        }
        life.collapse(COLLAPSE, window, at..at + HUGE);
    });
    life.crew(vec![owner(0..half), owner(half..pages)], vec![splitter, collapser]);
}

/// A child that shares it all for a moment, and writes to what only it will see.
fn fork(life: &mut Life<'_>, window: &Window, ledger: &Ledger, span: std::ops::Range<usize>) {
    let noted: Vec<_> = span.clone().map(|page| ledger.noted(page)).collect();
    let forked = life.fork(|life| {
        life.judge(span.clone().zip(noted).map(|(page, noted)| ledger.check_copy(window, page, noted)));
        for page in span.clone() {
            // Not of this ledger's words: what it knows is the parent's.
            window.word(page, 7).store(life.id, std::sync::atomic::Ordering::Relaxed);
        }
    });
    if let Some(pid) = life.check(FORK, "fork", forked) {
        if life.rng.percent(70) {
            life.reap(&[pid]);
        }
    }
    life.look(window, ledger, span);
}
