//! `anon-exit-vs-reclaim`: trees of processes over the same anonymous pages die from the root, from the leaves and all
//! at once, while others reclaim the very pages, in the tree's own processes and from outside.
//!
//! Kernel paths: anon_vma_fork(), anon_vma_clone() with its reuse, unlink_anon_vmas(); folio_lock_anon_vma_read() and
//! rmap_walk_anon() from folio_referenced(), try_to_unmap() and try_to_migrate(); process_madvise(2) on a process that
//! exits, which then outlives its exit by an mm reference, so that exit_mmap() runs in the wrong process.
//! Races: the end of an anon_vma against walks of it; COW against reclaim; swap entries shared by parent and child.
//! Shown by: pswpout, pgsteal_anon.

use crate::board::{ops, Op};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pattern::Patterned;
use crate::pressure;
use crate::region::PAGE;
use crate::size::Size;
use crate::sys;
use rustix::io::Errno;
use rustix::mm::Advice;
use rustix::process::{Pid, PidfdFlags};

/// The table's entry.
pub struct AnonExit;

ops!(OPS:
    TREE = "process-trees",
    FORK = "forks",
    EXIT = "exits-mapped",
    PAGEOUT = "pageouts",
    REMOTE = "remote-pageouts",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many trees there are at a time.
const TREES: usize = 4;

/// Generations of a tree below its root, of up to two children each.
const DEPTH: u8 = 3;

/// The most pages of a tree's root.
const MOST: usize = 1024;

impl Workload for AnonExit {
    fn name(&self) -> &'static str {
        "anon-exit-vs-reclaim"
    }

    fn about(&self) -> &'static str {
        "process trees over shared anonymous pages exit while the pages are reclaimed"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        // By COW a tree may take as much for each of some of its processes.
        let pages = size.each_resident(TREES * 4, 128)?.min(MOST);
        let seed = ask.seed;
        let says = vec![size.says(host), format!("{TREES} trees of processes, {pages} pages each")];
        let mut roles = vec![Role::new("tree", TREES as u32, move |life| {
            let Some(mut region) = life.map(pages, 1, seed ^ life.id) else { return };
            if life.rng.percent(70) {
                let _ = region.advise(0..pages, Advice::LinuxNoHugepage);
            }
            life.fill(&mut region, 0..pages);
            life.did(TREE);
            grow(life, &mut region, DEPTH);
            life.did(EXIT);
            std::mem::forget(region);
        })];
        roles.extend(pressure::compact(host, COMPACT));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("exits", &["exits-mapped"], 20)];
        if ask.full() && size.swap {
            claims.push(claim("swap-out", &["pswpout", "zswpout"], 64));
        }
        Ok(Job { says, claims, roles })
    }
}

/// A process of the tree: forks, writes, checks, pages out what is its own and what is its children's, and dies before,
/// with or after them.
fn grow(life: &mut Life<'_>, region: &mut Patterned, depth: u8) {
    let pages = region.pages();
    let mut children = Vec::new();
    if depth > 0 {
        for _ in 0..life.rng.between(1, 2) {
            let generation = life.rng.between(1, 255) as u8;
            let forked = life.fork(|life| {
                region.set_generation(generation);
                grow(life, region, depth - 1);
                life.did(EXIT);
            });
            children.extend(life.check(FORK, "fork", forked));
        }
    }
    let span = life.rng.span(pages, pages / 3);
    life.fill(region, span);
    // Pages that others share are none of PAGEOUT's business (madvise_cold_or_pageout_pte_range()): those COWed just
    // now are.
    life.advise(PAGEOUT, region, 0..pages, Advice::LinuxPageOut);
    let span = life.rng.span(pages, pages / 2);
    if !life.verify(region, span) {
        return;
    }
    for &child in &children {
        page_out(life, child, region);
    }
    if life.rng.percent(60) {
        life.reap(&children);
        life.verify(region, 0..pages);
    }
}

/// Pages out another process's memory, which lies where this one's does.
fn page_out(life: &Life<'_>, child: Pid, region: &Patterned) {
    let Some(pidfd) = life.check(Op::SPAWN, "pidfd_open", rustix::process::pidfd_open(child, PidfdFlags::empty()))
    else {
        return;
    };
    let at = region.address() as *mut u8;
    let done = sys::process_madvise(&pidfd, at, region.pages() * PAGE, Advice::LinuxPageOut as i32);
    // ESRCH: it is dead. EPERM: this user must not.
    life.check_or(REMOTE, "process_madvise", done, &[Errno::SRCH, Errno::PERM, Errno::INTR]);
}
