//! A bisection's log: a line of JSON for each thing that was learned, on disk before anything builds on it. A bisection
//! that was killed is played again from its log, and goes on with the trials that were under way.

use crate::bisect::{Aim, Evidence};
use crate::error::Result;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Entry {
    /// The first line: what is asked.
    Began {
        /// The cell that failed.
        cell: String,
        /// The finding's signature.
        signature: String,
        /// How sure, how long.
        aim: Aim,
    },
    /// A trial came to its end, or was taken over from the run.
    Trial {
        /// Which kernel.
        of: Of,
        /// Its seed.
        seed: u64,
        /// Its cell.
        cell: String,
        /// What it came to.
        evidence: Evidence,
        /// What it cost, in seconds of wall time, with its kernel's build. 0 for what the run had seen anyway.
        cost: f64,
        /// The part of it that was neither torture nor the kernel's build.
        beside: f64,
    },
}

/// A kernel that a bisection tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The first so many patches.
    Prefix(usize),
    /// All patches but this one, counted from 1.
    Without(usize),
    /// The series' own, in the cell with these switches thrown.
    Switched(u32),
    /// The series' own, under the load of this number.
    Load(usize),
}

/// A log that is open.
#[derive(Debug)]
pub struct Journal(Mutex<File>);

impl Journal {
    /// Opens the log at `path`, made if missing, and yields what stands in it. A last line that was cut off in writing is
    /// removed: what it told was under way.
    ///
    /// # Errors
    /// It cannot be read or made, or a line in it is of another version.
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>)> {
        let context = || format!("cannot open {}", path.display());
        let file = File::options().create(true).append(true).open(path).with_context(context)?;
        let text = std::fs::read(path).with_context(context)?;
        let whole = whole_lines(&text).len();
        if whole < text.len() {
            file.set_len(whole as u64).with_context(context)?;
        }
        Ok((Self(Mutex::new(file)), entries(path, &text)?))
    }

    /// Adds a line, and waits until it is on the disk.
    ///
    /// # Errors
    /// The disk is full, ...
    pub fn add(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).context("an entry is JSON")?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).and_then(|()| file.sync_data()).context("cannot write to a bisection's log")?;
        Ok(())
    }
}

/// What stands in the log at `path`, which may still be written to.
///
/// # Errors
/// It cannot be read, or a line in it is of another version.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    entries(path, &text)
}

/// All but a last line that was cut off in writing.
fn whole_lines(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)]
}

fn entries(path: &Path, text: &[u8]) -> Result<Vec<Entry>> {
    let lines = whole_lines(text).split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(i, line)| {
            let context = || format!("{}:{}: damaged or of another version", path.display(), i + 1);
            Ok(serde_json::from_slice(line).with_context(context)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(seed: u64) -> Entry {
        Entry::Trial {
            of: Of::Prefix(2),
            seed,
            cell: "c".into(),
            evidence: Evidence::Clean(10.0),
            cost: 12.5,
            beside: 2.5,
        }
    }

    #[test]
    fn a_log_that_was_cut_off_anywhere_keeps_its_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (journal, none) = Journal::open(&path).unwrap();
        assert!(none.is_empty());
        for seed in 0..3 {
            journal.add(&trial(seed)).unwrap();
        }
        let text = std::fs::read(&path).unwrap();
        for cut in 0..=text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let (journal, entries) = Journal::open(&path).unwrap();
            let lines = text[..cut].iter().filter(|&&b| b == b'\n').count();
            assert_eq!(entries, (0..lines as u64).map(trial).collect::<Vec<_>>());
            assert_eq!(read(&path).unwrap(), entries);
            journal.add(&trial(9)).unwrap();
            assert_eq!(Journal::open(&path).unwrap().1.len(), lines + 1, "what is added begins a line");
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "{\"event\":\"guess\"}\n").unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("log:1"));
    }
}
