//! `ksm-merge-fork`: equal pages are merged, written apart again, forked, paged out and unmerged.
//!
//! Kernel paths: ksm_scan_thread(), try_to_merge_with_ksm_page() and write_protect_page(), break_ksm() and
//! unmerge_ksm_pages(), wp_page_copy() of merged pages (cow_ksm), rmap_walk_ksm() from reclaim and migration,
//! ksm_might_need_to_copy() on swap-in, ksm_exit(). Races: merging against writes, zaps, forks and exits.
//! Shown by: cow_ksm. Merging is turned on (/sys/kernel/mm/ksm/run) on a machine that exists to be tortured only.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pressure;
use crate::region::{HUGE, WORDS};
use crate::rng::mix;
use crate::size::Size;
use crate::window::Window;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The table's entry.
pub struct KsmMergeFork;

ops!(OPS:
    MERGEABLE = "mergeable-ranges",
    UNMERGE = "unmerges",
    BREAK = "pages-written-apart",
    EQUAL = "pages-made-equal",
    FLICKER = "flickers",
    FORK = "forks",
    DISCARD = "discards",
    PAGEOUT = "pageouts",
    SWITCH = "ksm-switches",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many processes there are with equal pages.
const PROCESSES: usize = 3;

/// The most pages of a process: so few that the scanner, which needs two rounds before it merges, comes round many times
/// between two unmerges, and a fair part of what it meets flickers.
const MOST: usize = HUGE / 4;

/// How many different contents there are.
const KINDS: usize = 5;

/// What a process does before it ends.
const ROUNDS: usize = 150;

/// The pages of a process that are equal to others half of the time.
const FLICKERING: usize = 24;

/// The word that tells, none of [`SHOWN`].
const FLICKERS_AT: usize = 50;

/// How often each of them changes before the process ends.
const FLICKERS: u64 = 20_000;

/// Where the scanner's knobs are.
const KSM: &str = "/sys/kernel/mm/ksm";

impl Workload for KsmMergeFork {
    fn name(&self) -> &'static str {
        "ksm-merge-fork"
    }

    fn about(&self) -> &'static str {
        "equal pages are merged, written apart, forked and paged out"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(PROCESSES, 64)?.min(MOST);
        let seed = ask.seed;
        let says = vec![size.says(host), format!("{PROCESSES} processes with {pages} pages of {KINDS} kinds")];
        let mut roles = vec![Role::new("equal", PROCESSES as u32, move |life| {
            let Some(window) = life.window(Window::anonymous(pages, 1)) else { return };
            life.advise_window(MERGEABLE, &window, 0..pages, libc::MADV_MERGEABLE);
            let mut equal = Equal { window, holds: vec![0; pages], seed };
            equal.make(life, 0..pages);
            for _ in 0..ROUNDS {
                if play(life, &mut equal).is_none() {
                    return;
                }
            }
            std::mem::forget(equal);
        })];
        roles.push(Role::new("flicker", 1, move |life| flicker(life, seed)));
        if ask.full() && crate::host::writable(format!("{KSM}/run")) {
            roles.push(Role::new("ksm", 1, scanner));
        }
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("forks", &["forks"], 1)];
        if ask.full() {
            claims.push(claim("ksm-cow", &["cow_ksm"], 4));
        }
        Ok(Job { says, claims, roles })
    }
}

/// A page that is equal to others half of the time: it changes while it is being merged, and each change is looked at when
/// the next one is due.
fn flicker(life: &mut Life<'_>, seed: u64) {
    let Some(window) = life.window(Window::anonymous(FLICKERING, 1)) else { return };
    life.advise_window(MERGEABLE, &window, 0..FLICKERING, libc::MADV_MERGEABLE);
    let mut equal = Equal { window, holds: vec![0; FLICKERING], seed };
    equal.make(life, 0..FLICKERING);
    let mut last = [0u64; FLICKERING];
    for round in 1..=FLICKERS {
        for (page, last) in last.iter_mut().enumerate() {
            let word = equal.window.word(page, FLICKERS_AT);
            let found = word.load(Ordering::Relaxed);
            if found != *last {
                life.violation("data-mismatch", &format!("page {page}: expected {last:#x}, found {found:#x}"));
                return;
            }
            *last = if *last == 0 { round } else { 0 };
            word.store(*last, Ordering::Relaxed);
        }
        life.did_n(FLICKER, FLICKERING as u64);
    }
    std::mem::forget(equal);
}

/// Turns the scanner on, and now and then has it unmerge everything.
fn scanner(life: &mut Life<'_>) {
    for (knob, value) in [("pages_to_scan", "2000"), ("sleep_millisecs", "0"), ("run", "1")] {
        life.check(SWITCH, knob, pressure::write(format!("{KSM}/{knob}"), value));
    }
    loop {
        std::thread::sleep(std::time::Duration::from_millis(life.rng.between(1000, 2500) as u64));
        // 2 unmerges; ENOMEM where there is no room to. EINTR: this process's time is up.
        for run in ["2", "1"] {
            life.check_or(SWITCH, "ksm/run", pressure::write(format!("{KSM}/run"), run), &[Errno::INTR]);
        }
    }
}

/// Pages of which many are equal, and what each of them holds.
struct Equal {
    window: Window,
    holds: Vec<u64>,
    seed: u64,
}

/// Where a page shows its value.
const SHOWN: [usize; 3] = [0, 100, WORDS - 1];

impl Equal {
    /// Makes pages equal to others of their kind, in this process and in all.
    fn make(&mut self, life: &Life<'_>, range: Range<usize>) {
        life.did_n(EQUAL, range.len() as u64);
        for page in range {
            self.write(page, mix(self.seed, (page % KINDS) as u64));
        }
    }

    fn write(&mut self, page: usize, value: u64) {
        SHOWN.iter().for_each(|&word| self.window.word(page, word).store(value, Ordering::Relaxed));
        self.holds[page] = value;
    }

    fn verify(&self, life: &Life<'_>, range: Range<usize>) -> Option<()> {
        life.did_n(crate::board::Op::VERIFY, range.len() as u64);
        let check = |page: usize| {
            let found = SHOWN.map(|word| self.window.word(page, word).load(Ordering::Relaxed));
            let wanted = self.holds[page];
            if found == [wanted; 3] {
                return Ok(());
            }
            Err(format!("page {page} of {KINDS} kinds: expected {wanted:#018x}, found {found:#018x?}"))
        };
        life.judge(range.map(check)).then_some(())
    }
}

fn play(life: &mut Life<'_>, equal: &mut Equal) -> Option<()> {
    let pages = equal.window.pages();
    let span = life.rng.span(pages, pages / 3);
    equal.verify(life, span.clone())?;
    match life.rng.below(8) {
        0 => {
            life.advise_window(UNMERGE, &equal.window, span.clone(), libc::MADV_UNMERGEABLE);
            life.advise_window(MERGEABLE, &equal.window, span, libc::MADV_MERGEABLE);
        }
        1 => life.advise_window(PAGEOUT, &equal.window, span, libc::MADV_PAGEOUT),
        2 => {
            life.check(DISCARD, "madvise(MADV_DONTNEED)", equal.window.advise(span.clone(), libc::MADV_DONTNEED));
            span.for_each(|page| equal.holds[page] = 0);
        }
        3 => {
            let forked = life.fork(|life| {
                apart(life, equal, span.clone());
                equal.verify(life, 0..pages);
                std::thread::sleep(std::time::Duration::from_millis(life.rng.below(30) as u64));
                equal.make(life, span);
                equal.verify(life, 0..pages);
            });
            if let Some(pid) = life.check(FORK, "fork", forked) {
                if life.rng.percent(50) {
                    life.reap(&[pid]);
                }
            }
            equal.verify(life, 0..pages)?;
        }
        4 => apart(life, equal, span),
        _ => equal.make(life, span),
    }
    // The scanner needs a look and a second look before it merges.
    std::thread::sleep(std::time::Duration::from_millis(life.rng.below(15) as u64));
    Some(())
}

/// Writes pages apart from their kind.
fn apart(life: &mut Life<'_>, equal: &mut Equal, span: Range<usize>) {
    life.did_n(BREAK, span.len() as u64);
    for page in span {
        let value = life.rng.next() | 1;
        equal.write(page, value);
    }
}
