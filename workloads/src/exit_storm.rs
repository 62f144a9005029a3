//! `exit-storm`: processes that map the same dirty pages of a file exit, or exec, all at the same moment.
//!
//! Kernel paths: exit_mmap() and exec_mmap(), zap_pte_range() with shared dirty pages (set_page_dirty() from the page
//! table entry, page_remove_rmap(), tlb_flush_mmu() in batches), free_pgtables() and unlink_file_vma() against
//! rmap_walk_file() from reclaim and compaction; huge page table entries of shmem, too (zap_huge_pmd()).
//! Races: the last unmap of a page against its reclaim; dirty bits that only a page table entry has when it is zapped.
//! What the storm leaves behind is checked by those who come next. Shown by: pgfault, and by swap-out and migration
//! where reclaim and compaction may be asked for.

use crate::board::ops;
use crate::gate::Gate;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::Life;
use crate::pressure;
use crate::region::HUGE;
use crate::size::Size;
use crate::window::Window;
use std::os::fd::OwnedFd;

/// The table's entry.
pub struct ExitStorm;

ops!(OPS:
    STORM = "exit-storms",
    FORK = "forks",
    EXIT = "exits-mapped",
    EXEC = "execs-mapped",
    MAPPED = "file-mappings",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many storms there are at a time.
const STORMS: usize = 3;

/// Processes of a storm, besides its leader.
const MEMBERS: usize = 5;

/// The most pages of a storm's file: six rounds of tlb_flush_mmu() in each exit.
const MOST: usize = 3 * HUGE;

impl Workload for ExitStorm {
    fn name(&self) -> &'static str {
        "exit-storm"
    }

    fn about(&self) -> &'static str {
        "processes that share dirty file pages exit and exec all at once"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(STORMS, 256)?.min(MOST);
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut says = vec![size.says(host), scratch.says()];
        says.push(format!("{STORMS} storms of {} processes over a file of {pages} pages each", MEMBERS + 1));
        let live = move |life: &mut Life<'_>| {
            let file = life.file(MAPPED, &scratch, pages);
            let ledger = life.ledger(pages, seed ^ life.id);
            if let (Some(file), Some(ledger)) = (file, ledger) {
                // Several storms over one file: the second finds what the first has left.
                for _ in 0..4 {
                    if storm(life, &file, pages, &ledger).is_none() {
                        return;
                    }
                }
            }
        };
        let mut roles = vec![Role::new("storm", STORMS as u32, live)];
        roles.extend(pressure::compact(host, COMPACT));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("faults", &["pgfault"], 1000), claim("exits", &["exits-mapped"], 10)];
        if ask.full() && size.swap {
            claims.push(claim("swap-out", &["pswpout", "zswpout"], 16));
        }
        Ok(Job { says, claims, roles })
    }
}

fn storm(life: &mut Life<'_>, file: &OwnedFd, pages: usize, ledger: &Ledger) -> Option<()> {
    let mut gate = life.check(STORM, "pipe", Gate::new())?;
    let share = pages / MEMBERS;
    let mut pids = Vec::new();
    for member in 0..MEMBERS {
        let forked = life.fork(|life| {
            // At a multiple of a huge page's size the file's huge pages are mapped whole.
            let align = if life.rng.percent(70) { HUGE } else { 1 };
            let Some(window) = life.window(Window::file(file, 0, pages, align)) else { return };
            life.did(MAPPED);
            if !life.look(&window, ledger, 0..pages) {
                return;
            }
            life.put(&window, ledger, member * share..(member + 1) * share);
            let execs = life.rng.percent(20);
            gate.pass();
            if execs {
                life.did(EXEC);
                crate::worker::exec_nothing();
            }
            life.did(EXIT);
            std::mem::forget(window);
        });
        pids.extend(life.check(FORK, "fork", forked));
    }
    gate.open();
    life.reap(&pids);
    let window = life.window(Window::file(file, 0, pages, 1))?;
    life.look(&window, ledger, 0..pages).then_some(())
}
