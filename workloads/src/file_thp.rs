//! `file-thp`: the text of a program is collapsed into huge pages, read, paged out and mapped by many, and then the file is
//! opened for writing.
//!
//! Kernel paths (CONFIG_READ_ONLY_THP_FOR_FS): collapse_file() of a file that is no tmpfs, by MADV_COLLAPSE;
//! filemap_map_pmd(), retract_page_tables(), the truncation of huge pages by do_dentry_open() for writing
//! (filemap_nr_thps()), split of huge page cache pages under reclaim. Races: collapse against faults, zaps and exits. On a
//! tmpfs the huge pages are shmem's. Shown by: thp_collapse_alloc, thp_file_alloc or thp_file_mapped.
//!
//! Nobody maps the text any more when it is opened for writing: until Linux 6.1 at least do_dentry_open(), which truncates
//! under the mapping's invalidate_lock, and collapse_file(), which reads ahead under locked pages, wait for each other for ever.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::ledger::Ledger;
use crate::life::Life;
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::rng::mix;
use crate::scratch::Scratch;
use crate::size::Size;
use crate::window::Window;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The table's entry.
pub struct FileThp;

ops!(OPS:
    FILE = "files",
    FORK = "forks",
    READ_ONLY = "read-only-opens",
    WRITABLE = "opens-for-writing",
    WRITE = "file-writes",
    SYNC = "syncs",
    COLLAPSE = "collapses",
    ZAP = "zaps",
    PAGEOUT = "pageouts",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many programs there are at a time.
const PROGRAMS: usize = 2;

/// Processes that map the text of a program.
const READERS: usize = 3;

/// The most huge pages of a program.
const MOST: usize = 3;

impl Workload for FileThp {
    fn name(&self) -> &'static str {
        "file-thp"
    }

    fn about(&self) -> &'static str {
        "program text in huge pages that is mapped by many and then written to"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = (size.each_resident(PROGRAMS * 2, HUGE)? / HUGE).min(MOST) * HUGE;
        let says = vec![
            size.says(host),
            ask.scratch.says(),
            format!("{PROGRAMS} files of {pages} pages, {READERS} readers each"),
        ];
        let (seed, scratch) = (ask.seed, ask.scratch.clone());
        let mut roles = vec![Role::new("program", PROGRAMS as u32, move |life| program(life, &scratch, pages, seed))];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("files", &["read-only-opens"], 1)];
        if ask.full() {
            claims.push(claim("file-thp", &["thp_collapse_alloc", "thp_file_alloc"], 2));
        }
        Ok(Job { says, claims, roles })
    }
}

fn program(life: &mut Life<'_>, scratch: &Scratch, pages: usize, seed: u64) {
    let Some(ledger) = life.ledger(pages, mix(seed, life.id)) else { return };
    let Some(writer) = life.file(FILE, scratch, pages) else { return };
    if write_all(life, &writer, &ledger, pages).is_none() {
        return;
    }
    // A file without a name is opened anew by way of /proc.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let open = |flags: OFlags| rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty());
    let Some(mut reader) = life.check(READ_ONLY, "open for reading", open(OFlags::RDONLY)) else { return };
    let link = format!("/proc/self/fd/{}", reader.as_raw_fd());
    // Nobody may have it open for writing (file_thp_enabled()).
    drop(writer);
    for _ in 0..4 {
        let readers: Vec<_> = (0..READERS)
            .filter_map(|_| {
                let forked = life.fork(|life| read_text(life, &reader, &ledger, pages));
                life.check(FORK, "fork", forked)
            })
            .collect();
        life.reap(&readers);
        // ETXTBSY is for what is executed, not for what was mapped: this drops the huge pages.
        let again = |flags| rustix::fs::open(&link, flags | OFlags::CLOEXEC, Mode::empty());
        if let Some(writer) =
            life.check_or(WRITABLE, "open for writing", again(OFlags::RDWR), &[Errno::ACCESS, Errno::PERM])
        {
            for _ in 0..8 {
                let page = life.rng.below(pages);
                write_one(life, &writer, &ledger, page);
            }
            life.check(SYNC, "fsync", rustix::fs::fsync(&writer));
        }
        if let Some(new) = life.check(READ_ONLY, "open for reading", again(OFlags::RDONLY)) {
            // The link must stay one to the file.
            let _ = rustix::io::dup2(&new, &mut reader);
        }
    }
}

fn write_all(life: &Life<'_>, file: &OwnedFd, ledger: &Ledger, pages: usize) -> Option<()> {
    (0..pages).for_each(|page| write_one(life, file, ledger, page));
    // A dirty page is not collapsed.
    life.check(SYNC, "fsync", rustix::fs::fsync(file))
}

fn write_one(life: &Life<'_>, file: &OwnedFd, ledger: &Ledger, page: usize) {
    let (value, bytes) = ledger.next_bytes(page);
    match life.check_or(WRITE, "pwrite", rustix::io::pwrite(file, &bytes, (page * PAGE) as u64), &[Errno::NOSPC]) {
        Some(PAGE) => ledger.note(page, value),
        _ => ledger.forget(page),
    }
}

/// A process that runs the program: maps its text, has it collapsed, reads it.
fn read_text(life: &mut Life<'_>, file: &OwnedFd, ledger: &Ledger, pages: usize) {
    let Some(window) = life.window(Window::text(file, pages)) else { return };
    life.advise_window(FILE, &window, 0..pages, libc::MADV_HUGEPAGE);
    for _ in 0..life.rng.between(5, 20) {
        let at = life.rng.below(pages / HUGE) * HUGE;
        life.collapse(COLLAPSE, &window, at..at + HUGE);
        if !life.look(&window, ledger, at..at + HUGE) {
            return;
        }
        let span = life.rng.span(pages, HUGE);
        match life.rng.below(3) {
            0 => life.advise_window(PAGEOUT, &window, span, libc::MADV_PAGEOUT),
            1 => {
                life.check(ZAP, "madvise(MADV_DONTNEED)", window.advise(span, libc::MADV_DONTNEED));
            }
            _ => {}
        }
    }
    std::mem::forget(window);
}
