//! `userfaultfd-mix`: threads fault on memory whose faults another thread answers, while pages are zapped, protected and
//! paged out.
//!
//! Kernel paths: handle_userfault(), mfill_atomic_install_pte() for anonymous memory and shmem, uffd-wp bits over
//! swap-out, fork and zap (zap_install_uffd_wp_if_needed(), pte markers), userfaultfd_writeprotect(), do_wp_page() of a
//! protected page. Races: an answer against a zap of the same place; protection against faults. What a page held when
//! it was answered or written must be there until it is zapped. Shown by the counts of faults answered, since the kernel
//! counts none.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::{Helper, Life, Owner};
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::size::Size;
use crate::uffd::Uffd;
use crate::window::Window;
use rustix::io::Errno;
use std::ops::Range;

/// The table's entry.
pub struct UffdMix;

ops!(OPS:
    OPEN = "uffd-regions",
    COPY = "faults-answered",
    AGAIN = "second-answers",
    UNPROTECT = "write-faults-answered",
    PROTECT = "protections",
    DISCARD = "discards",
    PAGEOUT = "pageouts",
    FILE = "files",
    RECLAIM = "reclaims",
    COMPACT = "compactions",
);

/// How many processes there are, of four threads each; every other one has its pages in a file.
const PROCESSES: usize = 2;

/// The most pages of a process.
const MOST: usize = HUGE;

/// What an owner does before its process ends.
const ROUNDS: usize = 150;

/// What the ioctls say where a page or its mapping has changed meanwhile (ioctl_userfaultfd(2)).
const MAY: &[Errno] = &[Errno::EXIST, Errno::NOENT, Errno::FAULT, Errno::BUSY, Errno::SRCH];

impl Workload for UffdMix {
    fn name(&self) -> &'static str {
        "userfaultfd-mix"
    }

    fn about(&self) -> &'static str {
        "faults are answered from user space while pages are zapped and protected"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(PROCESSES, 64)?.min(MOST);
        let mut says = vec![size.says(host), format!("{PROCESSES} processes with {pages} pages each")];
        if let Err(errno) = Uffd::new() {
            says.push(format!("userfaultfd: {errno}: nothing to do here"));
        }
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("uffd", PROCESSES as u32, move |life| {
            let opened = life.check_or(OPEN, "userfaultfd", Uffd::new(), &[Errno::NOSYS, Errno::PERM, Errno::INVAL]);
            let Some(uffd) = opened else {
                std::thread::sleep(std::time::Duration::from_millis(200));
                return;
            };
            let private = life.slot.is_multiple_of(2);
            let window = if private {
                Window::anonymous(pages, HUGE)
            } else {
                let Some(file) = life.file(FILE, &scratch, pages) else { return };
                Window::file(file, 0, pages, HUGE)
            };
            let Some(window) = life.window(window) else { return };
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            // Of files since 5.19 only. A file system that is no tmpfs cannot be watched at all.
            let wp = private && uffd.can_protect();
            let registered = uffd.register(window.address(0), pages * PAGE, wp);
            if life.check_or(OPEN, "UFFDIO_REGISTER", registered, &[Errno::INVAL]).is_some() {
                play(life, &window, &ledger, &uffd, wp);
            }
            std::mem::forget(window);
        })];
        roles.extend(pressure::reclaim(ask, RECLAIM));
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        Ok(Job { says, claims: vec![claim("faults", &["faults-answered"], 32)], roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger, uffd: &Uffd, wp: bool) {
    let pages = window.pages();
    let owner = |own: Range<usize>| -> Owner<'_, '_> {
        Box::new(move |life| {
            for _ in 0..ROUNDS {
                let span = life.rng.span(own.len(), 48);
                let span = own.start + span.start..own.start + span.end;
                if !life.look(window, ledger, span.clone()) {
                    return;
                }
                match life.rng.below(6) {
                    0 | 1 => {
                        span.clone().for_each(|page| ledger.forget(page));
                        // Of a file only MADV_REMOVE makes pages missing.
                        let advice = if wp { libc::MADV_DONTNEED } else { libc::MADV_REMOVE };
                        let gone = window.advise(span, advice);
                        life.check_or(DISCARD, "madvise", gone, &[Errno::INVAL, Errno::OPNOTSUPP]);
                    }
                    2 => life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT),
                    3 if wp => {
                        let bytes = span.len() * PAGE;
                        let done = uffd.protect(window.address(span.start) as usize, bytes, true);
                        life.check_or(PROTECT, "UFFDIO_WRITEPROTECT", done, MAY);
                    }
                    _ => life.put(window, ledger, span),
                }
            }
        })
    };
    let handler: Helper<'_, '_> = Box::new(move |life| {
        uffd.wait(20);
        while let Some(fault) = uffd.fault() {
            if fault.protected {
                let done = uffd.protect(fault.address, PAGE, false);
                life.check_or(UNPROTECT, "UFFDIO_WRITEPROTECT", done, MAY);
                continue;
            }
            let page = (fault.address - window.address(0) as usize) / PAGE;
            // Of version 0: whatever is written later is newer, and whatever was noted before is not it.
            let bytes = ledger.first_bytes(page);
            let done = uffd.copy(fault.address, &bytes, wp && life.rng.percent(30));
            // Where a copy does not wake it, the faulting thread is woken by whoever made the page be there (EEXIST).
            life.check_or(COPY, "UFFDIO_COPY", done, MAY);
            if life.rng.percent(30) {
                // As a second handler would that was told of the same fault: it must come too late, but where the page was let
                // go meanwhile.
                life.check_or(AGAIN, "UFFDIO_COPY", uffd.copy(fault.address, &bytes, false), MAY);
            }
        }
    });
    life.crew(vec![owner(0..pages / 2), owner(pages / 2..pages)], vec![handler]);
}
