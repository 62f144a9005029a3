//! Runs the real binary on this host.

use mmtorture_protocol::Report;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn torture(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    command.args(args).stdin(Stdio::null());
    command
}

fn reports(stdout: &[u8]) -> Vec<Report> {
    stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Processes that run this test's binary with `mark` among their arguments: forked ones show their parent's.
fn alive(mark: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let line = std::fs::read(path.join("cmdline")).ok()?;
            let mut args = line.split(|&byte| byte == 0);
            let ours = Path::new(std::str::from_utf8(args.next()?).ok()?).ends_with("torture");
            (ours && args.any(|arg| arg == mark.as_bytes())).then(|| path.display().to_string())
        })
        .collect()
}

#[test]
fn anon_churn_reports_its_progress_and_leaves_nobody_behind() {
    let seed = "881001";
    let Output { status, stdout, stderr } =
        torture(&["anon-churn", "--seconds", "1", "--json", "--memory", "48M", "--seed", seed]).output().unwrap();
    assert_eq!(status.code(), Some(0), "{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let reports = reports(&stdout);
    assert!(matches!(&reports[0], Report::Started { name, .. } if name == "anon-churn"), "{:?}", reports[0]);
    let Some(Report::Finished { ops }) = reports.last() else { panic!("{:?}", reports.last()) };
    for op in ["spawn", "pages-filled", "pages-verified", "exits-mapped"] {
        assert!(ops[op] > 0, "{op} did not move: {ops:?}");
    }
    assert!(ops["spawn"] > 10, "one process after another: {ops:?}");
    let progress: Vec<_> =
        reports.iter().filter_map(|r| if let Report::Progress { ops } = r { Some(ops) } else { None }).collect();
    assert!(progress.len() >= 2, "a few times a second: {progress:?}");
    assert!(progress.windows(2).all(|pair| pair[0]["pages-filled"] <= pair[1]["pages-filled"]));
    assert_eq!(reports.len(), progress.len() + 2, "no violation on a good kernel: {reports:?}");
    assert_eq!(alive(seed), [] as [String; 0]);
}

/// Runs one, briefly and in little memory; its final counts. Violations fail.
fn counts(workload: &str, seed: &str, more: &[&str]) -> std::collections::BTreeMap<String, u64> {
    let args = [&[workload, "--json", "--memory", "64M", "--seed", seed], more].concat();
    let Output { status, stdout, stderr } = torture(&args).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{workload}: {said}\n{errors}");
    match reports(&stdout).pop() {
        Some(Report::Finished { ops }) => ops,
        last => panic!("{workload}: {last:?}\n{errors}"),
    }
}

#[test]
fn every_workload_of_the_table_runs_on_this_host() {
    let json = torture(&["list", "--format", "json"]).output().unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert!(entries.len() > 15);
    // Suites want a root file system.
    for (at, entry) in entries.iter().filter(|entry| entry.get("suite").is_none()).enumerate() {
        let (name, seed) = (entry["name"].as_str().unwrap(), format!("8820{at:02}"));
        let ops = counts(name, &seed, &["--seconds", "1"]);
        assert!(ops["spawn"] > 0, "{name}: {ops:?}");
        let own = |op: &serde_json::Value| ops[op.as_str().unwrap()] > 0;
        let own = entry["ops"].as_array().unwrap().iter().filter(|op| own(op)).count();
        // memcg-move only forks where nobody lets it make cgroups. What a kernel lacks altogether is refused.
        let lacks = name == "userfaultfd-mix" && ops["refused"] > 0;
        assert!(own > 0 || name == "mix" || lacks, "{name} did nothing of its own: {ops:?}");
        let checked = ops["pages-verified"] + ops.get("compiles").unwrap_or(&0);
        assert!(name == "mix" || lacks || checked > 0, "{name} checked nothing: {ops:?}");
        assert_eq!(alive(&seed), [] as [String; 0], "{name}");
    }
}

#[test]
fn the_workloads_of_a_mix_take_turns() {
    // With a weight of 1 each both are on duty all the time; two turns of one leave the other out for one of them.
    let both = counts("mix:idle,exit-storm", "882101", &["--seconds", "2"]);
    assert!(both["idle/idle-looks"] > 0 && both["exit-storm/exits-mapped"] > 0, "{both:?}");
    let three = "mix:idle,exit-storm,anon-exit-vs-reclaim";
    let turns = counts(three, "882102", &["--seconds", "6"]);
    let busy = |name: &str| turns[name] > 0;
    let all = ["idle/idle-looks", "exit-storm/exits-mapped", "anon-exit-vs-reclaim/exits-mapped"];
    assert!(all.into_iter().all(busy), "two of three at a time, and after three seconds the third: {turns:?}");
}

#[test]
fn files_go_where_the_user_says_and_none_is_left() {
    let folder = std::env::temp_dir().join(format!("torture-scratch-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let at = folder.display().to_string();
    for workload in ["kbuild-lite", "shared-dirty-zap", "file-thp"] {
        counts(workload, "882201", &["--seconds", "1", "--scratch", &at]);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{workload}");
    }
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn text_tells_a_person_what_happens() {
    let output = torture(&["anon-churn", "--seconds", "1", "--memory", "32M", "--seed", "881002"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("anon-churn:\n  memory available "), "{text}");
    assert!(text.contains("finished: ") && text.contains("violations: 0"), "{text}");
}

/// Lets a child run until it has reported progress.
fn running(seed: &str) -> (Child, std::io::BufReader<std::process::ChildStdout>) {
    use std::io::BufRead as _;
    let mut child = torture(&["anon-churn", "--seconds", "60", "--json", "--memory", "32M", "--seed", seed])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("progress") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
    }
    assert!(alive(seed).len() > 1, "no processes to leave behind");
    (child, lines)
}

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn sigterm_stops_all_of_it() {
    let (mut child, lines) = running("881003");
    signal(&child, "-TERM");
    let rest: Vec<_> = std::io::BufRead::lines(lines).map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert!(!rest.iter().any(|line| line.contains("finished") || line.contains("violation")), "{rest:?}");
    assert_eq!(alive("881003"), [] as [String; 0]);
}

#[test]
fn even_sigkill_leaves_nobody_behind() {
    let (mut child, lines) = running("881004");
    signal(&child, "-KILL");
    assert_eq!(child.wait().unwrap().code(), None);
    // The processes hold the other end of this pipe: its end of file is theirs.
    std::io::BufRead::lines(lines).for_each(drop);
    // Descriptors are closed shortly before a process is a zombie, and reaping it is up to this host's init.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !alive("881004").is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", alive("881004"));
        std::thread::yield_now();
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let (mut child, lines) = running("881005");
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(alive("881005"), [] as [String; 0]);
}

#[test]
fn a_bad_request_is_one_line_and_status_2() {
    for (args, needle) in [
        (&["anon-chrun"] as &[_], "did you mean 'anon-churn'?"),
        (&["anon-churn", "--memory", "900000G"], "memory and swap to give"),
        (&["anon-churn", "--memory", "4K"], "too small to race with"),
        (&["anon-churn", "--seconds", "soon"], "whole number of seconds"),
        (&["mix:anon-churn=0"], "from 1 to 100"),
        (&["kbuild-lite", "--scratch", "/nowhere"], "expected a folder to write to"),
        (&[], "no workload is named"),
    ] {
        let output = torture(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("torture: ") && text.contains(needle), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_list_is_for_people_and_for_programs() {
    let text = torture(&["list"]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().starts_with("anon-churn "));
    let json = torture(&["list", "--format", "json"]).output().unwrap();
    let entries: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(entries[0]["name"], "anon-churn");
}
