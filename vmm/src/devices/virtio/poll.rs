//! Waiting a little before sleeping, where that pays.
//!
//! A driver that sees its device at work need not notify it, which saves the guest an exit and the host a wake-up. The
//! next request of a program that waits for each of its requests comes soon after the last answer; how soon is learnt.
//! On a host with more to run than it has CPUs, whoever watches keeps the guest from running. That is not guessed but
//! measured: both ways are tried, and the one after which requests come sooner is kept.

use std::time::{Duration, Instant};

/// Below this, watching costs more than it can save.
const LEAST: Duration = Duration::from_micros(1);
/// How many times the cost of a wake-up's system calls it may cost to avoid one. Under nested virtualization both are
/// a hundred times what they are on hardware.
const FACTOR: u32 = 32;
/// Bounds of what is watched at most.
const MOST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(500));
/// Looks at the ring for each look at the clock.
const LOOKS: u32 = 64;
/// After so many times the longest watch, the guest was doing something else.
const ELSEWHERE: u32 = 8;
/// Idle times of one measurement.
const EPOCH: u32 = 64;
/// One measurement in so many is of the way that is not the better one.
const EXPLORE: u32 = 16;

/// How long to watch an empty queue before sleeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poll {
    window: Duration,
    most: Duration,
    watching: bool,
    /// Of the measurement that is going on: idle times and their sum.
    idles: u32,
    sum: Duration,
    /// Measurements made.
    epochs: u32,
    /// The last sums, asleep and watching.
    sums: [Duration; 2],
}

impl Poll {
    /// On a host where the system calls of a wake-up cost `wake_up`. Does nothing on a single CPU, where the guest could
    /// not run meanwhile.
    pub fn new(wake_up: Duration, cpus: usize) -> Self {
        let most = if cpus > 1 { (wake_up * FACTOR).clamp(MOST.0, MOST.1) } else { Duration::ZERO };
        let none = Duration::ZERO;
        Self { window: none, most, watching: false, idles: 0, sum: none, epochs: 0, sums: [none; 2] }
    }

    /// Watches until `ready`, or until it has taken too long. Returns whether it is.
    pub fn watch(&self, idle_since: Instant, mut ready: impl FnMut() -> bool) -> bool {
        if !self.watching || self.window < LEAST {
            return false;
        }
        loop {
            for _ in 0..LOOKS {
                if ready() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if idle_since.elapsed() > self.window {
                return false;
            }
        }
    }

    /// Learns that a queue was idle for so long.
    pub fn learn(&mut self, idle: Duration) {
        if idle > self.most * ELSEWHERE {
            self.window /= 2;
            return;
        }
        if idle <= self.most {
            self.window = (idle * 2).max(self.window * 7 / 8).min(self.most);
        }
        self.sum += idle;
        self.idles += 1;
        if self.idles == EPOCH {
            self.sums[usize::from(self.watching)] = self.sum;
            (self.sum, self.idles) = (Duration::ZERO, 0);
            self.epochs = self.epochs.wrapping_add(1);
            let [asleep, watching] = self.sums;
            // Watching has a price: a small gain is none.
            let pays = watching < asleep * 9 / 10;
            self.watching = pays != self.epochs.is_multiple_of(EXPLORE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// Goes through measurements on a host where requests come after so long; in how many of them it watched.
    fn watched(poll: &mut Poll, epochs: u32, asleep: u32, watching: u32) -> u32 {
        let mut count = 0;
        for _ in 0..epochs {
            count += u32::from(poll.watching);
            for _ in 0..EPOCH {
                poll.learn(US * if poll.watching { watching } else { asleep });
            }
        }
        count
    }

    #[test]
    fn it_watches_where_that_pays() {
        let mut poll = Poll::new(US, 2);
        assert_eq!(watched(&mut poll, 160, 20, 10), 150, "all but the first and one in sixteen");
        assert_eq!(watched(&mut Poll::new(US, 2), 160, 50, 100), 10, "once at the start, then one in sixteen");
        assert_eq!(watched(&mut poll, 160, 20, 19), 10, "and it changes its mind");
    }

    #[test]
    fn it_watches_about_as_long_as_requests_take_to_come() {
        let mut poll = Poll { watching: true, ..Poll::new(2 * US, 2) };
        assert!(!poll.watch(Instant::now(), || true), "nothing learnt yet");
        poll.learn(10 * US);
        assert_eq!(poll.window, 20 * US);
        assert!(poll.watch(Instant::now(), || true));
        assert!(!poll.watch(Instant::now(), || false), "it ends");
        poll.learn(60 * US);
        assert_eq!((poll.window, poll.most), (64 * US, 64 * US));
        for _ in 0..7 {
            poll.learn(1000 * US);
        }
        assert!(!poll.watch(Instant::now(), || true), "long gaps are slept through");
    }

    #[test]
    fn it_leaves_a_single_cpu_to_the_guest() {
        let mut poll = Poll { watching: true, ..Poll::new(US, 1) };
        poll.learn(US);
        assert!(!poll.watch(Instant::now(), || true));
    }
}
