//! Reads what a report tells off a run's folder.

use super::account::{Account, Bisected, Bug, Console, Course};
use super::course::{course, Step};
use super::decode::decode;
use crate::error::Result;
use crate::prune;
use crate::record::{Bisection, Run};
use crate::run::journal;
use crate::trial::console::Console as Log;
use std::path::Path;

/// Lines shown before and behind a report.
const LINES_BEFORE: usize = 30;
const LINES_BEHIND: usize = 15;
/// Bytes that are looked through for them.
const AROUND: usize = 8 << 10;
/// The most of one report, in bytes, and the most of all.
const MAX_REPORT: u64 = 24 << 10;
const MAX_ALL: u64 = 2 << 20;
/// The least of a report that is worth having.
const MIN_REPORT: u64 = 2 << 10;
/// Characters of a line.
const MAX_WIDTH: usize = 400;

impl Account {
    /// Reads a run.
    ///
    /// # Errors
    /// A file is damaged. A console that is missing or damaged is none.
    pub fn read(run: &Run) -> Result<Self> {
        let (dirs, trials): (Vec<_>, Vec<_>) = run.trials()?.into_iter().unzip();
        let (place, header) = (run.dir.display().to_string(), run.header()?);
        let gone = prune::gone(&header, dirs.iter().zip(&trials));
        let mut account = Self::new(header, run.matrix()?, run.cells()?, trials, place);
        account.gone = gone;
        account.bisections = run.bisections()?.into_iter().map(|result| bisected(run, result)).collect();
        account.searches = run.searches()?;
        let findings: Vec<_> =
            account.bugs.iter().map(|bug| (account.trials[bug.trial].kernel.as_str(), &bug.finding)).collect();
        let decoded = decode(&findings);
        for (bug, decoded) in account.bugs.iter_mut().zip(decoded) {
            bug.decoded = decoded;
        }
        let most = (MAX_ALL / (account.bugs.len() as u64).max(1)).clamp(MIN_REPORT, MAX_REPORT);
        for bug in &mut account.bugs {
            bug.console = excerpt(&dirs[bug.trial], bug, most).ok().flatten();
        }
        Ok(account)
    }
}

/// A bisection with its course: a report does without that where its log is of no use.
fn bisected(run: &Run, result: Bisection) -> Bisected {
    let log = run.bisect_log_file(&result.cell, &result.signature);
    let unknown = |why: &str| Course::Unknown(why.to_owned());
    let course = if result.posterior.is_empty() {
        unknown("the version that made it did not keep how likely each patch is")
    } else if !log.exists() {
        unknown("its log is not there")
    } else {
        match journal::read(&log).map(|entries| course(result.patches.len(), &entries)) {
            Err(_) => unknown("its log is damaged or of another version"),
            Ok(steps) if !ends_at(&steps, &result.posterior) => unknown("the version that made it counted otherwise"),
            Ok(steps) => Course::Known(steps),
        }
    };
    Bisected { result, course }
}

/// Whether a course ends where the bisection did: it is told by today's model, which may not be the one of then.
fn ends_at(steps: &[Step], posterior: &[f64]) -> bool {
    const NEAR: f64 = 0.05;
    let Some(last) = steps.last() else { return false };
    let apart: f64 = last.posterior.iter().zip(posterior).map(|(a, b)| (a - b).abs()).sum();
    last.posterior.len() == posterior.len() && apart / 2.0 <= NEAR
}

/// The part of the console in a trial's folder that a bug is about: around its report, or the end for what no console line
/// shows. `None` if there is no console.
fn excerpt(dir: &Path, bug: &Bug, most: u64) -> Result<Option<Console>> {
    let Some(mut log) = Log::open(dir)? else { return Ok(None) };
    let (start, end) = (bug.finding.first_byte, bug.finding.end_byte);
    let lines_from = start.saturating_sub(AROUND as u64);
    let mut parts = None;
    if start < end {
        let before = log.part(lines_from, start - lines_from)?;
        let report = log.part(start, most.min(end - start))?;
        let after = log.part(end, AROUND as u64)?;
        // What the record says of a console that is shorter means nothing.
        parts = (log.at() >= end).then_some((lines_from, before, report, after));
    }
    let shown = parts.is_some();
    let (from, before, report, after) = match parts {
        Some(parts) => parts,
        None => {
            let Some(log) = Log::open(dir)? else { return Ok(None) };
            let (from, end) = log.tail(AROUND)?;
            (from, end, Vec::new(), Vec::new())
        }
    };
    let [before, report, after] = [before, report, after].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // Where the bytes begin in the middle of a line, that line is left out.
    let lines: Vec<&str> = before.lines().skip(usize::from(from > 0)).collect();
    let before = &lines[lines.len().saturating_sub(LINES_BEFORE)..];
    let after: Vec<&str> = after.lines().take(LINES_BEHIND).collect();
    let line = if shown { bug.finding.first_line } else { 0 };
    Ok(Some(Console {
        first_line: line.saturating_sub(before.len() as u64),
        before: clipped(before),
        report: clipped(&report.lines().collect::<Vec<_>>()),
        left_out: if shown { (end - start).saturating_sub(most) } else { 0 },
        after: clipped(&after),
    }))
}

fn clipped(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        text.extend(line.chars().take(MAX_WIDTH));
        if line.chars().nth(MAX_WIDTH).is_some() {
            text.push('…');
        }
        text.push('\n');
    }
    text
}
