//! Reads what a report tells off a run's folder.

use super::account::{Account, Bug, Console};
use crate::error::Result;
use crate::record::Run;
use crate::trial::CONSOLE;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Lines shown before and behind a report.
const LINES_BEFORE: usize = 30;
const LINES_BEHIND: usize = 15;
/// Bytes that are looked through for them.
const AROUND: u64 = 8 << 10;
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
    /// A file is damaged. A console that is missing is none.
    pub fn read(run: &Run) -> Result<Self> {
        let (dirs, trials): (Vec<_>, Vec<_>) = run.trials()?.into_iter().unzip();
        let place = run.dir.display().to_string();
        let mut account = Self::new(run.header()?, run.matrix()?, run.cells()?, trials, run.bisections()?, place);
        let most = (MAX_ALL / (account.bugs.len() as u64).max(1)).clamp(MIN_REPORT, MAX_REPORT);
        for bug in &mut account.bugs {
            bug.console = excerpt(&dirs[bug.trial].join(CONSOLE), bug, most);
        }
        Ok(account)
    }
}

/// The part of a console that a bug is about: around its report, or the end for what no console line shows.
fn excerpt(path: &Path, bug: &Bug, most: u64) -> Option<Console> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let (start, end) = match (bug.finding.first_byte, bug.finding.end_byte) {
        (start, end) if start < end && end <= length => (start, end),
        _ => (length, length),
    };
    let mut part = |from: u64, to: u64| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from)).ok()?;
        file.by_ref().take(to.saturating_sub(from)).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let before = part(start.saturating_sub(AROUND), start)?;
    let report = part(start, end.min(start + most))?;
    let after = part(end, (end + AROUND).min(length))?;
    // Where the bytes begin in the middle of a line, that line is left out.
    let lines: Vec<&str> = before.lines().skip(usize::from(start > AROUND)).collect();
    let before = &lines[lines.len().saturating_sub(LINES_BEFORE)..];
    let after: Vec<&str> = after.lines().take(LINES_BEHIND).collect();
    let line = if start < end { bug.finding.first_line } else { 0 };
    Some(Console {
        first_line: line.saturating_sub(before.len() as u64),
        before: clipped(before),
        report: clipped(&report.lines().collect::<Vec<_>>()),
        left_out: (end - start).saturating_sub(most),
        after: clipped(&after),
    })
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
