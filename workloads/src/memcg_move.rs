//! `memcg-move`: processes move between memory cgroups that are made, shrunk, reclaimed from and removed around them, while
//! their children fork, fault, swap and exit.
//!
//! Kernel paths: mem_cgroup_can_attach() and mem_cgroup_move_charge() with lock_page_memcg() (v1, with
//! move_charge_at_immigrate), cgroup migration of whole processes (v2), charging and uncharging beside it,
//! mem_cgroup_css_offline() and what is left behind in dying groups, reclaim by limit and on demand, swap of memcgs.
//! Races: charges that move against rmap, reclaim and exit; removal against reclaim. With v1 a tenant also moves to and
//! fro while a neighbour maps and unmaps pages of a file that are the tenant's charge, but not in its page table: of what
//! mem_cgroup_move_account() moves these alone can become unmapped meanwhile, as no page table lock that it holds is
//! theirs. Then memory.stat of both cgroups is held against the pages charged to them ([`crate::memcg_audit`]).
//! Shown by: the count of moves, removals and audits, which the kernel does not count, and pswpout.

use crate::board::{ops, Op};
use crate::cgroup::{self, Group, Hierarchy};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::Life;
use crate::memcg_audit::Auditor;
use crate::pattern::Patterned;
use crate::region::{HUGE, PAGE};
use crate::scratch::Scratch;
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;
use rustix::mm::Advice;
use rustix::process::{kill_process, Signal};
use std::os::fd::OwnedFd;

/// The table's entry.
pub struct MemcgMove;

ops!(OPS:
    MAKE = "groups-made",
    MOVE = "task-moves",
    REMOVE = "group-removals",
    SHRINK = "group-limits",
    RECLAIM = "group-reclaims",
    FORK = "forks",
    DISCARD = "discards",
    PAGEOUT = "pageouts",
    SHUTTLE = "moves-to-and-fro",
    AUDIT = "audits",
);

/// How many processes move about at a time.
const TENANTS: usize = 3;

/// The most pages of a tenant.
const MOST: usize = 4 * HUGE;

/// Moves of a tenant's life.
const MOVES: usize = 12;

/// Pages of the file that a tenant has with a neighbour.
const SHARED: usize = 256;

/// How often a tenant moves to and fro while its neighbour is at it.
const SHUTTLES: usize = 8;

impl Workload for MemcgMove {
    fn name(&self) -> &'static str {
        "memcg-move"
    }

    fn about(&self) -> &'static str {
        "processes move between memory cgroups that come and go under reclaim"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(TENANTS * 3, 256)?.min(MOST);
        let hierarchy = if ask.full() { cgroup::find() } else { None };
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let v1 = matches!(hierarchy, Some(Hierarchy::V1(_)));
        let mut says = vec![size.says(host), format!("{TENANTS} processes with {pages} pages each")];
        says.push(match &hierarchy {
            Some(Hierarchy::V1(at)) => format!("cgroup v1 at {}, charges move along, and are audited", at.display()),
            Some(Hierarchy::V2(at)) => format!("cgroup v2 at {}", at.display()),
            None if ask.full() => "no memory cgroups to be made here: nobody moves".to_owned(),
            None => "nobody moves between cgroups but with --pressure full".to_owned(),
        });
        let roles = vec![Role::new("tenant", TENANTS as u32, move |life| {
            tenant(life, hierarchy.as_ref(), (pages, size.swap), (seed, &scratch));
        })];
        let mut claims = Vec::new();
        if ask.full() {
            claims.push(claim("moves", &["task-moves"], 8));
            claims.push(claim("removals", &["group-removals"], 2));
            if v1 {
                claims.push(claim("moved charges", &["moves-to-and-fro"], 8));
                claims.push(claim("audits", &["audits"], 2));
            }
        }
        claims.push(claim("forks", &["forks"], 4));
        Ok(Job { says, claims, roles })
    }
}

fn tenant(
    life: &mut Life<'_>,
    hierarchy: Option<&Hierarchy>,
    (pages, swap): (usize, bool),
    (seed, scratch): (u64, &Scratch),
) {
    let Some(mut region) = life.map(pages, HUGE, seed ^ life.id) else { return };
    let mut shared = hierarchy.is_some_and(Hierarchy::is_v1).then(|| Shared::new(life, scratch, seed)).flatten();
    let mut home: Option<Group> = None;
    for round in 0..MOVES {
        // Two names a slot, so that what a killed tenant leaves behind is used and removed by the next.
        let next = hierarchy.and_then(|hierarchy| {
            let name = format!("{}-{}", life.slot, round % 2);
            life.check(MAKE, "mkdir in a cgroup", hierarchy.make(&name))
        });
        let child = life.fork(|life| {
            region.set_generation(round as u8 + 1);
            for _ in 0..3 {
                use_memory(life, &mut region);
            }
        });
        let child = life.check(FORK, "fork", child);
        use_memory(life, &mut region);
        if let Some(next) = next {
            let room = (pages * PAGE) as u64;
            if swap && life.rng.percent(50) {
                // With its children a tenant may have more than twice its size; swap takes the rest: reclaim, but no OOM.
                let limit = if life.rng.percent(50) { room * 2 } else { room * 8 };
                life.check_or(
                    SHRINK,
                    "a cgroup's limit",
                    next.limit(limit.max(8 << 20), None),
                    &[Errno::BUSY, Errno::INVAL],
                );
            }
            for pid in [child.map_or(0, |pid| pid.as_raw_nonzero().get() as u32), 0] {
                enter(life, MOVE, &next, pid);
            }
            if life.rng.percent(40) {
                let done = next.reclaim(room / 4);
                life.check_or(
                    RECLAIM,
                    "a cgroup's reclaim",
                    done,
                    &[Errno::BUSY, Errno::INTR, Errno::INVAL, Errno::NOENT],
                );
            }
            if let Some(home) = home.replace(next.clone()) {
                if let Some(shared) = shared.as_mut().filter(|_| life.rng.percent(50)) {
                    // Its own children would change what is to be counted.
                    life.reap(child.as_slice());
                    if shared.shuttle(life, [&home, &next]).is_none() {
                        return;
                    }
                    audit(life, [&home, &next]);
                }
                // With pages still charged to it, which go on living in a dying group.
                life.check_or(REMOVE, "rmdir of a cgroup", home.remove(), &[Errno::BUSY, Errno::NOENT]);
            }
        }
        if !life.verify(&region, 0..pages) {
            return;
        }
        if life.rng.percent(50) {
            life.reap(child.as_slice());
        }
    }
    std::mem::forget(region);
}

fn enter(life: &Life<'_>, op: Op, group: &Group, pid: u32) {
    let may = [Errno::SRCH, Errno::BUSY, Errno::INTR, Errno::NOENT];
    life.check_or(op, "cgroup.procs", group.enter(pid), &may);
}

/// Says what is off for good in the statistics of groups whose only process this is.
fn audit(life: &Life<'_>, groups: [&Group; 2]) {
    let Ok(mut auditor) = Auditor::open() else { return life.did(Op::UNSUPPORTED) };
    for group in groups {
        match auditor.audit(group) {
            Ok(off) => {
                life.did(AUDIT);
                off.iter().for_each(|line| life.violation("memcg-stat", &format!("{}: {line}", group.name())));
            }
            Err(_) => life.did(Op::REFUSED),
        }
    }
}

/// A file that a tenant pays for and its neighbour maps.
struct Shared {
    file: OwnedFd,
    window: Window,
    ledger: Ledger,
}

impl Shared {
    fn new(life: &mut Life<'_>, scratch: &Scratch, seed: u64) -> Option<Self> {
        // Huge pages of a file are not moved unless they are mapped whole; a memfd has none where nobody forces them.
        let file = scratch.file(SHARED, life.rng.percent(50));
        let file = life.check_or(SHUTTLE, "a scratch file", file, &[Errno::NOSPC])?;
        let window = life.window(Window::file(&file, 0, SHARED, 1))?;
        let ledger = life.ledger(SHARED, seed ^ life.id ^ 1)?;
        Some(Self { file, window, ledger })
    }

    /// Moves to and fro between the groups, and at last into the second, while a neighbour maps and unmaps the file's pages.
    fn shuttle(&mut self, life: &mut Life<'_>, groups: [&Group; 2]) -> Option<()> {
        life.put(&self.window, &self.ledger, 0..SHARED);
        life.advise_window(DISCARD, &self.window, 0..SHARED, libc::MADV_DONTNEED);
        let (file, ledger) = (&self.file, &self.ledger);
        let neighbour = life.fork(|life| {
            // Until it is killed.
            while let Some(window) = life.window(Window::file(file, 0, SHARED, 1)) {
                for _ in 0..16 {
                    if !life.look(&window, ledger, 0..SHARED) {
                        return;
                    }
                    life.advise_window(DISCARD, &window, 0..SHARED, libc::MADV_DONTNEED);
                }
            }
        });
        let neighbour = life.check(FORK, "fork", neighbour)?;
        for step in 0..SHUTTLES {
            enter(life, SHUTTLE, groups[step % 2], 0);
        }
        let _ = kill_process(neighbour, Signal::KILL);
        life.reap(&[neighbour]);
        life.look(&self.window, &self.ledger, 0..SHARED).then_some(())
    }
}

fn use_memory(life: &mut Life<'_>, region: &mut Patterned) {
    let span = life.rng.span(region.pages(), region.pages() / 2);
    life.fill(region, span);
    let span = life.rng.span(region.pages(), region.pages() / 4);
    match life.rng.below(3) {
        0 => life.discard(DISCARD, region, span),
        1 => life.advise(PAGEOUT, region, span, Advice::LinuxPageOut),
        _ => {}
    }
    let span = life.rng.span(region.pages(), region.pages() / 4);
    life.verify(region, span);
}
