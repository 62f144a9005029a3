//! Searches over git and over the load, from the command line to the answer, on a kernel that builds in milliseconds
//! and a machine that plays its guest: see `data/fake-guest`.

mod common;
#[path = "common/stage.rs"]
mod stage;
#[path = "common/yard.rs"]
mod yard;

use serde_json::Value;
use stage::Stage;

const TRIALS: &str = "seconds: 12\ntrials: 3";

/// A line of commits with a merge in it, after which one does not build; the third commit of the merged branch breaks
/// it.
fn with_history(stage: &Stage) {
    let sh = |script: &str| stage.yard.sh(&format!("cd linux && {script}"));
    sh("git init -q -b main . && git add . && git commit -qm base && git tag base");
    sh("git checkout -qb side && echo c three > mm/c.c && git commit -qam 'mm: c, one'");
    sh("echo d three >> mm/d.c && git commit -qam 'mm: d, two'");
    sh("echo c broken >> mm/c.c && git commit -qam 'mm: c, three' && git tag culprit");
    sh("echo d four >> mm/d.c && git commit -qam 'mm: d, four' && git checkout -q main");
    sh("echo a three >> mm/a.c && git commit -qam 'mm: a' && git merge -q --no-ff -m 'Merge side' side");
    sh("sed -i s,mm/d.o,mm/absent.o, Makefile && git commit -qam 'does not build'");
    sh("git revert --no-edit HEAD >/dev/null && echo b three >> mm/b.c && git commit -qam 'mm: b'");
}

#[test]
fn a_commit_is_found_through_a_merge_and_past_one_that_does_not_build() {
    let stage = Stage::new();
    with_history(&stage);
    let cell = stage.fail("git:linux@main", TRIALS);
    let bisect = ["bisect", &cell, "--over", "git", "--good", "base", "--format", "json"];
    let said = stage.command(&bisect).expect(1, &["does not build", "bisecting linux@"]);
    let found: Value = said.json();
    let lines = found["lines"].as_array().unwrap();
    let subjects = |n: usize| -> Vec<_> {
        lines[n]["commits"].as_array().unwrap().iter().map(|c| c["subject"].as_str().unwrap()).collect()
    };
    assert_eq!(lines.len(), 2, "{found:#}");
    assert_eq!(subjects(0)[..3], ["mm: a", "Merge side", "does not build"]);
    assert_eq!(subjects(1), ["mm: c, one", "mm: d, two", "mm: c, three", "mm: d, four", "Merge side"]);
    assert_eq!((&lines[1]["bisection"]["conclusion"], &lines[1]["bisection"]["patch"]), (&"culprit".into(), &3.into()));
    assert_eq!(lines[1]["bisection"]["verification"]["verified"], true, "{found:#}");

    // git agrees.
    stage.yard.sh("git clone -q linux clone");
    std::fs::write(stage.yard.path("log"), found["log"].as_str().unwrap()).unwrap();
    let replayed = stage.git("clone", &["bisect", "replay", "../log"]);
    assert!(
        replayed.contains(&format!("{} is the first bad commit", stage.commit("culprit"))),
        "{replayed}\n{}",
        found["log"]
    );

    // It is known now: to ask again runs nothing. For people it says the same.
    let trials = stage.trials();
    assert_eq!(stage.command(&bisect).expect(1, &[]).json(), found);
    assert_eq!(stage.trials(), trials);
    let shown = stage.yard.bench.run(&["show", "latest"]).expect(0, &[]).stdout;
    let culprit = format!("commit: {} mm: c, three\n", &stage.commit("culprit")[..12]);
    assert!(shown.contains(&culprit) && shown.contains("merge: ") && shown.contains("git bisect good"), "{shown}");
}

#[test]
fn what_cannot_be_searched_over_git_is_said() {
    let stage = Stage::new();
    with_history(&stage);
    let cell = stage.fail("git:linux@main", TRIALS);
    let refuse = |options: &[&str], words: &str| {
        stage.command(&[&["bisect", &cell, "--over", "git"], options].concat()).expect(2, &[words]);
    };
    refuse(&[], "--over git and --good REVISION go together");
    refuse(&["--good", "absent"], "there is no such commit");
    refuse(&["--good", "main"], "no commit is in");
    refuse(&["--good", "main", "--bad", "base"], "is no ancestor of bad commit");
    stage.command(&["bisect", &cell, "--good", "base"]).expect(2, &["go together"]);
    stage.yard.sh("cd linux && echo more >> mm/b.c && git commit -qam more");
    refuse(&["--good", "base"], "was another commit when it failed");
    let cell = stage.fail("tree:linux", TRIALS);
    stage.command(&["bisect", &cell, "--over", "git", "--good", "base"]).expect(2, &["needs a kernel.source git:"]);
}

#[test]
fn of_a_mix_the_member_that_fails_soonest_is_named() {
    let stage = Stage::new();
    stage.yard.sh("echo c broken >> linux/mm/c.c");
    let lines = "workloads: ['mix:anon-churn=2,gup-pin,hot-pages']\nseconds: 12\ntrials: 6";
    let cell = stage.fail("tree:linux", lines);
    let bisect = ["bisect", &cell, "--over", "workload", "--format", "json"];
    let found = stage.command(&bisect).expect(1, &[]).json();
    let loads = found["loads"].as_array().unwrap();
    let best = &loads[found["best"].as_u64().unwrap() as usize];
    assert!(!best["workload"].as_str().unwrap().starts_with("mix"), "{found:#}");
    assert!(found["confidence"].as_f64().unwrap() >= 0.95, "{found:#}");
    assert!(best["rate"]["median"].as_f64() > loads[0]["rate"]["median"].as_f64(), "{found:#}");
    // The winner was raced with fewer processors.
    let fewer = loads.iter().any(|load| load["settings"]["cpus"] == "1" && load["tally"]["hits"].as_u64() > Some(0));
    assert!(fewer, "{found:#}");
    let trials = stage.trials();
    assert_eq!(stage.command(&bisect).expect(1, &[]).json(), found);
    assert_eq!(stage.trials(), trials, "an answer that is there needs no trial");
    let shown = stage.yard.bench.run(&["show", "latest"]).expect(0, &[]).stdout;
    assert!(shown.contains("workload: kernel BUG in do_c_page"), "{shown}");
}

/// The tree fails as it is, and has two harmless patches on top.
#[test]
fn a_failure_that_the_source_has_too_is_blamed_on_no_patch() {
    let stage = Stage::new();
    stage.yard.sh("echo c broken >> linux/mm/c.c && mkdir s");
    for (n, name) in ["a", "b"].iter().enumerate() {
        let diff =
            format!("--- x/mm/{name}.c\n+++ y/mm/{name}.c\n@@ -1,2 +1,3 @@\n {name} one\n {name} two\n+{name} three\n");
        let patch = format!("Subject: mm: {name}\n\n{diff}");
        std::fs::write(stage.yard.path(&format!("s/{}-{name}.patch", n + 1)), patch).unwrap();
    }
    let lines = format!("series: [s]\nvariants: [base, all]\n{TRIALS}");
    let matrix = stage.yard.matrix("tree:linux", &lines);
    let said = stage.command(&["run", &matrix]).expect(1, &["bisecting s over 2 patches"]);
    assert!(said.stdout.contains("bisection: pre-existing: the source fails without s too"), "{}", said.stdout);
    assert!(!said.stdout.contains("culprit"), "{}", said.stdout);

    // What is known is no failure, and nothing is looked for.
    std::fs::write(stage.yard.path("known.yaml"), "[{match: '^kernel BUG in do_c_page$', reason: known}]").unwrap();
    let matrix =
        stage.yard.matrix("tree:linux", &format!("{lines}\nallow: known.yaml").replace("trials: 3", "trials: 1"));
    let said = stage.command(&["run", &matrix]);
    assert!(
        !said.stderr.contains("bisecting") && !said.stdout.contains("finding:"),
        "{}\n{}",
        said.stdout,
        said.stderr
    );
}
