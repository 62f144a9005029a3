//! One bed, and what it promises.

use mmtorture_testbed::{Error, Job, Options, Output, Testbed};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the guest may write to.
const SHARE: &str = env!("CARGO_TARGET_TMPDIR");

fn options() -> Options {
    Options {
        memory_mib: 1024,
        shares: vec![PathBuf::from(SHARE)],
        init: Some(PathBuf::from(env!("CARGO_BIN_EXE_testbed-init"))),
        ..Options::default()
    }
}

/// Runs a command line in the bed of this test binary; `None` where there can be none.
fn run(line: &str) -> Option<Output> {
    let bed = Testbed::shared(&options())?;
    Some(bed.run(&Job::shell(line)).unwrap())
}

#[test]
fn a_status_passes_through() {
    let Some(output) = run("echo out; echo err >&2; exit 7") else { return };
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("out\n", "err\n"));
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(run("kill -TERM $$").unwrap().status.signal(), Some(libc::SIGTERM));
    let bed = Testbed::shared(&options()).unwrap();
    let missing = bed.run(&Job::new(["mmtorture-no-such-program"])).unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(missing.stderr().contains("cannot start \"mmtorture-no-such-program\""), "{}", missing.stderr());
}

#[test]
fn all_of_a_long_output_arrives_in_order() {
    let Some(output) = run("seq 1 100000") else { return };
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(output.stdout() == expected, "{} bytes, not {}", output.stdout.len(), expected.len());
}

#[test]
fn the_hosts_files_are_there_and_safe() {
    let here = env!("CARGO_MANIFEST_DIR");
    let Some(output) = run(&format!("cat {here}/Cargo.toml && echo scratch > {here}/scratch && cat {here}/scratch"))
    else {
        return;
    };
    let expected = std::fs::read_to_string(Path::new(here).join("Cargo.toml")).unwrap() + "scratch\n";
    assert_eq!(output.stdout(), expected, "{}", output.stderr());
    assert!(!Path::new(here).join("scratch").exists(), "the guest wrote to the host");
}

#[test]
fn a_share_goes_both_ways() {
    let folder = tempfile::tempdir_in(SHARE).unwrap();
    let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));
    // Written when the bed may have been up for long: nothing of a share may be cached.
    std::fs::write(&mine, "from the host\n").unwrap();
    let Some(output) = run(&format!("cat {0} && echo from the bed > {1}", mine.display(), theirs.display())) else {
        return;
    };
    assert_eq!(output.stdout(), "from the host\n", "{}", output.stderr());
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "from the bed\n");
    std::fs::write(&mine, "again, and longer\n").unwrap();
    assert_eq!(run(&format!("cat {}", mine.display())).unwrap().stdout(), "again, and longer\n");
}

/// This test binary, static as everything, runs in the bed as well as here.
#[test]
fn kvm_runs_there() {
    let Some(bed) = Testbed::shared(&options()) else { return };
    let me = std::env::current_exe().unwrap();
    let job = Job::new([me.to_str().unwrap(), "--ignored", "--exact", "in_the_bed_kvm_makes_a_machine"]);
    let output = bed.run(&job).unwrap();
    assert!(output.status.success(), "{}{}", output.stdout(), output.stderr());
    assert!(output.stdout().contains("1 passed"), "{}", output.stdout());
}

#[test]
#[ignore = "runs in the bed"]
fn in_the_bed_kvm_makes_a_machine() {
    let kvm = kvm_ioctls::Kvm::new().unwrap();
    assert_eq!(kvm.get_api_version(), 12);
    let vcpu = kvm.create_vm().unwrap().create_vcpu(0).unwrap();
    assert_ne!(vcpu.get_sregs().unwrap().cs.selector, 0);
}

#[test]
fn a_command_has_a_deadline_and_leaves_nothing_behind() {
    let Some(bed) = Testbed::shared(&options()) else { return };
    let start = Instant::now();
    let job = Job::shell("echo before; sleep 1001 & sleep 1002").limit(Duration::from_secs(2));
    let output = bed.run(&job).unwrap();
    assert!(output.timed_out && output.status.signal() == Some(libc::SIGKILL), "{output:?}");
    assert_eq!(output.stdout(), "before\n");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // One that ends in time takes what it started with it, and does not wait for it.
    let output = run("sleep 1003 & echo done").unwrap();
    assert_eq!((output.stdout().as_str(), output.timed_out), ("done\n", false));
    let sleeping = run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").unwrap().stdout();
    assert!(!sleeping.contains("sleep 100"), "{sleeping}");
}

#[test]
fn a_bed_that_is_not_ready_in_time_is_a_failure() {
    match Testbed::boot(&Options { boot_limit: Duration::from_millis(50), ..options() }) {
        Err(Error::Failed(why)) => assert!(why.contains("not ready in time"), "{why}"),
        Err(Error::Missing(what)) => eprintln!("skipped: {what}"),
        Ok(_) => panic!("ready in 50 ms"),
    }
}
