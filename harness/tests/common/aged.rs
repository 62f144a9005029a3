//! Runs as they lie in a results folder for a while.

use crate::synthetic::{self, Spec};
use jiff::{SignedDuration, Timestamp};
use mmtorture_harness::prune::policy::{Age, Policy};
use mmtorture_harness::record::Run;
use mmtorture_harness::trial::console;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How many trials a run has, and how many of them failed.
pub const CELLS: usize = 24;
pub const FAILURES: usize = 4;

/// A run that ended so many days ago, each trial with all that a trial leaves.
pub fn aged(results: &Path, days: i64) -> Run {
    let spec = Spec { cells: CELLS, failures: FAILURES, day: 0, first_console: 0 };
    let half = tempfile::tempdir_in(results).unwrap();
    let run = synthetic::write(half.path(), &spec, &synthetic::consoles(None));
    for (dir, trial) in run.trials().unwrap() {
        if console::file(&dir).is_none() {
            std::fs::write(dir.join("console.log"), format!("a console of {}\n", trial.cell).repeat(300)).unwrap();
            console::pack(&dir).unwrap();
        }
        for name in ["events.jsonl", "machine.log", "request.json", "machine.json", "notes.txt"] {
            std::fs::write(dir.join(name), format!("{name} of {}\n", trial.cell)).unwrap();
        }
    }
    let mut header = run.header().unwrap();
    let ended = Timestamp::now() - SignedDuration::from_hours(24 * days);
    header.started = ended - SignedDuration::from_mins(73);
    header.ended = Some(ended);
    header.id = format!("{}-{days}-days", header.started.strftime("%Y%m%dT%H%M%SZ"));
    run.write_header(&header).unwrap();
    let to = results.join(&header.id);
    std::fs::rename(&run.dir, &to).unwrap();
    Run { dir: to }
}

/// A run's name.
pub fn id(run: &Run) -> String {
    run.dir.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Days, and how many runs stay whole.
pub fn policy(passes: i64, failures: i64, keep: usize) -> Policy {
    Policy::new(Age::days(passes), Some(Age::days(failures)), keep).unwrap()
}

/// Every file of a folder, by its path in it, with its content.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}
