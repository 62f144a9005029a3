//! A file, by two shared mappings, a private one, read(2) and write(2).

use super::history::History;
use super::model::{Model, SHOWN};
use super::{age, gather, place, samples, whole, Focus};
use super::{
    ADVICE, COLD, COLLAPSE, COLOR, DISCARD, DROP, FILE, FILE_PAGES, FORK, PAGEOUT, POPULATE, PUNCH, REMAP, STEPS, SYNC,
    SYSCALL, TRUNCATE,
};
use crate::board::Op;
use crate::life::Life;
use crate::region::{HUGE, PAGE};
use crate::scratch::{punch, Scratch};
use crate::window::Window;
use rustix::io::Errno;
use rustix::process::Pid;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;

struct Mapped {
    file: OwnedFd,
    shared: [Window; 2],
    private: Window,
    /// What the file holds.
    model: Model,
    /// What the private mapping holds where it has copies.
    copies: Model,
    /// Where those are.
    copied: Vec<bool>,
    /// Whether there are to be no huge pages.
    small: bool,
    focus: Focus,
    history: History,
    children: Vec<Pid>,
}

/// One life.
pub fn live(life: &mut Life<'_>, key: u64, scratch: &Scratch) {
    let Some(file) = life.file(FILE, scratch, FILE_PAGES) else { return };
    let window = |private: bool| {
        let window =
            if private { Window::private(&file, FILE_PAGES, HUGE) } else { Window::file(&file, 0, FILE_PAGES, HUGE) };
        life.window(window)
    };
    let (Some(one), Some(two), Some(private)) = (window(false), window(false), window(true)) else { return };
    let small = life.rng.percent(50);
    let mut mapped = Mapped {
        file,
        shared: [one, two],
        private,
        small,
        model: Model::new(FILE_PAGES, key),
        copies: Model::new(FILE_PAGES, !key),
        copied: vec![false; FILE_PAGES],
        focus: Focus::default(),
        history: History::default(),
        children: Vec::new(),
    };
    for window in mapped.shared.iter().chain([&mapped.private]) {
        mapped.keep_small(life, window, 0..FILE_PAGES);
    }
    for _ in 0..STEPS {
        if mapped.step(life).is_none() {
            break;
        }
    }
    gather(life, &mut mapped.children);
    std::mem::forget((mapped.shared, mapped.private));
}

impl Mapped {
    /// One step, and a look at what it touched by another way. `None` ends the process.
    fn step(&mut self, life: &mut Life<'_>) -> Option<()> {
        let at = self.focus.next(life, FILE_PAGES);
        let by = self.focus.mapping(life);
        let through = &self.shared[by];
        match life.rng.below(24) {
            0..=3 => {
                let populate = life.rng.percent(50);
                self.write(life, at.clone(), by, populate);
            }
            4 => self.write_by_call(life, at.start)?,
            5 | 6 => self.write_copies(life, at.clone()),
            7 | 8 => {
                self.history.add("zap", &at);
                life.check(DISCARD, "madvise(MADV_DONTNEED)", through.advise(at.clone(), libc::MADV_DONTNEED))?;
            }
            9 => {
                self.history.add("zap-private", &at);
                let gone = self.private.advise(at.clone(), libc::MADV_DONTNEED);
                life.check(DISCARD, "madvise(MADV_DONTNEED)", gone)?;
                self.copied[at.clone()].fill(false);
            }
            10 | 11 => {
                // Old when it is zapped, and dirty all the same.
                self.history.add("cold", &at);
                life.advise_window(COLD, through, at.clone(), libc::MADV_COLD);
                if life.rng.percent(70) {
                    self.history.add("zap", &at);
                    life.check(DISCARD, "madvise(MADV_DONTNEED)", through.advise(at.clone(), libc::MADV_DONTNEED))?;
                }
            }
            12..=14 => self.page_out(life, at.clone(), by)?,
            15 => {
                let all = whole(&at, FILE_PAGES);
                self.history.add("collapse", &all);
                life.collapse(COLLAPSE, through, all);
            }
            16 => {
                let punched = life.check_or(PUNCH, "fallocate", punch(&self.file, at.clone()), &[Errno::OPNOTSUPP]);
                if punched.is_some() {
                    // Of the private mapping's copies a hole takes none (shmem_fallocate(), ext4_punch_hole()).
                    self.history.add("hole", &at);
                    self.model.clear(at.clone());
                    // A new page of shmem's is clean until somebody tells it of a write; one from swap is dirty at once
                    // (shmem_swapin_folio()), and of one on a disk the file system hears (do_page_mkwrite()).
                    if life.rng.percent(60) {
                        self.write(life, at.clone(), by, true);
                    }
                }
            }
            17 => self.truncate(life, at.start)?,
            18 => {
                self.history.add("sync", &at);
                life.check_or(SYNC, "msync", through.sync(at.clone()), &[Errno::INTR]);
                let len = NonZeroU64::new((at.len() * PAGE) as u64);
                let dropped =
                    rustix::fs::fadvise(&self.file, (at.start * PAGE) as u64, len, rustix::fs::Advice::DontNeed);
                life.check(DROP, "fadvise(DONTNEED)", dropped);
            }
            19 => {
                self.history.add("remap", &at);
                let populate = life.rng.percent(50);
                life.check(REMAP, "mmap", through.replace(at.clone(), &self.file, populate))?;
                self.keep_small(life, through, at.clone());
            }
            20 => self.fork(life, at.clone()),
            21 | 22 => self.piecemeal(life, at.clone(), by)?,
            _ => {
                self.history.add("clear-refs", &(0..FILE_PAGES));
                age(life, "1");
            }
        }
        let seen = if life.rng.percent(60) { at } else { place(life, FILE_PAGES) };
        self.look(life, &seen)
    }

    /// Writes by a shared mapping. If the pages were mapped before, for reading, it is the processor alone that knows of the
    /// write, where the file system need not be asked.
    ///
    /// Where there are huge pages, the kernel is told (MADV_POPULATE_WRITE): of one that is mapped by small entries,
    /// collapse_pte_mapped_thp() forgets what those know.
    fn write(&mut self, life: &Life<'_>, range: Range<usize>, by: usize, populate: bool) {
        if populate {
            self.populate(life, range.clone(), by, libc::MADV_POPULATE_READ);
        }
        if !self.small {
            self.populate(life, range.clone(), by, libc::MADV_POPULATE_WRITE);
        }
        self.history.add("write", &range);
        life.did_n(Op::FILL, range.len() as u64);
        for page in range {
            self.model.write(page, &self.shared[by], page);
        }
    }

    /// Asks for no huge pages, if there are to be none.
    fn keep_small(&self, life: &Life<'_>, window: &Window, range: Range<usize>) {
        if self.small {
            life.advise_window(ADVICE, window, range, libc::MADV_NOHUGEPAGE);
        }
    }

    /// Has pages mapped that are not (MADV_POPULATE_READ and MADV_POPULATE_WRITE, since Linux 5.14).
    fn populate(&mut self, life: &Life<'_>, range: Range<usize>, by: usize, how: i32) {
        self.history.add("populate", &range);
        let populated = self.shared[by].advise(range, how);
        life.check_or(POPULATE, "madvise(MADV_POPULATE)", populated, &[Errno::INVAL, Errno::INTR]);
    }

    /// Maps pages one by one, even those of a huge page: a mapping of a part of it takes no other way (do_set_pmd()). Then it is
    /// one mapping again, which can be collapsed.
    fn piecemeal(&mut self, life: &Life<'_>, range: Range<usize>, by: usize) -> Option<()> {
        self.history.add("piecemeal", &range);
        // EACCES: a file system for data only.
        let may = [Errno::ACCESS, Errno::PERM];
        life.check_or(COLOR, "mprotect", self.shared[by].recolor(range.clone(), true), &may);
        self.populate(life, range, by, libc::MADV_POPULATE_READ);
        life.check(COLOR, "mprotect", self.shared[by].recolor(0..FILE_PAGES, false)).map(|_| ())
    }

    fn write_copies(&mut self, life: &Life<'_>, range: Range<usize>) {
        life.did_n(Op::FILL, range.len() as u64);
        self.history.add("write-private", &range);
        for page in range {
            self.copies.write(page, &self.private, page);
            self.copied[page] = true;
        }
    }

    fn write_by_call(&mut self, life: &Life<'_>, page: usize) -> Option<()> {
        let value = self.model.next(page);
        self.history.add("pwrite", &(page..page + 1));
        let mut bytes = [0u8; PAGE];
        SHOWN.iter().for_each(|word| bytes[word * 8..][..8].copy_from_slice(&value.to_ne_bytes()));
        let written = rustix::io::pwrite(&self.file, &bytes, (page * PAGE) as u64);
        // Half a page is not known what.
        (life.check(SYSCALL, "pwrite", written)? == PAGE).then_some(())
    }

    /// Pages that nobody else maps are paged out (madvise_cold_or_pageout_pte_range()), so the others let them go first.
    fn page_out(&mut self, life: &mut Life<'_>, range: Range<usize>, by: usize) -> Option<()> {
        self.history.add("page-out", &range);
        if life.rng.percent(70) {
            for other in [&self.shared[1 - by], &self.private] {
                if !std::ptr::eq(other, &self.private) || !range.clone().any(|page| self.copied[page]) {
                    life.check(DISCARD, "madvise(MADV_DONTNEED)", other.advise(range.clone(), libc::MADV_DONTNEED))?;
                }
            }
        }
        if life.rng.percent(50) {
            self.populate(life, range.clone(), by, libc::MADV_POPULATE_READ);
        }
        life.advise_window(PAGEOUT, &self.shared[by], range.clone(), libc::MADV_PAGEOUT);
        if life.rng.percent(30) {
            life.advise_window(PAGEOUT, &self.private, range, libc::MADV_PAGEOUT);
        }
        Some(())
    }

    /// The file's end comes down to page `end`, and goes back. Nobody but this thread is to touch what is cut off meanwhile.
    fn truncate(&mut self, life: &Life<'_>, end: usize) -> Option<()> {
        gather(life, &mut self.children);
        self.history.add("truncate", &(end..FILE_PAGES));
        for pages in [end, FILE_PAGES] {
            life.check(TRUNCATE, "ftruncate", rustix::fs::ftruncate(&self.file, (pages * PAGE) as u64))?;
        }
        self.model.clear(end..FILE_PAGES);
        // Private copies go as well (truncate_pagecache()).
        self.copied[end..].fill(false);
        Some(())
    }

    /// A child that writes to its own copies. What is shared is left to the parent, who goes on.
    fn fork(&mut self, life: &mut Life<'_>, range: Range<usize>) {
        gather(life, &mut self.children);
        self.history.add("fork", &range);
        let forked = life.fork(|life| {
            let own: Vec<_> = range.filter(|&page| self.copied[page]).collect();
            self.copies.depart(life.id);
            for _ in 0..2 {
                if !life.judge(own.iter().map(|&page| self.copies.check(page, &self.private, page))) {
                    return;
                }
                own.iter().step_by(2).for_each(|&page| self.copies.write(page, &self.private, page));
            }
        });
        self.children.extend(life.check(FORK, "fork", forked));
    }

    /// A few pages of a range, each by a way of its own.
    fn look(&mut self, life: &mut Life<'_>, range: &Range<usize>) -> Option<()> {
        let pages = samples(life, range);
        life.did_n(Op::VERIFY, pages.len() as u64);
        for page in pages {
            let (way, checked) = match life.rng.below(4) {
                way @ 0..=1 => ("mapped", self.model.check(page, &self.shared[way], page)),
                2 if self.copied[page] => ("a private copy", self.copies.check(page, &self.private, page)),
                2 => ("mapped privately", self.model.check(page, &self.private, page)),
                _ => ("read", self.read(life, page)?),
            };
            if let Err(detail) = checked {
                life.violation("data-mismatch", &format!("{way}: {detail}; {}", self.history.of(page)));
                return None;
            }
        }
        Some(())
    }

    fn read(&mut self, life: &Life<'_>, page: usize) -> Option<Result<(), String>> {
        let mut bytes = [0u8; PAGE];
        let read = rustix::io::pread(&self.file, &mut bytes[..], (page * PAGE) as u64);
        if life.check(SYSCALL, "pread", read)? != PAGE {
            return Some(Err(format!("page {page}: the file is shorter than it was made")));
        }
        let found = SHOWN.map(|word| u64::from_ne_bytes(std::array::from_fn(|i| bytes[word * 8 + i])));
        Some(self.model.judge(page, found))
    }
}
