//! The history over runs that nobody ran.

mod common;
#[path = "common/synthetic.rs"]
mod synthetic;

use common::Bench;
use mmtorture_harness::history::{History, FILE};
use mmtorture_harness::record::Run;
use std::path::Path;
use synthetic::Spec;

/// Ten days: a bug from the first, another from day 4 to day 7.
fn ten_days(results: &Path) -> Vec<Run> {
    let consoles = synthetic::consoles(None);
    let on = |day: u32| {
        let few = if (4..8).contains(&day) { &consoles[..2] } else { &consoles[..1] };
        synthetic::write(results, &Spec { cells: 60, failures: 12, day, first_console: 0 }, few)
    };
    (0..10).map(on).collect()
}

fn second() -> String {
    let consoles = synthetic::consoles(None);
    consoles[1].findings.iter().find(|f| f.is_failure()).unwrap().signature.clone()
}

fn name(run: &Run) -> String {
    run.dir.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn it_says_when_a_bug_began_and_when_it_ceased() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let history = History::open(dir.path()).unwrap();
    let all = history.signatures().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all.iter().map(|s| s.trials).sum::<i64>(), 120);
    let when = history.when(&second()).unwrap().unwrap();
    assert_eq!(when.clean_before.unwrap().run, name(&runs[3]));
    assert_eq!(when.signature.first.run, name(&runs[4]));
    assert_eq!(when.signature.last.run, name(&runs[7]));
    assert_eq!(when.clean_since.unwrap().run, name(&runs[8]));
    assert_eq!(when.signature.runs, 4);
    let seen: Vec<bool> = when.runs.iter().map(|(_, seen, _)| *seen > 0).collect();
    assert_eq!(seen, [false, false, false, false, true, true, true, true, false, false]);
    assert!(when
        .variants
        .iter()
        .all(|v| v.variant != "base" && v.trials > 0 && v.trials < v.of && v.median_ms.is_some()));
    assert_eq!(history.when("absent").unwrap(), None);
}

#[test]
fn made_anew_it_says_the_same_as_grown() {
    let dir = tempfile::tempdir().unwrap();
    for run in ten_days(dir.path()) {
        History::note(&run);
    }
    let grown = History::open(dir.path()).unwrap();
    let (all, when) = (grown.signatures().unwrap(), grown.when(&second()).unwrap());
    drop(grown);
    let anew = History::rebuild(dir.path()).unwrap();
    assert_eq!((anew.signatures().unwrap(), anew.when(&second()).unwrap()), (all, when));
}

#[test]
fn a_run_that_goes_on_is_read_again_and_one_that_is_gone_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let trials = |h: &History| h.signatures().unwrap().iter().map(|s| s.trials).sum::<i64>();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 120);
    let (broken, trial) = runs[9].trials().unwrap().into_iter().find(|(_, t)| t.finding().is_some()).unwrap();
    std::fs::remove_dir_all(broken).unwrap();
    let mut header = runs[9].header().unwrap();
    header.problems.push(format!("{} is gone", trial.cell));
    runs[9].write_header(&header).unwrap();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 119);
    std::fs::remove_dir_all(&runs[0].dir).unwrap();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 119, "pruned runs stay known");
    assert_eq!(trials(&History::rebuild(dir.path()).unwrap()), 107, "until it is made anew");
}

#[test]
fn a_damaged_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let whole = History::open(dir.path()).unwrap().signatures().unwrap();
    let file = dir.path().join(FILE);
    let good = std::fs::read(&file).unwrap();
    let mut torn = good.clone();
    torn[100..4096].fill(0xa5);
    let mut other = good.clone();
    // `user_version`: an index of another version.
    other[60..64].copy_from_slice(&99u32.to_be_bytes());
    for bad in
        [b"not a database at all, but a text of some length".to_vec(), good[..good.len() / 2].to_vec(), torn, other]
    {
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap(), whole);
        std::fs::write(&file, &bad).unwrap();
        History::note(&runs[0]);
        assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap(), whole);
    }
}

#[test]
fn a_damaged_run_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    std::fs::write(runs[2].dir.join("plan.json"), "[").unwrap();
    let all = History::open(dir.path()).unwrap().signatures().unwrap();
    assert_eq!(all.iter().map(|s| s.trials).sum::<i64>(), 108);
}

#[test]
fn a_folder_that_cannot_hold_an_index_is_asked_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    ten_days(dir.path());
    // Nobody, not even root, opens a folder as a database.
    std::fs::create_dir(dir.path().join(FILE)).unwrap();
    assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap().len(), 2);
    assert_eq!(History::rebuild(dir.path()).unwrap().signatures().unwrap().len(), 2);
}

#[test]
fn the_command_line_tells_it() {
    let bench = Bench::new();
    bench.run(&["history"]).expect(2, &["there is no folder"]);
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let runs = ten_days(&results);
    let said = bench.run(&["history"]).expect(0, &[]);
    assert_eq!(said.stdout.lines().count(), 3, "{}", said.stdout);
    let said = bench.run(&["history", &second()]).expect(0, &[]);
    assert!(said.stdout.contains(&format!("first seen    2024-10-08 00:00  {}", name(&runs[4]))), "{}", said.stdout);
    let json = bench.run(&["history", &second(), "--format", "json"]).expect(0, &[]).json();
    assert_eq!(json[0]["clean_before"]["run"], name(&runs[3]).as_str());
    bench.run(&["history", "--rebuild"]).expect(0, &[]);
    bench.run(&["history", "nothing like it"]).expect(2, &["no finding 'nothing like it'"]);
}
