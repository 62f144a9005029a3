//! Runs on disk. `results/README.md` documents the layout.

mod search;

pub use search::{Bisection, Load, Loads, Need, Needs, Over, RevisionLine, Revisions, Searches, Verification};

use crate::error::{Error, Result};
use crate::files::{self, Lock, Sharing};
use crate::hash::Hasher;
use crate::plan::{Cell, Plan};
use crate::reproduce::Reproduction;
use crate::trial::{is_left_over, Trial, TRIAL};
use anyhow::Context;
use jiff::{SpanRound, Timestamp, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The version of the layout. Since 2 consoles are compressed.
pub const LAYOUT: u32 = 2;
/// The oldest one that is read.
const OLDEST_LAYOUT: u32 = 1;

const RUN: &str = "run.json";
/// Held by what adds to the run. Its name is hidden: it is no part of the record.
const LOCK: &str = ".lock";
pub(crate) const PLAN: &str = "plan.json";
const PART: &str = "part.json";
pub(crate) const MATRIX: &str = "matrix.yaml";
pub(crate) const CELLS: &str = "cells";
pub(crate) const BISECT: &str = "bisect";
/// How the name of a search's log ends.
pub(crate) const LOG: &str = ".log.jsonl";
const REPRODUCE: &str = "reproduce.json";

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It began. A run that was killed stays so.
    Running,
    /// It came to its end.
    Done,
    /// A signal ended it.
    Interrupted,
    /// The host failed.
    Failed,
}

/// What is known of a run as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// [`LAYOUT`].
    pub layout: u32,
    /// The folder's name.
    pub id: String,
    /// The matrix's name.
    pub matrix: String,
    /// mmtorture's version.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// The matrix's file, where it was read: what it names is relative to it.
    #[serde(default)]
    pub matrix_file: PathBuf,
    /// The hash of the guests' programs. Empty in runs of versions that did not keep it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The machine, and why that one.
    pub machine: String,
    /// How far it is.
    pub state: State,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Trials planned, bisections' own not counted.
    pub planned: usize,
    /// The first trial's seed of each cell.
    #[serde(default = "one")]
    pub seed: u64,
    /// Trials of each cell, each with the next seed.
    #[serde(default = "one")]
    pub trials: u32,
    /// Whether failures are bisected.
    #[serde(default)]
    pub bisects: bool,
    /// The runs that it was merged from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// When `prune` last took from it what is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Timestamp>,
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// Why it failed, or which verdicts it did not reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One of the runs that were merged. Two machines may give the same id within one second, hence the time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
}

fn one<T: From<u8>>() -> T {
    T::from(1)
}

impl Header {
    /// What tells the run from all others.
    pub fn part(&self) -> Part {
        Part { id: self.id.clone(), started: self.started }
    }

    /// The runs that it was merged from, or itself.
    pub fn all_parts(&self) -> Vec<Part> {
        if self.parts.is_empty() {
            vec![self.part()]
        } else {
            self.parts.clone()
        }
    }

    /// Whether it was merged into `other`, which holds more.
    fn is_within(&self, other: &Self) -> bool {
        let parts = self.all_parts();
        other.parts.len() > parts.len() && parts.iter().all(|part| other.parts.contains(part))
    }

    /// How long it took, for people.
    pub fn took(&self) -> Option<String> {
        let span = self.ended?.since(self.started).ok()?;
        let round = SpanRound::new().largest(Unit::Hour).smallest(Unit::Second);
        span.round(round).ok().map(|s| format!("{s:#}"))
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it is.
    pub dir: PathBuf,
}

impl Run {
    /// Makes the folder of a new run of these cells of `plan` in `results`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(results: &Path, plan: &Plan, cells: &[Cell], mut header: Header) -> Result<Self> {
        files::create_dir(results)?;
        // Filled under a hidden name: killed at any moment, it is there whole or not at all.
        let half = files::half_dir(results)?;
        let run = Self { dir: half.path().to_owned() };
        files::write(&run.dir.join(MATRIX), plan.text.as_bytes())?;
        files::write_json(&run.dir.join(PLAN), &plan.cells)?;
        if cells.len() < plan.cells.len() {
            let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
            files::write_json(&run.dir.join(PART), &ids)?;
        }
        // Two runs in one second get two folders: a folder that is not empty takes no other's place (rename(2)).
        let stem = format!("{}-{}", header.started.strftime("%Y%m%dT%H%M%SZ"), plan.name);
        for n in 1..1000 {
            header.id = if n == 1 { stem.clone() } else { format!("{stem}-{n}") };
            let dir = results.join(&header.id);
            run.write_header(&header)?;
            match std::fs::rename(&run.dir, &dir) {
                Ok(()) => {
                    let _ = half.keep();
                    return Ok(Self { dir });
                }
                Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
                Err(e) => {
                    let cannot = format!("cannot create a folder in {}", results.display());
                    return Err(Error::Host(anyhow::Error::new(e).context(cannot)));
                }
            }
        }
        Err(Error::host("a thousand runs in one second"))
    }

    /// Takes the run on: nobody else adds to it or removes it while the lock lives, though we be killed.
    ///
    /// # Errors
    /// Somebody has, or its folder cannot be written.
    pub fn hold(&self) -> Result<Lock> {
        // Whoever looks whether it is held shares it for a moment.
        for _ in 0..20 {
            if let Some(lock) = self.try_hold()? {
                return Ok(lock);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let holder = Lock::holder(&self.dir.join(LOCK)).map_or_else(String::new, |pid| format!(" (process {pid})"));
        Err(Error::request(format!("{} is going on: another mmtorture adds to it{holder}", self.dir.display())))
    }

    /// The same, without patience: `None` if somebody has.
    ///
    /// # Errors
    /// Its folder cannot be written.
    pub fn try_hold(&self) -> Result<Option<Lock>> {
        Ok(Lock::try_take(&self.dir.join(LOCK), Sharing::Exclusive)?)
    }

    /// Whether somebody adds to it.
    pub fn is_held(&self) -> bool {
        Lock::is_held(&self.dir.join(LOCK))
    }

    /// Removes what a killed run left half written.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn sweep(&self) -> Result<()> {
        let trials = self.trials()?.into_iter().chain(self.bisect_trials()?).map(|(dir, _)| dir);
        let searches = Self::search_folders().map(|folder| self.dir.join(folder));
        for dir in trials.chain([self.dir.clone()]).chain(searches) {
            for path in sorted(&dir)?.into_iter().filter(|path| path.is_file()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if is_left_over(&name) && name != LOCK {
                    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// A planned trial, if it came to an outcome.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn trial(&self, cell: &str, seed: u64) -> Result<Option<Trial>> {
        Ok(files::read_json_if_there(&self.trial_dir(cell, seed).join(TRIAL))?)
    }

    /// The run called `id` (or a path to its folder, or `latest`) in `results`.
    ///
    /// # Errors
    /// There is no such run.
    pub fn open(results: &Path, id: &str) -> Result<Self> {
        let path = Path::new(id);
        let mut dir = results.join(id);
        if id == "latest" {
            let all = list(results)?;
            // Shards that were merged are not news any more.
            let news = |header: &Header| !all.iter().any(|(_, other)| header.is_within(other));
            let Some((run, _)) = all.iter().rev().find(|(_, header)| news(header)) else {
                return Err(Error::request(format!("there are no runs in {}", results.display())));
            };
            return Ok(run.clone());
        }
        if path.join(RUN).is_file() {
            dir = path.to_owned();
        }
        if !dir.join(RUN).is_file() {
            return Err(Error::request(format!("no run '{id}' in {}; `mmtorture runs` lists them", results.display())));
        }
        Ok(Self { dir })
    }

    /// The file that tells what is known of it: its last change is the run's.
    pub fn header_file(&self) -> PathBuf {
        self.dir.join(RUN)
    }

    /// What is known of it.
    ///
    /// # Errors
    /// The file is damaged, or of a layout that this version does not know.
    pub fn header(&self) -> Result<Header> {
        let header: Header = files::read_json(&self.dir.join(RUN))?;
        if !(OLDEST_LAYOUT..=LAYOUT).contains(&header.layout) {
            let path = self.dir.join(RUN);
            return Err(Error::host(format!(
                "{}: layout {}, expected {OLDEST_LAYOUT} to {LAYOUT}",
                path.display(),
                header.layout
            )));
        }
        Ok(header)
    }

    /// Writes what is known of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_header(&self, header: &Header) -> Result<()> {
        Ok(files::write_json(&self.dir.join(RUN), header)?)
    }

    /// The matrix's text.
    ///
    /// # Errors
    /// The file is missing.
    pub fn matrix(&self) -> Result<String> {
        let path = self.dir.join(MATRIX);
        Ok(std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
    }

    /// The cells that were planned.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        Ok(files::read_json(&self.dir.join(PLAN))?)
    }

    /// The ids of the cells that it was to run, where that is not all of the plan.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn part(&self) -> Result<Option<Vec<String>>> {
        Ok(files::read_json_if_there(&self.dir.join(PART))?)
    }

    /// The folder of a planned trial.
    pub fn trial_dir(&self, cell: &str, seed: u64) -> PathBuf {
        self.cell_dir(cell).join(format!("seed-{seed}"))
    }

    /// The folder of a trial that a bisection asked for. Apart from the planned ones: it may be of the same cell.
    pub fn bisect_trial_dir(&self, cell: &str, seed: u64) -> PathBuf {
        self.dir.join(BISECT).join(CELLS).join(cell).join(format!("seed-{seed}"))
    }

    /// The folder of a cell.
    pub fn cell_dir(&self, cell: &str) -> PathBuf {
        self.dir.join(CELLS).join(cell)
    }

    /// Writes a bisection's result.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_bisection(&self, bisection: &Bisection) -> Result<()> {
        let name = format!("{}.json", bisect_name(&bisection.cell, &bisection.signature));
        Ok(files::write_json(&self.bisect_dir()?.join(name), bisection)?)
    }

    /// The log of the bisection of this failure.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn bisect_log(&self, cell: &str, signature: &str) -> Result<PathBuf> {
        self.bisect_dir()?;
        Ok(self.bisect_log_file(cell, signature))
    }

    /// The same, whose folder may not be there.
    pub fn bisect_log_file(&self, cell: &str, signature: &str) -> PathBuf {
        self.dir.join(BISECT).join(format!("{}{LOG}", bisect_name(cell, signature)))
    }

    /// The log of a search over something else than the series. `part` tells the searches of one failure apart.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn search_log(&self, over: Over, cell: &str, signature: &str, part: &str) -> Result<PathBuf> {
        let name = if part.is_empty() {
            bisect_name(cell, signature)
        } else {
            bisect_name(cell, &format!("{signature} {part}"))
        };
        Ok(self.over_dir(over)?.join(format!("{name}{LOG}")))
    }

    /// Writes what a search over something else than the series came to.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_search(&self, over: Over, cell: &str, signature: &str, result: &impl Serialize) -> Result<()> {
        let name = format!("{}.json", bisect_name(cell, signature));
        Ok(files::write_json(&self.over_dir(over)?.join(name), result)?)
    }

    /// What the searches over something else than the series came to.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn searches(&self) -> Result<Searches> {
        let folder = |over: Over| self.dir.join(BISECT).join(over.folder());
        Ok(Searches {
            settings: read_all(&folder(Over::Settings))?,
            git: read_all(&folder(Over::Git))?,
            workload: read_all(&folder(Over::Workload))?,
        })
    }

    /// The folders of a run's folder that hold what its searches came to and their logs, whether they are there or not.
    pub(crate) fn search_folders() -> impl Iterator<Item = PathBuf> {
        let bisect = || PathBuf::from(BISECT);
        std::iter::once(bisect()).chain(Over::ALL.map(|over| bisect().join(over.folder())))
    }

    fn over_dir(&self, over: Over) -> Result<PathBuf> {
        let folder = self.dir.join(BISECT).join(over.folder());
        files::create_dir(&folder)?;
        Ok(folder)
    }

    fn bisect_dir(&self) -> Result<PathBuf> {
        let folder = self.dir.join(BISECT);
        files::create_dir(&folder)?;
        Ok(folder)
    }

    /// The bisections, by cell.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn bisections(&self) -> Result<Vec<Bisection>> {
        read_all(&self.dir.join(BISECT))
    }

    /// Writes what running a failure again came to: such a run is of one cell.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_reproduction(&self, reproduction: &Reproduction) -> Result<()> {
        Ok(files::write_json(&self.dir.join(REPRODUCE), reproduction)?)
    }

    /// What running a failure again came to, if that is what the run was for.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn reproduction(&self) -> Result<Option<Reproduction>> {
        Ok(files::read_json_if_there(&self.dir.join(REPRODUCE))?)
    }

    /// The planned trials that came to an outcome, by cell and seed, with their folders.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn trials(&self) -> Result<Vec<(PathBuf, Trial)>> {
        Self::trials_in(&self.dir.join(CELLS))
    }

    /// The same of the trials that bisections asked for.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn bisect_trials(&self) -> Result<Vec<(PathBuf, Trial)>> {
        Self::trials_in(&self.dir.join(BISECT).join(CELLS))
    }

    /// The folders of all trials, planned and asked for by bisections, whether they came to an outcome or not.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn trial_folders(&self) -> Result<Vec<PathBuf>> {
        let mut all = Self::folders_in(&self.dir.join(CELLS))?;
        all.extend(Self::folders_in(&self.dir.join(BISECT).join(CELLS))?);
        Ok(all)
    }

    fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for cell in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
            all.extend(sorted(&cell)?.into_iter().filter(|path| path.is_dir()));
        }
        Ok(all)
    }

    fn trials_in(folder: &Path) -> Result<Vec<(PathBuf, Trial)>> {
        let mut trials = Vec::new();
        for dir in Self::folders_in(folder)? {
            // A folder without it is a trial that was under way when the run was ended.
            let path = dir.join(TRIAL);
            if path.is_file() {
                trials.push((dir, files::read_json(&path)?));
            }
        }
        trials.sort_by(|(_, a): &(PathBuf, Trial), (_, b)| (&a.cell, a.seed).cmp(&(&b.cell, b.seed)));
        Ok(trials)
    }
}

/// All runs in `results`, oldest first. Folders that are no runs are passed over.
///
/// # Errors
/// `results` cannot be read.
pub fn list(results: &Path) -> Result<Vec<(Run, Header)>> {
    let mut runs = Vec::new();
    for run in folders(results)? {
        match run.header() {
            Ok(header) => runs.push((run, header)),
            Err(e) => tracing::warn!("{e}"),
        }
    }
    runs.sort_by(|(_, a), (_, b)| (a.started, &a.id).cmp(&(b.started, &b.id)));
    Ok(runs)
}

/// A cell may fail in several ways.
fn bisect_name(cell: &str, signature: &str) -> String {
    let hash = Hasher::new("signature").field(signature).finish();
    format!("{cell}.{}", &hash[..6])
}

/// The folders of runs in `results`, by name.
///
/// # Errors
/// `results` cannot be read.
pub fn folders(results: &Path) -> Result<Vec<Run>> {
    // One that is being made, or taken away, has a name that begins with a dot.
    let hidden = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let runs = sorted(results)?.into_iter().filter(|dir| !hidden(dir)).map(|dir| Run { dir });
    Ok(runs.filter(|run| run.header_file().is_file()).collect())
}

/// All `.json` files of a folder, by name; none if it is missing.
fn read_all<T: DeserializeOwned>(dir: &Path) -> Result<Vec<T>> {
    let paths = sorted(dir)?;
    let json = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
    json.map(|path| Ok(files::read_json(path)?)).collect()
}

/// The entries of a folder, by name; none if it is missing.
pub(crate) fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::host(format!("cannot read {}: {e}", dir.display()))),
    };
    let mut paths: Vec<_> = entries
        .map(|entry| Ok(entry.with_context(|| format!("cannot read {}", dir.display()))?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}
