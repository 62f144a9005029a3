//! A real bisection killed with SIGKILL at any moment, and `bisect` again. `make bisect-kill` does it twenty times;
//! `MMTORTURE_KILLS` says how often, `MMTORTURE_KILL_SEED` when. The kernels are those of `matrices/demo.yaml` and
//! prefixes of its series.

mod common;
#[path = "common/killing.rs"]
mod killing;

use common::{alone, repository, Bench};
use killing::{descendants, kill, no_guest_is_left, number, Moments};
use mmtorture_harness::record::Run;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const CULPRIT: &str = "0003-mm-delay-rmap-removal-until-after-the-tlb-flush";

/// Kills are spread over so many milliseconds: a trial takes some ten seconds, a bisection some ten trials, so each is
/// killed several times.
const SPREAD_MS: u64 = 30_000;

/// A run with a failure to bisect.
struct Failed {
    bench: Bench,
    run: Run,
    cell: String,
}

impl Failed {
    fn new() -> Self {
        let bench = Bench::new();
        let series = repository().join("series/delay-rmap").display().to_string();
        let matrix = bench.matrix(&format!("series: ['{series}']\nvariants: [all]\nseconds: 15\ntrials: 2"));
        let said = bench.run(&["run", &matrix.display().to_string(), "--no-bisect"]).expect(1, &[]);
        println!("{}", said.stdout);
        let run = Run::open(&bench.path("results"), "latest").unwrap();
        let cell = run.cells().unwrap()[0].id.clone();
        Self { bench, run, cell }
    }

    fn command(&self) -> std::process::Command {
        let id = self.run.dir.file_name().unwrap().to_str().unwrap();
        self.bench.command(&["bisect", &format!("{id}/{}", self.cell), "--format", "json"])
    }

    /// The bisection's log, as far as it was written.
    fn log(&self) -> Vec<u8> {
        let entries = std::fs::read_dir(self.run.dir.join("bisect")).into_iter().flatten().flatten();
        let mut logs = entries.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with(".log.jsonl"));
        let log = logs.next().map(|path| std::fs::read(path).unwrap()).unwrap_or_default();
        assert!(logs.next().is_none(), "one failure, one log");
        log
    }

    /// What is in the log of trials that the bisection made, by cell and seed.
    fn logged(&self) -> BTreeSet<(String, u64)> {
        let log = self.log();
        let whole = log.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let lines = log[..whole].split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let own = entries.filter(|e| e["event"] == "trial" && e["cost"].as_f64() > Some(0.0));
        let ids: Vec<_> = own.map(|e| (e["cell"].as_str().unwrap().to_owned(), e["seed"].as_u64().unwrap())).collect();
        let once: BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(once.len(), ids.len(), "a trial is in the log twice: {ids:?}");
        once
    }

    /// The files of the trials that are in the log, byte for byte.
    fn trials(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let dirs = self.logged().into_iter().map(|(cell, seed)| self.run.bisect_trial_dir(&cell, seed));
        dirs.map(|dir| (dir.clone(), std::fs::read(dir.join("trial.json")).unwrap())).collect()
    }

    /// The answer, and that it is the right one; and that to ask again runs nothing.
    fn complete(&self, kept: &BTreeMap<PathBuf, Vec<u8>>, answer: &Value) {
        let only = &answer.as_array().unwrap()[0];
        assert_eq!((&only["conclusion"], &only["culprit"]), (&"culprit".into(), &CULPRIT.into()), "{answer:#}");
        assert_eq!(only["verification"]["verified"], true, "{answer:#}");
        self.nothing_was_run_again(kept);
        // All that was begun came to its end, but for what was under way when it was killed and was chosen otherwise
        // later.
        for dir in self.trials().keys() {
            let events = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
            assert!(events.matches("\"hello\"").count() <= 1, "{}: two guests in one folder", dir.display());
        }
        let log = self.log();
        let again: Value = serde_json::from_slice(&self.command().output().unwrap().stdout).unwrap();
        assert_eq!(again, *answer);
        assert!(self.log() == log, "an answer that is there needs no trial");
    }

    fn nothing_was_run_again(&self, kept: &BTreeMap<PathBuf, Vec<u8>>) {
        let now = self.trials();
        for (dir, trial) in kept {
            assert!(now.get(dir) == Some(trial), "{} was lost or run again", dir.display());
        }
    }

    fn forget(&self) {
        std::fs::remove_dir_all(self.run.dir.join("bisect")).unwrap();
    }

    fn results(&self) -> PathBuf {
        self.bench.path("results")
    }
}

/// SIGKILL to mmtorture alone, whose children the kernel then kills; or to all of them, in either order.
fn kill_some(child: &mut std::process::Child, how: u64) -> &'static str {
    let others = descendants(child.id());
    match how {
        0 => child.kill().unwrap(),
        1 => {
            child.kill().unwrap();
            others.into_iter().for_each(kill);
            return "all, parents first";
        }
        _ => {
            others.into_iter().rev().for_each(kill);
            child.kill().unwrap();
            return "all, children first";
        }
    }
    "mmtorture"
}

#[test]
fn a_bisection_that_is_killed_at_any_moment_comes_to_the_same_answer() {
    let _alone = alone();
    let failed = Failed::new();
    let kills = number("MMTORTURE_KILLS", 2);
    let mut moments = Moments::new();
    let (mut killed, mut answers, mut within) = (0, 0, 0);
    let mut kept = BTreeMap::new();
    let mut log = Vec::new();
    let mut going_on = false;
    while killed < kills || going_on {
        let mut child = failed.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let kill_at = Duration::from_millis(moments.below(SPREAD_MS));
        let how = moments.below(3);
        let start = Instant::now();
        let mut ended = None;
        while ended.is_none() && (killed >= kills || start.elapsed() < kill_at) {
            std::thread::sleep(Duration::from_millis(5));
            ended = child.try_wait().unwrap();
        }
        let mut who = "";
        if ended.is_none() {
            who = kill_some(&mut child, how);
            killed += 1;
        }
        let said = child.wait_with_output().unwrap();
        no_guest_is_left(&failed.results());
        let now = failed.log();
        let whole_lines = log.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        assert!(now.starts_with(&log[..whole_lines]), "the log only grows");
        failed.nothing_was_run_again(&kept);
        if ended.is_some() {
            let answer: Value = serde_json::from_slice(&said.stdout).unwrap();
            println!("answered after {:.1} s: {} trials", start.elapsed().as_secs_f64(), failed.logged().len());
            failed.complete(&kept, &answer);
            failed.forget();
            answers += 1;
            (kept, log, going_on) = (BTreeMap::new(), Vec::new(), false);
            continue;
        }
        println!(
            "kill {killed} after {:.1} s, {who}: {} trials in the log",
            kill_at.as_secs_f64(),
            failed.logged().len()
        );
        within += u64::from(!now.is_empty());
        (kept, log, going_on) = (failed.trials(), now, true);
    }
    println!("{killed} kills, {within} of them of a bisection that had begun; {answers} answers, all the same");
    assert_eq!(no_half_written(&failed.run.dir), [""; 0]);
}

/// Files in the run that somebody was writing.
fn no_half_written(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock" && mmtorture_harness::trial::is_left_over(name)).collect()
}
