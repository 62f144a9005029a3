//! How many trials at once, and running them.

use crate::error::{Error, Result};
use crate::matrix::dimension::Shape;
use std::sync::{Condvar, Mutex, PoisonError};

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

/// Runs `work` over `items`, `slots` at a time, while `feed` makes what they need. An item is begun when it is `ready`,
/// or when `feed` is over; of those that are, the first. `feed` calls what it is given whenever something may have
/// become ready, and goes on as long as that yields true. The first error stops what has not begun.
///
/// # Errors
/// The first one of `work` or `feed`.
pub fn run<I: Sync, T: Send>(
    slots: usize,
    items: &[I],
    ready: impl Fn(&I) -> bool + Sync,
    work: impl Fn(&I) -> Result<T> + Sync,
    feed: impl FnOnce(&dyn Fn() -> bool) -> Result<()> + Send,
) -> Result<Vec<T>> {
    let state = Mutex::new(State { waiting: (0..items.len()).collect(), fed: false, done: Vec::new(), error: None });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut state = lock();
        loop {
            if state.error.is_some() || state.waiting.is_empty() {
                return None;
            }
            if let Some(at) = state.waiting.iter().position(|&i| state.fed || ready(&items[i])) {
                return Some(&items[state.waiting.remove(at)]);
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let more = || {
                // Under the lock, or a worker that has just found nothing would sleep through it.
                let go_on = lock().error.is_none();
                changed.notify_all();
                go_on
            };
            let result = feed(&more);
            lock().fed(result);
            changed.notify_all();
        });
        for _ in 0..slots.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = work(item);
                    lock().worked(result);
                    changed.notify_all();
                }
            });
        }
    });
    match state.into_inner().unwrap_or_else(PoisonError::into_inner) {
        State { error: Some(e), .. } => Err(e),
        State { done, .. } => Ok(done),
    }
}

/// How far a pool is.
struct State<T> {
    /// Items that are not begun, by index, in order.
    waiting: Vec<usize>,
    /// Nothing more will be made.
    fed: bool,
    done: Vec<T>,
    error: Option<Error>,
}

impl<T> State<T> {
    fn fed(&mut self, result: Result<()>) {
        self.fed = true;
        self.error = self.error.take().or(result.err());
    }

    fn worked(&mut self, result: Result<T>) {
        match result {
            Ok(result) => self.done.push(result),
            Err(e) => drop(self.error.get_or_insert(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        let work = |&i: &i32| {
            begun.fetch_add(1, Ordering::Relaxed);
            if i == 3 {
                return Err(Error::host("no"));
            }
            Ok(i)
        };
        assert!(run(1, &items, |_| true, work, |_| Ok(())).is_err());
        assert_eq!(begun.into_inner(), 4);
        assert_eq!(run(4, &items, |_| true, |&i| Ok(i), |_| Ok(())).unwrap().len(), 100);
    }

    #[test]
    fn what_is_ready_is_begun_while_the_rest_is_made() {
        // Items of three kinds; a kind is made only once all of the kind before it are done.
        let items: Vec<_> = (0..30).collect();
        let (made, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let order = run(
            4,
            &items,
            |&i| i % 3 < made.load(Ordering::SeqCst),
            |&i| {
                done.fetch_add(1, Ordering::SeqCst);
                Ok(i % 3)
            },
            |more| {
                for kind in 0..3 {
                    while done.load(Ordering::SeqCst) < kind * 10 {
                        std::thread::yield_now();
                    }
                    made.fetch_add(1, Ordering::SeqCst);
                    assert!(more());
                }
                Ok(())
            },
        );
        let order = order.unwrap();
        assert!(order.is_sorted() && order.len() == 30, "{order:?}");
    }

    #[test]
    fn a_feeder_that_fails_ends_it_and_one_that_makes_nothing_leaves_nothing_waiting() {
        let items = [1, 2, 3];
        assert!(run(2, &items, |_| false, |&i| Ok(i), |_| Err(Error::host("no"))).is_err());
        assert_eq!(run(2, &items, |_| false, |&i| Ok(i), |_| Ok(())).unwrap().len(), 3);
        let asked = run(
            1,
            &items,
            |_| true,
            |_| Err::<(), _>(Error::host("no")),
            |more| {
                while more() {}
                Ok(())
            },
        );
        assert!(asked.is_err(), "the feeder is told to stop");
    }
}
