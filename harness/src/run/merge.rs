//! Shards of one plan to one run. Merging is a union: the order of the parts does not matter, nor that some are given
//! twice or were merged before. What contradicts is refused, not chosen from.

use super::{exit_status, verdicts};
use crate::error::{Error, Result};
use crate::files;
use crate::hash::Hasher;
use crate::matrix::Matrix;
use crate::plan::Cell;
use crate::record::{sorted, Header, Part, Run, State, BISECT, CELLS, LAYOUT, LOG, MATRIX, PLAN};
use crate::trial::{self, console, Trial, TRIAL};
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A run to merge.
struct Input {
    run: Run,
    header: Header,
    cells: Vec<Cell>,
    trials: Vec<(PathBuf, Trial)>,
}

impl Input {
    fn read(run: Run) -> Result<Self> {
        Ok(Self { header: run.header()?, cells: run.cells()?, trials: run.trials()?, run })
    }

    fn name(&self) -> String {
        self.run.dir.display().to_string()
    }
}

/// Merges `runs` to one run in `results`, which holds all their outcomes; `command` is the command line that asked for it.
/// The same parts make the same run again, under the same id.
///
/// # Errors
/// They are not of one plan, or two of them ran the same trial ([`Error::Request`]); a folder cannot be read or written.
pub fn merge(results: &Path, runs: Vec<Run>, command: Vec<String>) -> Result<Run> {
    if let Some(run) = runs.iter().find(|run| run.is_held()) {
        return Err(Error::request(format!("{} is going on; merge it when it has come to its end", run.dir.display())));
    }
    let mut inputs = runs.into_iter().map(Input::read).collect::<Result<Vec<_>>>()?;
    inputs.sort_by_key(|input| (input.header.part(), input.trials.len()));
    let parts: BTreeSet<Part> = inputs.iter().flat_map(|input| input.header.all_parts()).collect();
    let Some(first) = inputs.first() else { return Err(Error::request("no runs to merge")) };
    let id = id(&first.header, &parts);
    files::create_dir(results)?;
    let to = results.join(&id);
    // Searches may have been added to it.
    let old = Run { dir: to.clone() };
    if old.header_file().is_file() {
        inputs.push(Input::read(old)?);
    }
    for other in &inputs[1..] {
        of_one_plan(&inputs[0], other)?;
    }
    let trials = union(inputs.iter().map(|input| input.trials.iter().map(|(dir, _)| dir.clone())))?;
    let bisect_trials = inputs.iter().map(|i| Ok(i.run.bisect_trials()?.into_iter().map(|(dir, _)| dir)));
    let bisect_trials = union(bisect_trials.collect::<Result<Vec<_>>>()?)?;
    let searches = searches(&inputs)?;

    let half = files::half_dir(results)?;
    let run = Run { dir: half.path().to_owned() };
    for (name, from) in &trials {
        take_folder(from, &run.dir.join(CELLS).join(name))?;
    }
    for (name, from) in &bisect_trials {
        take_folder(from, &run.dir.join(BISECT).join(CELLS).join(name))?;
    }
    for (name, text) in &searches {
        let path = run.dir.join(name);
        path.parent().map(files::create_dir).transpose()?;
        files::write(&path, text)?;
    }
    for name in [MATRIX, PLAN] {
        take(&inputs[0].run.dir.join(name), &run.dir.join(name))?;
    }
    let header = header(&inputs, &run, &id, parts, command)?;
    run.write_header(&header)?;
    replace(half, &to)?;
    Ok(Run { dir: to })
}

/// The same for the same parts.
fn id(first: &Header, parts: &BTreeSet<Part>) -> String {
    let mut hash = Hasher::new("merged");
    for part in parts {
        hash = hash.field(&part.id).field(part.started.to_string());
    }
    let started = parts.iter().map(|part| part.started).min().unwrap_or(first.started);
    format!("{}-{}-merged-{}", started.strftime("%Y%m%dT%H%M%SZ"), first.matrix, &hash.finish()[..6])
}

/// That two runs are of one plan, and their kernels of one source.
fn of_one_plan(a: &Input, b: &Input) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("{} and {} are not of one plan: {what}", a.name(), b.name());
        Err(Error::request(message))
    };
    if a.header.version != b.header.version {
        return refuse(&format!("mmtorture {} and {}", a.header.version, b.header.version));
    }
    if [&a.header.image, &b.header.image].iter().all(|image| !image.is_empty()) && a.header.image != b.header.image {
        return refuse("the guests' programs differ");
    }
    if a.header.matrix != b.header.matrix {
        return refuse(&format!("the matrices are called {} and {}", a.header.matrix, b.header.matrix));
    }
    let seeds = |h: &Header| format!("{} from {}", h.trials, h.seed);
    if seeds(&a.header) != seeds(&b.header) {
        return refuse(&format!("the seeds of each cell are {} and {}", seeds(&a.header), seeds(&b.header)));
    }
    let differs = |(a, b): (&Cell, &Cell)| a.id != b.id;
    let at = a.cells.iter().zip(&b.cells).position(differs);
    let at = at.or_else(|| (a.cells.len() != b.cells.len()).then(|| a.cells.len().min(b.cells.len())));
    if let Some(at) = at {
        let id = |input: &Input| input.cells.get(at).map_or_else(|| "none".to_owned(), |cell| cell.id.clone());
        let (n, x, y) = (at + 1, id(a), id(b));
        return refuse(&format!("cell {n} is {x} and {y}; a patch, a fragment or the matrix has changed between them"));
    }
    if a.run.matrix()? != b.run.matrix()? {
        return refuse("their matrix.yaml differ");
    }
    // The cells name a source; what stood there when they ran, and what compiled it, is in the kernels' keys.
    let mut kernels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, trial) in a.trials.iter().chain(&b.trials).filter(|(_, trial)| !trial.kernel.is_empty()) {
        kernels.entry(&trial.variant).or_default().insert(&trial.kernel);
    }
    if let Some((variant, keys)) = kernels.iter().find(|(_, keys)| keys.len() > 1) {
        let keys: Vec<&str> = keys.iter().map(|key| key.get(..12).unwrap_or(key)).collect();
        let keys = keys.join(" and ");
        return refuse(&format!("{variant} is kernel {keys}: another commit, configuration or compiler"));
    }
    Ok(())
}

/// The folders of trials, by cell and seed. One that several runs have must be the same in all.
fn union<D: IntoIterator<Item = PathBuf>>(all: impl IntoIterator<Item = D>) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut union: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for dir in all.into_iter().flatten() {
        let name: PathBuf = dir.iter().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
        let Some(known) = union.get(&name) else {
            union.insert(name, dir);
            continue;
        };
        if read(&known.join(TRIAL))? != read(&dir.join(TRIAL))? {
            return Err(Error::request(format!(
                "{} was run twice: {} and {}; leave out one of those runs",
                name.display(),
                known.display(),
                dir.display()
            )));
        }
        // One of them may have been pruned.
        if console::file(known).is_none() && console::file(&dir).is_some() {
            union.insert(name, dir);
        }
    }
    Ok(union)
}

/// A file that a search left in one of the inputs.
struct Left {
    path: PathBuf,
    text: Vec<u8>,
    /// How far the search was when it was written: the bytes of its log.
    logged: usize,
}

/// Results and logs of bisections and all other searches, by their paths in a run. One that went on after it was copied
/// has a longer log than its copy, and another result.
fn searches(inputs: &[Input]) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all: BTreeMap<PathBuf, Vec<Left>> = BTreeMap::new();
    for folder in Run::search_folders() {
        for input in inputs {
            let mut files = BTreeMap::new();
            for path in sorted(&input.run.dir.join(&folder))?.into_iter().filter(|path| path.is_file()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !trial::is_left_over(&name) {
                    files.insert(name, (read(&path)?, path));
                }
            }
            let sizes: BTreeMap<String, usize> = files.iter().map(|(n, (text, _))| (n.clone(), text.len())).collect();
            for (name, (text, path)) in files {
                let logged = logged(&name, &sizes);
                all.entry(folder.join(name)).or_default().push(Left { path, text, logged });
            }
        }
    }
    // The logs first: where they differ, that is what is to be told, not what follows from it.
    let (logs, results): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| is_log(name));
    logs.into_iter().chain(results).map(|(name, copies)| Ok((name, newest(copies)?))).collect()
}

/// The bytes that a file's search had logged; `sizes` are those of all files beside it.
fn logged(name: &str, sizes: &BTreeMap<String, usize>) -> usize {
    let Some(stem) = name.strip_suffix(".json") else { return sizes[name] };
    let of = |stem: &str| {
        let logs = sizes
            .iter()
            .filter(|(log, _)| log.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(LOG)));
        logs.map(|(_, size)| size).sum()
    };
    match of(stem) {
        // Over git each line of commits has a log, by another name: all that begin with the cell's.
        0 => stem.rsplit_once('.').map_or(0, |(cell, _)| of(cell)),
        own => own,
    }
}

fn is_log(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(LOG.as_bytes())
}

/// The copy that has all that the others have.
fn newest(mut copies: Vec<Left>) -> Result<Vec<u8>> {
    copies.sort_by_key(|copy| copy.logged);
    let Some(newest) = copies.pop() else { return Ok(Vec::new()) };
    for copy in copies {
        let has = if is_log(&newest.path) {
            newest.text.starts_with(&copy.text)
        } else {
            newest.logged > copy.logged || newest.text == copy.text
        };
        if !has {
            let (a, b) = (copy.path.display(), newest.path.display());
            return Err(Error::request(format!(
                "{a} and {b} differ: the search went on in both; remove one of the two, or leave out its run"
            )));
        }
    }
    Ok(newest.text)
}

/// What is known of the whole.
fn header(inputs: &[Input], run: &Run, id: &str, parts: BTreeSet<Part>, command: Vec<String>) -> Result<Header> {
    let first = &inputs[0].header;
    let matrix = Matrix::parse(&run.dir.join(MATRIX), &run.matrix()?).map_err(Error::request)?;
    let trials: Vec<Trial> = run.trials()?.into_iter().map(|(_, trial)| trial).collect();
    let bisects = inputs.iter().any(|input| input.header.bisects);
    let mut problems = verdicts(&matrix.verdicts, &inputs[0].cells, &trials, &run.bisections()?, bisects);
    let mut exit = exit_status(&matrix.verdicts, &trials, &problems);
    let planned = inputs[0].cells.len() * first.trials as usize;
    let missing = planned.saturating_sub(trials.len());
    if missing > 0 {
        exit = if exit == 1 { 1 } else { 3 };
        problems.push(format!("{missing} of {planned} trials have no outcome"));
        // The same run may be given as it was and as it is.
        let unfinished: BTreeSet<&str> =
            inputs.iter().filter(|i| i.header.state != State::Done).map(|i| i.header.id.as_str()).collect();
        problems.extend(unfinished.into_iter().filter(|i| *i != id).map(|id| format!("{id} did not finish")));
    }
    let machines: BTreeSet<&str> = inputs.iter().flat_map(|input| input.header.machine.split("; ")).collect();
    Ok(Header {
        layout: LAYOUT,
        id: id.to_owned(),
        command,
        machine: machines.into_iter().collect::<Vec<_>>().join("; "),
        state: if missing == 0 { State::Done } else { State::Failed },
        started: parts.iter().map(|part| part.started).min().unwrap_or(first.started),
        ended: inputs.iter().filter_map(|input| input.header.ended).max(),
        planned,
        exit: Some(exit),
        problems,
        bisects,
        parts: parts.into_iter().collect(),
        // Of a run that was pruned, another input may still have all.
        pruned: inputs.iter().filter_map(|input| input.header.pruned).max(),
        ..first.clone()
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// The files of a trial that came to its end; not what a killed run left beside them.
fn take_folder(from: &Path, to: &Path) -> Result<()> {
    files::create_dir(to)?;
    for path in sorted(from)?.into_iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default();
        if !trial::is_left_over(&name.to_string_lossy()) {
            take(&path, &to.join(name))?;
        }
    }
    Ok(())
}

/// Linked, for what a run has written is replaced and never changed; copied where the parts are on another disk.
fn take(from: &Path, to: &Path) -> Result<()> {
    let taken = std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop));
    Ok(taken.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?)
}

/// Puts the folder `half` in the place of `to`.
fn replace(half: tempfile::TempDir, to: &Path) -> Result<()> {
    let context = || format!("cannot rename to {}", to.display());
    // Two steps, for not every file system exchanges names. Killed between them, the old one is in `.old-`.
    let _old = if to.is_dir() {
        let parent = to.parent().unwrap_or(Path::new("."));
        let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).with_context(context)?;
        std::fs::rename(to, old.path().join("x")).with_context(context)?;
        Some(old)
    } else {
        None
    };
    std::fs::rename(half.path(), to).with_context(context)?;
    // There is nothing left to remove under its old name.
    let _ = half.keep();
    Ok(())
}
