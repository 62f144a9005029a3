//! stress-ng, a kernel build and a selftest in guests, in the roots that they run in. Needs what `make setup` installs, and
//! an archive of Debian's packages within reach, unless the roots are in the cache.
//!
//! Run by `make suites`: the roots take two minutes and 65 MB of packages the first time.

mod common;

use common::{alone, Bench};

const KERNEL: &str =
    "kernel: {source: 'debian:linux-source-6.1', kconfig: [base, guest, mm, debug, acpi, virtio, mm-more, features]}";

/// Whether the test is to run at all.
fn asked() -> bool {
    let asked = std::env::var_os("MMTORTURE_SUITES").is_some();
    if !asked {
        println!("skipped: `make suites` runs it");
    }
    asked
}

/// Whether the roots that `matrix` wants can be had here.
fn roots(bench: &Bench, matrix: &str) -> bool {
    let said = bench.run(&["rootfs", matrix]);
    if said.status == Some(3) && said.stderr.contains("packages") {
        println!("skipped: {}", said.stderr);
        return false;
    }
    said.expect(0, &[]).stdout.contains("root.img")
}

#[test]
fn suites_run_on_a_good_kernel_and_pass() {
    if !asked() {
        return;
    }
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!(
        "{KERNEL}\ndimensions: {{thp: always, cpus: 2, memory: 400M, swap: 'disk:1G'}}\n\
         workloads: ['stress-ng:vm=1', 'kbuild:4', 'kselftest:soft-dirty,map_populate,hugepage-mmap']\n\
         seconds: 60\nexpect: [oom]"
    );
    let matrix = bench.matrix(&lines).display().to_string();
    if !roots(&bench, &matrix) {
        return;
    }
    let said = bench.run(&["run", &matrix, "--no-bisect"]).expect(0, &[]);
    println!("{}\n{}", said.stderr, said.stdout);
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let ops = |workload: &str| {
        let trials = run["trials"].as_array().unwrap();
        let trial = trials.iter().find(|t| t["cell"].as_str().unwrap().split('.').nth(1) == Some(workload)).unwrap();
        assert_eq!(trial["outcome"], "pass", "{trial}");
        trial["done"]["ops"].clone()
    };
    assert!(ops("stress-ng")["stressors"].as_u64() > Some(3));
    let kbuild = ops("kbuild");
    assert_eq!(kbuild["objects-identical"].as_u64(), kbuild["builds"].as_u64().map(|builds| builds * 4), "{kbuild}");
    let selftests = ops("kselftest");
    assert!(selftests["soft-dirty/passed"].as_u64() > Some(0), "{selftests}");
    // The kernel has no hugetlb: a skip, and no failure.
    assert!(selftests["hugepage-mmap/skipped"].as_u64() > Some(0), "{selftests}");
    assert_eq!(selftests["tests-failed"], 0, "{selftests}");
}

#[test]
fn a_build_on_ext4_and_in_a_tmpfs_in_a_control_group_passes() {
    if !asked() {
        return;
    }
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!(
        "{KERNEL}\ndimensions: {{thp: always, tmpfs-huge: always, cpus: 2, memory: 700M, swap: 'zram:1G', \
         memcg: 'v2:200M', backing: 'ext4-loop:256M'}}\nworkloads: ['kbuild:1']\nseconds: 120"
    );
    let matrix = bench.matrix(&lines).display().to_string();
    if !roots(&bench, &matrix) {
        return;
    }
    let said = bench.run(&["run", &matrix, "--no-bisect"]).expect(0, &[]);
    assert!(said.stdout.contains("PASS") || said.stdout.contains("pass"), "{}", said.stdout);
}

#[test]
fn a_suite_that_is_asked_for_wrongly_is_told() {
    let bench = Bench::new();
    let refuse = |workload: &str, words: &[&str]| {
        let matrix = bench.matrix(&format!("workloads: ['{workload}']")).display().to_string();
        drop(bench.run(&["plan", &matrix]).expect(2, words));
    };
    refuse("stress-ng:vn", &["no class 'vn'", "expected one of cpu"]);
    refuse("kbuild:301", &["'301'", "from 1 to 300"]);
    refuse("kselftest:", &["expected the names of tests"]);
    let matrix = bench.matrix("workloads: [idle]").display().to_string();
    bench.run(&["rootfs", &matrix]).expect(2, &["none of its workloads is a suite"]);
}

/// A kernel without ext4 cannot have the root: the cell was not exercised, and nobody is to blame.
#[test]
fn a_kernel_without_ext4_has_not_exercised_a_suite() {
    if !asked() {
        return;
    }
    let _alone = alone();
    let bench = Bench::new();
    let matrix = bench.matrix("workloads: ['stress-ng:vm=1']").display().to_string();
    if !roots(&bench, &matrix) {
        return;
    }
    let said = bench.run(&["run", &matrix, "--no-bisect"]);
    assert!(said.stdout.contains("not-exercised") && said.stdout.contains("CONFIG_EXT4_FS"), "{}", said.stdout);
}
