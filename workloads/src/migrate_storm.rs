//! `migrate-storm`: pages are migrated from node to node and from place to place while their owners write to them, fork, and
//! let go of them.
//!
//! Kernel paths: move_pages(2), mbind(2) with MPOL_MF_MOVE, compact_memory, and with NUMA balancing the kernel's own idea;
//! migrate_pages() and unmap_and_move(), try_to_migrate() and remove_migration_ptes(), migration entries of huge pages
//! (set_pmd_migration_entry()), migration_entry_wait(). Races: migration entries against zap, fork, mprotect and exit.
//! Shown by: pgmigrate_success, and thp_migration_success where there are huge pages and two nodes.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::size::Size;
use crate::sys;
use crate::window::Window;
use std::ops::Range;

/// The table's entry.
pub struct MigrateStorm;

ops!(OPS:
    MOVE = "moved-ranges",
    BIND = "bound-ranges",
    DISCARD = "discards",
    COLOR = "mprotects",
    FORK = "forks",
    COMPACT = "compactions",
);

/// How many processes there are, of four threads each.
const PROCESSES: usize = 3;

/// The most pages of a process.
const MOST: usize = 6 * HUGE;

/// What an owner does before its process ends.
const ROUNDS: usize = 400;

impl Workload for MigrateStorm {
    fn name(&self) -> &'static str {
        "migrate-storm"
    }

    fn about(&self) -> &'static str {
        "pages migrate between nodes while their owners write, fork and exit"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(PROCESSES * 2, 2 * HUGE)?.min(MOST) / HUGE * HUGE;
        let nodes = host.nodes;
        let says = vec![size.says(host), format!("{PROCESSES} processes with {pages} pages each, on {nodes} nodes")];
        let seed = ask.seed;
        let mut roles = vec![Role::new("migrate", PROCESSES as u32, move |life| {
            let Some(window) = life.window(Window::anonymous(pages, HUGE)) else { return };
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            // Every other process has base pages only, whatever the machine's setting.
            let advice = if life.rng.percent(50) { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
            let _ = window.advise(0..pages, advice);
            play(life, &window, &ledger, nodes);
            std::mem::forget(window);
        })];
        roles.extend(pressure::compact(host, COMPACT));
        let mut claims = vec![claim("ranges", &["moved-ranges", "bound-ranges", "compactions"], 4)];
        if ask.full() {
            claims.push(claim("migration", &["pgmigrate_success"], 256));
            if nodes > 1 {
                claims.push(claim("thp-migration", &["thp_migration_success"], 1));
            }
        }
        Ok(Job { says, claims, roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger, nodes: usize) {
    let pages = window.pages();
    let owner = |own: Range<usize>| -> Owner<'_, '_> {
        Box::new(move |life| {
            life.put(window, ledger, own.clone());
            for _ in 0..ROUNDS {
                let span = life.rng.span(own.len(), HUGE / 2);
                let span = own.start + span.start..own.start + span.end;
                let anywhere = life.rng.span(pages, HUGE / 4);
                if !life.look(window, ledger, span.clone()) || !life.look(window, ledger, anywhere) {
                    return;
                }
                match life.rng.below(8) {
                    0 => life.let_go(DISCARD, window, ledger, span),
                    1 => {
                        life.check(COLOR, "mprotect", window.recolor(span, life.id.is_multiple_of(2)));
                    }
                    2 => {
                        let noted: Vec<_> = span.clone().map(|page| ledger.noted(page)).collect();
                        let forked = life.fork(|life| {
                            life.judge(span.zip(noted).map(|(page, noted)| ledger.check_copy(window, page, noted)));
                        });
                        if let Some(pid) = life.check(FORK, "fork", forked) {
                            life.reap(&[pid]);
                        }
                    }
                    _ => life.put(window, ledger, span),
                }
            }
        })
    };
    let mover: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, HUGE);
        let node = life.rng.below(nodes);
        if life.rng.percent(30) {
            let bound = sys::bind_to(window.address(span.start), span.len() * PAGE, node);
            life.check_or(BIND, "mbind", bound, sys::MOVE_MAY);
        } else {
            let addresses: Vec<_> = span.clone().map(|page| window.address(page)).collect();
            life.check_or(
                MOVE,
                "move_pages",
                sys::move_pages(&addresses, &vec![node as i32; span.len()]),
                sys::MOVE_MAY,
            );
        }
        if nodes == 1 {
            // Where there is nowhere to go this proves nothing: leave the processors to compaction.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    life.crew(vec![owner(0..pages / 2), owner(pages / 2..pages)], vec![mover]);
}
