//! What memory is used for while nobody is there to use it.
//!
//! Once all processes of a workload are dead, and their files with them, every gauge of memory is back to where it was
//! before the first of them, give or take what the kernel keeps in per-CPU lists and caches. What is not was leaked, is
//! still mapped by nobody, or was counted wrongly. For a machine that exists to be tortured: on any other, others use
//! memory, too.

use crate::host;
use crate::pressure::write;
use crate::region::{HUGE, PAGE};
use crate::scratch::Scratch;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the gauges may take to come to rest: RCU, delayed puts and kernel threads that have pages in hand. With KASAN and
/// lockdep on a busy host those had pages isolated for longer than three seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// A gauge of memory, in pages unless its name says otherwise.
struct Gauge {
    name: &'static str,
    /// How far it may be from where it was.
    slack: i64,
    /// What it means if it is farther.
    means: &'static str,
}

const fn gauge(name: &'static str, slack: i64, means: &'static str) -> Gauge {
    Gauge { name, slack, means }
}

/// What is looked at. The first are counters of /proc/vmstat; the rest are derived, see [`derive()`].
const GAUGES: &[Gauge] = &[
    gauge("nr_anon_pages", GROWN, "anonymous pages count as mapped"),
    gauge("nr_mapped", 512, "file pages count as mapped"),
    gauge("nr_anon_transparent_hugepages", 4, "anonymous huge pages count as mapped"),
    gauge("nr_shmem_pmdmapped", 511, "huge pages of shmem count as mapped"),
    gauge("nr_mlock", GROWN, "pages count as locked"),
    gauge(ISOLATED[0], 64, "anonymous pages count as isolated"),
    gauge(ISOLATED[1], 64, "file pages count as isolated"),
    gauge("nr_page_table_pages", 128, "page tables count as there"),
    gauge("nr_writeback", 64, "pages count as being written back"),
    gauge(LISTED, 512, "pages are on LRU lists that belong to nobody"),
    gauge(KEPT, 2048, "pages are in shmem or in swap"),
    gauge(COMMITTED, 1024, "pages are committed"),
];

/// What init's and this process's own memory may grow by, the latter locked: khugepaged makes a huge page of a part of it.
const GROWN: i64 = 2 * HUGE as i64;

const ISOLATED: [&str; 2] = ["nr_isolated_anon", "nr_isolated_file"];
const LISTED: &str = "listed-but-unused";
/// Of files that are there still, as those of an initramfs, reclaim moves pages from one to the other.
const KEPT: &str = "shmem-and-swap";
const COMMITTED: &str = "committed";

/// The gauges as they stand.
type Books = BTreeMap<&'static str, i64>;

/// The gauges as they were in the beginning.
#[derive(Debug)]
pub struct Audit {
    before: Books,
    scratch: Scratch,
}

impl Audit {
    /// Takes note of what is there, before anything is done to it. `None` where /proc does not tell.
    pub fn begin(scratch: &Scratch) -> Option<Self> {
        let mut before = read()?;
        // At rest nothing is isolated, but a kernel thread may just have pages in hand that are back by the end.
        for name in ISOLATED {
            before.entry(name).and_modify(|pages| *pages = 0);
        }
        Some(Self { before, scratch: scratch.clone() })
    }

    /// What is wrong now that nobody is left, one line each. Waits for the gauges to come to rest.
    pub fn check(&self) -> Vec<String> {
        self.scratch.fell();
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(now) = read() else { return Vec::new() };
            let wrong = compare(&self.before, &now);
            if wrong.is_empty() || Instant::now() >= end {
                return wrong;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn compare(before: &Books, now: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    for Gauge { name, slack, means } in GAUGES {
        let (Some(before), Some(now)) = (before.get(name), now.get(name)) else { continue };
        let more = now - before;
        if more.abs() > *slack {
            let than = if more > 0 { "more" } else { "fewer" };
            wrong.push(format!(
                "{name}: {} {than} {means} than before the first process, of which none is left",
                more.abs()
            ));
        }
    }
    wrong
}

fn read() -> Option<Books> {
    // Adds up what each CPU has counted for itself (vmstat_refresh()); without it gauges are off by a batch per CPU.
    let _ = write("/proc/sys/vm/stat_refresh", "1");
    let vmstat = host::vmstat();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(derive(&vmstat, |name| host::meminfo(&meminfo, name).map(|bytes| (bytes / PAGE as u64) as i64)))
}

fn derive(vmstat: &BTreeMap<String, u64>, meminfo: impl Fn(&str) -> Option<i64>) -> Books {
    let counter = |name: &str| vmstat.get(name).map(|&value| value as i64);
    let mut books: Books = GAUGES.iter().filter_map(|gauge| Some((gauge.name, counter(gauge.name)?))).collect();
    let sum = |names: &[&str]| names.iter().map(|name| counter(name)).sum::<Option<i64>>();
    let lists = ["nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable"];
    // nr_file_pages has shmem and the swap cache in it, too. A mapped page of the swap cache is in both; there are few
    // when nobody is left.
    if let (Some(listed), Some(used)) = (sum(&lists), sum(&["nr_file_pages", "nr_anon_pages"])) {
        books.insert(LISTED, listed - used);
    }
    if let (Some(shmem), Some(total), Some(free)) = (counter("nr_shmem"), meminfo("SwapTotal"), meminfo("SwapFree")) {
        books.insert(KEPT, shmem + total - free);
    }
    books.extend(meminfo("Committed_AS").map(|pages| (COMMITTED, pages)));
    books
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(anon: u64, inactive: u64, swap_free: i64) -> Books {
        let vmstat = [
            ("nr_anon_pages", anon),
            ("nr_file_pages", 1000),
            ("nr_shmem", 1000 - (10_000 - swap_free as u64).min(1000)),
            ("nr_inactive_anon", inactive),
            ("nr_active_anon", 0),
            ("nr_inactive_file", 600),
            ("nr_active_file", 400),
            ("nr_unevictable", 0),
        ];
        let vmstat = vmstat.map(|(name, value)| (name.to_owned(), value)).into();
        derive(&vmstat, |name| match name {
            "SwapTotal" => Some(10_000),
            "SwapFree" => Some(swap_free),
            _ => None,
        })
    }

    #[test]
    fn what_is_back_where_it_was_is_right() {
        assert_eq!(compare(&books(50, 50, 10_000), &books(60, 60, 9_000)), [] as [String; 0]);
    }

    #[test]
    fn what_is_left_is_told_by_its_gauge() {
        let wrong = compare(&books(50, 50, 10_000), &books(5_000, 5_000, 10_000));
        assert_eq!(
            wrong,
            ["nr_anon_pages: 4950 more anonymous pages count as mapped than before the first process, of which none is left"]
        );
        let wrong = compare(&books(50, 50, 10_000), &books(50, 5_000, 1_000));
        assert!(wrong[0].starts_with("listed-but-unused: 4950 more"), "{wrong:?}");
        assert!(wrong[1].starts_with("shmem-and-swap: 8000 more"), "{wrong:?}");
    }

    #[test]
    fn a_gauge_that_fell_is_wrong_as_well() {
        let wrong = compare(&books(5_000, 5_000, 10_000), &books(50, 50, 10_000));
        assert!(wrong[0].contains("4950 fewer"), "{wrong:?}");
    }

    #[test]
    fn a_kernel_that_does_not_count_is_not_judged() {
        assert!(derive(&BTreeMap::new(), |_| None).is_empty());
    }
}
