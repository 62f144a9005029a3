//! `--machine vmm` on a KVM that runs kernels natively: in the testbed, whose host is QEMU's TCG with an emulated SVM
//! (docs/testbed.md). Where there can be no bed, these tests say what is missing and are skipped.
//!
//! Kernels are built here, where the cache is; the bed sees it, and runs them.

mod common;

use common::{alone, assert_swapon_panicked, drgn, repository, test_series, Bench, FULL_KERNEL};
use mmtorture_harness::cache::Cache;
use mmtorture_harness::image::{write_initramfs, Programs};
use mmtorture_protocol::{Memcg, Request, Scratch, Swap, VERSION};
use mmtorture_testbed::{Job, Kernel, Options, Output, Testbed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MMTORTURE: &str = env!("CARGO_BIN_EXE_mmtorture");

/// What the bed may write to.
fn share() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// How often a test is tried. Only what [`Lost`] tells is a reason to try again.
const ATTEMPTS: usize = 8;

/// Nothing was proven: the testbed's processors are emulated, and now and then a guest stands still there, or the bed
/// itself does (docs/testbed.md has the odds).
struct Lost(String);

/// Runs a test, one at a time, in a bed that works.
fn prove(test: impl Fn(&Testbed) -> Result<(), Lost>) {
    let _alone = alone();
    for attempt in 1..=ATTEMPTS {
        let options = Options { memory_mib: 3072, shares: vec![share()], ..Options::default() };
        let Some(bed) = Testbed::shared(&options) else { return };
        match test(&bed) {
            Ok(()) => return,
            Err(Lost(why)) => println!("attempt {attempt} of {ATTEMPTS}: {why}"),
        }
    }
    panic!("no attempt of {ATTEMPTS} came to an end");
}

fn run(bed: &Testbed, job: Job, seconds: u64) -> Result<Output, Lost> {
    let output = bed.run(&job.limit(Duration::from_secs(seconds))).map_err(|e| Lost(e.to_string()))?;
    println!("{}{}", output.stdout(), output.stderr());
    if output.timed_out {
        return Err(Lost(format!("not done after {seconds} s")));
    }
    Ok(output)
}

/// Builds a matrix's kernels here, runs it in the bed, and yields its trials with their folders.
fn torture(bed: &Testbed, bench: &Bench, lines: &str, options: &[&str]) -> Result<Vec<(PathBuf, Value)>, Lost> {
    let matrix = bench.matrix(lines).display().to_string();
    bench.run(&["build", &matrix]).expect(0, &[]);
    let args = [&[MMTORTURE, "run", &matrix, "--machine", "vmm", "--no-bisect"], options].concat();
    let job = Job::new(args).env("MMTORTURE_RESULTS", &bench.path("results").display().to_string());
    let output = run(bed, job, 400)?;
    // The bed's processors are threads of a host that others may keep busy: a guest's are slower then by any factor.
    if output.stderr().contains("needs a KVM that runs guests natively") {
        return Err(Lost("the bed was too busy for its KVM to be told from an emulation".to_owned()));
    }
    let trials = trials(bench);
    if let Some((_, trial)) = trials.iter().find(|(_, trial)| is_lost(trial)) {
        return Err(Lost(format!("{}: {} ({})", trial["cell"], trial["outcome"], trial["ending"])));
    }
    let failed = trials.iter().any(|(_, trial)| trial["outcome"] != "pass");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{}{}", output.stdout(), output.stderr());
    Ok(trials)
}

/// Whether a guest stood still without a word, was too slow for what it had to do, or its processor gave up.
fn is_lost(trial: &Value) -> bool {
    if trial["outcome"] == "not-exercised" {
        return true;
    }
    let silent = ["hang", "boot-failure"].iter().any(|&outcome| trial["outcome"] == outcome);
    let findings = trial["findings"].as_array().is_some_and(|findings| !findings.is_empty());
    silent && !findings || ["triple-fault", "internal-error"].iter().any(|&kind| trial["ending"]["kind"] == kind)
}

fn assert_passed(trial: &Value, ending: &str) {
    assert_eq!((&trial["outcome"], &trial["ending"]["kind"]), (&"pass".into(), &ending.into()), "{trial:#}");
}

/// The signature that a trial is about. The deaths of the workload's processes may be heard of before the report that
/// explains them.
fn signature(trial: &Value) -> &str {
    let findings = trial["findings"].as_array().unwrap();
    let primary = findings.iter().find(|finding| finding["primary"] == true);
    primary.map_or("", |finding| finding["signature"].as_str().unwrap())
}

fn trials(bench: &Bench) -> Vec<(PathBuf, Value)> {
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let cells = bench.path("results").join(run["run"]["id"].as_str().unwrap()).join("cells");
    let folder = |t: &Value| cells.join(t["cell"].as_str().unwrap()).join(format!("seed-{}", t["seed"]));
    run["trials"].as_array().unwrap().iter().map(|trial| (folder(trial), trial.clone())).collect()
}

#[test]
fn the_base_kernel_runs_clean_on_one_two_and_four_vcpus() {
    prove(|bed| {
        let bench = Bench::within(&share());
        let dimensions = "dimensions: {thp: always, cpus: [1, 2, 4], memory: 320M, swap: 'zram:1G'}";
        let lines = format!("variants: [base]\nseconds: 8\n{dimensions}");
        let trials = torture(bed, &bench, &lines, &[])?;
        assert_eq!(trials.len(), 3);
        trials.iter().for_each(|(_, trial)| assert_passed(trial, "reset"));
        Ok(())
    });
}

/// A wrong counter that is told when a process ends: met within a second of torture, so that the bed has little time to
/// be lost in.
#[test]
fn a_broken_series_fails_as_it_does_under_qemu() {
    // zap-migration-rss
    fails_as_under_qemu("busted", "only:3", 60, |signature| {
        assert!(signature.starts_with("bad-rss-counter|"), "{signature}");
        "bad-rss-counter|".to_owned()
    });
}

/// A race in a guest of a guest: met after 2 to 28 s on a quiet host, and as often as not the bed is lost before.
#[test]
fn a_race_is_met_as_it_is_under_qemu() {
    if std::env::var_os("MMTORTURE_RACES").is_none() {
        println!("skipped: a race in a guest of a guest takes up to half an hour; `make nested` runs it");
        return;
    }
    fails_as_under_qemu("delay-rmap", "all", 180, |signature| {
        assert!(signature.starts_with("kernel-bug|"), "{signature}");
        signature.to_owned()
    });
}

/// Runs a variant under QEMU here, then on the VMM in the bed; `alike` checks what QEMU's guest said and yields how the
/// signature of ours has to begin.
fn fails_as_under_qemu(series: &str, variant: &str, seconds: u64, alike: impl Fn(&str) -> String) {
    prove(|bed| {
        let series = repository().join("series").join(series).display().to_string();
        let lines = format!("series: ['{series}']\nvariants: ['{variant}']\nseconds: {seconds}");
        let bench = Bench::new();
        let matrix = bench.matrix(&lines).display().to_string();
        bench.run(&["run", &matrix, "--machine", "qemu", "--no-bisect"]).expect(1, &[]);
        let theirs = alike(signature(&trials(&bench)[0].1));

        let bench = Bench::within(&share());
        let ours = torture(bed, &bench, &lines, &[])?;
        let (folder, trial) = &ours[0];
        if trial["outcome"] == "pass" {
            return Err(Lost("what is broken was not met".to_owned()));
        }
        assert!(signature(trial).starts_with(&theirs), "{} is not {theirs}", signature(trial));
        for file in ["console.log.zst", "events.jsonl", "request.json", "machine.json", "machine.log"] {
            assert!(folder.join(file).exists(), "no {file} in {}", folder.display());
        }
        Ok(())
    });
}

/// The workload checks what comes back from swap.
#[test]
fn a_swap_disk_gives_back_what_it_was_given() {
    prove(|bed| {
        let bench = Bench::within(&share());
        let dimensions = "dimensions: {thp: always, cpus: 2, memory: 320M, swap: 'disk:1G'}";
        let lines =
            format!("{FULL_KERNEL}\nvariants: [base]\nworkloads: [swap-thrash-verify]\nseconds: 15\n{dimensions}");
        // It declares that pages come back, too: what is still in the swap cache is not read from the disk.
        let trials = torture(bed, &bench, &lines, &[])?;
        let (_, trial) = &trials[0];
        assert_passed(trial, "power-off");
        assert!(trial["done"]["vmstat"]["pswpin"].as_i64().is_some_and(|pages| pages > 0), "{trial:#}");
        Ok(())
    });
}

/// A panic that pvpanic hears of, dumped by our machine and read by drgn.
#[test]
fn drgn_reads_the_core_of_a_panic() {
    prove(|bed| {
        let bench = Bench::within(&share());
        let lines = format!("{FULL_KERNEL}\nseries: ['{}']\nvariants: [all]", test_series("panic-late"));
        let trials = torture(bed, &bench, &lines, &["--core"])?;
        let (folder, trial) = &trials[0];
        assert_eq!((&trial["panicked"], &trial["core"]["kind"]), (&true.into(), &"kept".into()), "{trial:#}");
        if let Some(seen) = drgn(folder, trial) {
            assert_swapon_panicked(&seen);
        }
        Ok(())
    });
}

#[test]
fn debians_own_kernel_reaches_user_space_and_powers_off() {
    prove(|bed| {
        let kernel = Kernel::find().expect("the bed runs it").image();
        let folder = tempfile::tempdir_in(share()).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let request = Request {
            version: VERSION,
            trial: "debian".to_owned(),
            seed: 1,
            seconds: 1,
            heartbeat_ms: 500,
            knobs: vec![],
            repeat: Vec::new(),
            scratch: Scratch::default(),
            memcg: Memcg::None,
            nodes: 1,
            swap: Swap::None,
            root: None,
            workload: "anon-churn".to_owned(),
        };
        let programs = Programs::beside(Path::new(MMTORTURE)).unwrap();
        let base = programs.base_archive(&Cache::open().unwrap()).unwrap();
        write_initramfs(Path::new(&path("initramfs")), &base, None, &request, None).unwrap();
        let vmm = Path::new(MMTORTURE).with_file_name("mmtorture-vmm");
        let mut args = vec![vmm.to_str().unwrap().to_owned()];
        for (name, value) in [
            ("--kernel", kernel.display().to_string()),
            ("--initramfs", path("initramfs")),
            // A console at the pace of an emulated guest takes longer than all the rest.
            ("--cmdline", "console=ttyS0 panic=-1 quiet".to_owned()),
            ("--cpus", "2".to_owned()),
            ("--memory", "512".to_owned()),
            ("--mask-cpuid", "1:ecx:26".to_owned()),
            ("--console", path("console")),
            ("--events", path("events")),
        ] {
            args.extend([name.to_owned(), value]);
        }
        let output = run(bed, Job::new(args), 120)?;
        assert_eq!(output.stdout().lines().last(), Some(r#"{"ending":"power-off"}"#));
        let events = std::fs::read_to_string(path("events")).unwrap();
        let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&events[0]["event"], &events[0]["cpus"]), (&"hello".into(), &2.into()));
        assert!(events[0]["release"].as_str().unwrap().contains("-amd64"));
        assert_eq!(events.last().unwrap()["event"], "done");
        Ok(())
    });
}
