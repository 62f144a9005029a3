//! `anon-churn`: processes over anonymous memory that fork and exit all the time, while compaction and reclaim walk
//! the very same pages.
//!
//! What it is after is the end of an anonymous page's life. exit_mmap() zaps the page tables, frees the anon_vmas
//! (unlink_anon_vmas() in free_pgtables()) and only then flushes the last mmu_gather batches. A page that still counts
//! as mapped by then leads compaction (folio_get_anon_vma()) or reclaim (folio_lock_anon_vma_read()) to an anon_vma
//! that is gone. How soon that is seen depends on how much of its life a page spends in that window:
//!
//! * a `gang` fills a few MiB of base pages, forks, and exits as one. Faulting a page in costs many times what exiting
//!   over it does; by fork one fault makes for several exits, which meet at the lock of their common root anon_vma, and
//!   the anon_vma is gone with the first of the last, long before all their batches are;
//! * `compact` migrates what it finds;
//! * `cold` processes hold memory that is rarely touched, grow it until reclaim must swap, and check that what comes
//!   back from swap is what went out.

use crate::board::ops;
use crate::gate::Gate;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pattern::Patterned;
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::size::Size;
use rustix::mm::Advice;
use rustix::process::{waitid, WaitId, WaitIdOptions};
use std::time::{Duration, Instant};

/// The table's entry.
pub struct AnonChurn;

ops!(OPS:
    EXIT = "exits-mapped",
    GANG = "gangs",
    FORK = "forks",
    DISCARD = "discards",
    UNMAP = "unmaps",
    MOVE = "moves",
    PAGEOUT = "pageouts",
    HUGEPAGE = "huge-regions",
    SPLIT = "thp-splits",
    COMPACT = "compactions",
);

const MIB: u64 = 1 << 20;

/// How many gangs there are at a time: more than CPUs, so that an exit is often preempted in the midst.
const GANGS: u64 = 8;

/// How many processes a gang's leader forks.
const MEMBERS: u8 = 3;

/// The most pages of a gang. Five rounds of tlb_batch_pages_flush(), which reschedules after each 512 pages; well
/// below the 10000 that an mmu_gather keeps before it flushes early.
const MAX_GANG: u64 = 2_500;

/// With fewer pages an exit is over before anyone can race it.
const MIN_GANG: u64 = 128;

/// How many processes hold cold memory.
const COLD: u64 = 2;

/// How long cold memory grows in spare time only: the races that need no pressure are won soonest without. Then it must
/// grow, or reclaim never runs beside them.
const CALM: Duration = Duration::from_secs(4);

/// In memory that comes as THPs, every so many-th page is written to.
const SPARSE: usize = 16;

/// The sizes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Most pages of one gang.
    gang: u64,
    /// Pages of each cold process; 0 if there is none.
    cold: u64,
    swaps: bool,
    full: bool,
}

impl Shape {
    fn of(ask: &Ask, host: &Host) -> Result<Self, String> {
        let size = Size::of(ask, host)?;
        // A gang that plays takes up to about twice its size by COW.
        let share = 2 * GANGS;
        let pages = size.each(1, (2 * share * MIN_GANG) as usize)? as u64;
        // Gangs come and go fast only in what stays in memory beside the cold part.
        let gang = (pages.min(host.available / PAGE as u64) / 2 / share).min(MAX_GANG);
        Ok(Self { gang, cold: (pages - share * gang) / COLD, swaps: size.swaps, full: size.full })
    }
}

impl Workload for AnonChurn {
    fn name(&self) -> &'static str {
        "anon-churn"
    }

    fn about(&self) -> &'static str {
        "processes fork and exit over anonymous memory while compaction and swap walk the same pages"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let shape = Shape::of(ask, host)?;
        let seed = ask.seed;
        let mib = |pages: u64| pages * PAGE as u64 / MIB;
        let mut says = vec![
            format!("memory available {} MiB, swap free {} MiB", host.available / MIB, host.swap_free / MIB),
            format!("{GANGS} gangs of {} processes over up to {} MiB each", MEMBERS + 1, mib(shape.gang)),
            format!("{COLD} processes that hold {} MiB of cold memory each and check it", mib(shape.cold)),
        ];
        let mut roles = vec![
            Role::new("gang", GANGS as u32, move |life| gang(life, seed, &shape)),
            Role::new("cold", COLD as u32, move |life| cold(life, seed, &shape)),
        ];
        if let Some(role) = pressure::compact(host, COMPACT) {
            says.push("2 processes that compact memory without end".to_owned());
            roles.push(role);
        }
        // A claim is made where the run is meant to earn it: on a cell without THP or compaction it is to fail.
        let mut claims = Vec::new();
        if shape.full {
            claims.push(claim("thp-fault", &["thp_fault_alloc", "thp_collapse_alloc"], 4));
            claims.push(claim("migration", &["pgmigrate_success"], 256));
        }
        if shape.swaps {
            claims.push(claim("swap-out", &["pswpout", "zswpout"], 256));
        }
        Ok(Job { says, claims, roles })
    }
}

/// Lowers this process's priority: by much where someone else lives on the machine.
fn be_nice(by: i32, shape: &Shape) {
    let _ = rustix::process::nice(if shape.full { by } else { 10 });
}

/// The life of a gang's leader, and of those that it forks.
fn gang(life: &mut Life<'_>, seed: u64, shape: &Shape) {
    be_nice(0, shape);
    let key = mix(seed, life.id);
    let pages = life.rng.between(shape.gang as usize / 2, shape.gang as usize);
    let by_split = life.rng.percent(10) && pages >= HUGE;
    let region = if by_split { split_thps(life, pages, key) } else { base_pages(life, pages, key) };
    let (Some(region), Some(mut gate)) = (region, life.check(GANG, "pipe", Gate::new())) else { return };
    let mut regions = vec![region];
    // Most gangs do nothing but exit; what else they do takes the time of many exits.
    let plays = life.rng.percent(12);
    for member in 1..=MEMBERS {
        let forked = life.fork(|life| {
            if plays {
                regions[0].set_generation(member);
                play(life, &mut regions, key);
            }
            gate.pass();
            life.did(EXIT);
        });
        life.check(FORK, "fork", forked);
    }
    if plays {
        play(life, &mut regions, key);
    }
    gate.open();
    life.did(EXIT);
    // exit_mmap() is to find it all mapped. The supervisor inherits the members, and judges how they end.
    std::mem::forget(regions);
}

/// Base pages, faulted in one by one.
fn base_pages(life: &mut Life<'_>, pages: usize, key: u64) -> Option<Patterned> {
    let mut region = life.map(pages, 1, key)?;
    // In the others the machine's own THP setting decides. A kernel without THP needs no such advice.
    if life.rng.percent(67) {
        let _ = region.advise(0..pages, Advice::LinuxNoHugepage);
    }
    life.fill(&mut region, 0..pages);
    Some(region)
}

/// Base pages made by splitting THPs.
fn split_thps(life: &mut Life<'_>, pages: usize, key: u64) -> Option<Patterned> {
    let pages = pages / HUGE * HUGE;
    let mut region = life.map(pages, HUGE, key)?;
    life.advise(HUGEPAGE, &region, 0..pages, Advice::LinuxHugepage);
    for start in (0..pages).step_by(HUGE) {
        life.fill_some(&mut region, start..start + HUGE, SPARSE);
        // MADV_COLD of a part of a THP splits it, page table and folio (madvise_cold_or_pageout_pte_range()).
        life.advise(SPLIT, &region, start..start + 1, Advice::LinuxCold);
    }
    Some(region)
}

/// A few draws of what a program does to its memory, and a look at whether that is still what it should be.
fn play(life: &mut Life<'_>, regions: &mut Vec<Patterned>, key: u64) {
    if life.rng.percent(25) {
        // A THP that is still whole when exit comes: zapped by its PMD.
        if let Some(mut region) = life.map(HUGE, HUGE, mix(key, life.id)) {
            life.advise(HUGEPAGE, &region, 0..HUGE, Advice::LinuxHugepage);
            life.fill_some(&mut region, 0..HUGE, SPARSE);
            regions.push(region);
        }
    }
    for _ in 0..life.rng.between(2, 6) {
        let which = life.rng.below(regions.len());
        let region = &mut regions[which];
        let span = life.rng.span(region.pages(), region.pages() / 4);
        match life.rng.below(6) {
            0 => life.discard(DISCARD, region, span),
            1 => life.unmap(UNMAP, region, span),
            2 => {
                let moved = life.move_out(MOVE, region, span);
                regions.extend(moved);
            }
            3 => life.advise(PAGEOUT, region, span, Advice::LinuxPageOut),
            4 => life.fill(region, span),
            _ => fork_once(life, regions),
        }
    }
    let which = life.rng.below(regions.len());
    life.verify(&regions[which], 0..regions[which].pages());
}

/// Forks; both sides write, check, and go on to their ends.
fn fork_once(life: &mut Life<'_>, regions: &mut [Patterned]) {
    let write_and_check = |life: &mut Life<'_>, regions: &mut [Patterned]| {
        for region in regions {
            let span = life.rng.span(region.pages(), region.pages() / 4);
            life.fill(region, span);
            let span = life.rng.span(region.pages(), region.pages() / 4);
            life.verify(region, span);
        }
    };
    let forked = life.fork(|child| {
        regions.iter_mut().for_each(|region| region.set_generation(MEMBERS + 1));
        write_and_check(child, regions);
        child.did(EXIT);
    });
    let Some(pid) = life.check(FORK, "fork", forked) else { return };
    write_and_check(life, regions);
    // Otherwise this process's end kills the child, and both tear their page tables down at once. Not reaped: how it
    // ended is for the supervisor to judge.
    if life.rng.percent(50) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    }
}

/// Holds memory, grows it to its size, and looks at a little of it at a time.
fn cold(life: &mut Life<'_>, seed: u64, shape: &Shape) {
    let pages = shape.cold as usize;
    let Some(mut region) = life.map(pages, HUGE, mix(seed, life.id)) else { return };
    if life.slot.is_multiple_of(2) {
        life.advise(HUGEPAGE, &region, 0..pages, Advice::LinuxHugepage);
    }
    // The first of it goes to swap at once: reclaim of its own accord begins when memory is full, and the rest of this
    // grows in the time that those who race leave over.
    let first = pages.min(2 * HUGE);
    life.fill(&mut region, 0..first);
    if shape.swaps {
        life.advise(PAGEOUT, &region, 0..first, Advice::LinuxPageOut);
        // What comes back is checked now, so that the shortest run has seen some of it, and goes out again.
        if !life.verify(&region, 0..first) {
            return;
        }
        life.advise(PAGEOUT, &region, 0..first, Advice::LinuxPageOut);
    }
    be_nice(19, shape);
    let start = Instant::now();
    let mut calm = shape.swaps;
    for at in (first..pages).step_by(HUGE) {
        if calm && start.elapsed() >= CALM {
            calm = false;
            let _ = rustix::process::setpriority_process(None, -5);
        }
        life.fill(&mut region, at..(at + HUGE).min(pages));
    }
    if shape.full {
        let _ = rustix::process::setpriority_process(None, 5);
    }
    loop {
        let span = life.rng.span(pages, HUGE);
        if !life.verify(&region, span) {
            return;
        }
        let span = life.rng.span(pages, HUGE / 4);
        match life.rng.below(4) {
            0 => life.fill(&mut region, span),
            // Splits THPs and, refilled page by page, leaves base pages for compaction to pick up.
            1 => {
                life.discard(DISCARD, &mut region, span.clone());
                life.fill(&mut region, span);
            }
            2 => life.advise(PAGEOUT, &region, span, Advice::LinuxPageOut),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::host;
    use crate::job::tests::ask;
    use crate::job::Pressure;

    fn total(shape: &Shape) -> u64 {
        (2 * GANGS * shape.gang + COLD * shape.cold) * PAGE as u64
    }

    #[test]
    fn a_guest_with_swap_is_overcommitted_and_one_without_is_not() {
        let shape = Shape::of(&ask(Pressure::Full, None), &host(400, 512)).unwrap();
        assert!((570 * MIB..=580 * MIB).contains(&total(&shape)), "{shape:?}");
        assert!(shape.swaps && shape.gang == MAX_GANG);
        let shape = Shape::of(&ask(Pressure::Full, None), &host(400, 0)).unwrap();
        assert!(!shape.swaps && total(&shape) < 240 * MIB, "{shape:?}");
        let shape = Shape::of(&ask(Pressure::Full, None), &host(400, 20)).unwrap();
        assert!(!shape.swaps && total(&shape) < 240 * MIB, "too little swap is none: {shape:?}");
    }

    #[test]
    fn claims_follow_what_is_meant_to_happen() {
        let shows = |pressure, swap| {
            let job = AnonChurn.prepare(&ask(pressure, None), &host(400, swap)).unwrap();
            job.claims.into_iter().map(|claim| claim.shows).collect::<Vec<_>>()
        };
        assert_eq!(shows(Pressure::Full, 512), ["thp-fault", "migration", "swap-out"]);
        assert_eq!(shows(Pressure::Full, 0), ["thp-fault", "migration"]);
        assert_eq!(shows(Pressure::Polite, 512), [] as [&str; 0]);
    }

    #[test]
    fn there_is_no_compactor_where_nobody_may_compact() {
        let roles = |can_compact| {
            let job = AnonChurn.prepare(&ask(Pressure::Full, None), &Host { can_compact, ..host(400, 512) }).unwrap();
            job.roles.iter().map(|role| role.name).collect::<Vec<_>>()
        };
        assert_eq!(roles(true), ["gang", "cold", "compact"]);
        assert_eq!(roles(false), ["gang", "cold"]);
    }
}
