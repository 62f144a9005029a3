//! `shared-dirty-zap`: threads write to the pages of a file through a mapping that another thread zaps, while the pages
//! are written back and reclaimed. What was written once must never be older again.
//!
//! Kernel paths: zap_pte_range() with dirty shared pages, the dirty bit's way from page table entry to page, TLB flush
//! before or after rmap removal (tlb_flush_mmu(), tlb_flush_rmaps() of later kernels), folio_mkclean() and
//! clear_page_dirty_for_io() from writeback, try_to_unmap() with batched flushes (should_defer_flush()), invalidation by
//! fadvise. Races: a write through a stale TLB entry, after the page was cleaned or written out. On a tmpfs pages go to swap
//! where there is any; on a file system with a disk (`--scratch`) they go there. Shown by: pswpout, nr_written.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::size::Size;
use crate::window::Window;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The table's entry.
pub struct SharedDirtyZap;

ops!(OPS:
    FILE = "files",
    REMAP = "remaps",
    ZAP = "zaps",
    SYNC = "syncs",
    DROP = "cache-drops",
    PAGEOUT = "pageouts",
    COLD = "cold-ranges",
    DIRECT = "reads-past-the-cache",
    READ = "file-reads",
    RECLAIM = "reclaims",
);

/// How many files there are at a time, each with a process of five threads.
const FILES: usize = 2;

/// The most pages of a file.
const MOST: usize = 2 * HUGE;

/// What a writer does before its process ends.
const ROUNDS: usize = 4000;

/// The most pages of one stroke: races are won by the number of them, not by their length.
const STROKE: usize = 24;

impl Workload for SharedDirtyZap {
    fn name(&self) -> &'static str {
        "shared-dirty-zap"
    }

    fn about(&self) -> &'static str {
        "dirty shared file pages are zapped and written back: no write may be lost"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(FILES, 128)?.min(MOST);
        let says =
            vec![size.says(host), ask.scratch.says(), format!("{FILES} files of {pages} pages, five threads each")];
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("zap", FILES as u32, move |life| {
            let Some(file) = life.file(FILE, &scratch, pages) else { return };
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            let Some(window) = life.window(Window::file(&file, 0, pages, 1)) else { return };
            let Some(other) = life.window(Window::file(&file, 0, pages, HUGE)) else { return };
            play(life, &file, &ledger, &window, &other);
            std::mem::forget((window, other));
        })];
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("zaps", &["zaps", "remaps"], 100)];
        if ask.full() {
            claims.push(claim("write-back", &["pswpout", "zswpout", "nr_written"], 64));
        }
        Ok(Job { says, claims, roles })
    }
}

/// The file once more, past the page cache; none where the file system cannot (O_DIRECT of open(2)).
fn direct(file: &OwnedFd) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn play(life: &mut Life<'_>, file: &OwnedFd, ledger: &Ledger, window: &Window, other: &Window) {
    let pages = window.pages();
    let writer = |own: Range<usize>| -> Owner<'_, '_> {
        Box::new(move |life| {
            for _ in 0..ROUNDS {
                let span = life.rng.span(own.len(), STROKE);
                let span = own.start + span.start..own.start + span.end;
                life.put(window, ledger, span.clone());
                if !life.look(window, ledger, span.clone()) || !life.look(other, ledger, span.clone()) {
                    return;
                }
                let page = span.start;
                let read =
                    |bytes: &mut [u8; PAGE]| rustix::io::pread(file, &mut bytes[..], (page * PAGE) as u64) == Ok(PAGE);
                life.did(READ);
                if !life.judge([ledger.check_bytes(page, read)]) {
                    return;
                }
            }
        })
    };
    let zapper: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, STROKE);
        if life.rng.percent(50) {
            life.check(ZAP, "madvise(MADV_DONTNEED)", window.advise(span, libc::MADV_DONTNEED));
        } else {
            let populate = life.rng.percent(50);
            life.check(REMAP, "mmap", window.replace(span, file, populate));
        }
    });
    let direct = direct(file);
    let flusher: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, 2 * STROKE);
        let noted: Vec<_> = span.clone().map(|page| ledger.noted(page)).collect();
        let synced = life.check_or(SYNC, "msync", other.sync(span.clone()), &[Errno::INTR]);
        if let (Some(direct), Some(())) = (&direct, synced) {
            life.did_n(DIRECT, span.len() as u64);
            let on_disk = span.clone().zip(noted).map(|(page, noted)| {
                ledger.check_synced(page, noted, |bytes| {
                    rustix::io::pread(direct, &mut bytes.0[..], (page * PAGE) as u64) == Ok(PAGE)
                })
            });
            if !life.judge(on_disk) {
                return;
            }
        }
        let len = NonZeroU64::new((span.len() * PAGE) as u64);
        let dropped = rustix::fs::fadvise(file, (span.start * PAGE) as u64, len, rustix::fs::Advice::DontNeed);
        life.check(DROP, "fadvise(DONTNEED)", dropped);
    });
    let pager: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, 2 * STROKE);
        let through = if life.rng.percent(50) { window } else { other };
        if life.rng.percent(30) {
            // Old when it is zapped, and dirty all the same.
            life.advise_window(COLD, through, span.clone(), libc::MADV_COLD);
            life.check(ZAP, "madvise(MADV_DONTNEED)", through.advise(span.clone(), libc::MADV_DONTNEED));
        }
        life.advise_window(PAGEOUT, through, span.clone(), libc::MADV_PAGEOUT);
        // Pages mapped twice are not paged out: let the other mapping go first.
        life.check(ZAP, "madvise(MADV_DONTNEED)", other.advise(span.clone(), libc::MADV_DONTNEED));
        life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT);
    });
    life.crew(vec![writer(0..pages / 2), writer(pages / 2..pages)], vec![zapper, flusher, pager]);
}
