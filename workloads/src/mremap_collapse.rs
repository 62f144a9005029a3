//! `mremap-collapse`: page tables move from place to place under threads that collapse, page out, lock and write them.
//!
//! Kernel paths: move_page_tables() with move_normal_pmd() and move_huge_pmd(), move_ptes() and its flush,
//! MREMAP_DONTUNMAP; MADV_COLLAPSE of both places (collapse_huge_page(), and for files collapse_file() with
//! retract_page_tables() and collapse_pte_mapped_thp()), mlock and munlock, page-out. Races: the page table that moves
//! against the one that is retracted or collapsed; rmap walks that look in the old place. Shown by: thp_fault_alloc or
//! thp_file_alloc, thp_collapse_alloc, and the count of moves.

use crate::board::{ops, Op};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::HUGE;
use crate::rng::mix;
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;

/// The table's entry.
pub struct MremapCollapse;

ops!(OPS:
    FILE = "files",
    MOVE = "table-moves",
    COLLAPSE = "collapses",
    PAGEOUT = "pageouts",
    LOCK = "mlocks",
    HUGEPAGE = "huge-regions",
    RECLAIM = "reclaims",
    COMPACT = "compactions",
);

/// How many processes there are, of three threads each; every other one has its pages in a file.
const PROCESSES: usize = 4;

/// Huge pages' worth of places, of which every other one is full.
const PLACES: usize = 6;

/// What an owner does before its process ends.
const ROUNDS: usize = 250;

impl Workload for MremapCollapse {
    fn name(&self) -> &'static str {
        "mremap-collapse"
    }

    fn about(&self) -> &'static str {
        "page tables move while the pages below them are collapsed"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let places = (size.each_resident(PROCESSES, 2 * HUGE)? / HUGE).min(PLACES) / 2 * 2;
        let says = vec![
            size.says(host),
            ask.scratch.says(),
            format!("{PROCESSES} processes that move {} huge pages each", places / 2),
        ];
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("mremap", PROCESSES as u32, move |life| {
            let pages = places * HUGE;
            let window = if life.slot.is_multiple_of(2) {
                Window::anonymous(pages, HUGE)
            } else {
                let Some(file) = life.file(FILE, &scratch, pages) else { return };
                Window::file(file, 0, pages, HUGE)
            };
            let Some(window) = life.window(window) else { return };
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            if life.rng.percent(50) {
                life.advise_window(HUGEPAGE, &window, 0..pages, libc::MADV_HUGEPAGE);
            }
            play(life, &window, &ledger);
            std::mem::forget(window);
        })];
        roles.extend(pressure::reclaim(ask, RECLAIM));
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        let mut claims = vec![claim("moves", &["table-moves"], 16)];
        if ask.full() {
            claims.push(claim("thp-fault", &["thp_fault_alloc", "thp_file_alloc"], 2));
            claims.push(claim("thp-collapse", &["thp_collapse_alloc"], 1));
        }
        Ok(Job { says, claims, roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger) {
    let places = window.pages() / HUGE;
    let owner: Owner<'_, '_> = Box::new(move |life| {
        // Which run of the ledger is in which place.
        let mut holds: Vec<Option<usize>> = (0..places).map(|place| (place % 2 == 0).then_some(place)).collect();
        for at in (0..places).step_by(2) {
            ledger.write_moved(window, at * HUGE, at * HUGE, HUGE / 2);
        }
        for _ in 0..ROUNDS {
            let (from, to) = (life.rng.below(places), life.rng.below(places));
            let (Some(run), None) = (holds[from], holds[to]) else { continue };
            let moved = window.shift(from * HUGE..(from + 1) * HUGE, to * HUGE);
            // EINVAL: a kernel that cannot leave the old place mapped, for files before 5.13.
            if life.check_or(MOVE, "mremap", moved, &[Errno::INVAL]).is_none() {
                return;
            }
            holds.swap(from, to);
            let checks = (0..HUGE / 2).map(|page| ledger.check_moved(window, to * HUGE + page, run * HUGE + page));
            life.did_n(Op::VERIFY, HUGE as u64 / 2);
            if !life.judge(checks) {
                return;
            }
            if life.rng.percent(50) {
                life.did_n(Op::FILL, HUGE as u64 / 2);
                ledger.write_moved(window, to * HUGE, run * HUGE, HUGE / 2);
            }
        }
    });
    let collapser: Helper<'_, '_> = Box::new(move |life| {
        let at = life.rng.below(places) * HUGE;
        life.collapse(COLLAPSE, window, at..at + HUGE);
    });
    let pager: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(window.pages(), HUGE);
        match life.rng.below(3) {
            0 => life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT),
            1 => {
                // A whole place: mremap refuses a range of several mappings (vma_to_resize()), and by then has unmapped
                // what was where it was to go. Beyond RLIMIT_MEMLOCK: ENOMEM, or EPERM where that is 0.
                let at = life.rng.below(places) * HUGE;
                life.check_or(LOCK, "mlock", window.lock(at..at + HUGE), &[Errno::PERM]);
                life.check(LOCK, "munlock", window.unlock(at..at + HUGE));
            }
            _ => std::thread::yield_now(),
        }
    });
    life.crew(vec![owner], vec![collapser, pager]);
}
