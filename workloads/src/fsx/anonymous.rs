//! Anonymous memory.

use super::history::History;
use super::model::Model;
use super::{age, gather, place, samples, whole, Focus};
use super::{ADVICE, ANONYMOUS, COLD, COLLAPSE, COLOR, DISCARD, FORK, FREE, LOCK, MOVE, PAGEOUT, SHIFT, STEPS};
use crate::board::Op;
use crate::life::Life;
use crate::region::HUGE;
use crate::window::Window;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ops::Range;

struct Anonymous {
    window: Window,
    model: Model,
    /// Pages that were mapped by one call have one number: mremap(2) takes no range across two.
    mapped_by: Vec<u32>,
    mappings: u32,
    /// Whether a part of it is locked: what is locked cannot be let go.
    locked: bool,
    nodes: usize,
    /// Whether this is a child, whose pages are its parent's as well.
    forked: bool,
    focus: Focus,
    history: History,
    children: Vec<Pid>,
}

/// One life.
pub fn live(life: &mut Life<'_>, key: u64, nodes: usize) {
    let Some(window) = life.window(Window::anonymous(ANONYMOUS, HUGE)) else { return };
    let advice = if life.rng.percent(70) { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    life.advise_window(ADVICE, &window, 0..ANONYMOUS, advice);
    let mut anonymous = Anonymous {
        window,
        model: Model::new(ANONYMOUS, key),
        mapped_by: vec![0; ANONYMOUS],
        mappings: 1,
        locked: false,
        nodes,
        forked: false,
        focus: Focus::default(),
        history: History::default(),
        children: Vec::new(),
    };
    for _ in 0..STEPS {
        if anonymous.step(life).is_none() {
            break;
        }
    }
    if anonymous.locked {
        // Or its end would take the pages from the list of unevictable ones without munlock's ways.
        let _ = anonymous.window.unlock(0..ANONYMOUS);
    }
    gather(life, &mut anonymous.children);
    // What is still mapped is torn down by the exit, all of it at once.
    std::mem::forget(anonymous.window);
}

impl Anonymous {
    /// One step, and a look at what it touched. `None` ends the process: something is wrong, or not to be gone on with.
    fn step(&mut self, life: &mut Life<'_>) -> Option<()> {
        let at = self.focus.next(life, ANONYMOUS);
        match life.rng.below(28) {
            0..=4 => self.write(life, at.clone()),
            5 => self.discard(life, at.clone())?,
            6..=8 if !self.forked => self.free(life, at.clone())?,
            9 => {
                self.history.add("cold", &at);
                life.advise_window(COLD, &self.window, at.clone(), libc::MADV_COLD);
            }
            10..=15 => {
                self.history.add("page-out", &at);
                life.advise_window(PAGEOUT, &self.window, at.clone(), libc::MADV_PAGEOUT);
            }
            16 => {
                let all = whole(&at, ANONYMOUS);
                self.history.add("collapse", &all);
                life.collapse(COLLAPSE, &self.window, all);
            }
            17 => {
                self.history.add("mprotect", &at);
                let executable = life.rng.percent(50);
                life.check(COLOR, "mprotect", self.window.recolor(at.clone(), executable));
            }
            18 | 19 if !self.forked => self.fork(life)?,
            20 | 21 => self.shift(life, at.clone())?,
            22 => self.lock(life, at.clone()),
            23 => self.renew(life, at.clone())?,
            24..=26 if self.nodes > 1 => {
                self.history.add("node-move", &at);
                life.move_to_nodes(MOVE, &self.window, at.clone(), self.nodes);
            }
            _ => {
                self.history.add("clear-refs", &(0..ANONYMOUS));
                let what = if life.rng.percent(80) { "1" } else { "4" };
                age(life, what);
            }
        }
        let seen = if life.rng.percent(60) { at } else { place(life, ANONYMOUS) };
        self.look(life, &seen)
    }

    fn write(&mut self, life: &mut Life<'_>, range: Range<usize>) {
        // Not every page: of a huge page that some of it is dirty is another case than that all of it is.
        let every = if life.rng.percent(50) { 1 } else { 5 };
        self.history.add(if every == 1 { "write" } else { "write-some" }, &range);
        for page in range.step_by(every) {
            self.model.write(page, &self.window, page);
            life.did(Op::FILL);
        }
    }

    /// A few pages of a range.
    fn look(&mut self, life: &mut Life<'_>, range: &Range<usize>) -> Option<()> {
        let pages = samples(life, range);
        self.look_at(life, &pages)
    }

    fn look_at(&mut self, life: &Life<'_>, pages: &[usize]) -> Option<()> {
        life.did_n(Op::VERIFY, pages.len() as u64);
        let Self { model, window, history, .. } = self;
        let check = |&page: &usize| {
            let checked = model.check(page, window, page);
            checked.map_err(|wrong| format!("{wrong}; {}", history.of(page)))
        };
        life.judge(pages.iter().map(check)).then_some(())
    }

    fn discard(&mut self, life: &Life<'_>, range: Range<usize>) -> Option<()> {
        self.unlock(life)?;
        self.history.add("discard", &range);
        // Half done is not known what: this process ends.
        life.check(DISCARD, "madvise(MADV_DONTNEED)", self.window.advise(range.clone(), libc::MADV_DONTNEED))?;
        self.model.clear(range);
        Some(())
    }

    /// Lets pages go lazily, of which nobody else has a part. madvise_free_pte_range() looks for other mappings of those pages
    /// only that are dirty or in the swap cache. A page that came back from a swap device which is read synchronously (zram) is
    /// neither, once do_swap_page() has bypassed the cache: shared by fork, it is lost to everybody as soon as one lets it go.
    /// Linux 6.1 does so; this workload is to find what is new.
    fn free(&mut self, life: &mut Life<'_>, range: Range<usize>) -> Option<()> {
        self.unlock(life)?;
        gather(life, &mut self.children);
        // All of a huge page, which stays one then. What is left of those that were there at first is in small pages soon.
        let all = if life.rng.percent(40) { whole(&range, ANONYMOUS) } else { range.clone() };
        if all != range && life.rng.percent(60) {
            self.renew(life, range.clone())?;
        }
        self.history.add("lazy-free", &all);
        self.model.free(all.clone());
        life.advise_window(FREE, &self.window, all, libc::MADV_FREE);
        if life.rng.percent(70) {
            let again = life.rng.span(range.len(), range.len());
            self.write(life, range.start + again.start..range.start + again.end);
        }
        Some(())
    }

    /// A huge page where there have been small ones, and mappings that protections and moves have cut to pieces.
    fn renew(&mut self, life: &mut Life<'_>, range: Range<usize>) -> Option<()> {
        self.unlock(life)?;
        let all = whole(&range, ANONYMOUS);
        self.history.add("renew", &all);
        life.check(DISCARD, "mmap", self.window.renew(all.clone()))?;
        self.model.clear(all.clone());
        self.mapped_by[all.clone()].fill(self.mappings);
        self.mappings += 1;
        life.advise_window(ADVICE, &self.window, all, libc::MADV_HUGEPAGE);
        self.write(life, range);
        Some(())
    }

    fn lock(&mut self, life: &Life<'_>, range: Range<usize>) {
        if self.locked {
            let _ = self.unlock(life);
        } else {
            self.locked = true;
            self.history.add("mlock", &range);
            life.check_or(LOCK, "mlock", self.window.lock(range), &[Errno::PERM]);
        }
    }

    fn unlock(&mut self, life: &Life<'_>) -> Option<()> {
        if self.locked {
            self.history.add("munlock", &(0..ANONYMOUS));
            life.check(LOCK, "munlock", self.window.unlock(0..ANONYMOUS))?;
            self.locked = false;
        }
        Some(())
    }

    /// Moves pages, page tables or huge pages elsewhere, and looks at once at the place where they were: through the
    /// translations of a moment ago, if those are still there.
    fn shift(&mut self, life: &mut Life<'_>, range: Range<usize>) -> Option<()> {
        let from = if life.rng.percent(50) { whole(&range, ANONYMOUS) } else { range };
        let mapping = self.mapped_by[from.start];
        let run = from.clone().take_while(|&page| self.mapped_by[page] == mapping).count();
        let from = from.start..from.start + run;
        let to = if from.start.is_multiple_of(HUGE) && from.len() == HUGE {
            life.rng.below(ANONYMOUS / HUGE) * HUGE
        } else {
            life.rng.below(ANONYMOUS - from.len())
        };
        if to < from.end && from.start < to + from.len() {
            return Some(());
        }
        self.unlock(life)?;
        life.check(COLOR, "mprotect", self.window.recolor(from.clone(), false))?;
        let touched = samples(life, &from);
        self.look_at(life, &touched)?;
        // EFAULT: it is two mappings for a reason that is not known here. EINVAL: a kernel before 5.7. The other place is gone.
        life.check_or(SHIFT, "mremap", self.window.shift(from.clone(), to), &[Errno::FAULT, Errno::INVAL])?;
        self.model.shift(from.clone(), to);
        self.history.add("move-away", &from);
        self.history.add("move-here", &(to..to + from.len()));
        self.mapped_by[to..to + from.len()].fill(self.mappings);
        self.mappings += 1;
        self.look_at(life, &touched)?;
        self.look(life, &(to..to + from.len()))
    }

    /// A child that goes on by itself from here for some steps, with what it was left.
    fn fork(&mut self, life: &mut Life<'_>) -> Option<()> {
        gather(life, &mut self.children);
        self.history.add("fork", &(0..ANONYMOUS));
        let forked = life.fork(|life| {
            self.locked = false;
            self.forked = true;
            self.model.depart(life.id);
            for _ in 0..life.rng.below(30) {
                if self.step(life).is_none() {
                    return;
                }
            }
        });
        self.children.extend(life.check(FORK, "fork", forked));
        Some(())
    }
}
