//! What the index is asked.

use super::told::{told, Known, Night, Place, Ran, Visit};
use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Why the last run that saw it expected it, if it did: a known issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
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
    /// The newest of them, by its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_kernel: Option<String>,
    /// The middle of the times from the workload's start to the finding, in milliseconds.
    pub median_ms: Option<i64>,
}

const ALL: &str = "
SELECT s.text, s.title, f.id, f.started, l.id, l.started, t.runs, t.trials,
    (SELECT max(reason) FROM tally WHERE signature = s.n AND run = l.n) FROM (
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
        known: row.get(8)?,
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

/// The runs by number.
fn runs(db: &Connection) -> Result<BTreeMap<i64, Ran>> {
    let mut statement = db.prepare("SELECT n, id, started, matrix FROM run")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, Ran { id: row.get(1)?, started_ms: row.get(2)?, matrix: row.get(3)? }))
    })?;
    rows.collect()
}

pub fn when(db: &Connection, text: &str) -> Result<Option<When>> {
    let named = db.query_row("SELECT n, title FROM signature WHERE text = ?1", [text], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    });
    let Some((signature, title)) = named.optional()? else { return Ok(None) };
    let mut known = Known { text: text.to_owned(), title, ..Known::default() };
    let mut statement =
        db.prepare("SELECT run, variant, workload, trials, known, reason FROM tally WHERE signature = ?1")?;
    let mut rows = statement.query([signature])?;
    while let Some(row) = rows.next()? {
        add_tally(&mut known, row, 0)?;
    }

    // What else happened at those places, and so when it could have been seen.
    let mut visits: BTreeMap<Place, Vec<Visit>> = BTreeMap::new();
    let mut ran = db.prepare("SELECT run, said, kernel FROM ran WHERE variant = ?1 AND workload = ?2")?;
    for (variant, workload) in known.places.keys() {
        let rows = ran.query_map(params![variant, workload], |row| visit(row, 0))?;
        visits.insert((variant.clone(), workload.clone()), rows.collect::<Result<_>>()?);
    }
    let mut times =
        db.prepare("SELECT variant, workload, after_ms FROM sighting WHERE signature = ?1 AND after_ms IS NOT NULL")?;
    let mut rows = times.query([signature])?;
    while let Some(row) = rows.next()? {
        add_time(&mut known, row, 0)?;
    }
    Ok(told(&known, &runs(db)?, &visits).map(|(when, _)| when))
}

/// A row of `tally` from that column on: run, variant, workload, trials, known, reason.
fn add_tally(known: &mut Known, row: &Row<'_>, at: usize) -> Result<()> {
    let run: i64 = row.get(at)?;
    let seen = known.places.entry((row.get(at + 1)?, row.get(at + 2)?)).or_default();
    seen.runs.insert(run, (row.get(at + 3)?, row.get(at + 4)?));
    if let Some(reason) = row.get(at + 5)? {
        known.reasons.insert(run, reason);
    }
    Ok(())
}

/// A row of `sighting` from that column on: variant, workload, after_ms. There are many, at few places.
fn add_time(known: &mut Known, row: &Row<'_>, at: usize) -> Result<()> {
    let (variant, workload) = (row.get_ref(at)?.as_str()?, row.get_ref(at + 1)?.as_str()?);
    let place = known.places.iter_mut().find(|((v, w), _)| v == variant && w == workload);
    if let Some((_, seen)) = place {
        seen.after_ms.push(row.get(at + 2)?);
    }
    Ok(())
}

/// A row of `ran` from that column on: run, said, kernel.
fn visit(row: &Row<'_>, at: usize) -> Result<Visit> {
    Ok(Visit { run: row.get(at)?, said: row.get(at + 1)?, kernel: row.get(at + 2)? })
}

/// All signatures over the newest so many runs.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The runs, the newest first.
    pub runs: Vec<Ran>,
    /// Runs that there are in all.
    pub all_runs: usize,
    /// The signatures, those seen last first.
    pub rows: Vec<Over>,
}

/// A signature over some runs.
#[derive(Debug, Clone)]
pub struct Over {
    /// When it was seen, over all runs.
    pub when: When,
    /// For each of [`Overview::runs`]: `None` where it did not come to a place where this was ever seen.
    pub nights: Vec<Option<Night>>,
}

/// All signatures over the newest `most` runs.
pub fn overview(db: &Connection, most: usize) -> Result<Overview> {
    let mut visits: BTreeMap<Place, Vec<Visit>> = BTreeMap::new();
    let mut statement = db.prepare("SELECT variant, workload, run, said, kernel FROM ran")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visits.entry((row.get(0)?, row.get(1)?)).or_default().push(visit(row, 2)?);
    }
    let mut signatures: BTreeMap<i64, Known> = BTreeMap::new();
    let mut statement = db.prepare("SELECT n, text, title FROM signature")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let known = Known { text: row.get(1)?, title: row.get(2)?, ..Known::default() };
        signatures.insert(row.get(0)?, known);
    }
    let mut statement = db.prepare("SELECT signature, run, variant, workload, trials, known, reason FROM tally")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(known) = signatures.get_mut(&row.get(0)?) {
            add_tally(known, row, 1)?;
        }
    }
    let mut statement =
        db.prepare("SELECT signature, variant, workload, after_ms FROM sighting WHERE after_ms IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(known) = signatures.get_mut(&row.get(0)?) {
            add_time(known, row, 1)?;
        }
    }

    // A run that was merged into another has nothing at any place.
    let runs = runs(db)?;
    let visited: BTreeSet<i64> = visits.values().flatten().map(|visit| visit.run).collect();
    let mut order: Vec<(i64, &Ran)> = runs.iter().filter(|(n, _)| visited.contains(n)).map(|(n, r)| (*n, r)).collect();
    order.sort_by_key(|(n, run)| std::cmp::Reverse((run.started_ms, *n)));
    let all_runs = order.len();
    order.truncate(most);
    let mut rows: Vec<Over> = signatures
        .values()
        .filter_map(|known| told(known, &runs, &visits))
        .map(|(when, nights)| Over { when, nights: order.iter().map(|(n, _)| nights.get(n).copied()).collect() })
        .collect();
    rows.sort_by(|a, b| {
        let key = |row: &Over| (row.when.signature.last.started_ms, row.when.signature.trials);
        key(b).cmp(&key(a)).then_with(|| a.when.signature.signature.cmp(&b.when.signature.signature))
    });
    Ok(Overview { runs: order.into_iter().map(|(_, run)| run.clone()).collect(), all_runs, rows })
}
