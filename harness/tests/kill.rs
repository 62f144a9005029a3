//! `run` killed with SIGKILL at any moment, and `run --resume`. `make run-kill` does it fifty times; `MMTORTURE_KILLS` says
//! how often, `MMTORTURE_KILL_SEED` when. The kernel is that of `matrices/demo.yaml`.

mod common;
#[path = "common/killing.rs"]
mod killing;
#[path = "common/synthetic.rs"]
mod synthetic;

use common::{alone, Bench};
use killing::{no_guest_is_left, number, Moments};
use mmtorture_harness::record::{self, Run, State};
use mmtorture_harness::run::merge::merge;
use mmtorture_harness::trial::console::{CONSOLE, PACKED};
use mmtorture_harness::trial::is_left_over;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A run of the matrix takes about as long, in milliseconds: kills are spread over it.
const WHOLE_MS: u64 = 16_000;

const CELLS: usize = 2;

/// What came to an outcome so far, byte for byte.
fn outcomes(run: &Run) -> BTreeMap<PathBuf, Vec<u8>> {
    run.trials()
        .unwrap()
        .into_iter()
        .map(|(dir, _)| (dir.clone(), std::fs::read(dir.join("trial.json")).unwrap()))
        .collect()
}

fn complete(run: &Run, kept: &BTreeMap<PathBuf, Vec<u8>>) {
    let header = run.header().unwrap();
    assert_eq!((header.state, header.problems.len()), (State::Done, 0), "{header:?}");
    let now = outcomes(run);
    assert_eq!((now.len(), header.planned), (CELLS, CELLS));
    let planned: Vec<PathBuf> = run.cells().unwrap().iter().map(|cell| run.trial_dir(&cell.id, 1)).collect();
    assert!(planned.iter().all(|dir| now.contains_key(dir)), "{planned:?}");
    for (dir, trial) in kept {
        assert!(now[dir] == *trial, "{} was run again", dir.display());
    }
    for (dir, trial) in run.trials().unwrap() {
        let files: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!files.iter().any(|name| is_left_over(name)), "{files:?}");
        assert!(files.iter().any(|name| name == PACKED) && !files.iter().any(|name| name == CONSOLE), "{files:?}");
        // The events are of one trial, and whole.
        let events = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
        assert_eq!(events.matches("\"hello\"").count(), usize::from(trial.seen.hello.is_some()), "{}", dir.display());
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on() {
    let _alone = alone();
    let bench = Bench::new();
    let results = bench.path("results");
    let lines = "seconds: 2\ndimensions: {thp: [always, never], cpus: 2, memory: 320M, swap: 'zram:1G'}";
    let matrix = bench.matrix(lines).display().to_string();
    let kills = number("MMTORTURE_KILLS", 3);
    let mut moments = Moments::new();
    let (mut killed, mut resumed, mut whole, mut before) = (0, 0, 0, 0);
    let mut current: Option<Run> = None;
    let mut kept = BTreeMap::new();
    while killed < kills || current.is_some() {
        let id = current.as_ref().map(|run| run.dir.file_name().unwrap().to_str().unwrap().to_owned());
        let args = id.as_deref().map_or_else(|| vec!["run", &matrix, "--no-bisect"], |id| vec!["run", "--resume", id]);
        let mut child = bench.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let kill_at = Duration::from_millis(moments.below(WHOLE_MS));
        let start = Instant::now();
        let mut ended = None;
        while ended.is_none() && (killed >= kills || start.elapsed() < kill_at) {
            std::thread::sleep(Duration::from_millis(5));
            ended = child.try_wait().unwrap();
        }
        if ended.is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        let said = child.wait_with_output().unwrap();
        no_guest_is_left(&results);
        bench.run(&["runs"]).expect(0, &[]);
        let unfinished = || record::list(&results).unwrap().into_iter().find(|(_, header)| header.state != State::Done);
        if ended.is_some() {
            // A cell of 2 s may not move all that it claims: 3. What it came to is not the question.
            assert!(matches!(said.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&said.stderr));
            let done = current.take().unwrap_or_else(|| record::list(&results).unwrap().pop().unwrap().0);
            complete(&done, &std::mem::take(&mut kept));
            whole += 1;
            continue;
        }
        resumed += u64::from(current.is_some());
        // Its last file may just have been written.
        match (unfinished(), current.take()) {
            (Some((run, _)), _) => {
                let now = outcomes(&run);
                for (dir, trial) in &kept {
                    assert!(now.get(dir) == Some(trial), "{} was lost or run again", dir.display());
                }
                kept = now;
                current = Some(run);
            }
            (None, Some(done)) => complete(&done, &std::mem::take(&mut kept)),
            (None, None) => before += 1,
        }
    }
    println!(
        "{killed} kills: {resumed} of them of a run that went on, {before} before there was a run; {whole} runs came to their end"
    );
    let runs = record::list(&results).unwrap();
    assert!(runs.iter().all(|(_, header)| header.state == State::Done));
    // One that is complete has nothing left to do.
    let (run, _) = runs.last().unwrap();
    let done = outcomes(run);
    let said = bench.run(&["run", "--resume", &run.dir.display().to_string()]);
    assert!(matches!(said.status, Some(0 | 3)), "{}", said.stderr);
    complete(run, &done);
}

#[test]
fn what_cannot_go_on_says_why() {
    let bench = Bench::new();
    let results = bench.path("results");
    bench.run(&["run", "--resume", "absent"]).expect(2, &["no run 'absent'"]);
    bench.run(&["run"]).expect(2, &["<MATRIX>"]);
    bench.run(&["run", "m.yaml", "--resume", "absent"]).expect(2, &["cannot be used with"]);
    bench.run(&["run", "--resume", "absent", "--jobs", "2"]).expect(2, &["cannot be used with"]);
    let spec = synthetic::Spec { cells: 8, failures: 1, day: 0, first_console: 0 };
    let consoles = synthetic::consoles(None);
    let runs: Vec<Run> = (0..2).map(|n| synthetic::write_shard(&results, &spec, &consoles, n, 2)).collect();
    let id = |run: &Run| run.dir.display().to_string();
    let mut header = runs[0].header().unwrap();
    let version = std::mem::replace(&mut header.version, "9.9.9".into());
    runs[0].write_header(&header).unwrap();
    bench.run(&["run", "--resume", &id(&runs[0])]).expect(2, &["cannot go on: it was begun by mmtorture 9.9.9"]);
    header.version = version;
    runs[0].write_header(&header).unwrap();
    let held = runs[0].hold().unwrap();
    bench.run(&["run", "--resume", &id(&runs[0])]).expect(2, &["is going on: another mmtorture adds to it"]);
    bench.run(&["merge", &id(&runs[0]), &id(&runs[1])]).expect(2, &["is going on; merge it when"]);
    drop(held);
    let merged = merge(&results, runs, Vec::new()).unwrap();
    bench
        .run(&["run", "--resume", &id(&merged)])
        .expect(2, &["it was merged; resume the runs that it was merged from"]);
}
