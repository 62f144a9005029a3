//! The results folder in hard times: pruned, on a disk that is full or read-only, by a clock that goes back, shared by two
//! runs. What needs a mount makes one in a namespace of its own; a host that gives none is told so.

mod common;
#[path = "common/stage.rs"]
mod stage;
#[path = "common/synthetic.rs"]
mod synthetic;
#[path = "common/yard.rs"]
mod yard;

use common::{alone, Bench, Said};
use jiff::{SignedDuration, Timestamp};
use mmtorture_harness::history::History;
use mmtorture_harness::outcome::Outcome;
use mmtorture_harness::prune::policy::{Age, Policy};
use mmtorture_harness::prune::{prune, Report};
use mmtorture_harness::record::{self, Run};
use mmtorture_harness::report::{Account, FORMATS};
use mmtorture_harness::run::merge::merge;
use mmtorture_harness::trial::console::{self, PACKED};
use stage::Stage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use synthetic::Spec;
use yard::Yard;

const CELLS: usize = 24;
const FAILURES: usize = 4;

/// A run that ended so many days ago, each trial with all that a trial leaves.
fn aged(results: &Path, days: i64) -> Run {
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

fn id(run: &Run) -> String {
    run.dir.file_name().unwrap().to_str().unwrap().to_owned()
}

fn policy(passes: i64, failures: i64, keep: usize) -> Policy {
    Policy::new(Age::days(passes), Some(Age::days(failures)), keep).unwrap()
}

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

/// Every file of a folder, by its path in it, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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

/// Runs `script` with a tmpfs of that size, or a read-only view of what is there, on `folder`. `None` where the host gives no
/// mount namespace.
fn mounted(mount: &str, folder: &Path, script: &str, run: &Command) -> Option<Said> {
    let namespace = ["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|status| status.success()) {
        println!("skipped: this host gives no mount namespace (unshare {})", namespace.join(" "));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-ec", &format!("{mount} \"$DIR\"; {script}"), "sh"]);
    command.arg(run.get_program()).args(run.get_args()).env("DIR", folder);
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(Said::of(command.output().unwrap()))
}

const READ_ONLY: &str = "mount --bind -o ro \"$DIR\"";

#[test]
fn a_read_only_folder_is_read_and_not_written() {
    let bench = Bench::new();
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let (run, _) = (aged(&results, 100), aged(&results, 1));
    let before = files(&results);
    let matrix = bench.matrix("").display().to_string();
    let on = |args: &[&str]| mounted(READ_ONLY, &results, "\"$@\"", &bench.command(args));
    let Some(said) = on(&["prune"]) else { return };
    said.expect(3, &["cannot lock", "Read-only file system"]);
    on(&["prune", "--dry-run"]).unwrap().expect(0, &[]);
    for args in [&["runs"][..], &["show", &id(&run)], &["report", &id(&run), "--format", "json"]] {
        on(args).unwrap().expect(0, &[]);
    }
    let said = on(&["history"]).unwrap().expect(0, &["history.sqlite"]);
    assert!(said.stdout.starts_with("FINDING"), "{}", said.stdout);
    on(&["run", "--resume", &id(&run)]).unwrap().expect(3, &["cannot lock", "Read-only file system"]);
    on(&["bisect", &format!("{}/x", id(&run))]).unwrap().expect(3, &["cannot lock", "Read-only file system"]);
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        println!("skipped in part: QEMU is missing");
    } else {
        on(&["run", &matrix, "--machine", "qemu"])
            .unwrap()
            .expect(3, &["cannot create a folder in", "Read-only file system"]);
    }
    assert_eq!(files(&results), before);
}

#[test]
fn a_full_disk_is_pruned() {
    let bench = Bench::new();
    let (results, full) = (bench.path("results"), bench.path("full"));
    for dir in [&results, &full] {
        std::fs::create_dir(dir).unwrap();
    }
    let run = aged(&results, 100);
    drop(run.hold().unwrap());
    let script = "cp -a \"$RESULTS\"/* \"$DIR\"; cat /dev/zero > \"$DIR\"/rest 2>/dev/null || true; \
                  df --output=avail \"$DIR\" >&2; \"$@\"; cat \"$DIR\"/*/run.json >&2";
    let mut command = bench.command(&["prune", "--keep", "0", "--format", "json"]);
    command.env("MMTORTURE_RESULTS", &full).env("RESULTS", &results);
    let Some(said) = mounted("mount -t tmpfs -o size=2m none", &full, script, &command) else { return };
    let said = said.expect(0, &["\"pruned\": \"", "\n    0\n"]);
    assert_eq!(said.json()["pruned"][0]["trials"], CELLS, "{}", said.stdout);
}

/// Room for the trial, not for its compressed console beside the plain one: the trial counts, its console stays as it is.
#[test]
fn a_disk_too_full_to_compress_on_loses_nothing() {
    let bench = Bench::new();
    let dir = bench.path("trial");
    std::fs::create_dir(&dir).unwrap();
    let script =
        "head -c 200k /dev/urandom > \"$DIR\"/console.log; cat /dev/zero > \"$DIR\"/rest 2>/dev/null || true; \
                  \"$@\" && sha256sum \"$DIR\"/console.log; ls -A \"$DIR\" >&2";
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(me);
    command.args(["--exact", "packs_what_it_is_told_to", "--nocapture", "--include-ignored"]).env("PACK", &dir);
    let Some(said) = mounted("mount -t tmpfs -o size=300k none", &dir, script, &command) else { return };
    assert!(
        said.stdout.contains("cannot compress") && said.stdout.contains("No space left on device"),
        "{}",
        said.stdout
    );
    assert!(said.stderr.ends_with("console.log\nrest\n"), "{}", said.stderr);
}

/// No test: what the one above runs where the disk is full.
#[test]
#[ignore = "run by another test"]
fn packs_what_it_is_told_to() {
    let dir = std::env::var_os("PACK").expect("a trial's folder");
    println!("{}", console::pack(Path::new(&dir)).unwrap_err());
}

/// Runs of a kernel that builds in milliseconds, or a little slower, and does not boot.
struct Slow {
    yard: Yard,
    matrix: String,
}

impl Slow {
    fn new() -> Self {
        let yard = Yard::new();
        let matrix = yard.matrix("tree:linux", "boot-seconds: 1");
        Self { yard, matrix }
    }

    fn start(&self) -> Child {
        let args = ["run", &self.matrix, "--no-bisect", "--machine", "qemu", "--accel", "tcg"];
        let mut command = self.yard.command(&args);
        command.env("SLOW", "0.2").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self) -> Said {
        Said::of(self.start().wait_with_output().unwrap())
    }
}

#[test]
fn two_runs_at_once_share_a_cache_and_a_results_folder() {
    let _alone = alone();
    let slow = Slow::new();
    let both = [slow.start(), slow.start()].map(|child| Said::of(child.wait_with_output().unwrap()).expect(3, &[]));
    assert_eq!(both.iter().filter(|said| said.stderr.contains("kernel base: built in")).count(), 1);
    let compiled = std::fs::read_to_string(slow.yard.path("compiled")).unwrap();
    assert_eq!(compiled.lines().count(), 4, "each object once");
    let runs = record::list(&slow.yard.path("results")).unwrap();
    let ids: Vec<_> = runs.iter().map(|(_, header)| header.id.clone()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    for (run, header) in &runs {
        let trials = run.trials().unwrap();
        assert_eq!((trials.len(), header.exit), (1, Some(3)));
        // QEMU may well refuse such a kernel.
        assert!(matches!(trials[0].1.outcome, Outcome::BootFailure | Outcome::InfraError), "{trials:?}");
        assert!(trials[0].0.join(PACKED).is_file() && !trials[0].0.join("console.log").exists());
        assert!(both.iter().any(|said| said.stdout.contains(&run.dir.display().to_string())));
    }
    assert_eq!(History::rebuild(&slow.yard.path("results")).unwrap().signatures().unwrap().len(), 0);
}

/// The same with real guests, of the kernel of `matrices/demo.yaml`.
#[test]
fn two_real_runs_at_once_end_right() {
    let _alone = alone();
    let bench = Bench::new();
    let matrix =
        bench.matrix("seconds: 10\ndimensions: {thp: [always, never], cpus: 1, memory: 320M, swap: 'zram:1G'}");
    let start = || {
        let mut command = bench.command(&["run", &matrix.display().to_string(), "--no-bisect", "--jobs", "1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| Said::of(child.wait_with_output().unwrap()));
    assert!(both.iter().filter(|said| said.stderr.contains("kernel base: built in")).count() <= 1);
    let runs = record::list(&bench.path("results")).unwrap();
    assert_eq!(runs.len(), 2);
    for (run, header) in &runs {
        let trials = run.trials().unwrap();
        // A guest of 10 s on a busy host may not move all that it claims; that it passed or said so is what counts.
        let right = |outcome| matches!(outcome, Outcome::Pass | Outcome::NotExercised);
        assert!(trials.len() == 2 && trials.iter().all(|(_, trial)| right(trial.outcome)), "{trials:#?}");
        assert_eq!(header.state, record::State::Done);
        for (dir, trial) in &trials {
            let mut console = console::Console::open(dir).unwrap().unwrap();
            let text = String::from_utf8_lossy(&console.part(0, u64::MAX).unwrap()).into_owned();
            assert!(text.contains("Linux version 6.1"), "{text}");
            assert!(trial.seen.hello.is_some() && dir.join(PACKED).is_file());
        }
    }
}

/// As if the clock had been ahead when the run before was made.
#[test]
fn a_clock_that_goes_back_does_not_change_the_order_of_runs() {
    let _alone = alone();
    let slow = Slow::new();
    let results = slow.yard.path("results");
    std::fs::create_dir(&results).unwrap();
    let ahead = aged(&results, -1);
    let mut header = ahead.header().unwrap();
    header.started = Timestamp::now() + SignedDuration::from_hours(2);
    header.ended = Some(header.started + SignedDuration::from_mins(1));
    ahead.write_header(&header).unwrap();
    let said = slow.run().expect(3, &["behind the run", "this one is dated right after it"]);
    let latest = Run::open(&results, "latest").unwrap();
    assert!(said.stdout.contains(&latest.dir.display().to_string()), "{}", said.stdout);
    let now = latest.header().unwrap();
    assert_eq!(now.started, header.started + SignedDuration::from_millis(1));
    assert!(now.ended.unwrap() > now.started && now.took().is_some_and(|took| !took.contains('-')), "{now:?}");
    assert!(slow
        .run()
        .expect(3, &[])
        .stdout
        .contains(&Run::open(&results, "latest").unwrap().dir.display().to_string()));

    // A clock that was years off is no reason to be so for years.
    header.started = Timestamp::now() + SignedDuration::from_hours(24 * 3650);
    ahead.write_header(&header).unwrap();
    slow.run().expect(3, &["h behind the run", "stays `latest`"]);
    assert_eq!(Run::open(&results, "latest").unwrap().dir, ahead.dir);
    let newest = record::list(&results).unwrap().into_iter().rev().nth(1).unwrap().1;
    assert!(newest.started < Timestamp::now() + SignedDuration::from_hours(3));
    // What is from the future has no age.
    let report = prune(&results, &policy(0, 0, 0), Timestamp::now() + SignedDuration::from_hours(24), false).unwrap();
    assert!(report.pruned.iter().all(|run| run.run != id(&ahead)), "{report:?}");
}

/// make goes by times: what was compiled while the clock was ahead looks newer than any change.
#[test]
fn a_clock_that_goes_back_links_no_old_object() {
    let slow = Slow::new();
    let build = || {
        let said = Said::of(slow.yard.command(&["build", &slow.matrix]).output().unwrap()).expect(0, &[]);
        let dir = said.stdout.lines().last().unwrap().split_whitespace().last().unwrap().to_owned();
        std::fs::read_to_string(Path::new(&dir).join("vmlinux")).unwrap()
    };
    build();
    let trees = slow.yard.path("cache/mmtorture/trees");
    for path in files(&trees).into_keys() {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(3600)).unwrap();
    }
    std::fs::write(slow.yard.path("linux/mm/b.c"), "b three\n").unwrap();
    let vmlinux = build();
    assert!(vmlinux.contains("b three") && !vmlinux.contains("b two"), "{vmlinux}");
}
