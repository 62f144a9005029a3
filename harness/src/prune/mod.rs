//! Makes room in a results folder: old runs give up their consoles, events, logs and dumps. What tells how they went
//! stays, and with it the history, their reports, and all that runs a failure again.
//!
//! A run says in its record that it was pruned before the first file goes. Killed at any moment, the next time goes on.

pub mod policy;

use crate::error::Result;
use crate::files;
use crate::outcome::Outcome;
use crate::record::{self, Header, Run};
use crate::trial::console::{self, CONSOLE, PACKED};
use crate::trial::dump::CORE;
use crate::trial::{is_left_over, Trial, EVENTS, MACHINE_LOG, TRIAL};
use anyhow::Context;
use jiff::Timestamp;
use policy::{Due, Facts, Policy};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What goes. What it takes to run a trial again is small, and stays.
const LARGE: [&str; 5] = [CONSOLE, PACKED, EVENTS, MACHINE_LOG, CORE];

/// What became of a run that was due.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// Its id.
    pub run: String,
    /// Its trials that gave up something.
    pub trials: usize,
    /// What that frees, in bytes on the disk. A file that a merged run shares is free when its last name goes.
    pub bytes: u64,
}

/// What pruning did, or would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The runs that gave up something.
    pub pruned: Vec<Pruned>,
    /// Runs that were due, had somebody not added to them.
    pub held: Vec<String>,
}

/// Prunes the runs in `results` as `policy` says, or only says what that would do.
///
/// # Errors
/// A folder cannot be read or written; what was done until then is done.
pub fn prune(results: &Path, policy: &Policy, now: Timestamp, dry_run: bool) -> Result<Report> {
    let runs = record::list(results)?;
    let mut facts = Vec::new();
    for (run, header) in &runs {
        facts.push(Facts { ended: ended(run, header)?, held: run.is_held() });
    }
    let free: Vec<Facts> = facts.iter().map(|facts| Facts { held: false, ..*facts }).collect();
    let mut report = Report::default();
    let mut links = Links::default();
    for (((run, header), due), wanted) in runs.iter().zip(policy.due(&facts, now)).zip(policy.due(&free, now)) {
        if wanted == Due::Nothing {
            continue;
        }
        let lock = if due == Due::Nothing || dry_run { None } else { run.try_hold()? };
        // It may have gone on between two looks.
        if due == Due::Nothing || !(dry_run || lock.is_some() && run.header()?.ended == header.ended) {
            report.held.push(header.id.clone());
            continue;
        }
        let going = going(run, due)?;
        if going.is_empty() {
            continue;
        }
        let trials = going.len();
        let files = going.into_iter().flatten();
        let bytes = if dry_run { links.freed(files)? } else { remove(run, files, now)? };
        report.pruned.push(Pruned { run: header.id.clone(), trials, bytes });
    }
    Ok(report)
}

/// When a run ended. One that was killed has not said so: then when its last trial came to an outcome.
fn ended(run: &Run, header: &Header) -> Result<Timestamp> {
    if let Some(ended) = header.ended {
        return Ok(ended.max(header.started));
    }
    let mut last = header.started;
    for dir in run.trial_folders()? {
        let modified = std::fs::metadata(dir.join(TRIAL)).and_then(|meta| meta.modified()).ok();
        last = last.max(modified.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(last));
    }
    Ok(last)
}

/// The files that go, by trial. Trials that have none are left out.
fn going(run: &Run, due: Due) -> Result<Vec<Vec<PathBuf>>> {
    let mut all = Vec::new();
    for dir in run.trial_folders()? {
        let goes = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            LARGE.contains(&&*name) || is_left_over(&name)
        };
        let files: Vec<_> = record::sorted(&dir)?.into_iter().filter(goes).collect();
        // Outcomes are read where they matter: a folder of a year's runs holds millions of trials.
        if !files.is_empty() && (due == Due::All || passed(&dir)?) {
            all.push(files);
        }
    }
    Ok(all)
}

fn passed(dir: &Path) -> Result<bool> {
    let trial: Option<Trial> = files::read_json_if_there(&dir.join(TRIAL))?;
    Ok(trial.is_some_and(|trial| trial.outcome == Outcome::Pass))
}

/// Removes the files of a run that the caller holds; the bytes that are free then.
fn remove(run: &Run, files: impl Iterator<Item = PathBuf>, now: Timestamp) -> Result<u64> {
    let mark = || -> Result<()> {
        let mut header = run.header()?;
        header.pruned = Some(now);
        run.write_header(&header)
    };
    // A disk that is full has no room for it, and is why we are here.
    let marked = mark().is_ok();
    let mut links = Links::default();
    let mut bytes = 0;
    for path in files {
        let freed = links.freed(std::iter::once(path.clone()))?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            removed => {
                removed.with_context(|| format!("cannot remove {}", path.display()))?;
                bytes += freed;
            }
        }
        links.0.clear();
    }
    if !marked {
        mark()?;
    }
    Ok(bytes)
}

/// Files with several names, by device and inode: how many of those are gone.
#[derive(Default)]
struct Links(HashMap<(u64, u64), u64>);

impl Links {
    /// The bytes that are free once these names are gone as well.
    fn freed(&mut self, names: impl Iterator<Item = PathBuf>) -> Result<u64> {
        let mut bytes = 0;
        for path in names {
            let meta = match std::fs::symlink_metadata(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                meta => meta.with_context(|| format!("cannot read {}", path.display()))?,
            };
            let gone = self.0.entry((meta.dev(), meta.ino())).or_default();
            *gone += 1;
            if *gone >= meta.nlink() {
                // In units of 512 bytes whatever the file system's (stat(2)).
                bytes += meta.blocks() * 512;
            }
        }
        Ok(bytes)
    }
}

/// What is gone of a run, in a line. `None` if nothing is.
pub fn gone<'a>(header: &Header, trials: impl IntoIterator<Item = (&'a PathBuf, &'a Trial)>) -> Option<String> {
    let when = header.pruned?;
    let (mut gone, mut all) = (0, 0);
    for (dir, trial) in trials {
        all += 1;
        // What was not built never had one.
        gone += usize::from(trial.outcome != Outcome::BuildFailure && console::file(dir).is_none());
    }
    (gone > 0).then(|| format!("pruned {}: consoles, events and dumps of {gone} of {all} trials are gone", day(when)))
}

/// The same of one trial.
pub fn gone_of(header: &Header, dir: &Path) -> Option<String> {
    let when = header.pruned.filter(|_| console::file(dir).is_none())?;
    Some(format!("pruned {}: its console, events and dump are gone", day(when)))
}

fn day(when: Timestamp) -> String {
    when.strftime("%Y-%m-%d").to_string()
}
