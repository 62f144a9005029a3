//! `memcg-move`: processes move between memory cgroups that are made, shrunk, reclaimed from and removed around them, while
//! their children fork, fault, swap and exit.
//!
//! Kernel paths: mem_cgroup_can_attach() and mem_cgroup_move_charge() with lock_page_memcg() (v1, with
//! move_charge_at_immigrate), cgroup migration of whole processes (v2), charging and uncharging beside it,
//! mem_cgroup_css_offline() and what is left behind in dying groups, reclaim by limit and on demand, swap of memcgs.
//! Races: charges that move against rmap, reclaim and exit; removal against reclaim. Shown by: the count of moves and
//! removals, which the kernel does not count, and pswpout.

use crate::board::ops;
use crate::cgroup::{self, Group, Hierarchy};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pattern::Patterned;
use crate::region::{HUGE, PAGE};
use crate::size::Size;
use rustix::io::Errno;
use rustix::mm::Advice;

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
);

/// How many processes move about at a time.
const TENANTS: usize = 3;

/// The most pages of a tenant.
const MOST: usize = 4 * HUGE;

/// Moves of a tenant's life.
const MOVES: usize = 12;

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
        let seed = ask.seed;
        let mut says = vec![size.says(host), format!("{TENANTS} processes with {pages} pages each")];
        says.push(match &hierarchy {
            Some(Hierarchy::V1(at)) => format!("cgroup v1 at {}, charges move along", at.display()),
            Some(Hierarchy::V2(at)) => format!("cgroup v2 at {}", at.display()),
            None if ask.full() => "no memory cgroups to be made here: nobody moves".to_owned(),
            None => "nobody moves between cgroups but with --pressure full".to_owned(),
        });
        let roles = vec![Role::new("tenant", TENANTS as u32, move |life| {
            tenant(life, hierarchy.as_ref(), (pages, size.swap), seed);
        })];
        let mut claims = Vec::new();
        if ask.full() {
            claims.push(claim("moves", &["task-moves"], 8));
            claims.push(claim("removals", &["group-removals"], 2));
        }
        claims.push(claim("forks", &["forks"], 4));
        Ok(Job { says, claims, roles })
    }
}

fn tenant(life: &mut Life<'_>, hierarchy: Option<&Hierarchy>, (pages, swap): (usize, bool), seed: u64) {
    let Some(mut region) = life.map(pages, HUGE, seed ^ life.id) else { return };
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
                life.check_or(
                    MOVE,
                    "cgroup.procs",
                    next.enter(pid),
                    &[Errno::SRCH, Errno::BUSY, Errno::INTR, Errno::NOENT],
                );
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
            if let Some(home) = home.replace(next) {
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
