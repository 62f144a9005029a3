//! The command line where there is no bed: what is missing is named, and nothing is left running.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn testbed() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["run", "--", "true"]);
    command
}

/// A PATH on which QEMU is this shell script.
fn with_qemu(folder: &Path, script: &str) -> Command {
    let path = folder.join("qemu-system-x86_64");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = testbed();
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    command
}

/// Asserts that there was no bed, and that these words say why; or skips.
#[track_caller]
fn expect_none(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{stderr}");
    if stderr.contains("no kernel for the testbed") && !words.contains("kernel") {
        eprintln!("skipped: {stderr}");
        return;
    }
    assert!(stderr.contains(words), "no '{words}' in:\n{stderr}");
}

#[test]
fn a_kernel_that_was_never_fetched_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let output = testbed().env("XDG_CACHE_HOME", cache.path()).output().unwrap();
    expect_none(&output, "no kernel for the testbed in");
    expect_none(&output, "`testbed fetch` gets one");
}

#[test]
fn a_host_without_qemu_is_told_so() {
    let empty = tempfile::tempdir().unwrap();
    let output = testbed().env("PATH", empty.path()).output().unwrap();
    expect_none(&output, "qemu-system-x86_64 is not installed");
}

#[test]
fn a_qemu_without_9p_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo \"-device virtio-9p-pci: 'virtio-9p-pci' is not a valid device model name\" >&2; exit 1";
    let output = with_qemu(folder.path(), script).output().unwrap();
    expect_none(&output, "this QEMU has no virtio-9p");
}

#[test]
fn what_qemu_says_at_its_end_is_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_qemu(folder.path(), "echo the console; echo the trouble >&2; exit 3").output().unwrap();
    for words in ["ended before it was ready (QEMU: exit status: 3)", "the trouble", "the console"] {
        expect_none(&output, words);
    }
}

#[test]
fn qemu_dies_with_whoever_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid_file.display());
    let mut parent = Killed(with_qemu(folder.path(), &script).stderr(Stdio::piped()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !pid_file.exists() {
        if parent.0.try_wait().unwrap().is_some() {
            eprintln!("skipped: no kernel for the testbed; `testbed fetch` gets one");
            return;
        }
        assert!(Instant::now() < deadline, "QEMU was not started");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let qemu = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    parent.0.kill().unwrap();
    // A pidfd becomes readable when its process ends.
    let mut ends = [rustix::event::PollFd::new(&qemu, rustix::event::PollFlags::IN)];
    let patience = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ends, Some(&patience)), Ok(1), "QEMU lives on");
}

/// Killed whatever the test comes to.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
