//! Waiting a little before sleeping.
//!
//! A driver that sees its device at work need not notify it, which saves the guest an exit and the host a wake-up. The
//! next request of a program that waits for each of its requests comes soon after the last answer; how soon is learnt.

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

/// How long to watch an empty queue before sleeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poll {
    window: Duration,
    most: Duration,
}

impl Poll {
    /// On a host where the system calls of a wake-up cost `wake_up`. Does nothing on a single CPU, where the guest could
    /// not run meanwhile.
    pub fn new(wake_up: Duration, cpus: usize) -> Self {
        let most = if cpus > 1 { (wake_up * FACTOR).clamp(MOST.0, MOST.1) } else { Duration::ZERO };
        Self { window: Duration::ZERO, most }
    }

    /// Watches until `ready`, or until it has taken too long. Returns whether it is.
    pub fn watch(&mut self, idle_since: Instant, mut ready: impl FnMut() -> bool) -> bool {
        if self.window < LEAST {
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
        self.window =
            if idle <= self.most { (idle * 2).max(self.window * 7 / 8).min(self.most) } else { self.window / 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_watches_as_long_as_that_pays() {
        let mut poll = Poll::new(Duration::from_micros(2), 2);
        assert_eq!(poll.most, Duration::from_micros(64));
        assert!(!poll.watch(Instant::now(), || true), "nothing learnt yet");
        poll.learn(Duration::from_micros(10));
        assert_eq!(poll.window, Duration::from_micros(20));
        assert!(poll.watch(Instant::now(), || true));
        poll.learn(Duration::from_micros(60));
        assert_eq!(poll.window, poll.most);
        for _ in 0..7 {
            poll.learn(Duration::from_millis(1));
        }
        assert!(!poll.watch(Instant::now(), || true), "long gaps are slept through");
    }

    #[test]
    fn it_ends() {
        let mut poll = Poll::new(Duration::from_micros(1), 2);
        poll.learn(Duration::from_micros(15));
        assert!(!poll.watch(Instant::now(), || false));
        let mut alone = Poll::new(Duration::from_micros(1), 1);
        alone.learn(Duration::from_micros(1));
        assert!(!alone.watch(Instant::now(), || true));
    }
}
