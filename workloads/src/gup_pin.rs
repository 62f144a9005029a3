//! `gup-pin`: pages are written and read from another process, and sit in pipes, while their owner forks, writes and pages
//! out.
//!
//! Kernel paths: pin_user_pages_remote() by process_vm_readv(2) and process_vm_writev(2), get_user_pages_fast() by
//! vmsplice(2); PageAnonExclusive over fork (page_try_dup_anon_rmap(), page_needs_cow_for_dma()), wp_page_reuse() or
//! copy, migration and reclaim of pages that somebody holds. Races: a pin against fork, COW, page-out and the split of huge
//! pages. What the remote writer wrote must be there; what a child writes must not show in a pipe that its parent filled.
//! Shown by: nr_foll_pin_acquired.

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
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::getpid;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The table's entry.
pub struct GupPin;

ops!(OPS:
    SPLICE = "vmsplices",
    READ = "remote-reads",
    WRITE = "remote-writes",
    FORK = "forks",
    PAGEOUT = "pageouts",
    HUGEPAGE = "huge-regions",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many owners there are, each with a remote writer.
const PROCESSES: usize = 3;

/// The most pages of a process.
const MOST: usize = 2 * HUGE;

/// What an owner does before its process ends.
const ROUNDS: usize = 200;

/// Pages that fit into a pipe (PIPE_DEF_BUFFERS), with room to spare.
const PIPED: usize = 8;

impl Workload for GupPin {
    fn name(&self) -> &'static str {
        "gup-pin"
    }

    fn about(&self) -> &'static str {
        "pages are pinned by others while their owner forks, writes and pages out"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(PROCESSES * 2, HUGE)?.min(MOST) / HUGE * HUGE;
        let seed = ask.seed;
        let says = vec![size.says(host), format!("{PROCESSES} owners of {pages} pages, which others read and write")];
        let mut roles = vec![Role::new("pin", PROCESSES as u32, move |life| {
            let Some(window) = life.window(Window::anonymous(pages, HUGE)) else { return };
            let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
            if life.rng.percent(50) {
                life.advise_window(HUGEPAGE, &window, 0..pages, libc::MADV_HUGEPAGE);
            }
            play(life, &window, &ledger);
            std::mem::forget(window);
        })];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("vmsplices", &["vmsplices"], 4)];
        if ask.full() {
            claims.push(claim("pins", &["nr_foll_pin_acquired"], 64));
        }
        Ok(Job { says, claims, roles })
    }
}

fn play(life: &mut Life<'_>, window: &Window, ledger: &Ledger) {
    let (pages, owner_pid) = (window.pages(), getpid());
    // The second half belongs to the process that writes it from outside; it dies with this one.
    let remote = life.fork(|life| loop {
        let page = life.rng.between(pages / 2, pages - 1);
        let (value, bytes) = ledger.next_bytes(page);
        let written = sys::write_to(owner_pid, window.address(page), &bytes);
        // EPERM: the host lets nobody trace. EFAULT and ESRCH: the owner is on its way out.
        let may = &[Errno::PERM, Errno::SRCH, Errno::FAULT, Errno::NOSYS];
        match life.check_or(WRITE, "process_vm_writev", written, may) {
            Some(PAGE) => ledger.note(page, value),
            Some(_) => ledger.forget(page),
            None => {
                ledger.forget(page);
                std::thread::sleep(std::time::Duration::from_millis(5));
                continue;
            }
        }
        let page = life.rng.below(pages);
        let mut refused = None;
        let check = ledger.check_bytes(page, |bytes| match sys::read_from(owner_pid, window.address(page), bytes) {
            Ok(PAGE) => true,
            Ok(_) => false,
            Err(errno) => {
                refused = Some(errno);
                false
            }
        });
        life.check_or(READ, "process_vm_readv", refused.map_or(Ok(()), Err), may);
        if !life.judge([check]) {
            return;
        }
    });
    let Some(remote) = life.check(FORK, "fork", remote) else { return };
    let owner: Owner<'_, '_> = Box::new(move |life| {
        for _ in 0..ROUNDS {
            let span = life.rng.span(pages / 2, HUGE / 4);
            life.put(window, ledger, span.clone());
            let piped = span.start..span.start + span.len().min(PIPED);
            if !life.look(window, ledger, span) || pipe(life, window, ledger, piped).is_none() {
                return;
            }
            if !life.look(window, ledger, pages / 2..pages) {
                return;
            }
        }
    });
    let pager: Helper<'_, '_> = Box::new(move |life| {
        let span = life.rng.span(pages, HUGE / 4);
        life.advise_window(PAGEOUT, window, span, libc::MADV_PAGEOUT);
        std::thread::sleep(std::time::Duration::from_millis(2));
    });
    life.crew(vec![owner], vec![pager]);
    let _ = rustix::process::kill_process(remote, rustix::process::Signal::KILL);
    life.reap(&[remote]);
}

/// Pages into a pipe, a child that writes to its own copies of them, and out of the pipe what the parent put in.
fn pipe(life: &mut Life<'_>, window: &Window, ledger: &Ledger, span: Range<usize>) -> Option<()> {
    let (out, into) = life.check(SPLICE, "pipe", pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK))?;
    let spliced = life.check(SPLICE, "vmsplice", sys::vmsplice(&into, window.address(span.start), span.len() * PAGE));
    let forked = life.fork(|life| {
        for page in span.clone() {
            (0..PAGE / 8).step_by(511).for_each(|word| window.word(page, word).store(life.id, Ordering::Relaxed));
        }
    });
    let child = life.check(FORK, "fork", forked);
    if life.rng.percent(70) {
        life.reap(child.as_slice());
    }
    for page in span.start..span.start + spliced.unwrap_or(0) / PAGE {
        let check = ledger.check_bytes(page, |bytes| rustix::io::read(&out, &mut bytes[..]) == Ok(PAGE));
        if !life.judge([check.map_err(|wrong| format!("in a pipe: {wrong}"))]) {
            return None;
        }
    }
    Some(())
}
