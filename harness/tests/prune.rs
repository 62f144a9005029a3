//! What a prune takes and what it keeps, and what can still be made of what is left.

#[path = "common/aged.rs"]
mod aged;
mod common;
#[path = "common/stage.rs"]
mod stage;
#[path = "common/synthetic.rs"]
mod synthetic;
#[path = "common/yard.rs"]
mod yard;

use aged::{aged, files, id, policy, CELLS, FAILURES};
use common::{Bench, Said};
use jiff::Timestamp;
use mmtorture_harness::history::History;
use mmtorture_harness::outcome::Outcome;
use mmtorture_harness::prune::policy::Policy;
use mmtorture_harness::prune::{prune, Report};
use mmtorture_harness::record::{self, Run};
use mmtorture_harness::report::{Account, FORMATS};
use mmtorture_harness::run::merge::merge;
use mmtorture_harness::trial::console::{self, PACKED};
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use synthetic::Spec;

fn pruned(results: &Path, policy: &Policy) -> Report {
    prune(results, policy, Timestamp::now(), false).unwrap()
}

/// The trials whose consoles are there: passes, others.
fn consoles(run: &Run) -> (usize, usize) {
    let trials = run.trials().unwrap();
    let kept: Vec<_> = trials.iter().filter(|(dir, _)| console::file(dir).is_some()).collect();
    let passes = kept.iter().filter(|(_, trial)| trial.outcome == Outcome::Pass).count();
    (passes, kept.len() - passes)
}

fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let blocks = |path: &PathBuf| path.metadata().unwrap().blocks() * 512;
    files(folder).keys().map(blocks).sum()
}

#[test]
fn passes_go_before_failures_and_the_newest_runs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let [old, middle, young] = [100, 20, 1].map(|days| aged(dir.path(), days));
    let others = CELLS - consoles(&young).0;
    assert!(others >= FAILURES);
    let whole = (CELLS - others, others);
    let dry = prune(dir.path(), &policy(14, 90, 1), Timestamp::now(), true).unwrap();
    assert_eq!([&old, &middle, &young].map(consoles), [whole; 3]);
    let before = disk(dir.path());
    let report = pruned(dir.path(), &policy(14, 90, 1));
    assert_eq!(report, dry, "what it says is what it does");
    assert_eq!([&old, &middle, &young].map(consoles), [(0, 0), (0, others), whole]);
    assert_eq!(report.pruned.iter().map(|run| run.bytes).sum::<u64>(), before - disk(dir.path()));
    assert_eq!(report.pruned.iter().map(|run| run.trials).collect::<Vec<_>>(), [CELLS, CELLS - others]);
    // What runs a trial again stays, and what is not ours.
    for (dir, _) in old.trials().unwrap() {
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["machine.json", "notes.txt", "request.json", "trial.json"]);
    }
    let again = files(dir.path());
    assert_eq!(pruned(dir.path(), &policy(14, 90, 1)), Report::default());
    assert_eq!(files(dir.path()), again, "twice is as good as once");
    // The newest stay, whatever their age.
    pruned(dir.path(), &policy(0, 0, 2));
    assert_eq!([&middle, &young].map(consoles), [(0, others), whole]);
    pruned(dir.path(), &policy(0, 0, 0));
    assert_eq!([&middle, &young].map(consoles), [(0, 0), (0, 0)]);
}

#[test]
fn a_run_that_somebody_holds_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let [held, free] = [30, 20].map(|days| aged(dir.path(), days));
    let lock = held.hold().unwrap();
    let before = files(&held.dir);
    let report = pruned(dir.path(), &policy(0, 0, 0));
    assert_eq!((report.held, report.pruned.len()), (vec![id(&held)], 1));
    assert_eq!((files(&held.dir), consoles(&free)), (before, (0, 0)));
    drop(lock);
    assert_eq!(pruned(dir.path(), &policy(0, 0, 0)).pruned[0].run, id(&held));
}

#[test]
fn a_killed_run_is_as_old_as_its_last_trial() {
    let dir = tempfile::tempdir().unwrap();
    let run = aged(dir.path(), 100);
    let mut header = run.header().unwrap();
    header.ended = None;
    run.write_header(&header).unwrap();
    assert_eq!(pruned(dir.path(), &policy(1, 90, 0)), Report::default(), "its trials were written just now");
    let (under_way, trial) = run.trials().unwrap().swap_remove(0);
    std::fs::remove_file(under_way.join("trial.json")).unwrap();
    assert_eq!(trial.outcome, Outcome::Pass);
    for (dir, _) in run.trials().unwrap() {
        let file = std::fs::File::options().write(true).open(dir.join("trial.json")).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(9 * 86_400)).unwrap();
    }
    pruned(dir.path(), &policy(8, 90, 0));
    assert_eq!(consoles(&run).0, 0);
    assert!(console::file(&under_way).is_some(), "a trial without an outcome is no pass");
    pruned(dir.path(), &policy(8, 8, 0));
    assert!(console::file(&under_way).is_none() && under_way.join("request.json").exists());
}

#[test]
fn nothing_that_is_known_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [100, 20, 1].map(|days| aged(dir.path(), days));
    let known = |history: &History| {
        let all = history.signatures().unwrap();
        let whens: Vec<_> = all.iter().map(|s| history.when(&s.signature).unwrap().unwrap()).collect();
        assert!(!whens.is_empty());
        whens
    };
    let before = known(&History::open(dir.path()).unwrap());
    let mut accounts: Vec<Account> = runs.iter().map(|run| Account::read(run).unwrap()).collect();
    pruned(dir.path(), &policy(0, 0, 0));
    assert_eq!(known(&History::open(dir.path()).unwrap()), before);
    assert_eq!(known(&History::rebuild(dir.path()).unwrap()), before);
    for (run, account) in runs.iter().zip(&mut accounts) {
        let mut now = Account::read(run).unwrap();
        let gone = now.gone.take().unwrap();
        assert!(
            gone.starts_with("pruned ") && gone.contains(&format!("of {CELLS} of {CELLS} trials are gone")),
            "{gone}"
        );
        assert!(
            now.bugs.iter().all(|bug| bug.console.is_none()) && account.bugs.iter().all(|bug| bug.console.is_some())
        );
        // But for the consoles, every report is what it was.
        account.bugs.iter_mut().for_each(|bug| bug.console = None);
        account.header.pruned = now.header.pruned;
        for format in FORMATS {
            assert_eq!((format.render)(&now), (format.render)(account), "{}", format.name);
        }
    }
}

#[test]
fn what_is_linked_is_free_when_its_last_name_goes() {
    let dir = tempfile::tempdir().unwrap();
    let consoles = synthetic::consoles(None);
    let spec = Spec { cells: 61, failures: 7, day: 0, first_console: 0 };
    let shards: Vec<Run> = (0..2).map(|n| synthetic::write_shard(dir.path(), &spec, &consoles, n, 2)).collect();
    let whole = merge(dir.path(), shards.clone(), Vec::new()).unwrap();
    let dry = prune(dir.path(), &policy(1, 1, 0), Timestamp::now(), true).unwrap();
    let before = disk(&whole.dir);
    let report = pruned(dir.path(), &policy(1, 1, 0));
    let freed = |report: &Report| report.pruned.iter().map(|run| run.bytes).sum::<u64>();
    assert!(report.pruned.iter().any(|run| run.run == id(&whole) && run.trials == 7), "{report:?}");
    assert!(report.pruned.len() > 1, "{report:?}");
    assert_eq!(freed(&report), before - disk(&whole.dir), "once, not twice");
    assert_eq!(freed(&dry), freed(&report));
    // Merged again it is the same run, still pruned.
    let again = merge(dir.path(), shards, Vec::new()).unwrap();
    assert_eq!((again.dir.clone(), again.header().unwrap().pruned.is_some()), (whole.dir, true));
}

/// SIGKILL at any moment of a prune.
#[test]
fn a_prune_that_is_killed_goes_on() {
    let bench = Bench::new();
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let mut partly = 0;
    for delay in 0..20_u64 {
        let run = aged(&results, 100);
        let before = History::rebuild(&results).unwrap().signatures().unwrap();
        let args = ["prune", "--passes", "0d", "--failures", "0d", "--keep", "0"];
        let mut child = bench.command(&args).stdout(Stdio::null()).spawn().unwrap();
        // From the start on, or from when it has begun to remove.
        let begun = || run.header().is_ok_and(|header| header.pruned.is_some());
        while delay % 2 == 1 && !begun() && child.try_wait().unwrap().is_none() {}
        std::thread::sleep(std::time::Duration::from_micros(if delay % 2 == 1 { delay * 30 } else { delay * 500 }));
        child.kill().unwrap();
        child.wait().unwrap();
        let (passes, others) = consoles(&run);
        let left = passes + others;
        partly += usize::from((1..CELLS).contains(&left));
        let pruned = run.header().unwrap().pruned.is_some();
        assert!(left == CELLS || pruned, "a run that lost something says so");
        assert_eq!(History::rebuild(&results).unwrap().signatures().unwrap(), before);
        bench.run(&["show", &id(&run)]).expect(0, &[]);
        bench.run(&args).expect(0, &[]);
        assert_eq!(consoles(&run), (0, 0));
        std::fs::remove_dir_all(&run.dir).unwrap();
    }
    println!("20 kills, {partly} of them in the midst of a run");
}

#[test]
fn the_command_line_prunes_and_says_what_is_gone() {
    let bench = Bench::new();
    bench.run(&["prune"]).expect(2, &["there is no folder"]);
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let said = bench.run(&["prune"]).expect(0, &[]);
    assert_eq!(said.stdout, "nothing to prune (kept: passes 14d, failures 90d, the newest 1)\n");
    bench.run(&["prune", "--passes", "3mo"]).expect(2, &["expected an age as in 14d, 2w, 36h, or forever"]);
    bench.run(&["prune", "--failures", "1d"]).expect(2, &["--failures 1d is less than --passes 14d"]);
    let (old, _young) = (aged(&results, 100), aged(&results, 1));
    let failed = old.trials().unwrap().into_iter().find(|(_, t)| t.outcome == Outcome::Fail).unwrap().1.cell;
    let dry = bench.run(&["prune", "--dry-run"]).expect(0, &[]);
    assert!(dry.stdout.contains("KiB in 1 run would be freed"), "{}", dry.stdout);
    let json = bench.run(&["prune", "--format", "json"]).expect(0, &[]).json();
    assert_eq!((&json["pruned"][0]["run"], &json["pruned"][0]["trials"]), (&id(&old).into(), &CELLS.into()));
    assert!(json["freed"].as_u64().unwrap() >= CELLS as u64 * 4096 && json["dry_run"] == false, "{json}");

    let of = |args: &[&str]| bench.run(args).expect(0, &[]).stdout;
    assert!(of(&["runs"]).lines().any(|line| line.contains(&id(&old)) && line.contains("done, pruned")));
    let gone = format!("consoles, events and dumps of {CELLS} of {CELLS} trials are gone");
    assert!(of(&["show", &id(&old)]).contains(&gone));
    let cell = of(&["show", &format!("{}/{failed}", id(&old))]);
    assert!(cell.contains(": its console, events and dump are gone") && !cell.contains("console.log"), "{cell}");
    for format in ["html", "markdown", "mail"] {
        let text = of(&["report", &id(&old), "--format", format]);
        // A mail's lines are wrapped.
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&gone), "{format}");
    }
}

const PRUNE: [&str; 7] = ["prune", "--passes", "0d", "--failures", "0d", "--keep", "0"];

/// A run of the small kernel with two patches, the second of which breaks it, pruned of all that prune takes; its id and the
/// cell that failed.
fn failed_and_pruned(stage: &Stage) -> (String, String) {
    stage.yard.sh("mkdir s");
    for (n, name, line) in [(1, "a", "a three"), (2, "c", "c broken")] {
        let diff =
            format!("--- x/mm/{name}.c\n+++ y/mm/{name}.c\n@@ -1,2 +1,3 @@\n {name} one\n {name} two\n+{line}\n");
        std::fs::write(stage.yard.path(&format!("s/{n}-{name}.patch")), format!("Subject: mm: {name}\n\n{diff}"))
            .unwrap();
    }
    let lines =
        "series: [s]\nvariants: [all]\nseconds: 12\ntrials: 3\ndimensions: {thp: always, cpus: 2, memory: 320M}";
    let path = stage.fail("tree:linux", lines);
    let run = Run::open(&stage.yard.path("results"), "latest").unwrap();
    stage.yard.bench.run(&PRUNE).expect(0, &[]);
    assert_eq!(consoles(&run), (0, 0));
    (id(&run), path.trim_start_matches("latest/").to_owned())
}

#[test]
fn a_pruned_failure_is_run_again_and_searched() {
    let stage = Stage::new();
    let (run, cell) = failed_and_pruned(&stage);
    let (what, bundle) = (format!("{run}/{cell}"), stage.yard.path("b.tar.zst").display().to_string());
    let gone = "its console, events and dump are gone";

    // A bundle is of what the console said.
    let again = format!("`mmtorture reproduce {what}` makes a run of which a bundle can be made");
    let said = stage.command(&["reproduce", &what, "--bundle", &bundle]).expect(2, &["--bundle: ", gone, &again]);
    assert_eq!((said.stderr.lines().count(), said.stdout.as_str()), (1, ""), "{}", said.stderr);
    assert!(!Path::new(&bundle).exists());
    let said = stage.command(&["reproduce", &what, "--trials", "2", "--format", "json"]).expect(1, &[gone]).json();
    assert_eq!((&said["differs"], &said["trials"][0]["came"]), (&serde_json::json!([]), &"same".into()), "{said:#}");
    stage.command(&["reproduce", &format!("latest/{cell}"), "--bundle", &bundle]).expect(0, &["bundle: "]);
    assert!(Path::new(&bundle).is_file());

    let told = "consoles, events and dumps of 3 of 3 trials are gone; their outcomes are not";
    let found = stage.command(&["bisect", &what, "--format", "json"]).expect(1, &[told]).json();
    assert_eq!((&found[0]["conclusion"], &found[0]["patch"]), (&"culprit".into(), &2.into()), "{found:#}");
    for over in ["settings", "workload"] {
        let said = stage.command(&["bisect", &what, "--over", over]);
        assert!(matches!(said.status, Some(0 | 1)) && said.stderr.contains(told), "{over}:\n{}", said.stderr);
    }
    // What the searches left is kept as well, when their own trials are pruned.
    let before = stage.yard.bench.run(&["show", &run]).expect(0, &[]).stdout;
    assert!(["culprit: ", "settings: ", "workload: "].iter().all(|word| before.contains(word)), "{before}");
    stage.yard.bench.run(&PRUNE).expect(0, &[]);
    assert_eq!(stage.yard.bench.run(&["show", &run]).expect(0, &[]).stdout, before);
    assert_eq!(stage.command(&["bisect", &what, "--format", "json"]).expect(1, &[told]).json(), found);
}

#[test]
fn what_else_is_gone_of_a_failure_is_made_again_or_said() {
    let stage = Stage::new();
    let (run, cell) = failed_and_pruned(&stage);
    let what = format!("{run}/{cell}");
    let reproduce = ["reproduce", &what, "--trials", "1", "--format", "json"];
    let differs = |said: &Said| said.json()["differs"].as_array().unwrap().clone();

    // The kernel is made again. What it was compiled by, the console does not say any more.
    let kernels = stage.yard.path("cache/mmtorture/kernels");
    std::fs::remove_dir_all(&kernels).unwrap();
    let said = stage.command(&reproduce).expect(1, &["built in"]);
    assert!(differs(&said).is_empty(), "{}", said.stdout);
    std::fs::remove_dir_all(&kernels).unwrap();
    stage.yard.sh("echo b three >> linux/mm/b.c");
    let other = "the kernel: its source, a patch or its configuration has changed";
    assert_eq!(differs(&stage.command(&reproduce).expect(1, &[])), [other]);
    stage.yard.sh("printf 'b one\\nb two\\n' > linux/mm/b.c");

    // One line for each, and nothing is run.
    let before = record::list(&stage.yard.path("results")).unwrap().len();
    let refuse = |args: &[&str], status: i32, words: &[&str]| {
        let said = stage.command(args).expect(status, words);
        let lines: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("mmtorture: ")).collect();
        assert_eq!((lines.len(), said.stdout.as_str()), (1, ""), "{}", said.stderr);
        assert_eq!(record::list(&stage.yard.path("results")).unwrap().len(), before);
    };
    let both = |status: i32, words: &[&str]| {
        refuse(&reproduce, status, words);
        refuse(&["bisect", &what], status, words);
        refuse(&["bisect", &what, "--over", "settings"], status, words);
    };
    std::fs::remove_dir_all(&kernels).unwrap();
    stage.yard.sh("mv linux elsewhere");
    both(2, &["linux"]);
    stage.yard.sh("mv elsewhere linux && mv s t");
    both(2, &["s"]);
    stage.yard.sh("mv t s && mv m.yaml n.yaml");
    both(2, &["m.yaml"]);
    stage.yard.sh("mv n.yaml m.yaml");

    let folder = stage.yard.path("results").join(&run);
    let trials = Run { dir: folder.clone() }.trials().unwrap();
    for (dir, _) in &trials {
        std::fs::remove_file(dir.join("request.json")).unwrap();
    }
    let asked = "what was asked of the guest, maybe: its request.json is gone";
    assert_eq!(differs(&stage.command(&reproduce).expect(1, &[])), [asked]);
    for (dir, _) in &trials {
        std::fs::remove_dir_all(dir).unwrap();
    }
    let before = record::list(&stage.yard.path("results")).unwrap().len();
    let none = |args: &[&str], words: &str| {
        let said = stage.command(args).expect(2, &[words]);
        assert_eq!(said.stderr.lines().filter(|line| line.starts_with("mmtorture: ")).count(), 1, "{}", said.stderr);
    };
    none(&reproduce, "was not run in");
    none(&["bisect", &what], "did not fail in that run");
    none(&["bisect", &what, "--over", "settings"], "did not fail in that run");
    none(&["bisect", &what, "--over", "workload"], "did not fail in that run");
    assert_eq!(record::list(&stage.yard.path("results")).unwrap().len(), before);
}

#[test]
fn a_compressed_console_is_scanned() {
    let bench = Bench::new();
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let run = aged(&results, 100);
    let (dir, trial) = run.trials().unwrap().into_iter().find(|(_, t)| t.outcome == Outcome::Fail).unwrap();
    let (file, place) = (dir.join(PACKED).display().to_string(), run.dir.display().to_string());
    let said = bench.run(&["scan", &file, "--format", "json"]).expect(1, &[]);
    let first: serde_json::Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["signature"], trial.finding().unwrap().signature.as_str());
    // As a pipe, and in its folder.
    let mut command = bench.command(&["scan", "-"]);
    let piped = Said::of(command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap()).expect(1, &[]);
    assert!(piped.stdout.contains(&trial.finding().unwrap().title), "{}", piped.stdout);
    bench.run(&["scan", &place]).expect(1, &[]);
    // Cut off, as by a disk that was full: named, not a panic.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(bench.path("half.zst"), &whole[..whole.len() / 2]).unwrap();
    bench.run(&["scan", &bench.path("half.zst").display().to_string()]).expect(2, &["half.zst"]);
    // What is pruned is not there.
    bench.run(&PRUNE).expect(0, &[]);
    bench.run(&["scan", &file]).expect(2, &[PACKED]);
}
