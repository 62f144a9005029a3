//! `hot-pages`: a handful of pages that several threads of a process read and write all the time, while everything is done to
//! them that the kernel knows: forks, page-out, protection, lazy freeing, migration.
//!
//! Kernel paths: wp_page_copy() and do_wp_page() under threads, do_swap_page() of one entry by several threads at once,
//! copy_pte_range() and copy_nonpresent_pte() under writers, try_to_unmap() with and without deferred flushes, the huge
//! zero page and its end. Races: what each processor still has in its TLB; the second thread that faults where the
//! first one is done already. Others have many pages, of which a race meets one in a thousand; here it meets these.
//! Shown by: pgfault, and the counts of forks and pageouts.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::HUGE;
use crate::rng::mix;
use crate::size::Size;
use crate::window::Window;
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
    COMPACT = "compactions",
);

/// How many processes there are, of four threads each: twice the processors of a small guest, or nobody ever runs beside
/// another thread of its own.
const PROCESSES: usize = 2;

/// The pages that are hot.
const HOT: usize = 16;

/// What an owner does before its process ends.
const ROUNDS: usize = 600;

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
        size.each_resident(PROCESSES, 2 * HUGE)?;
        let says = vec![size.says(host), format!("{PROCESSES} processes with {HOT} pages, four threads each")];
        let seed = ask.seed;
        let mut roles = vec![Role::new("hot", PROCESSES as u32, move |life| {
            let Some(window) = life.window(Window::anonymous(2 * HUGE, HUGE)) else { return };
            let Some(ledger) = life.ledger(2 * HUGE, mix(seed, life.id)) else { return };
            zero(life, &window);
            play(life, &window, &ledger);
            std::mem::forget(window);
        })];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        let claims = vec![claim("forks", &["forks"], 4), claim("pageouts", &["pageouts"], 4)];
        Ok(Job { says, claims, roles })
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

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger) {
    if life.rng.percent(70) {
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
                if !life.look(window, ledger, 0..HOT) {
                    return;
                }
            }
        })
    };
    let other: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(HOT, HOT);
        match life.rng.below(8) {
            0..=3 => fork(life, window, ledger, span),
            4 | 5 => life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT),
            6 => life.advise_window(COLD, window, span, libc::MADV_COLD),
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
