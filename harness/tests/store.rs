//! The results folder in hard times: on a disk that is full or read-only, by a clock that goes back, shared by two runs. What
//! needs a mount makes one in a namespace of its own; a host that gives none is told so.

#[path = "common/aged.rs"]
mod aged;
mod common;
#[path = "common/synthetic.rs"]
mod synthetic;
#[path = "common/yard.rs"]
mod yard;

use aged::{aged, files, id, policy, CELLS};
use common::{alone, Bench, Said};
use jiff::{SignedDuration, Timestamp};
use mmtorture_harness::history::History;
use mmtorture_harness::outcome::Outcome;
use mmtorture_harness::prune::prune;
use mmtorture_harness::record::{self, Run};
use mmtorture_harness::trial::console::{self, PACKED};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use yard::Yard;

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
