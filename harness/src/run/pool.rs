//! How many trials at once, and running them.

use crate::error::{Error, Result};
use crate::matrix::dimension::Shape;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// Of the memory that is free now, what guests may take: the page cache and the compiler want some.
const MEMORY_SHARE: f64 = 0.8;

/// How many guests of these shapes the host bears at once: as many as there are cores for their CPUs (guests that wait
/// for each other's cores race less and time out more) and memory for the largest of them. At least one.
pub fn slots<'a>(shapes: impl Iterator<Item = &'a Shape>, overhead_mib: u64, asked: Option<usize>) -> usize {
    if let Some(jobs) = asked {
        return jobs.max(1);
    }
    let (cpus, memory) = shapes.fold((1, 1), |(c, m), s| (c.max(s.cpus), m.max(s.memory_mib)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let free = free_mib().map_or(u64::MAX, |mib| (mib as f64 * MEMORY_SHARE) as u64);
    fit(cores, cpus, free, memory + overhead_mib)
}

fn fit(cores: usize, cpus: u32, free_mib: u64, guest_mib: u64) -> usize {
    let by_memory = usize::try_from(free_mib / guest_mib.max(1)).unwrap_or(usize::MAX);
    (cores / cpus.max(1) as usize).min(by_memory).max(1)
}

fn free_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Runs `work` over `items`, `slots` at a time, in order. The first error stops what has not begun.
///
/// # Errors
/// The first one of `work`.
pub fn run<I: Sync, T: Send>(slots: usize, items: &[I], work: impl Fn(&I) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<(Vec<T>, Option<Error>)> = Mutex::new((Vec::new(), None));
    let lock = || done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..slots.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match work(item) {
                        Ok(result) => lock().0.push(result),
                        Err(e) => {
                            next.store(items.len(), Ordering::Relaxed);
                            lock().1.get_or_insert(e);
                        }
                    }
                }
            });
        }
    });
    match done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        (results, None) => Ok(results),
        (_, Some(e)) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_fit_the_cores_and_the_memory() {
        assert_eq!(fit(2, 2, 20_000, 800), 1);
        assert_eq!(fit(16, 2, 20_000, 800), 8);
        assert_eq!(fit(16, 2, 2_000, 800), 2);
        assert_eq!(fit(2, 16, 100, 800), 1, "one is always tried");
    }

    #[test]
    fn an_error_stops_what_has_not_begun() {
        let items: Vec<_> = (0..100).collect();
        let begun = AtomicUsize::new(0);
        let result = run(1, &items, |&i| {
            begun.fetch_add(1, Ordering::Relaxed);
            if i == 3 {
                return Err(Error::host("no"));
            }
            Ok(i)
        });
        assert!(result.is_err());
        assert_eq!(begun.into_inner(), 4);
        assert_eq!(run(4, &items, |&i| Ok(i)).unwrap().len(), 100);
    }
}
