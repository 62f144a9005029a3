//! What the index is asked.

use rusqlite::{params, Connection, OptionalExtension, Result, Row};
use serde::Serialize;

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
const MAX_RUNS: i64 = 100;

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

pub fn when(db: &Connection, text: &str) -> Result<Option<When>> {
    let one = ALL.replace("GROUP BY", "WHERE signature = (SELECT n FROM signature WHERE text = ?1) GROUP BY");
    let Some(found) = db.query_row(&one, [text], signature).optional()? else { return Ok(None) };
    // Runs that tell: they put to work what it was seen on, and came to something.
    let sighting = |row: &Row<'_>| Ok(Sighting { run: row.get(0)?, started_ms: row.get(1)? });
    let tells = "
        SELECT run.id, run.started FROM run WHERE run.started {beyond} ?2 AND EXISTS (
            SELECT 1 FROM ran JOIN (
                SELECT DISTINCT variant, workload FROM tally WHERE signature = (SELECT n FROM signature WHERE text = ?1)
            ) USING (variant, workload) WHERE ran.run = run.n AND ran.said > 0
        ) ORDER BY run.started {way} LIMIT 1";
    let clean = |beyond: &str, way: &str, at: i64| {
        let query = tells.replace("{beyond}", beyond).replace("{way}", way);
        db.query_row(&query, params![text, at], sighting).optional()
    };
    let clean_before = clean("<", "DESC", found.first.started_ms)?;
    let clean_since = clean(">", "ASC", found.last.started_ms)?;

    let mut statement = db.prepare(
        "WITH mine AS (SELECT * FROM tally WHERE signature = (SELECT n FROM signature WHERE text = ?1))
         SELECT variant, workload,
            (SELECT sum(trials) FROM mine m WHERE m.variant = p.variant AND m.workload = p.workload),
            sum(ran.said),
            (SELECT count(DISTINCT kernel) FROM ran r JOIN mine m USING (run, variant, workload)
             WHERE r.variant = p.variant AND r.workload = p.workload)
         FROM (SELECT DISTINCT variant, workload FROM mine) p JOIN ran USING (variant, workload)
         GROUP BY variant, workload ORDER BY 3 DESC",
    )?;
    let rows = statement.query_map([text], |row| {
        Ok(Variant {
            variant: row.get(0)?,
            workload: row.get(1)?,
            trials: row.get(2)?,
            of: row.get(3)?,
            kernels: row.get(4)?,
            median_ms: None,
        })
    })?;
    let mut variants: Vec<Variant> = rows.collect::<Result<_>>()?;
    let mut times = db.prepare(
        "SELECT after_ms FROM sighting WHERE signature = (SELECT n FROM signature WHERE text = ?1)
         AND variant = ?2 AND workload = ?3 AND after_ms IS NOT NULL",
    )?;
    for variant in &mut variants {
        let rows = times.query_map(params![text, variant.variant, variant.workload], |row| row.get(0))?;
        let mut all: Vec<i64> = rows.collect::<Result<_>>()?;
        let half = all.len() / 2;
        variant.median_ms = (!all.is_empty()).then(|| *all.select_nth_unstable(half).1);
    }

    let mut statement = db.prepare(
        "WITH mine AS (SELECT * FROM tally WHERE signature = (SELECT n FROM signature WHERE text = ?1)),
         newest AS (
            SELECT n, id, started FROM run WHERE EXISTS (
                SELECT 1 FROM ran JOIN (SELECT DISTINCT variant, workload FROM mine) USING (variant, workload)
                WHERE ran.run = run.n AND ran.said > 0
            ) ORDER BY started DESC LIMIT ?2
         )
         SELECT id, (SELECT coalesce(sum(trials), 0) FROM mine WHERE run = newest.n),
            (SELECT sum(said) FROM ran JOIN (SELECT DISTINCT variant, workload FROM mine) USING (variant, workload) WHERE ran.run = newest.n)
         FROM newest ORDER BY started",
    )?;
    let runs = statement.query_map(params![text, MAX_RUNS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let runs = runs.collect::<Result<_>>()?;
    Ok(Some(When { signature: found, clean_before, clean_since, variants, runs }))
}
