//! `swap-thrash-verify`: memory goes to swap and comes back, over and over, into several threads and processes at once, and
//! is checked; now and then swap is turned off under it, and on again.
//!
//! Kernel paths: shrink_page_list() and add_to_swap(), huge pages to swap whole or split (thp_swpout), do_swap_page() with
//! its synchronous way for zram (SWP_SYNCHRONOUS_IO), the swap cache and read-ahead, swap counts over fork,
//! reuse of swapped pages for writing (do_wp_page(), free_swap_cache()), shmem_swapin_folio(), try_to_unuse().
//! Races: threads that fault one page in at the same time; swap-out against writes; swapoff against faults and exits.
//! Shown by: pswpout, pswpin.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::HUGE;
use crate::rng::mix;
use crate::size::Size;
use crate::swapping;
use crate::window::Window;
use std::ops::Range;
use std::time::Duration;

/// The table's entry.
pub struct SwapThrash;

ops!(OPS:
    PAGEOUT = "pageouts",
    DISCARD = "discards",
    FORK = "forks",
    FILE = "files",
    SWAPOFF = "swapoffs",
    RECLAIM = "reclaims",
);

/// How many processes there are, of four threads each; every other one has its pages in a file.
const PROCESSES: usize = 4;

/// What an owner does before its process ends.
const ROUNDS: usize = 120;

/// The most pages of one stroke.
const STROKE: usize = 128;

impl Workload for SwapThrash {
    fn name(&self) -> &'static str {
        "swap-thrash-verify"
    }

    fn about(&self) -> &'static str {
        "memory goes to swap and back into several threads and processes, and is checked"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        // More would be filled more slowly than it can be raced over: what is to be swapped is paged out on demand.
        let pages = size.each_resident(PROCESSES, 512)?;
        let says = vec![size.says(host), ask.scratch.says(), format!("{PROCESSES} processes with {pages} pages each")];
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("thrash", PROCESSES as u32, move |life| {
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            let window = if life.slot.is_multiple_of(2) {
                Window::anonymous(pages, HUGE)
            } else {
                let Some(file) = life.file(FILE, &scratch, pages) else { return };
                Window::file(file, 0, pages, HUGE)
            };
            let private = life.slot.is_multiple_of(2);
            let Some(window) = life.window(window) else { return };
            play(life, &window, &ledger, private);
            std::mem::forget(window);
        })];
        if ask.full() && size.swap {
            roles.extend(swapping::device().map(|device| {
                Role::new("swapoff", 1, move |life| {
                    std::thread::sleep(Duration::from_millis(life.rng.between(100, 800) as u64));
                    if swapping::fits() {
                        // ENOMEM: it did not fit after all.
                        let off = swapping::off_and_on(&device);
                        life.check_or(SWAPOFF, "swapoff and swapon", off, swapping::MAY);
                    }
                })
            }));
        }
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = Vec::new();
        if ask.full() {
            // Of a machine without swap, too: nothing else shows that this ran.
            claims.push(claim("swap-out", &["pswpout", "zswpout"], 256));
            claims.push(claim("swap-in", &["pswpin", "zswpin"], 64));
        } else {
            claims.push(claim("pageouts", &["pageouts"], 1));
        }
        Ok(Job { says, claims, roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger, private: bool) {
    let pages = window.pages();
    let owner = |own: Range<usize>| -> Owner<'_, '_> {
        Box::new(move |life| {
            let mut filled = own.start;
            for _ in 0..ROUNDS {
                // It grows as it goes: the first of it is in swap long before the last of it is there.
                let next = (filled + own.len() / 16 + 1).min(own.end);
                life.put(window, ledger, filled..next);
                filled = next;
                let span = life.rng.span(filled - own.start, STROKE);
                let span = own.start + span.start..own.start + span.end;
                if !life.look(window, ledger, span.clone()) {
                    return;
                }
                if private && life.rng.percent(15) {
                    life.let_go(DISCARD, window, ledger, span.clone());
                } else {
                    life.put(window, ledger, span.clone());
                }
                life.advise_window(PAGEOUT, window, span.clone(), libc::MADV_PAGEOUT);
                if life.rng.percent(20) {
                    let noted: Vec<_> = span.clone().map(|page| ledger.noted(page)).collect();
                    let forked = life.fork(|life| {
                        let checks = span.clone().zip(noted);
                        if private {
                            life.judge(checks.map(|(page, noted)| ledger.check_copy(window, page, noted)));
                        } else {
                            life.look(window, ledger, span.clone());
                        }
                    });
                    // Both sides swap the same entries in.
                    life.look(window, ledger, span.clone());
                    life.reap(life.check(FORK, "fork", forked).as_slice());
                }
            }
        })
    };
    // Follows where the owners are: the same page into two threads.
    let reader = || -> Helper<'_, '_> {
        Box::new(move |life| {
            let span = life.rng.span(pages, STROKE);
            life.look(window, ledger, span.clone());
            if life.rng.percent(50) {
                life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT);
            }
        })
    };
    life.crew(vec![owner(0..pages / 2), owner(pages / 2..pages)], vec![reader(), reader()]);
}
