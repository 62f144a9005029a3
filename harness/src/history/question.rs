//! What the index is asked.

use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// A signature over all runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// It.
    pub signature: String,
    /// A finding's title under it.
    pub title: String,
    /// The first run that saw it.
    pub first: Sighting,
    /// The last.
    pub last: Sighting,
    /// Runs that saw it.
    pub runs: i64,
    /// Trials that did.
    pub trials: i64,
}

/// A run, as a place in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// Its id.
    pub run: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
}

/// When a signature was seen, and when it was not though it could have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct When {
    /// The signature over all runs.
    #[serde(flatten)]
    pub signature: Signature,
    /// The last run before the first sighting that put the same workload on the same variant to work and did not see it.
    pub clean_before: Option<Sighting>,
    /// The first run since the last sighting that did so.
    pub clean_since: Option<Sighting>,
    /// By variant and workload that it was ever seen on.
    pub variants: Vec<Variant>,
    /// For each run, the newest last, that ran one of those: its id, trials that saw it, trials that said something.
    pub runs: Vec<(String, i64, i64)>,
}

/// A signature on a variant under a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// The variant.
    pub variant: String,
    /// The workload.
    pub workload: String,
    /// Trials that saw it.
    pub trials: i64,
    /// Trials that said something, in all runs.
    pub of: i64,
    /// Kernels that it was seen on.
    pub kernels: i64,
    /// The middle of the times from the workload's start to the finding, in milliseconds.
    pub median_ms: Option<i64>,
}

/// Runs that [`When::runs`] tells of at most.
const MAX_RUNS: usize = 100;

const ALL: &str = "
SELECT s.text, s.title, f.id, f.started, l.id, l.started, t.runs, t.trials FROM (
    SELECT signature, count(DISTINCT run) AS runs, sum(trials) AS trials, min(started) AS first, max(started) AS last
    FROM tally JOIN run ON run.n = tally.run GROUP BY signature
) t JOIN signature s ON s.n = t.signature
JOIN run f ON f.n = (SELECT min(n) FROM run WHERE started = t.first AND EXISTS (SELECT 1 FROM tally WHERE signature = s.n AND run = run.n))
JOIN run l ON l.n = (SELECT max(n) FROM run WHERE started = t.last AND EXISTS (SELECT 1 FROM tally WHERE signature = s.n AND run = run.n))
";

fn signature(row: &Row<'_>) -> Result<Signature> {
    Ok(Signature {
        signature: row.get(0)?,
        title: row.get(1)?,
        first: Sighting { run: row.get(2)?, started_ms: row.get(3)? },
        last: Sighting { run: row.get(4)?, started_ms: row.get(5)? },
        runs: row.get(6)?,
        trials: row.get(7)?,
    })
}

pub fn signatures(db: &Connection) -> Result<Vec<Signature>> {
    let mut statement = db.prepare(&format!("{ALL} ORDER BY t.last DESC, t.trials DESC, s.text"))?;
    let rows = statement.query_map([], signature)?;
    rows.collect()
}

/// The signatures that are `text`, or whose title is; else those that hold it or whose title does.
pub fn matching(db: &Connection, text: &str) -> Result<Vec<String>> {
    let mut statement = db.prepare("SELECT text, title FROM signature ORDER BY n")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let all: Vec<(String, String)> = rows.collect::<Result<_>>()?;
    let pick = |like: &dyn Fn(&str) -> bool| -> Vec<String> {
        all.iter().filter(|(signature, title)| like(signature) || like(title)).map(|(s, _)| s.clone()).collect()
    };
    let exact = pick(&|name| name == text);
    Ok(if exact.is_empty() { pick(&|name| name.contains(text)) } else { exact })
}

/// A run, as far as a signature's places go.
#[derive(Default)]
struct Night {
    id: String,
    seen: i64,
    said: i64,
}

pub fn when(db: &Connection, text: &str) -> Result<Option<When>> {
    let named = db.query_row("SELECT n, title FROM signature WHERE text = ?1", [text], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    });
    let Some((signature, title)) = named.optional()? else { return Ok(None) };

    // Where it was seen: by variant and workload, by run.
    let mut places: BTreeMap<(String, String), BTreeMap<i64, i64>> = BTreeMap::new();
    let mut statement = db.prepare("SELECT run, variant, workload, trials FROM tally WHERE signature = ?1")?;
    let mut rows = statement.query([signature])?;
    while let Some(row) = rows.next()? {
        places.entry((row.get(1)?, row.get(2)?)).or_default().insert(row.get(0)?, row.get(3)?);
    }

    // What else happened at those places, and so when it could have been seen.
    let mut nights: BTreeMap<(i64, i64), Night> = BTreeMap::new();
    let mut variants = Vec::new();
    let mut ran = db.prepare(
        "SELECT ran.run, run.started, run.id, said, kernel FROM ran JOIN run ON run.n = ran.run
         WHERE variant = ?1 AND workload = ?2",
    )?;
    let mut times = db.prepare(
        "SELECT after_ms FROM sighting WHERE signature = ?1 AND variant = ?2 AND workload = ?3 AND after_ms IS NOT NULL",
    )?;
    for ((variant, workload), seen) in &places {
        let (mut of, mut kernels) = (0, BTreeSet::new());
        let mut rows = ran.query(params![variant, workload])?;
        while let Some(row) = rows.next()? {
            let (run, said): (i64, i64) = (row.get(0)?, row.get(3)?);
            let night = nights.entry((row.get(1)?, run)).or_default();
            if night.id.is_empty() {
                night.id = row.get(2)?;
            }
            night.said += said;
            of += said;
            if let Some(trials) = seen.get(&run) {
                night.seen += trials;
                kernels.insert(row.get::<_, String>(4)?);
            }
        }
        let rows = times.query_map(params![signature, variant, workload], |row| row.get(0))?;
        let mut all: Vec<i64> = rows.collect::<Result<_>>()?;
        let half = all.len() / 2;
        variants.push(Variant {
            variant: variant.clone(),
            workload: workload.clone(),
            trials: seen.values().sum(),
            of,
            kernels: i64::try_from(kernels.len()).unwrap_or_default(),
            median_ms: (!all.is_empty()).then(|| *all.select_nth_unstable(half).1),
        });
    }
    variants.sort_by_key(|v| std::cmp::Reverse(v.trials));
    nights.retain(|_, night| night.said + night.seen > 0);
    let sighting =
        |((started, _), night): (&(i64, i64), &Night)| Sighting { run: night.id.clone(), started_ms: *started };
    let seen = || nights.iter().filter(|(_, night)| night.seen > 0);
    let (Some(first), Some(last)) = (seen().next(), seen().next_back()) else { return Ok(None) };
    let newest = nights.len().saturating_sub(MAX_RUNS);
    Ok(Some(When {
        clean_before: nights.range(..first.0).next_back().map(sighting),
        clean_since: nights.range((Excluded(last.0), Unbounded)).next().map(sighting),
        runs: nights.values().skip(newest).map(|night| (night.id.clone(), night.seen, night.said)).collect(),
        signature: Signature {
            signature: text.to_owned(),
            title,
            runs: i64::try_from(seen().count()).unwrap_or_default(),
            trials: seen().map(|(_, night)| night.seen).sum(),
            first: sighting(first),
            last: sighting(last),
        },
        variants,
    }))
}
