//! The command line without a kernel: what is wrong with a request is said at once, with exit status 2.

mod common;

use common::Bench;
use std::io::Write;
use std::process::Stdio;

#[test]
fn a_matrix_error_says_file_line_and_what_was_expected() {
    let bench = Bench::new();
    let matrix = bench.matrix("secnds: 5").display().to_string();
    for command in ["plan", "build", "run"] {
        bench.run(&[command, &matrix]).expect(2, &["m.yaml:6:1: unknown key 'secnds', expected one of"]);
    }
    let matrix = bench.matrix("dimensions: {thp: sometimes}").display().to_string();
    bench.run(&["plan", &matrix]).expect(2, &["m.yaml:5:", "'sometimes', expected one of always madvise never"]);
    bench.run(&["plan", "absent.yaml"]).expect(2, &["absent.yaml: No such file"]);
    assert!(!bench.path("results").exists(), "a request that is wrong leaves no run");
}

#[test]
fn what_a_matrix_names_is_looked_for_before_anything_is_done() {
    let bench = Bench::new();
    let plan = |lines: &str| bench.run(&["plan", &bench.matrix(lines).display().to_string()]);
    plan("series: [absent]").expect(2, &["absent"]);
    plan("workloads: [anon-chrun]").expect(2, &["there is no 'anon-chrun', expected one of", "anon-churn"]);
    plan("kernel: {source: 'debian:linux-source-6.1', kconfig: [absent]}").expect(2, &["absent.config"]);
    // A series whose list names a file that is not there.
    std::fs::create_dir(bench.path("s")).unwrap();
    std::fs::write(bench.path("s/series"), "# comment\n0001-absent.patch\n").unwrap();
    plan("series: [s]").expect(2, &["series:2", "0001-absent.patch"]);
    let matrix = bench.matrix("").display().to_string();
    bench.run(&["run", &matrix, "--cell", "nope"]).expect(2, &["no cell 'nope'"]);
    bench.run(&["build", &matrix, "--variant", "nope"]).expect(2, &["no variant 'nope', expected one of base"]);
}

#[test]
fn plan_prints_cells() {
    let bench = Bench::new();
    let matrix = bench.matrix("dimensions: {thp: [always, never], cpus: [1, 2]}").display().to_string();
    let table = bench.run(&["plan", &matrix]).expect(0, &[]);
    assert!(table.stdout.ends_with("1 kernels, 4 cells, 4 trials\n"), "{}", table.stdout);
    let plan = bench.run(&["plan", &matrix, "--format", "json"]).expect(0, &[]).json();
    assert_eq!(plan["cells"].as_array().unwrap().len(), 4);
    assert_eq!(plan["cells"][0]["settings"]["thp"], "always");
}

#[test]
fn a_plan_is_covered_by_few_cells_and_divided() {
    let bench = Bench::new();
    let lines = "coverage: pairwise\nforbid: [{thp: never, cpus: 1}]\n\
                 dimensions: {thp: [always, madvise, never], cpus: [1, 2, 4], swappiness: [0, 60, 100]}";
    let matrix = bench.matrix(lines).display().to_string();
    let plan = |options: &[&str]| bench.run(&[&["plan", &matrix], options].concat()).expect(0, &[]);
    let text = plan(&["--why"]).stdout;
    assert!(text.contains("3 illegal combinations left out of 27\n"), "{text}");
    assert!(text.contains("3         thp=never cpus=1  the matrix's forbid[0]\n"), "{text}");
    let jobs = plan(&["--shards", "2", "--format", "github"]);
    assert_eq!(jobs.stdout.lines().count(), 1);
    assert_eq!(jobs.json()["include"][1]["shard"], "2/2");
    let shards = plan(&["--shards", "2", "--format", "json"]).json();
    assert_eq!(shards["shards"][0]["cells"].as_array().unwrap().len(), jobs.json()["include"][0]["cells"]);
    bench.run(&["plan", &matrix, "--format", "github"]).expect(2, &["it needs --shards N"]);
    bench.run(&["run", &matrix, "--shard", "3/2"]).expect(2, &["expected I/N as in 1/4"]);
    let said = bench.run(&["run", &matrix, "--shard", "99/100"]).expect(0, &[]);
    assert!(said.stdout.starts_with("shard 99/100 has nothing to run"), "{}", said.stdout);
    let matrix = bench.matrix("cells: [{thp: sometimes}]").display().to_string();
    bench.run(&["plan", &matrix]).expect(2, &["m.yaml:6:15: cells[0].thp: no 'sometimes' in this matrix"]);
}

#[test]
fn a_host_without_qemu_is_told_so() {
    let bench = Bench::new();
    let matrix = bench.matrix("").display().to_string();
    let mut command = bench.command(&["run", &matrix, "--machine", "qemu"]);
    command.env("PATH", bench.path("empty"));
    let said = common::Said::of(command.output().unwrap());
    said.expect(3, &["qemu-system-x86_64 is not installed", "make setup"]);
    assert!(!bench.path("results").exists());
}

#[test]
fn a_machine_that_cannot_be_is_refused() {
    let bench = Bench::new();
    let run = |options: &[&str]| {
        let matrix = bench.matrix("").display().to_string();
        bench.run(&[&["run", &matrix], options].concat())
    };
    run(&["--machine", "vmm", "--accel", "tcg"]).expect(2, &["--machine vmm with --accel tcg", "expected"]);
    run(&["--machine", "bochs"]).expect(2, &["possible values: auto, vmm, qemu"]);
    assert!(!bench.path("results").exists());
    if mmtorture_vmm::probe().usable_for_torture() {
        eprintln!("skipped: this host's KVM runs guests natively, so --machine vmm is not refused");
        return;
    }
    run(&["--machine", "vmm"]).expect(3, &["needs a KVM that runs guests natively", "--accel kvm insists"]);
    assert!(!bench.path("results").exists());
}

#[test]
fn reproduce_says_what_it_cannot_reproduce() {
    let bench = Bench::new();
    bench.run(&["reproduce", "latest"]).expect(2, &["'latest' names no cell, expected RUN/CELL"]);
    bench.run(&["reproduce", "nope/cell"]).expect(2, &["no run 'nope'"]);
    bench.run(&["reproduce", "nope/cell", "--trials", "0"]).expect(2, &["1..=100000"]);
    bench.run(&["reproduce", "nope/cell", "--bundle", "/nowhere/b"]).expect(2, &["there is no folder /nowhere"]);
}

#[test]
fn bisect_says_what_it_cannot_bisect() {
    let bench = Bench::new();
    bench.run(&["bisect", "latest"]).expect(2, &["'latest' names no cell, expected RUN/CELL"]);
    bench.run(&["bisect", "nope/cell"]).expect(2, &["no run 'nope'"]);
    bench.run(&["bisect", "nope/cell", "--over", "weather"]).expect(2, &["possible values: series, settings"]);
    bench.run(&["bisect", "nope/cell", "--confidence", "1"]).expect(2, &["expected a number from 0.5 to 0.9999"]);
}

#[test]
fn scan_reads_files_and_standard_input() {
    let bench = Bench::new();
    let bug = "[    4.000000][  T100] ------------[ cut here ]------------\n\
               [    4.000000][  T100] kernel BUG at mm/migrate.c:1160!\n\
               [    4.000000][  T100] invalid opcode: 0000 [#1] SMP NOPTI\n\
               [    4.000000][  T100] CPU: 1 PID: 100 Comm: torture Not tainted 6.1.192 #1\n\
               [    4.000000][  T100] RIP: 0010:migrate_pages+0x10/0x100\n\
               [    4.000000][  T100] Call Trace:\n\
               [    4.000000][  T100]  <TASK>\n\
               [    4.000000][  T100]  compact_zone+0x10/0x100\n\
               [    4.000000][  T100]  </TASK>\n\
               [    4.000000][  T100] ---[ end trace 0000000000000000 ]---\n";
    std::fs::write(bench.path("bug.log"), bug).unwrap();
    std::fs::write(bench.path("clean.log"), "[    0.0][    T0] Linux version 6.1\n").unwrap();
    let (with, without) = (bench.path("bug.log").display().to_string(), bench.path("clean.log").display().to_string());
    bench.run(&["scan", &without]).expect(0, &[]);
    let said = bench.run(&["scan", &without, &with, "--format", "json"]).expect(1, &[]).json();
    assert_eq!(said["file"], with.as_str());
    assert_eq!(said["location"], "mm/migrate.c:1160");
    bench.run(&["scan", "absent.log"]).expect(2, &["absent.log"]);

    bench.run(&["scan", &with, "--vmlinux", "absent"]).expect(2, &["cannot read symbols from absent"]);
    bench.run(&["scan", &with, "--vmlinux", &with]).expect(2, &["bug.log: not an ELF file"]);
    bench.run(&["scan", &with, "--source", "."]).expect(2, &["--vmlinux"]);

    let mut child = bench.command(&["scan", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bug.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("-:1-10: kernel BUG in migrate_pages\n"), "{text}");
}

#[test]
fn scan_reads_folders_and_tells_expected_findings_apart() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("logs/deeper")).unwrap();
    let rss = "[    4.000000][  T100] BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_ANONPAGES val:3\n";
    let segfault = "[    5.000000][  T100] cc1[44]: segfault at 0 ip 0000000000401000 sp 00007ffc00000000 error 4\n";
    std::fs::write(bench.path("logs/a.log"), rss).unwrap();
    std::fs::write(bench.path("logs/deeper/b.log"), rss).unwrap();
    std::fs::write(bench.path("logs/c.log"), segfault).unwrap();
    let logs = bench.path("logs").display().to_string();

    let said = bench.run(&["scan", &logs, "--format", "json"]).expect(1, &[]);
    let findings: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.len(), 2, "a segfault is noise");
    for field in [
        "file",
        "title",
        "alt_titles",
        "class",
        "severity",
        "signature",
        "primary",
        "corrupted",
        "first_line",
        "last_line",
        "process",
        "guilty",
        "frames",
    ] {
        assert!(findings[0].get(field).is_some(), "{field}");
    }
    let text = bench.run(&["scan", &logs]).expect(1, &[]).stdout;
    assert!(text.ends_with("2 findings, likely 1 bugs:\n    2  BUG: Bad rss-counter state MM_ANONPAGES\n"), "{text}");
    let noisy = bench.run(&["scan", &logs, "--noise", "--format", "json"]).expect(1, &[]);
    assert_eq!(noisy.stdout.lines().count(), 3);

    std::fs::write(bench.path("allow.yaml"), "- {match: rss-counter, reason: known since 6.1}\n").unwrap();
    let allow = bench.path("allow.yaml").display().to_string();
    let said = bench.run(&["scan", &logs, "--allow", &allow]).expect(0, &[]);
    assert!(said.stdout.contains("(expected: known since 6.1)"), "{}", said.stdout);
    std::fs::write(bench.path("allow.yaml"), "- {match: '(', reason: x}\n").unwrap();
    bench.run(&["scan", &logs, "--allow", &allow]).expect(2, &["allow.yaml:1:"]);
}

#[test]
fn there_may_be_no_runs() {
    let bench = Bench::new();
    bench.run(&["runs"]).expect(0, &["no runs in"]);
    assert_eq!(bench.run(&["runs", "--format", "json"]).expect(0, &[]).json(), serde_json::json!([]));
    bench.run(&["show", "latest"]).expect(2, &["there are no runs"]);
    bench.run(&["show", "nope"]).expect(2, &["no run 'nope'"]);
}

/// The probe says something of every host, and so does the rest.
#[test]
fn doctor_checks_this_host() {
    let said = Bench::new().run(&["doctor", "--format", "json"]);
    let checks = said.json();
    let kvm = checks.as_array().unwrap().iter().find(|c| c["what"] == "KVM").expect("KVM is checked");
    assert!(!kvm["detail"].as_str().unwrap().is_empty());
    let machine = checks.as_array().unwrap().iter().find(|c| c["what"] == "machine").expect("a machine is chosen");
    assert!(machine["detail"].as_str().unwrap().starts_with("auto chooses "), "{machine}");
    let missing = checks.as_array().unwrap().iter().any(|c| c["status"] == "missing");
    assert_eq!(said.status, Some(if missing { 3 } else { 0 }));
}
