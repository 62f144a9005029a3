//! The index's tables, and how a run gets into them.

use super::Trouble;
use crate::oracle::{Finding, Severity};
use crate::outcome::Outcome;
use crate::plan::Cell;
use crate::record::{Header, Run};
use crate::trial::Trial;
use rusqlite::{params, Connection};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

/// The version of the tables.
const VERSION: i64 = 3;

/// From version 2, which passed over what was expected. Runs that are in it stay so: their folders may be gone.
const FROM_2: &str = "
ALTER TABLE tally ADD COLUMN known INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tally ADD COLUMN reason TEXT;
";

/// `sighting` has a row for each finding that decided a trial or was expected in one; `ran` one for each variant and workload of a run, whatever
/// it came to; `part` names the runs that a run was merged
/// from, or the run itself; `tally` what `sighting` says of a run and a signature, so that a list of all does not read all of it:
/// trials that saw it, and in how many of them it was a known issue, with the reason why it is none of ours.
const TABLES: &str = "
CREATE TABLE run (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, matrix TEXT NOT NULL, state TEXT NOT NULL,
    started INTEGER NOT NULL, took_ms INTEGER
);
CREATE INDEX run_started ON run (started);
CREATE TABLE ran (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, variant TEXT NOT NULL, workload TEXT NOT NULL,
    kernel TEXT NOT NULL, trials INTEGER NOT NULL, said INTEGER NOT NULL, torture_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
    PRIMARY KEY (run, variant, workload)
) WITHOUT ROWID;
CREATE INDEX ran_place ON ran (variant, workload, said, kernel);
CREATE TABLE signature (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, title TEXT NOT NULL);
CREATE TABLE sighting (
    signature INTEGER NOT NULL REFERENCES signature, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    cell TEXT NOT NULL, seed TEXT NOT NULL, variant TEXT NOT NULL, workload TEXT NOT NULL, after_ms INTEGER,
    PRIMARY KEY (signature, run, cell, seed)
) WITHOUT ROWID;
CREATE INDEX sighting_run ON sighting (run);
CREATE TABLE tally (
    signature INTEGER NOT NULL REFERENCES signature, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    variant TEXT NOT NULL, workload TEXT NOT NULL, trials INTEGER NOT NULL, cells INTEGER NOT NULL,
    known INTEGER NOT NULL DEFAULT 0, reason TEXT, PRIMARY KEY (signature, run, variant, workload)
) WITHOUT ROWID;
CREATE INDEX tally_run ON tally (run);
CREATE TABLE part (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, id TEXT NOT NULL, started INTEGER NOT NULL,
    PRIMARY KEY (run, id, started)
) WITHOUT ROWID;
CREATE INDEX part_of ON part (id, started);
";

/// Makes the tables, if there are none.
pub fn prepare(db: &Connection) -> Result<(), Trouble> {
    db.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000;")?;
    let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    if version(db)? == VERSION {
        return Ok(());
    }
    // Under the lock: two runs may both have come to an index that is not there.
    db.execute_batch("BEGIN IMMEDIATE")?;
    let made = match version(db)? {
        VERSION => Ok(()),
        0 => db.execute_batch(&format!("{TABLES} PRAGMA user_version = {VERSION};")).map_err(Trouble::from),
        2 => db.execute_batch(&format!("{FROM_2} PRAGMA user_version = {VERSION};")).map_err(Trouble::from),
        other => Err(Trouble::Damaged(anyhow::anyhow!("version {other}, expected {VERSION}"))),
    };
    db.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    made
}

/// What changes when a run's record does.
pub fn stamp(run: &Run) -> String {
    match run.header_file().metadata() {
        Ok(data) => format!("{}.{} {}", data.mtime(), data.mtime_nsec(), data.len()),
        Err(_) => "none".to_owned(),
    }
}

/// The runs that are in the index, by id, with their stamps.
pub fn known(db: &Connection) -> Result<BTreeMap<String, String>, Trouble> {
    let mut statement = db.prepare("SELECT id, stamp FROM run")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Puts a run in, in place of what was there of it, and of those that it was merged from.
pub fn put(db: &Connection, stamp: &str, header: &Header, cells: &[Cell], trials: &[Trial]) -> Result<(), Trouble> {
    db.prepare_cached("DELETE FROM run WHERE id = ?1")?.execute([&header.id])?;
    let state = serde_json::to_value(header.state).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let took = header.ended.map(|ended| ended.as_millisecond() - header.started.as_millisecond());
    db.prepare_cached("INSERT INTO run (id, stamp, matrix, state, started, took_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![header.id, stamp, header.matrix, state, header.started.as_millisecond(), took])?;
    let run = db.last_insert_rowid();
    for part in header.all_parts() {
        db.prepare_cached("INSERT OR IGNORE INTO part VALUES (?1, ?2, ?3)")?.execute(params![
            run,
            part.id,
            part.started.as_millisecond()
        ])?;
    }
    if overlaps(db, run, WITHIN)?.next().is_some() {
        // It is known, so that it is not read again; its trials are the merged run's.
        return Ok(());
    }
    for part in overlaps(db, run, AROUND)? {
        for table in ["ran", "sighting", "tally"] {
            db.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [part])?;
        }
    }

    let workloads: BTreeMap<&str, &str> = cells.iter().map(|c| (c.id.as_str(), c.workload.as_str())).collect();
    let workload = |trial: &Trial| workloads.get(trial.cell.as_str()).copied().unwrap_or_default();
    let mut ran: BTreeMap<(&str, &str), Ran> = BTreeMap::new();
    let mut tally: BTreeMap<(i64, &str, &str), Tally> = BTreeMap::new();
    for trial in trials {
        let key = (trial.variant.as_str(), workload(trial));
        let sum = ran.entry(key).or_default();
        sum.trials += 1;
        sum.said += i64::from(matches!(trial.outcome, Outcome::Pass | Outcome::Fail | Outcome::Hang));
        sum.torture_ms += (trial.exposure() * 1000.0) as i64;
        sum.wall_ms += i64::try_from(trial.seen.times.end_ms).unwrap_or(i64::MAX >> 20);
        sum.kernel = &trial.kernel;
        for finding in seen(trial) {
            db.prepare_cached("INSERT INTO signature (text, title) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute([&finding.signature, &finding.title])?;
            let signature: i64 = db
                .prepare_cached("SELECT n FROM signature WHERE text = ?1")?
                .query_row([&finding.signature], |row| row.get(0))?;
            // What was expected did not end the trial: when it came is not on record.
            let after = trial.seen.times.to_finding().filter(|_| finding.expected.is_none());
            let after = after.and_then(|t| i64::try_from(t.as_millis()).ok());
            db.prepare_cached("INSERT OR IGNORE INTO sighting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![signature, run, trial.cell, trial.seed.to_string(), key.0, key.1, after])?;
            let tally = tally.entry((signature, key.0, key.1)).or_default();
            tally.trials += 1;
            tally.cells.insert(&trial.cell);
            tally.known += i64::from(finding.expected.is_some());
            tally.reason = finding.expected.as_deref().or(tally.reason);
        }
    }
    for ((variant, workload), sum) in ran {
        db.prepare_cached("INSERT INTO ran VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            run,
            variant,
            workload,
            sum.kernel,
            sum.trials,
            sum.said,
            sum.torture_ms,
            sum.wall_ms
        ])?;
    }
    for ((signature, variant, workload), tally) in tally {
        let cells = i64::try_from(tally.cells.len()).unwrap_or_default();
        db.prepare_cached("INSERT INTO tally VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            signature,
            run,
            variant,
            workload,
            tally.trials,
            cells,
            tally.known,
            tally.reason
        ])?;
    }
    Ok(())
}

/// That all parts of this run are among the other's, which has more.
const WITHIN: &str = "both = mine AND both < theirs";

/// The other way round.
const AROUND: &str = "both = theirs AND both < mine";

/// The runs that have parts in common with this one, in that way: what was merged must not count twice.
fn overlaps(db: &Connection, run: i64, how: &str) -> Result<std::vec::IntoIter<i64>, Trouble> {
    let sql = format!(
        "SELECT other FROM (
            SELECT a.run AS other, count(*) AS both, (SELECT count(*) FROM part WHERE run = a.run) AS theirs,
                (SELECT count(*) FROM part WHERE run = ?1) AS mine
            FROM part b JOIN part a ON a.id = b.id AND a.started = b.started AND a.run != b.run
            WHERE b.run = ?1 GROUP BY a.run
        ) WHERE {how}"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([run], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<i64>>>()?.into_iter())
}

/// The finding that decided a trial, and those that somebody expected, each signature once.
fn seen(trial: &Trial) -> Vec<&Finding> {
    let expected = trial.seen.findings.iter().filter(|f| f.expected.is_some() && f.severity > Severity::Info);
    let mut seen: Vec<&Finding> = Vec::new();
    for finding in trial.finding().into_iter().chain(expected) {
        if !seen.iter().any(|other| other.signature == finding.signature) {
            seen.push(finding);
        }
    }
    seen
}

#[derive(Default)]
struct Tally<'a> {
    trials: i64,
    cells: BTreeSet<&'a str>,
    known: i64,
    reason: Option<&'a str>,
}

#[derive(Default)]
struct Ran<'a> {
    kernel: &'a str,
    trials: i64,
    said: i64,
    torture_ms: i64,
    wall_ms: i64,
}
