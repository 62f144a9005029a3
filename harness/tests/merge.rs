//! Shards of a plan and the whole of it.

mod common;
#[path = "common/synthetic.rs"]
mod synthetic;

use common::{alone, Bench};
use mmtorture_harness::bisect::{Conclusion, Tally};
use mmtorture_harness::history::History;
use mmtorture_harness::record::{Bisection, Over, Run, State};
use mmtorture_harness::report::{Account, FORMATS};
use mmtorture_harness::run::merge::merge;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use synthetic::Spec;

const SPEC: Spec = Spec { cells: 61, failures: 7, day: 0, first_console: 0 };

fn whole(results: &Path) -> Run {
    synthetic::write(results, &SPEC, &synthetic::consoles(None))
}

fn shards(results: &Path, of: usize) -> Vec<Run> {
    let consoles = synthetic::consoles(None);
    (0..of).map(|first| synthetic::write_shard(results, &SPEC, &consoles, first, of)).collect()
}

fn merged(results: &Path, runs: &[&Run]) -> Run {
    merge(results, runs.iter().map(|run| (*run).clone()).collect(), vec!["mmtorture".into(), "merge".into()]).unwrap()
}

fn refused(results: &Path, runs: &[Run]) -> String {
    let before = names(results);
    let error = merge(results, runs.to_vec(), Vec::new()).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    assert_eq!(names(results), before, "nothing is left behind");
    error.to_string()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    names
}

/// Every file of a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in names(&next) {
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn edit_trial(run: &Run, key: &str, value: serde_json::Value) -> String {
    let (dir, trial) = run.trials().unwrap().swap_remove(0);
    let mut json = serde_json::to_value(&trial).unwrap();
    json[key] = value;
    std::fs::write(dir.join("trial.json"), serde_json::to_vec(&json).unwrap()).unwrap();
    trial.cell
}

#[test]
fn four_shards_tell_what_the_whole_tells() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(&dir.path().join("whole"));
    let parts = shards(dir.path(), 4);
    // One of them has bisected its failure.
    let (_, trial) = parts[1].trials().unwrap().into_iter().find(|(_, t)| t.finding().is_some()).unwrap();
    let bisection = Bisection {
        cell: trial.cell.clone(),
        title: trial.finding().unwrap().title.clone(),
        signature: trial.finding().unwrap().signature.clone(),
        series: "series-a".into(),
        patches: vec!["0001-a".into()],
        tallies: Vec::new(),
        posterior: vec![0.5, 0.5],
        seconds: 1.0,
        conclusion: Conclusion::Culprit { patch: 1, confidence: 0.97 },
        culprit: Some("0001-a".into()),
        subject: None,
        verification: None,
    };
    for run in [&whole, &parts[1]] {
        run.write_bisection(&bisection).unwrap();
    }
    let run = merged(dir.path(), &parts.iter().collect::<Vec<_>>());
    let (mut one, mut four) = (Account::read(&whole).unwrap(), Account::read(&run).unwrap());
    assert_eq!(four.trials.len(), 61);
    let facts = |a: &Account| (a.header.planned, a.header.state, a.header.exit, a.header.machine.clone(), a.verdict());
    assert_eq!(facts(&one), facts(&four));
    assert_eq!(four.header.parts.len(), 4);
    // But for when, where and by which command.
    for account in [&mut one, &mut four] {
        account.header = whole.header().unwrap();
        account.place = "PLACE".into();
    }
    for format in FORMATS {
        assert_eq!((format.render)(&one), (format.render)(&four), "{}", format.name);
    }
}

#[test]
fn order_and_repetition_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c, d] = &shards(dir.path(), 4)[..] else { panic!("four shards") };
    let run = merged(dir.path(), &[a, b, c, d]);
    let first = files(&run.dir);
    for again in [vec![d, b, c, a], vec![a, a, c, b, d, b], vec![&run], vec![&run, c]] {
        let again = merged(dir.path(), &again);
        assert_eq!((&again.dir, &files(&again.dir)), (&run.dir, &first));
    }
    // By way of merged runs.
    let (ab, cd) = (merged(dir.path(), &[a, b]), merged(dir.path(), &[d, c]));
    assert!(ab.dir != run.dir && ab.dir != cd.dir);
    let again = merged(dir.path(), &[&cd, &ab]);
    assert_eq!((&again.dir, &files(&again.dir)), (&run.dir, &first));
    assert!(names(dir.path()).iter().all(|n| !n.file_name().unwrap().to_str().unwrap().starts_with('.')));
    assert_eq!(Run::open(dir.path(), "latest").unwrap().dir, run.dir, "what was merged is no news");
}

/// What searches over settings, commits and loads leave of a failure of that run; its cell and signature.
fn searched(run: &Run, folders: &[Over]) -> (String, String) {
    let (_, trial) = run.trials().unwrap().into_iter().find(|(_, t)| t.finding().is_some()).unwrap();
    let (cell, finding) = (trial.cell.clone(), trial.finding().unwrap().clone());
    synthetic::bisect(run, &trial);
    let rate = json!({"low": 0.1, "median": 0.2, "high": 0.4});
    let commit = |n: u32| json!({"id": format!("{n:040x}"), "parents": [], "subject": format!("mm: commit {n}")});
    let mut bisection = serde_json::to_value(&run.bisections().unwrap()[0]).unwrap();
    bisection["series"] = "linux@a..b".into();
    let commits: Vec<_> = (1..9).map(commit).collect();
    let line = json!({"start": commit(0), "commits": commits, "bisection": bisection});
    for over in folders {
        let part = if *over == Over::Git { "a..b" } else { "" };
        std::fs::write(run.search_log(*over, &cell, &finding.signature, part).unwrap(), "1\n").unwrap();
        let result = match over {
            // With its log, the one that `bisect` left.
            Over::Settings => continue,
            Over::Git => json!({
                "repository": "linux", "good": commit(0), "bad": commit(8), "lines": [line], "log": "git bisect start\n"
            }),
            Over::Workload => json!({
                "cell": cell, "title": finding.title, "signature": finding.signature, "best": 0, "confidence": 0.96,
                "loads": [{"workload": "mix", "settings": {}, "rate": rate, "tally": Tally::default()}], "seconds": 9.0
            }),
        };
        run.write_search(*over, &cell, &finding.signature, &result).unwrap();
    }
    (cell, finding.signature)
}

#[test]
fn what_shards_searched_for_is_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let parts = shards(dir.path(), 4);
    let failed: Vec<&Run> =
        parts.iter().filter(|run| run.trials().unwrap().iter().any(|(_, t)| t.finding().is_some())).collect();
    let (first, second) = (failed[0], failed[1]);
    searched(first, &[Over::Settings, Over::Git]);
    searched(second, &[Over::Settings, Over::Workload]);
    let all: Vec<&Run> = parts.iter().collect();
    let run = merged(dir.path(), &all);
    let held = files(&run.dir);
    for part in &failed[..2] {
        for (path, content) in files(&part.dir).iter().filter(|(path, _)| path.starts_with("bisect")) {
            assert_eq!(held.get(path), Some(content), "{}", path.display());
        }
    }
    let found = run.searches().unwrap();
    assert_eq!((found.settings.len(), found.git.len(), found.workload.len()), (2, 1, 1));
    let backwards: Vec<&Run> = all.iter().rev().copied().collect();
    for again in [backwards, vec![&run], vec![second, &run]] {
        assert_eq!(files(&merged(dir.path(), &again).dir), held);
    }

    let account = Account::read(&run).unwrap();
    for format in ["html", "markdown", "mail", "json"] {
        let text = (mmtorture_harness::report::format(format).unwrap().render)(&account);
        // A mail's lines are wrapped.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = if format == "json" { "\"best\": 0" } else { "nothing smaller is as fast" };
        for words in ["irrelevant", "linux@a..b", words] {
            assert!(text.contains(words), "{format}: no '{words}'");
        }
    }
    let bench = Bench::new();
    let (place, shards) = (run.dir.display().to_string(), dir.path().display().to_string());
    let shown = bench.run(&["show", &place]).expect(0, &[]).stdout;
    let words = ["settings: ", "commit: ", "workload: ", "smallest that failed: "];
    let said = bench.run(&["merge", &shards]).expect(1, &[]).stdout;
    for word in words {
        assert!(shown.contains(word) && said.contains(word), "{word}\n{shown}\n{said}");
    }
}

/// A search goes on in a shard or in the merged run: its result is another then, and its log is longer.
#[test]
fn a_search_that_went_on_is_not_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let parts = shards(dir.path(), 2);
    let (cell, signature) = searched(&parts[0], &[Over::Settings, Over::Git]);
    let all: Vec<&Run> = parts.iter().collect();
    let run = merged(dir.path(), &all);
    let goes_on = |run: &Run, over: Over, part: &str, line: &str| {
        let log = run.search_log(over, &cell, &signature, part).unwrap();
        // In place of what may be linked to another run's.
        let text = [std::fs::read(&log).unwrap(), line.into()].concat();
        std::fs::remove_file(&log).unwrap();
        std::fs::write(log, text).unwrap();
        let found = run.searches().unwrap();
        if over == Over::Settings {
            let mut needs = found.settings[0].clone();
            needs.title = format!("{line} of {}", run.dir.display());
            run.write_search(over, &cell, &signature, &needs).unwrap();
        } else {
            let mut revisions = found.git[0].clone();
            revisions.log = format!("{line} of {}", run.dir.display());
            run.write_search(over, &cell, &signature, &revisions).unwrap();
        }
    };
    goes_on(&parts[0], Over::Settings, "", "2\n");
    goes_on(&run, Over::Git, "a..b", "2\n");
    let again = merged(dir.path(), &all);
    let (found, of) = (again.searches().unwrap(), |run: &Run| format!("2\n of {}", run.dir.display()));
    assert_eq!((&found.settings[0].title, &found.git[0].log), (&of(&parts[0]), &of(&run)));
    assert_eq!(files(&merged(dir.path(), &[&again, all[1], all[0]]).dir), files(&again.dir));

    // In both, to different ends.
    let kept = files(&again.dir);
    goes_on(&parts[0], Over::Settings, "", "3\n");
    goes_on(&again, Over::Settings, "", "4\n");
    let said = refused(dir.path(), &parts);
    assert!(said.contains(".log.jsonl") && said.contains("differ: the search went on in both"), "{said}");
    // The same log, and two results.
    for (path, content) in kept {
        std::fs::write(again.dir.join(path), content).unwrap();
    }
    let other = parts[0].search_log(Over::Settings, &cell, &signature, "").unwrap();
    std::fs::copy(again.search_log(Over::Settings, &cell, &signature, "").unwrap(), other).unwrap();
    let said = refused(dir.path(), &parts);
    assert!(said.contains(".json and ") && said.contains("differ: the search went on in both"), "{said}");
}

#[test]
fn what_is_not_of_one_plan_is_refused() {
    let consoles = synthetic::consoles(None);
    let dir = tempfile::tempdir().unwrap();
    let refuse = |change: &dyn Fn(&Run)| {
        let results = dir.path().join(format!("{}", names(dir.path()).len()));
        let runs = shards(&results, 2);
        change(&runs[1]);
        refused(&results, &runs)
    };
    let header = |change: fn(&mut mmtorture_harness::record::Header)| {
        refuse(&|run: &Run| {
            let mut header = run.header().unwrap();
            change(&mut header);
            run.write_header(&header).unwrap();
        })
    };
    let said = header(|h| h.matrix = "other".into());
    assert!(said.contains("not of one plan: the matrices are called synthetic and other"), "{said}");
    let said = header(|h| h.version = "9.9.9".into());
    assert!(said.contains("and 9.9.9"), "{said}");
    let said = header(|h| h.seed = 7);
    assert!(said.contains("1 from 1 and 1 from 7"), "{said}");
    let said = refuse(&|run| std::fs::write(run.dir.join("matrix.yaml"), "mmtorture: 1\n").unwrap());
    assert!(said.contains("their matrix.yaml differ"), "{said}");
    let said = refuse(&|run| drop(edit_trial(run, "kernel", format!("{:064x}", 77).into())));
    assert!(said.contains("another commit, configuration or compiler"), "{said}");
    let said = refuse(&|run| {
        let mut cells = run.cells().unwrap();
        cells.pop();
        std::fs::write(run.dir.join("plan.json"), serde_json::to_vec(&cells).unwrap()).unwrap();
    });
    assert!(said.contains("cell 61 is") && said.contains("and none"), "{said}");

    // The same trial, with two outcomes.
    let results = dir.path().join("twice");
    let runs = [shards(&results, 2).swap_remove(0), synthetic::write(&results, &SPEC, &consoles)];
    merged(&results, &[&runs[0], &runs[1]]);
    let results = dir.path().join("contradicts");
    let runs = [shards(&results, 2).swap_remove(0), synthetic::write(&results, &SPEC, &consoles)];
    let cell = edit_trial(&runs[0], "why", "another".into());
    let said = refused(&results, &runs);
    assert!(said.contains(&format!("{cell}/seed-1 was run twice")) && said.contains("leave out one"), "{said}");
}

#[test]
fn a_shard_that_is_missing_or_unfinished_is_told_and_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let parts = shards(dir.path(), 4);
    let three = merged(dir.path(), &[&parts[0], &parts[1], &parts[2]]).header().unwrap();
    // 61 cells: the last of four shards has 15.
    assert_eq!(
        (three.state, three.planned, three.problems.as_slice()),
        (State::Failed, 61, &["15 of 61 trials have no outcome".to_owned()][..])
    );

    // One was killed, with a trial under way.
    let mut header = parts[3].header().unwrap();
    header.state = State::Running;
    parts[3].write_header(&header).unwrap();
    let (under_way, _) = parts[3].trials().unwrap().swap_remove(4);
    let kept = std::fs::read(under_way.join("trial.json")).unwrap();
    std::fs::remove_file(under_way.join("trial.json")).unwrap();
    let (done, _) = parts[3].trials().unwrap().swap_remove(0);
    std::fs::write(done.join("initramfs-x.cpio"), "left over").unwrap();
    let all: Vec<&Run> = parts.iter().collect();
    let run = merged(dir.path(), &all);
    let killed = run.header().unwrap();
    let told = ["1 of 61 trials have no outcome".to_owned(), format!("{} did not finish", header.id)];
    assert_eq!((killed.state, killed.exit, killed.problems.as_slice()), (State::Failed, Some(1), &told[..]));
    let names: Vec<_> = files(&run.dir).into_keys().collect();
    assert!(!names.iter().any(|n| n.to_str().unwrap().ends_with(".cpio")));
    assert_eq!(names.iter().filter(|n| n.ends_with("trial.json")).count(), 60);

    // It went on.
    std::fs::write(under_way.join("trial.json"), kept).unwrap();
    header.state = State::Done;
    parts[3].write_header(&header).unwrap();
    let again = merged(dir.path(), &all);
    assert_eq!(again.dir, run.dir);
    let done = again.header().unwrap();
    assert_eq!((done.state, done.problems.len(), again.trials().unwrap().len()), (State::Done, 0, 61));
}

#[test]
fn the_history_counts_an_outcome_once() {
    let dir = tempfile::tempdir().unwrap();
    let parts = shards(dir.path(), 4);
    let trials = |h: &History| h.signatures().unwrap().iter().map(|s| s.trials).sum::<i64>();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 7);
    let run = merged(dir.path(), &parts.iter().collect::<Vec<_>>());
    History::note(&run);
    let grown = History::open(dir.path()).unwrap();
    assert_eq!(trials(&grown), 7);
    assert_eq!(grown.signatures().unwrap()[0].first.run, run.dir.file_name().unwrap().to_str().unwrap());
    drop(grown);
    // A merged run of some of them, too.
    merged(dir.path(), &[&parts[0], &parts[1]]);
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 7);
    assert_eq!(trials(&History::rebuild(dir.path()).unwrap()), 7);
}

#[test]
fn the_command_line_merges_ids_folders_and_folders_of_runs() {
    let bench = Bench::new();
    let results = bench.path("results");
    bench.run(&["merge", "absent"]).expect(2, &["no run 'absent'"]);
    bench.run(&["merge"]).expect(2, &["<RUN>"]);
    let first = shards(&results, 2).swap_remove(0);
    let elsewhere = bench.path("elsewhere");
    let second = shards(&elsewhere, 2).swap_remove(1);
    let name = |run: &Run| run.dir.file_name().unwrap().to_str().unwrap().to_owned();
    let said = bench.run(&["merge", &name(&first), &second.dir.display().to_string()]).expect(1, &[]);
    let id = said.stdout.lines().next().unwrap().to_owned();
    assert!(said.stdout.contains("synthetic: ") && !said.stdout.contains("not run"), "{}", said.stdout);
    let again = bench.run(&["merge", &elsewhere.display().to_string(), &name(&first)]).expect(1, &[]);
    assert_eq!(again.stdout.lines().next(), Some(id.as_str()));
    let shown = bench.run(&["show", &id, "--format", "json"]).expect(0, &[]).json();
    assert_eq!(shown["trials"].as_array().unwrap().len(), 61);
    bench.run(&["report", &id, "--format", "junit"]).expect(0, &[]);
    assert_eq!(bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json()["run"]["id"], id.as_str());
}

/// The same on real guests, of the kernel of `matrices/demo.yaml`.
#[test]
fn a_plan_run_at_once_and_in_shards_has_the_same_cells() {
    let _alone = alone();
    let bench = Bench::new();
    let lines = "seconds: 2\ndimensions: {thp: [always, never], cpus: [1, 2], memory: 320M, swap: 'zram:1G'}";
    let matrix = bench.matrix(lines).display().to_string();
    let run = |options: &[&str]| {
        let said = bench.run(&[&["run", &matrix, "--no-bisect"], options].concat());
        assert!(matches!(said.status, Some(0 | 3)), "{}\n{}", said.stdout, said.stderr);
        bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json()["run"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let whole = run(&[]);
    let shards: Vec<String> = (1..=4).map(|i| run(&["--shard", &format!("{i}/4")])).collect();
    let merged = bench.run(&[&["merge"][..], &shards.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let merged = merged.stdout.lines().next().unwrap().to_owned();
    let trials = |id: &str| {
        let report = bench.run(&["report", id, "--format", "json"]).expect(0, &[]).json();
        assert_eq!(report["run"]["state"], "done", "{report:#}");
        let tried = report["trials"].as_array().unwrap().iter();
        tried
            .map(|t| [&t["cell"], &t["seed"], &t["variant"], &t["kernel"]].map(ToString::to_string))
            .collect::<Vec<_>>()
    };
    assert_eq!(trials(&whole).len(), 4);
    assert_eq!(trials(&whole), trials(&merged));
}
