//! What the rows of the index say of a signature. Pure.

use super::question::{Sighting, Signature, Variant, When};
use std::collections::{BTreeMap, BTreeSet};

/// Runs that [`When::runs`] tells of at most.
const MAX_RUNS: usize = 100;

/// A variant and a workload: where something is seen.
pub type Place = (String, String);

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its id.
    pub id: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// Its matrix's name.
    pub matrix: String,
}

/// A run at a place.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The run's number in the index.
    pub run: i64,
    /// Trials that said something.
    pub said: i64,
    /// The kernel's key.
    pub kernel: String,
}

/// A signature at a place.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Trials that saw it, and those of them that expected it, by the run's number.
    pub runs: BTreeMap<i64, (i64, i64)>,
    /// Milliseconds of torture until it showed, in no order.
    pub after_ms: Vec<i64>,
}

/// What is known of a signature.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// It.
    pub text: String,
    /// A finding's title under it.
    pub title: String,
    /// Where it was ever seen.
    pub places: BTreeMap<Place, Seen>,
    /// Why it was expected, by the run's number.
    pub reasons: BTreeMap<i64, String>,
}

/// A run that came to a place where the signature was ever seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Night {
    /// Trials that saw it.
    pub seen: i64,
    /// Those of them that expected it.
    pub known: i64,
    /// Trials that said something.
    pub said: i64,
}

/// When a signature was seen, and its nights by the run's number. `None` if it never was.
pub fn told(
    known: &Known,
    runs: &BTreeMap<i64, Ran>,
    visits: &BTreeMap<Place, Vec<Visit>>,
) -> Option<(When, BTreeMap<i64, Night>)> {
    let mut nights: BTreeMap<i64, Night> = BTreeMap::new();
    let mut variants = Vec::new();
    for (place, seen) in &known.places {
        let (mut of, mut kernels, mut kernel) = (0, BTreeSet::new(), None);
        for visit in visits.get(place).into_iter().flatten() {
            let night = nights.entry(visit.run).or_default();
            night.said += visit.said;
            of += visit.said;
            if let Some((trials, known)) = seen.runs.get(&visit.run) {
                night.seen += trials;
                night.known += known;
                kernels.insert(visit.kernel.as_str());
                let when = runs.get(&visit.run).map(|run| (run.started_ms, visit.run));
                kernel = kernel.max(Some((when, visit.kernel.as_str())));
            }
        }
        let mut all = seen.after_ms.clone();
        let half = all.len() / 2;
        variants.push(Variant {
            variant: place.0.clone(),
            workload: place.1.clone(),
            trials: seen.runs.values().map(|(trials, _)| trials).sum(),
            of,
            kernels: i64::try_from(kernels.len()).unwrap_or_default(),
            last_kernel: kernel.map(|(_, key)| key.to_owned()),
            median_ms: (!all.is_empty()).then(|| *all.select_nth_unstable(half).1),
        });
    }
    variants.sort_by_key(|v| std::cmp::Reverse(v.trials));

    // In the order of time, those that said something.
    let mut order: Vec<(&Ran, i64, Night)> = nights
        .iter()
        .filter(|(_, night)| night.said + night.seen > 0)
        .filter_map(|(n, night)| Some((runs.get(n)?, *n, *night)))
        .collect();
    order.sort_by_key(|(run, n, _)| (run.started_ms, *n));
    let first = order.iter().position(|(.., night)| night.seen > 0)?;
    let last = order.iter().rposition(|(.., night)| night.seen > 0)?;
    let sighting =
        |at: usize| order.get(at).map(|(run, ..)| Sighting { run: run.id.clone(), started_ms: run.started_ms });
    let newest = order.len().saturating_sub(MAX_RUNS);
    let when = When {
        clean_before: first.checked_sub(1).and_then(sighting),
        clean_since: sighting(last + 1),
        runs: order[newest..].iter().map(|(run, _, night)| (run.id.clone(), night.seen, night.said)).collect(),
        signature: Signature {
            signature: known.text.clone(),
            title: known.title.clone(),
            runs: i64::try_from(order.iter().filter(|(.., night)| night.seen > 0).count()).unwrap_or_default(),
            trials: order.iter().map(|(.., night)| night.seen).sum(),
            known: known.reasons.get(&order[last].1).cloned(),
            first: sighting(first)?,
            last: sighting(last)?,
        },
        variants,
    };
    Some((when, nights))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variant: &str) -> Place {
        (variant.to_owned(), "w".to_owned())
    }

    fn visit(run: i64, said: i64) -> Visit {
        Visit { run, said, kernel: format!("k{}", run / 2) }
    }

    #[test]
    fn a_run_that_said_nothing_is_no_evidence() {
        // By number, not in the order of time: the last one was read first.
        let start = |n: i64| if n == 0 { 100 } else { n };
        let ran = |n: i64| Ran { id: format!("r{n}"), started_ms: start(n), matrix: "m".into() };
        let runs: BTreeMap<i64, Ran> = (0..7).map(|n| (n, ran(n))).collect();
        let bad = vec![visit(1, 10), visit(2, 0), visit(3, 10), visit(4, 10), visit(5, 0), visit(0, 10)];
        let visits = [(place("bad"), bad), (place("base"), vec![visit(6, 10)])].into();
        let seen = Seen { runs: [(3, (4, 0)), (4, (2, 2))].into(), after_ms: vec![9, 1, 5] };
        let known = Known {
            text: "s".into(),
            title: "t".into(),
            places: [(place("bad"), seen)].into(),
            reasons: [(4, "reported".to_owned())].into(),
        };
        let (when, nights) = told(&known, &runs, &visits).unwrap();
        let id = |sighting: Option<Sighting>| sighting.map(|s| s.run);
        assert_eq!((id(when.clean_before).as_deref(), id(when.clean_since).as_deref()), (Some("r1"), Some("r0")));
        assert_eq!((when.signature.first.run.as_str(), when.signature.last.run.as_str()), ("r3", "r4"));
        assert_eq!((when.signature.runs, when.signature.trials), (2, 6));
        assert_eq!(when.signature.known.as_deref(), Some("reported"), "the last run that saw it expected it");
        let told: Vec<_> = when.runs.iter().map(|(id, seen, said)| (id.as_str(), *seen, *said)).collect();
        assert_eq!(told, [("r1", 0, 10), ("r3", 4, 10), ("r4", 2, 10), ("r0", 0, 10)]);
        let variant = &when.variants[0];
        assert_eq!((variant.of, variant.kernels, variant.median_ms), (40, 2, Some(5)));
        assert_eq!(variant.last_kernel.as_deref(), Some("k2"));
        assert_eq!(nights[&4], Night { seen: 2, known: 2, said: 10 });
        assert_eq!(nights[&2], Night::default(), "it ran and said nothing");
        assert_eq!(nights.get(&6), None, "it did not come to that place");
        assert_eq!(told_of_nothing(&known, &runs), None);
    }

    fn told_of_nothing(known: &Known, runs: &BTreeMap<i64, Ran>) -> Option<When> {
        told(known, runs, &BTreeMap::new()).map(|(when, _)| when)
    }
}
