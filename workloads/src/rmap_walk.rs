//! `rmap-walk`: processes with many anonymous mappings exit, while all pages are looked up by their reverse mapping.
//!
//! Kernel paths: page_idle_clear_pte_refs() and with it rmap_walk_anon(), folio_lock_anon_vma_read() and the rwsem of the
//! root anon_vma, over every page on the LRU lists (/sys/kernel/mm/page_idle/bitmap), as folio_referenced() walks them one
//! by one; against exit_mmap(): zap_pte_range(), unlink_anon_vmas(), tlb_batch_pages_flush().
//! Races: a walk that begins by a page whose anon_vma is gone. A freed anon_vma looks like a good one for as long as its
//! slab page is one (SLAB_TYPESAFE_BY_RCU). So each process here has more anon_vmas of its own than fit into a few slab
//! pages, made one after the other and freed at once: whole slab pages become free, and after a grace period something
//! else. Shown by: the count of walks, which the kernel does not count, and pgfault.

use crate::board::ops;
use crate::gate::Gate;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::rng::mix;
use crate::size::Size;
use rustix::mm::Advice;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

/// The table's entry.
pub struct RmapWalk;

ops!(OPS:
    OWNER = "owners",
    FORK = "forks",
    UNMAP = "holes",
    EXIT = "exits-mapped",
    WALK = "walks",
);

/// Where the kernel shows which pages are idle, a bit each, 64 at a time (Documentation/admin-guide/mm/idle_page_tracking.rst).
const BITMAP: &str = "/sys/kernel/mm/page_idle/bitmap";

/// How many gangs there are at a time.
const OWNERS: usize = 4;

/// How many processes an owner forks. They exit at once, more of them than there are CPUs, so that an exit is often
/// preempted in the midst: the anon_vmas go with the first batch of the last of them, and a grace period can end before
/// the last batches of all.
const MEMBERS: usize = 3;

/// Pages of a mapping, with a hole behind it that keeps the next one from sharing its anon_vma.
const SPAN: usize = 24;

/// The most pages of a process, holes included: sixteen rounds of tlb_batch_pages_flush(), and below the 10000 that a
/// mmu_gather keeps before it flushes early; 320 anon_vmas.
const MOST: usize = 8000;

/// Bytes of the bitmap in one call.
const CHUNK: usize = 4096;

impl Workload for RmapWalk {
    fn name(&self) -> &'static str {
        "rmap-walk"
    }

    fn about(&self) -> &'static str {
        "processes with many anonymous mappings exit while all pages are looked up by reverse mapping"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(OWNERS, 256)?.min(MOST);
        let seed = ask.seed;
        let walks = ask.full() && crate::host::writable(BITMAP);
        let mut says = vec![
            size.says(host),
            format!("{OWNERS} gangs of {} processes with {} mappings each", MEMBERS + 1, pages / (SPAN + 1)),
        ];
        let mut roles = vec![Role::new("owner", OWNERS as u32, move |life| owner(life, pages, seed))];
        if walks {
            says.push("2 processes that have all pages looked up".to_owned());
            roles.push(Role::new("walker", 2, walker));
        }
        let mut claims = vec![claim("faults", &["pgfault"], 1000), claim("exits", &["exits-mapped"], 8)];
        if ask.full() {
            claims.push(claim("rmap walks", &["walks"], 1));
        }
        Ok(Job { says, claims, roles })
    }
}

fn owner(life: &mut Life<'_>, pages: usize, seed: u64) {
    let Some(mut region) = life.map(pages, 1, mix(seed, life.id)) else { return };
    let _ = region.advise(0..pages, Advice::LinuxNoHugepage);
    for hole in (SPAN..pages).step_by(SPAN + 1) {
        life.unmap(UNMAP, &mut region, hole..hole + 1);
    }
    life.fill(&mut region, 0..pages);
    let span = life.rng.span(pages, pages / 4);
    life.verify(&region, span);
    let Some(mut gate) = life.check(OWNER, "pipe", Gate::new()) else { return };
    for _ in 0..MEMBERS {
        let forked = life.fork(|life| {
            gate.pass();
            life.did(EXIT);
        });
        life.check(FORK, "fork", forked);
    }
    gate.open();
    life.did(EXIT);
    // The supervisor inherits the members, and judges how they end. exit_mmap() is to find it all mapped.
    std::mem::forget(region);
}

/// Marks all pages idle, and has the kernel look whether they still are: that is the walk.
fn walker(life: &mut Life<'_>) {
    let Some(file) = life.check(WALK, BITMAP, open()) else { return };
    let (mut read, ones) = ([0; CHUNK], [0xff; CHUNK]);
    loop {
        for at in (0..).step_by(CHUNK) {
            // ENXIO beyond the last page.
            if file.write_at(&ones, at).unwrap_or(0) == 0 || file.read_at(&mut read, at).unwrap_or(0) == 0 {
                break;
            }
        }
        life.did(WALK);
    }
}

fn open() -> Result<File, rustix::io::Errno> {
    let opened = OpenOptions::new().read(true).write(true).open(BITMAP);
    opened.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
}

// A process has more anon_vmas than a few slab pages hold: 46 of 88 bytes in a page of 4096, without debugging.
const _: () = assert!(MOST / (SPAN + 1) > 4 * 46);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::host;
    use crate::job::tests::ask;
    use crate::job::Pressure;

    #[test]
    fn nothing_acts_on_the_whole_machine_unless_asked_to() {
        let job = RmapWalk.prepare(&ask(Pressure::Polite, Some(64 << 20)), &host(8000, 0)).unwrap();
        assert_eq!(job.roles.len(), 1);
    }
}
