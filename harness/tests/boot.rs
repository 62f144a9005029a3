//! The whole way on real kernels: built, booted, tortured, judged, bisected. Needs what `make setup` installs.
//!
//! The kernels are those of `matrices/demo.yaml`, in the user's cache, so that they are built once. Guests race by
//! nature: the demo's failing series fails within its 30 s; docs/figures.md has the times.

mod common;

use common::{alone, repository, test_series, Bench, Said};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn the_demo_finds_the_bug_and_names_the_patch() {
    let _alone = alone();
    let bench = Bench::new();
    let demo = repository().join("matrices/demo.yaml").display().to_string();
    let said = bench.run(&["run", &demo]).expect(0, &[]);
    println!("{}\n{}", said.stderr, said.stdout);
    assert!(said.stdout.contains("culprit: delay-rmap/0003-mm-delay-rmap-removal-until-after-the-tlb-flush"));

    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    assert_eq!(run["run"]["state"], "done");
    let trials = run["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 3);
    for trial in trials {
        let want = if trial["variant"] == "delay-rmap/all" { "fail" } else { "pass" };
        assert_eq!(trial["outcome"], want, "{trial}");
        // Without ACPI a guest ends by a restart.
        let ending = if want == "fail" { "stopped" } else { "reset" };
        assert_eq!((&trial["ending"]["kind"], &trial["hello"]["cpus"]), (&ending.into(), &2.into()), "{trial}");
        // What the guest read back is what was asked for.
        let thp = trial["knobs"].as_array().unwrap().iter().find(|knob| knob["dimension"] == "thp").unwrap();
        assert_eq!(thp["got"], "always", "{trial}");
    }
    let bisection = &run["bisections"][0];
    assert_eq!((&bisection["conclusion"], &bisection["patch"]), (&"culprit".into(), &3.into()), "{bisection}");

    // The console is whole on disk, and the finding points into it.
    let failed = trials.iter().find(|t| t["outcome"] == "fail").unwrap();
    let cell = failed["cell"].as_str().unwrap();
    let shown = bench.run(&["show", &format!("latest/{cell}")]).expect(0, &[]).stdout;
    assert!(shown.contains("cut here") || shown.contains("BUG"), "{shown}");
    let id = run["run"]["id"].as_str().unwrap();
    let console = bench.path("results").join(id).join("cells").join(cell).join("seed-1/console.log");
    let scanned = bench.run(&["scan", &console.display().to_string(), "--format", "json"]).expect(1, &[]);
    let first: serde_json::Value = serde_json::from_str(scanned.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["signature"], bisection["signature"]);
    // The kernel's own reports end a trial within 2 s of their end.
    let times = &failed["times"];
    let after = times["end_ms"].as_u64().unwrap() - times["report_end_ms"].as_u64().unwrap();
    assert!(after <= 2000, "{after} ms");

    // A second build has nothing to do.
    let again = bench.run(&["build", &demo]).expect(0, &["kernel base: in the cache"]);
    assert!(!again.stderr.contains("built in"), "{}", again.stderr);
}

#[test]
fn a_patch_that_does_not_apply_is_told_by_patch_file_and_hunk() {
    let bench = Bench::new();
    let dir = bench.path("s");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("series"), "0001-x.patch\n").unwrap();
    let patch = "Subject: x\n\n--- a/mm/rmap.c\n+++ b/mm/rmap.c\n@@ -10,3 +10,3 @@\n no such line\n-nor this\n+but this\n nor that\n";
    std::fs::write(dir.join("0001-x.patch"), patch).unwrap();
    let matrix = bench.matrix("series: [s]").display().to_string();
    bench.run(&["run", &matrix]).expect(2, &["0001-x", "mm/rmap.c", "hunk"]);
    assert!(!bench.path("results").exists(), "a request that is wrong leaves no run");
}

#[test]
fn a_kconfig_option_that_does_not_survive_is_named() {
    let _alone = alone();
    let bench = Bench::new();
    std::fs::write(bench.path("kconfig/wrong.config"), "CONFIG_NO_SUCH_OPTION=y\n").unwrap();
    let kernel = "kernel: {source: 'debian:linux-source-6.1', kconfig: [base, guest, mm, debug, wrong]}";
    let matrix = bench.matrix(kernel).display().to_string();
    bench.run(&["build", &matrix]).expect(2, &["CONFIG_NO_SUCH_OPTION=y (wrong.config:1)"]);
}

#[test]
fn a_patch_that_does_not_compile_is_a_build_failure() {
    let _alone = alone();
    let bench = Bench::new();
    let matrix = bench.matrix(&format!("series: ['{}']\nvariants: [all]", test_series("broken-c")));
    let said = bench.run(&["run", &matrix.display().to_string()]);
    let said = said.expect(3, &["does not build", "mmtorture_no_such_function", "the whole log:"]);
    assert!(said.stdout.contains("build-failure"), "{}", said.stdout);
}

#[test]
fn a_kernel_that_panics_before_init_is_a_boot_failure() {
    let _alone = alone();
    let bench = Bench::new();
    let matrix = bench.matrix(&format!("series: ['{}']\nvariants: [all]", test_series("panic-early")));
    // The panic is a finding, hence 1.
    let said = bench.run(&["run", &matrix.display().to_string()]).expect(1, &[]);
    assert!(said.stdout.contains("boot-failure"), "{}", said.stdout);
    assert!(said.stdout.contains("test of a panic before init"), "{}", said.stdout);
}

#[test]
fn a_guest_that_never_says_hello_is_a_boot_failure() {
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!("series: ['{}']\nvariants: [all]\nboot-seconds: 8", test_series("silent"));
    let said = bench.run(&["run", &bench.matrix(&lines).display().to_string()]).expect(3, &[]);
    assert!(said.stdout.contains("boot-failure"), "{}", said.stdout);
    assert!(said.stdout.contains("never said hello"), "{}", said.stdout);
}

#[test]
fn an_interrupt_leaves_a_readable_run_and_no_guest() {
    let _alone = alone();
    let bench = Bench::new();
    let matrix = bench.matrix("seconds: 60").display().to_string();
    let mut child = bench.command(&["run", &matrix]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.ends_with(": torture")).expect("the workload starts");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let shown = bench.run(&["show", "latest"]).expect(0, &[]).stdout;
    assert!(shown.contains("interrupted"), "{shown}");
    let results = bench.path("results").display().to_string();
    let orphan = std::fs::read_dir("/proc").unwrap().flatten().find(|process| {
        let cmdline = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        cmdline.starts_with(b"qemu") && String::from_utf8_lossy(&cmdline).contains(&results)
    });
    assert!(orphan.is_none(), "{orphan:?}");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_half_written() {
    let _alone = alone();
    let bench = Bench::new();
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    // Room for the run's folder, not for a trial's. A mount of its own, in a namespace of its own: no root needed.
    let script = "mount -t tmpfs -o size=256k none \"$MMTORTURE_RESULTS\" && \"$@\"; s=$?; \
                  cat \"$MMTORTURE_RESULTS\"/*/run.json; find \"$MMTORTURE_RESULTS\" -name '.new-*'; exit $s";
    let run = bench.command(&["run", &bench.matrix("").display().to_string()]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(run.get_program()).args(run.get_args()).env("MMTORTURE_RESULTS", &results);
    if !std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        eprintln!("skipped: this host gives an ordinary user no mount namespace (unshare --user --mount)");
        return;
    }
    let said = Said::of(command.output().unwrap()).expect(3, &["No space left on device"]);
    // The record of the run is whole, whichever state the disk let it reach.
    let header: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert!(["running", "failed"].contains(&header["state"].as_str().unwrap()), "{header}");
}
