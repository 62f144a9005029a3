//! The time of day of runs, which does not go back. A host's clock does: NTP sets it, that of a guest after it was
//! paused, that of a board without a battery at each boot. Runs are named and ordered by when they began.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// A clock that is further behind than this says nothing about an order: either it is wrong, or what it is compared to.
const MOST_BEHIND: SignedDuration = SignedDuration::from_hours(24);

/// From one run to the next where the clock would put it before.
const STEP: SignedDuration = SignedDuration::from_millis(1);

/// When a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// By the clock.
    Now(Timestamp),
    /// Right behind the newest run there is: the clock has gone back by this much at least.
    Behind(Timestamp, SignedDuration),
    /// By the clock, which is that far behind the newest run: that one stays the newest.
    Astray(Timestamp, SignedDuration),
}

impl Begin {
    /// Going by a clock that says `now`, where the newest run there is began at `newest`.
    pub fn new(now: Timestamp, newest: Option<Timestamp>) -> Self {
        let behind = newest.map_or(SignedDuration::ZERO, |newest| newest.duration_since(now));
        match newest.and_then(|newest| newest.checked_add(STEP).ok()) {
            Some(next) if behind.is_positive() && behind <= MOST_BEHIND => Self::Behind(next, behind),
            _ if behind.is_positive() => Self::Astray(now, behind),
            _ => Self::Now(now),
        }
    }

    /// That time.
    pub fn time(self) -> Timestamp {
        match self {
            Self::Now(time) | Self::Behind(time, _) | Self::Astray(time, _) => time,
        }
    }
}

/// Counts on from a time by a clock that nobody sets, and that runs on while the host is suspended.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Timestamp,
    boot: Duration,
}

impl Clock {
    /// It is `began` now.
    pub fn from(began: Timestamp) -> Self {
        Self { began, boot: since_boot() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed = since_boot().saturating_sub(self.boot);
        SignedDuration::try_from(elapsed).ok().and_then(|d| self.began.checked_add(d).ok()).unwrap_or(self.began)
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    proptest! {
        /// However the clock jumps about within a day, runs begin one after the other.
        #[test]
        fn runs_begin_in_the_order_in_which_they_are_made(clock in prop::collection::vec(0..86_400_000_i64, 1..50)) {
            let mut newest = None;
            for now in clock.into_iter().map(at) {
                let begin = Begin::new(now, newest);
                prop_assert!(begin.time() >= now && newest.is_none_or(|newest| begin.time() > newest || begin == Begin::Now(newest)));
                newest = Some(begin.time());
            }
        }
    }

    #[test]
    fn a_clock_that_is_years_off_is_told_and_not_followed() {
        let (now, later) = (at(1_000_000_000_000), at(2_000_000_000_000));
        assert_eq!(Begin::new(now, Some(later)), Begin::Astray(now, SignedDuration::from_millis(1_000_000_000_000)));
        assert_eq!(Begin::new(later, Some(now)), Begin::Now(later));
        assert_eq!(Begin::new(now, None), Begin::Now(now));
        assert_eq!(Begin::new(now, Some(now)), Begin::Now(now));
    }

    #[test]
    fn a_clock_counts_on() {
        let clock = Clock::from(at(1_000));
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(3));
        assert!(first >= at(1_000) && clock.now() >= first + SignedDuration::from_millis(3));
    }
}
