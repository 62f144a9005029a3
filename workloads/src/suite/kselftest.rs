//! `kselftest[:TEST,...|:-TEST,...]`: the memory-management selftests of the tree under test, one after the other.
//!
//! A test's exit status is its result (tools/testing/selftests/kselftest.h). Each is counted as `TEST/passed`,
//! `TEST/skipped` or `TEST/failed`; a failure is a violation called `kselftest-TEST`. What runs longer than it may is killed
//! and counted as `tests-killed-late`: a test does not know how slow its machine is.

use super::program::{self, Ended, Program};
use super::root::{Root, TMP};
use super::Job;
use crate::board::{ops, Op};
use crate::job::{claim, Role};
use crate::life::Life;
use std::path::Path;
use std::time::Duration;

ops!(OPS: PASS = "tests-passed", SKIP = "tests-skipped", FAIL = "tests-failed", LATE = "tests-killed-late");

/// Where the root has the tests.
const TESTS: &str = "/tests";

/// How long a test may run: three times what each has on real machines (tools/testing/selftests/mm/settings).
const LIMIT: Duration = Duration::from_secs(135);

/// A load without an end, and how long it is run: that it was killed is no failure.
const ENDLESS: (&str, Duration) = ("transhuge-stress", Duration::from_secs(10));

/// How many lines of a test that speak of a failure are kept.
const COMPLAINTS: usize = 4;

/// What tests say that fail, and do not skip, because they get no memory. Under heuristic overcommit a guest refuses more
/// than it has (mm/util.c, __vm_enough_memory): 2 GiB of mremap_test's. khugepaged gives up on the huge pages that it wants.
const NO_MEMORY: &[&str] = &["Cannot allocate memory", "No THP is allocated", "Failed to allocate huge page"];

/// And because the kernel has no such call: map_populate wants socketpair(2).
const NOT_HERE: &str = "Function not implemented";

/// Exit statuses.
const SKIPPED: i32 = 4;
const FAILED_AS_EXPECTED: i32 = 2;

/// The parts of what is counted for each test.
const RESULTS: [&str; 3] = ["passed", "skipped", "failed"];

/// A test that is not run by its name alone.
struct Special {
    program: &'static str,
    /// Each of these is one run.
    runs: &'static [&'static [&'static str]],
    /// The file without which it cannot run, and fails instead of saying so.
    needs: &'static str,
}

const HUGETLB: &str = "/proc/sys/vm/nr_hugepages";

/// As run_vmtests.sh runs them. What it does not run itself has arguments that end.
const SPECIAL: &[Special] = &[
    Special { program: "compaction_test", runs: &[&[]], needs: HUGETLB },
    Special { program: "hugepage-mmap", runs: &[&[]], needs: HUGETLB },
    Special { program: "hugepage-mremap", runs: &[&["/tmp/huge"]], needs: HUGETLB },
    Special { program: "hugepage-shm", runs: &[&[]], needs: HUGETLB },
    Special { program: "hugepage-vmemmap", runs: &[&[]], needs: HUGETLB },
    Special { program: "hugetlb-madvise", runs: &[&["/tmp/huge"]], needs: HUGETLB },
    Special { program: "map_hugetlb", runs: &[&[]], needs: HUGETLB },
    Special { program: "thuge-gen", runs: &[&[]], needs: HUGETLB },
    Special { program: "gup_test", runs: &[&["-u"], &["-a"]], needs: "/sys/kernel/debug/gup_test" },
    Special { program: "hmm-tests", runs: &[&[]], needs: "/dev/hmm_dmirror0" },
    Special { program: "split_huge_page_test", runs: &[&[]], needs: "/sys/kernel/debug/split_huge_pages" },
    Special { program: "userfaultfd", runs: &[&["anon", "20", "16"], &["shmem", "20", "16"]], needs: "/proc/self" },
    Special { program: "khugepaged", runs: &[&["all:anon"], &["all:shmem"]], needs: "/proc/self" },
];

/// Programs that are no tests, or that test something else: what they are part of, or why not.
const NO_TESTS: &[(&str, &str)] = &[
    ("write_to_hugetlbfs", "a part of the scripts for hugetlb control groups"),
    ("va_128TBswitch", "for page tables of five levels"),
    ("va_high_addr_switch", "for page tables of five levels"),
    ("on-fault-limit", "for users without privileges, and fails for others"),
];

/// Looks which tests there are, and which of them are asked for: those in `asked`, or else all but some.
///
/// # Errors
/// One line: there are none, or not those.
pub fn prepare(root: Root, asked: &[String], but: &[String]) -> Result<Job, String> {
    let folder = root.path(TESTS);
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("kselftest: --root has no {TESTS}: {e}"))?;
    let mut tests: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    tests.sort();
    if let Some(wrong) = asked.iter().chain(but).find(|test| !tests.contains(test)) {
        return Err(format!("kselftest: there is no test '{wrong}', expected one of {}", tests.join(" ")));
    }
    let wanted = |test: &String| match asked {
        [] => NO_TESTS.iter().all(|(name, _)| name != test) && !but.contains(test),
        asked => asked.contains(test),
    };
    tests.retain(wanted);
    let own = tests.iter().flat_map(|test| RESULTS.map(|result| format!("{test}/{result}")));
    let ops = OPS.iter().map(|&op| op.to_owned()).chain(own).collect();
    let says = vec![format!("{} tests: {}", tests.len(), tests.join(" "))];
    let role = Role::new("kselftest", 1, move |life| loop {
        for (at, test) in tests.iter().enumerate() {
            let counts = |result: usize| Op(crate::board::COMMON.len() + OPS.len() + at * RESULTS.len() + result);
            run(life, &root, test, &counts);
        }
    });
    Ok(Job { says, ops, claims: vec![claim("tests", &["tests-passed"], 1)], roles: vec![role] })
}

fn run(life: &mut Life<'_>, root: &Root, test: &str, counts: &dyn Fn(usize) -> Op) {
    let special = SPECIAL.iter().find(|special| special.program == test);
    let skip = |life: &Life<'_>| {
        life.did(SKIP);
        life.did(counts(1));
    };
    if special.is_some_and(|special| !Path::new(special.needs).exists()) {
        return skip(life);
    }
    for more in special.map_or(&[&[] as &[&str]] as &[_], |special| special.runs) {
        let args = std::iter::once(format!("{TESTS}/{test}")).chain(more.iter().map(|&arg| arg.to_owned()));
        let limit = if test == ENDLESS.0 { ENDLESS.1 } else { LIMIT };
        let program = Program { args: args.collect(), dir: TMP, limit };
        let oom_before = crate::supervise::oom_kills();
        let mut complaints = Vec::new();
        let (mut no_memory, mut not_here) = (false, false);
        let complain = |line: &str| {
            no_memory |= NO_MEMORY.iter().any(|words| line.contains(words));
            not_here |= line.contains(NOT_HERE);
            let says = |word| line.to_ascii_lowercase().contains(word);
            if complaints.len() < COMPLAINTS && (says("fail") || says("not ok") || says("error")) {
                complaints.push(line.chars().take(200).collect::<String>());
            }
        };
        let ended = match program::run(root, &program, complain) {
            Ok(ended) => ended,
            Err(errno) => {
                life.check::<()>(FAIL, "fork", Err(errno));
                continue;
            }
        };
        match result(&ended, crate::supervise::oom_kills() > oom_before) {
            Outcome::Late if test != ENDLESS.0 => life.did(LATE),
            Outcome::Passed | Outcome::Late => {
                life.did(PASS);
                life.did(counts(0));
            }
            Outcome::Skipped => skip(life),
            Outcome::OutOfMemory => life.did(Op::OOM_KILL),
            Outcome::Failed if no_memory => life.did(Op::ENOMEM),
            Outcome::Failed if not_here => skip(life),
            Outcome::Failed => {
                life.did(FAIL);
                life.did(counts(2));
                let detail = format!("{}: {}; {}", program.args.join(" "), complaints.join(" | "), ended.says());
                life.violation(&format!("kselftest-{test}"), &detail);
            }
        }
    }
}

/// What a test came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
    Late,
    OutOfMemory,
}

fn result(ended: &Ended, oom: bool) -> Outcome {
    match (ended.code(), ended.status) {
        (_, None) => Outcome::Late,
        (Some(0 | FAILED_AS_EXPECTED), _) => Outcome::Passed,
        (Some(SKIPPED), _) => Outcome::Skipped,
        // It fails if one of its processes is taken, or is taken itself.
        _ if oom => Outcome::OutOfMemory,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::ask;
    use crate::job::Pressure;

    #[test]
    fn skips_are_skips_and_failures_failures() {
        let root = Root::enter(&ask(Pressure::Polite, None)).unwrap();
        let ended = |script: &str| {
            let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            program::run(&root, &Program { args, dir: "/", limit: Duration::from_secs(1) }, |_| {}).unwrap()
        };
        assert_eq!(result(&ended("exit 0"), false), Outcome::Passed);
        assert_eq!(result(&ended("exit 4"), false), Outcome::Skipped);
        assert_eq!(result(&ended("exit 1"), false), Outcome::Failed);
        assert_eq!(result(&ended("kill -ABRT $$"), false), Outcome::Failed);
        assert_eq!(result(&ended("exit 1"), true), Outcome::OutOfMemory);
        assert_eq!(result(&ended("sleep 60"), false), Outcome::Late);
    }
}
