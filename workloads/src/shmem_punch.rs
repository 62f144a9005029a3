//! `shmem-punch`: holes are punched into a file, its end is moved, its pages are written and checked, by processes whose parts
//! of it share huge pages, while others fault all of it in.
//!
//! Kernel paths: shmem_fallocate() and shmem_undo_range(), truncate_inode_partial_folio() and the split of huge pages at
//! the ends of a hole, shmem_fault() waiting for a hole, unmap_mapping_range(), shmem_setattr(), collapse_file() by
//! MADV_COLLAPSE, shmem_writepage(). Races: a hole against faults, reclaim and collapse; what is beyond a hole's end must
//! stay. Shown by: thp_file_alloc, and swap-out where there is swap.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::Life;
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::scratch::{punch, Scratch};
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// The table's entry.
pub struct ShmemPunch;

ops!(OPS:
    FILE = "files",
    FORK = "forks",
    PUNCH = "punched-holes",
    REMOVE = "removed-ranges",
    TRUNCATE = "truncations",
    WRITE = "file-writes",
    READ = "file-reads",
    FAULT = "populations",
    ZAP = "zaps",
    PAGEOUT = "pageouts",
    COLD = "cold-ranges",
    COLLAPSE = "collapses",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many files there are at a time.
const FILES: usize = 2;

/// Owners of a file's parts.
const OWNERS: usize = 3;

/// The most pages of a file.
const MOST: usize = 16 * HUGE;

/// What an owner does before its file makes place for a new one.
const ROUNDS: usize = 250;

impl Workload for ShmemPunch {
    fn name(&self) -> &'static str {
        "shmem-punch"
    }

    fn about(&self) -> &'static str {
        "holes and truncations in files of huge pages that others fault in"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(FILES, 2 * HUGE)?.min(MOST) / HUGE * HUGE;
        let says = vec![
            size.says(host),
            ask.scratch.says(),
            format!(
                "{FILES} files of {} MiB, each with {OWNERS} processes that own a part and one that faults it in",
                (pages * PAGE) >> 20
            ),
        ];
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("punch", FILES as u32, move |life| file(life, &scratch, pages, seed))];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("holes", &["punched-holes"], 10)];
        if ask.full() {
            claims.push(claim("shmem-thp", &["thp_file_alloc"], 4));
            if size.swap {
                claims.push(claim("swap-out", &["pswpout", "zswpout"], 16));
            }
        }
        Ok(Job { says, claims, roles })
    }
}

fn file(life: &mut Life<'_>, scratch: &Scratch, pages: usize, seed: u64) {
    let Some(file) = life.file(FILE, scratch, pages) else { return };
    let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
    let faults = life.fork(|life| fault(life, &file, pages));
    // Not at multiples of a huge page: neighbours share those at the ends of their parts.
    let share = pages / OWNERS;
    let mut owners = Vec::new();
    for owner in 0..OWNERS {
        let own = owner * share..if owner + 1 == OWNERS { pages } else { (owner + 1) * share };
        let forked = life.fork(|life| own_part(life, &file, &ledger, own));
        owners.extend(life.check(FORK, "fork", forked));
    }
    life.reap(&owners);
    if let Some(pid) = life.check(FORK, "fork", faults) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        life.reap(&[pid]);
    }
}

/// Owns a part of the file: what is in it is what it says.
fn own_part(life: &mut Life<'_>, file: &OwnedFd, ledger: &Ledger, own: Range<usize>) {
    let all = ledger.pages();
    let last = own.end == all;
    let Some(window) = life.window(Window::file(file, own.start, own.len(), 1)) else { return };
    if life.rng.percent(70) {
        life.advise_window(FILE, &window, 0..own.len(), libc::MADV_HUGEPAGE);
    }
    let mut rest = own.len();
    for _ in 0..ROUNDS {
        let span = life.rng.span(rest, HUGE);
        if !life.look(&window, ledger, span.clone()) || !read_back(life, file, ledger, own.start + span.start) {
            return;
        }
        let forget = |span: Range<usize>| span.for_each(|page| ledger.forget(own.start + page));
        let in_file = own.start + span.start..own.start + span.end;
        match life.rng.below(9) {
            0 | 1 => {
                forget(span);
                life.check_or(PUNCH, "fallocate(PUNCH_HOLE)", punch(file, in_file), &[Errno::OPNOTSUPP, Errno::INTR]);
            }
            2 => {
                forget(span.clone());
                let removed = window.advise(span, libc::MADV_REMOVE);
                life.check_or(REMOVE, "madvise(MADV_REMOVE)", removed, &[Errno::OPNOTSUPP, Errno::INTR]);
            }
            3 if last => {
                // Back and forth within the last part, where nobody else looks.
                rest = life.rng.between(own.len() / 2, own.len());
                forget(rest..own.len());
                for size in [own.start + rest, all] {
                    life.check(TRUNCATE, "ftruncate", rustix::fs::ftruncate(file, (size * PAGE) as u64));
                }
                rest = own.len();
            }
            4 => write_back(life, file, ledger, in_file.start),
            5 => life.advise_window(PAGEOUT, &window, span, libc::MADV_PAGEOUT),
            // Old, and dirty by its page table entry alone perhaps, when it is zapped.
            6 if life.rng.percent(50) => {
                life.advise_window(COLD, &window, span.clone(), libc::MADV_COLD);
                life.check(ZAP, "madvise(MADV_DONTNEED)", window.advise(span, libc::MADV_DONTNEED));
            }
            6 => {
                life.check(ZAP, "madvise(MADV_DONTNEED)", window.advise(span, libc::MADV_DONTNEED));
            }
            _ => life.put(&window, ledger, span),
        }
    }
    std::mem::forget(window);
}

/// Writes a page by pwrite(2).
fn write_back(life: &Life<'_>, file: &OwnedFd, ledger: &Ledger, page: usize) {
    let (value, bytes) = ledger.next_bytes(page);
    let written = rustix::io::pwrite(file, &bytes, (page * PAGE) as u64);
    // A short write is of no use, and none is due: the page is the file system's unit.
    if life.check(WRITE, "pwrite", written) == Some(PAGE) {
        ledger.note(page, value);
    } else {
        ledger.forget(page);
    }
}

/// Checks a page by pread(2).
fn read_back(life: &Life<'_>, file: &OwnedFd, ledger: &Ledger, page: usize) -> bool {
    life.did(READ);
    life.judge([
        ledger.check_bytes(page, |bytes| rustix::io::pread(file, &mut bytes[..], (page * PAGE) as u64) == Ok(PAGE))
    ])
}

/// Faults in whatever there is, and lets it go again. By madvise, which says EFAULT where an access beyond the end of the
/// file would bring SIGBUS.
fn fault(life: &mut Life<'_>, file: &OwnedFd, pages: usize) {
    let Some(window) = life.window(Window::file(file, 0, pages, HUGE)) else { return };
    loop {
        let span = life.rng.span(pages, 2 * HUGE);
        let advice = if life.rng.percent(50) { libc::MADV_POPULATE_READ } else { libc::MADV_POPULATE_WRITE };
        let populated = window.advise(span.clone(), advice);
        life.check_or(FAULT, "madvise(MADV_POPULATE)", populated, &[Errno::FAULT, Errno::INVAL]);
        let at = span.start / HUGE * HUGE;
        match life.rng.below(4) {
            0 => life.collapse(COLLAPSE, &window, at..at + HUGE),
            1 => {
                life.check(ZAP, "madvise(MADV_DONTNEED)", window.advise(span, libc::MADV_DONTNEED));
            }
            _ => {}
        }
    }
}
