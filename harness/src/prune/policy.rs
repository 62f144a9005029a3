//! Which runs have to give up what is large, and of which trials. Pure.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use std::fmt;
use std::str::FromStr;

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// So long.
    Of(SignedDuration),
    /// For good.
    Forever,
}

impl Age {
    /// So many days of 24 hours.
    pub const fn days(days: i64) -> Self {
        Self::Of(SignedDuration::from_hours(24 * days))
    }

    fn is_over(self, age: SignedDuration) -> bool {
        match self {
            Self::Of(most) => age > most,
            Self::Forever => false,
        }
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let span = text.parse::<Span>().ok().and_then(|s| s.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        // Months differ in length, and what has a sign is no age.
        span.filter(|age| !age.is_negative())
            .map(Self::Of)
            .ok_or_else(|| "expected an age as in 14d, 2w, 36h, or forever".to_owned())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Of(age) if age.as_secs() % 86_400 == 0 => write!(f, "{}d", age.as_secs() / 86_400),
            Self::Of(age) => write!(f, "{age:#}"),
        }
    }
}

/// What is kept, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Trials that passed.
    passes: Age,
    /// All others.
    failures: Age,
    /// The newest runs, which stay whole.
    keep: usize,
}

/// How long a trial that did not pass is kept, unless told.
const FAILURES: Age = Age::days(90);

impl Policy {
    /// With `failures` 90 days, or as long as passes if that is longer, unless told.
    ///
    /// # Errors
    /// Failures would be kept for a shorter time than passes.
    pub fn new(passes: Age, failures: Option<Age>, keep: usize) -> Result<Self, String> {
        let failures = failures.unwrap_or(FAILURES.max(passes));
        if failures < passes {
            return Err(format!("--failures {failures} is less than --passes {passes}, expected no less"));
        }
        Ok(Self { passes, failures, keep })
    }

    /// What each of these runs, the oldest first, has to give up.
    pub fn due(&self, runs: &[Facts], now: Timestamp) -> Vec<Due> {
        let old = runs.len().saturating_sub(self.keep);
        let due = |(n, run): (usize, &Facts)| {
            // A run from the future, by a clock that was wrong then or is now, has no age.
            let age = now.duration_since(run.ended);
            match () {
                () if n >= old || run.held => Due::Nothing,
                () if self.failures.is_over(age) => Due::All,
                () if self.passes.is_over(age) => Due::Passes,
                () => Due::Nothing,
            }
        };
        runs.iter().enumerate().map(due).collect()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "passes {}, failures {}, the newest {}", self.passes, self.failures, self.keep)
    }
}

/// What decides over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When it ended, as far as that is known.
    pub ended: Timestamp,
    /// A process adds to it.
    pub held: bool,
}

/// What a run has to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// What is large of the trials that passed.
    Passes,
    /// The same of all trials.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours() -> impl Strategy<Value = Age> {
        prop_oneof![9 => (0..100_i64).prop_map(|h| Age::Of(SignedDuration::from_hours(h))), 1 => Just(Age::Forever)]
    }

    proptest! {
        #[test]
        fn what_is_kept_is_kept(
            runs in prop::collection::vec((-20..150_i64, any::<bool>()), 0..20),
            ages in (hours(), hours()),
            keep in 0..5_usize,
        ) {
            let now = Timestamp::UNIX_EPOCH;
            let ago = |hours: i64| now - SignedDuration::from_hours(hours);
            let mut facts: Vec<Facts> = runs.iter().map(|&(age, held)| Facts { ended: ago(age), held }).collect();
            facts.sort_by_key(|run| run.ended);
            let (passes, failures) = (ages.0.min(ages.1), ages.0.max(ages.1));
            let policy = Policy::new(passes, Some(failures), keep).unwrap();
            let due = policy.due(&facts, now);
            prop_assert_eq!(due.len(), facts.len());
            for (n, (run, due)) in facts.iter().zip(&due).enumerate() {
                let older = |than: Age| matches!(than, Age::Of(most) if run.ended + most < now);
                let may = !run.held && n + keep < facts.len();
                let want = match () {
                    () if may && older(failures) => Due::All,
                    () if may && older(passes) => Due::Passes,
                    () => Due::Nothing,
                };
                prop_assert_eq!(*due, want);
            }
            // A stricter policy takes no less, a later day neither.
            let later = policy.due(&facts, now + SignedDuration::from_hours(9));
            let longer = Policy::new(passes, Some(Age::Forever), keep + 1).unwrap().due(&facts, now);
            prop_assert!(due.iter().zip(later).all(|(now, later)| *now <= later));
            prop_assert!(due.iter().zip(longer).all(|(now, longer)| longer <= *now));
        }
    }

    #[test]
    fn ages_are_read_and_shown() {
        for (text, shown) in
            [("14d", "14d"), ("2w", "14d"), ("36h", "36h"), ("0d", "0d"), ("forever", "forever"), ("1d 12h", "36h")]
        {
            assert_eq!(text.parse::<Age>().unwrap().to_string(), shown);
        }
        for wrong in ["", "14", "d", "3mo", "1y", "-1d", "1d ago", "soon"] {
            assert!(wrong.parse::<Age>().unwrap_err().starts_with("expected an age as in 14d"), "{wrong}");
        }
    }

    #[test]
    fn failures_are_kept_no_shorter_than_passes() {
        let policy = |passes, failures| Policy::new(passes, failures, 1).map(|p| p.to_string());
        assert_eq!(policy(Age::days(14), None).unwrap(), "passes 14d, failures 90d, the newest 1");
        assert_eq!(policy(Age::days(120), None).unwrap(), "passes 120d, failures 120d, the newest 1");
        assert_eq!(
            policy(Age::Forever, Some(Age::days(9))).unwrap_err(),
            "--failures 9d is less than --passes forever, expected no less"
        );
    }
}
