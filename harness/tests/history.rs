//! The history over runs that nobody ran.

mod common;
#[path = "common/synthetic.rs"]
mod synthetic;

use common::Bench;
use mmtorture_harness::history::{History, FILE};
use mmtorture_harness::record::Run;
use mmtorture_harness::report::history_page;
use std::path::Path;
use synthetic::Spec;

/// Ten days: a bug from the first, another from day 4 to day 7.
fn ten_days(results: &Path) -> Vec<Run> {
    let consoles = synthetic::consoles(None);
    let on = |day: u32| {
        let few = if (4..8).contains(&day) { &consoles[..2] } else { &consoles[..1] };
        synthetic::write(results, &Spec { cells: 60, failures: 12, day, first_console: 0 }, few)
    };
    (0..10).map(on).collect()
}

fn second() -> String {
    let consoles = synthetic::consoles(None);
    consoles[1].findings.iter().find(|f| f.is_failure()).unwrap().signature.clone()
}

fn name(run: &Run) -> String {
    run.dir.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn it_says_when_a_bug_began_and_when_it_ceased() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let history = History::open(dir.path()).unwrap();
    let all = history.signatures().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all.iter().map(|s| s.trials).sum::<i64>(), 120);
    let when = history.when(&second()).unwrap().unwrap();
    assert_eq!(when.clean_before.unwrap().run, name(&runs[3]));
    assert_eq!(when.signature.first.run, name(&runs[4]));
    assert_eq!(when.signature.last.run, name(&runs[7]));
    assert_eq!(when.clean_since.unwrap().run, name(&runs[8]));
    assert_eq!(when.signature.runs, 4);
    let seen: Vec<bool> = when.runs.iter().map(|(_, seen, _)| *seen > 0).collect();
    assert_eq!(seen, [false, false, false, false, true, true, true, true, false, false]);
    assert!(when
        .variants
        .iter()
        .all(|v| v.variant != "base" && v.trials > 0 && v.trials < v.of && v.median_ms.is_some()));
    assert_eq!(history.when("absent").unwrap(), None);
}

#[test]
fn made_anew_it_says_the_same_as_grown() {
    let dir = tempfile::tempdir().unwrap();
    for run in ten_days(dir.path()) {
        History::note(&run);
    }
    let grown = History::open(dir.path()).unwrap();
    let (all, when) = (grown.signatures().unwrap(), grown.when(&second()).unwrap());
    drop(grown);
    let anew = History::rebuild(dir.path()).unwrap();
    assert_eq!((anew.signatures().unwrap(), anew.when(&second()).unwrap()), (all, when));
}

#[test]
fn a_run_that_goes_on_is_read_again_and_one_that_is_gone_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let trials = |h: &History| h.signatures().unwrap().iter().map(|s| s.trials).sum::<i64>();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 120);
    let (broken, trial) = runs[9].trials().unwrap().into_iter().find(|(_, t)| t.finding().is_some()).unwrap();
    std::fs::remove_dir_all(broken).unwrap();
    let mut header = runs[9].header().unwrap();
    header.problems.push(format!("{} is gone", trial.cell));
    runs[9].write_header(&header).unwrap();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 119);
    std::fs::remove_dir_all(&runs[0].dir).unwrap();
    assert_eq!(trials(&History::open(dir.path()).unwrap()), 119, "pruned runs stay known");
    assert_eq!(trials(&History::rebuild(dir.path()).unwrap()), 107, "until it is made anew");
}

#[test]
fn a_damaged_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let whole = History::open(dir.path()).unwrap().signatures().unwrap();
    let file = dir.path().join(FILE);
    let good = std::fs::read(&file).unwrap();
    let mut torn = good.clone();
    torn[100..4096].fill(0xa5);
    let mut other = good.clone();
    // `user_version`: an index of another version.
    other[60..64].copy_from_slice(&99u32.to_be_bytes());
    for bad in
        [b"not a database at all, but a text of some length".to_vec(), good[..good.len() / 2].to_vec(), torn, other]
    {
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap(), whole);
        std::fs::write(&file, &bad).unwrap();
        History::note(&runs[0]);
        assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap(), whole);
    }
}

#[test]
fn a_damaged_run_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    std::fs::write(runs[2].dir.join("plan.json"), "[").unwrap();
    let all = History::open(dir.path()).unwrap().signatures().unwrap();
    assert_eq!(all.iter().map(|s| s.trials).sum::<i64>(), 108);
}

#[test]
fn a_folder_that_cannot_hold_an_index_is_asked_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    ten_days(dir.path());
    // Nobody, not even root, opens a folder as a database.
    std::fs::create_dir(dir.path().join(FILE)).unwrap();
    assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap().len(), 2);
    assert_eq!(History::rebuild(dir.path()).unwrap().signatures().unwrap().len(), 2);
}

/// Puts a finding that is expected into a trial of that run that passed.
fn expect_one(run: &Run, title: &str) -> String {
    let trials = run.trials().unwrap();
    let (_, failed) = trials.iter().find(|(_, t)| t.finding().is_some()).unwrap();
    let (dir, passed) = trials.iter().find(|(_, t)| t.outcome.name() == "pass").unwrap();
    let mut finding = serde_json::to_value(failed.finding().unwrap()).unwrap();
    finding["title"] = title.into();
    finding["signature"] = format!("warning|{title}").into();
    finding["expected"] = "reported upstream".into();
    let mut trial = serde_json::to_value(passed).unwrap();
    trial["findings"] = serde_json::json!([finding]);
    std::fs::write(dir.join("trial.json"), serde_json::to_vec(&trial).unwrap()).unwrap();
    format!("warning|{title}")
}

#[test]
fn what_was_expected_is_a_known_issue() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let signature = expect_one(&runs[5], "WARNING in known");
    let history = History::open(dir.path()).unwrap();
    let all = history.signatures().unwrap();
    let of = |signature: &str| all.iter().find(|s| s.signature == signature).unwrap();
    assert_eq!(of(&signature).known.as_deref(), Some("reported upstream"));
    assert_eq!((of(&signature).trials, of(&second()).known.as_deref()), (1, None));
    let when = history.when(&signature).unwrap().unwrap();
    assert_eq!(&when.signature, of(&signature));
    assert_eq!(when.signature.first.run, name(&runs[5]));
    assert_eq!(when.variants[0].median_ms, None, "it ended no trial: when it came is not on record");
    let page = history_page(&history.overview(1000).unwrap(), "results");
    assert_eq!(page.matches("<td class=\"known\">").count(), 1);
    assert!(page.contains("<dt>Known issue</dt><dd>reported upstream</dd>"));
}

#[test]
fn an_overview_says_the_same_as_each_answer() {
    let dir = tempfile::tempdir().unwrap();
    ten_days(dir.path());
    // A run of `base` alone, where nothing was ever seen.
    let alone = synthetic::write(dir.path(), &Spec { cells: 1, failures: 0, day: 11, first_console: 0 }, &[]);
    let history = History::open(dir.path()).unwrap();
    let overview = history.overview(1000).unwrap();
    assert_eq!((overview.runs.len(), overview.all_runs), (11, 11));
    assert_eq!(overview.runs[0].id, name(&alone));
    let signatures: Vec<_> = overview.rows.iter().map(|row| row.when.signature.clone()).collect();
    assert_eq!(signatures, history.signatures().unwrap());
    for row in &overview.rows {
        assert_eq!(Some(&row.when), history.when(&row.when.signature.signature).unwrap().as_ref());
        assert_eq!(row.nights[0], None, "it did not come to where that was ever seen");
    }
    let row = overview.rows.iter().find(|row| row.when.signature.signature == second()).unwrap();
    let seen: Vec<bool> = row.nights[1..].iter().map(|night| night.unwrap().seen > 0).collect();
    assert_eq!(seen, [false, false, true, true, true, true, false, false, false, false], "the newest first");
    let few = history.overview(3).unwrap();
    assert_eq!((few.runs.len(), few.all_runs, few.rows[0].nights.len()), (3, 11, 3));
    assert!(few.rows.iter().zip(&overview.rows).all(|(few, all)| few.when == all.when), "what is said is of all runs");
}

#[test]
fn a_page_tells_new_from_gone_and_clean_from_not_run() {
    let dir = tempfile::tempdir().unwrap();
    ten_days(dir.path());
    synthetic::write(dir.path(), &Spec { cells: 1, failures: 0, day: 11, first_console: 0 }, &[]);
    let page = history_page(&History::open(dir.path()).unwrap().overview(1000).unwrap(), "results");
    assert!(page.contains("<h1>2 signatures in 11 runs, none of them new</h1>"), "{page}");
    let row = |signature: &str| {
        let title = signature.split('|').nth(1).unwrap();
        page.split("<tr>").find(|row| row.contains(title)).unwrap().to_owned()
    };
    let gone = row(&second());
    assert!(gone.contains("<span class=\"chip gone\">"), "{gone}");
    let count = |what: &str| gone.matches(&format!("<td class=\"{what}\"")).count();
    let red: usize = (1..=5).map(|level| count(&format!("l{level}"))).sum();
    assert_eq!((count("none"), count("l0"), red), (1, 6, 4), "{gone}");
}

#[test]
fn a_page_runs_no_script_but_its_own_and_loads_nothing() {
    const HOSTILE: &str =
        "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u{202e}\r\n<!--'\"|</style>";
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    expect_one(&runs[5], HOSTILE);
    let page = history_page(&History::open(dir.path()).unwrap().overview(1000).unwrap(), HOSTILE);
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2), "the data and the script");
    assert_eq!(page.matches("</style").count(), 1);
    assert!(page.contains("alert(1)"), "a guest's words are shown");
    for forbidden in ["<img", "<!--", "http://", "https://", "url(", "@import", "\u{202e}", "\x1b", "\r"] {
        assert!(!page.contains(forbidden), "{forbidden:?} in the page");
    }
    assert!(page.contains("default-src 'none'"));
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str::<serde_json::Value>(data).unwrap();
}

#[test]
fn an_index_of_the_version_before_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let runs = ten_days(dir.path());
    let now = History::open(dir.path()).unwrap().signatures().unwrap();
    let db = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    db.execute_batch(
        "ALTER TABLE tally DROP COLUMN known; ALTER TABLE tally DROP COLUMN reason; PRAGMA user_version = 2;",
    )
    .unwrap();
    drop(db);
    // What only it knows.
    std::fs::remove_dir_all(&runs[0].dir).unwrap();
    assert_eq!(History::open(dir.path()).unwrap().signatures().unwrap(), now);
}

#[test]
fn the_command_line_tells_it() {
    let bench = Bench::new();
    bench.run(&["history"]).expect(2, &["there is no folder"]);
    let results = bench.path("results");
    std::fs::create_dir(&results).unwrap();
    let runs = ten_days(&results);
    let said = bench.run(&["history"]).expect(0, &[]);
    assert_eq!(said.stdout.lines().count(), 3, "{}", said.stdout);
    let said = bench.run(&["history", &second()]).expect(0, &[]);
    assert!(said.stdout.contains(&format!("first seen    2024-10-08 00:00  {}", name(&runs[4]))), "{}", said.stdout);
    let json = bench.run(&["history", &second(), "--format", "json"]).expect(0, &[]).json();
    assert_eq!(json[0]["clean_before"]["run"], name(&runs[3]).as_str());
    let file = bench.path("history.html");
    let (asked, output) = (second(), file.display().to_string());
    let page = ["history", asked.as_str(), "--format", "html", "--output", output.as_str(), "--runs", "4"];
    bench.run(&page).expect(0, &[]);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("1 signature in 10 runs") && page.contains("The table has the newest 4 runs"), "{page}");
    bench.run(&["history", "--format", "html", "--runs", "0"]).expect(2, &["1..=10000"]);
    bench.run(&["history", "--rebuild"]).expect(0, &[]);
    bench.run(&["history", "nothing like it"]).expect(2, &["no finding 'nothing like it'"]);
}
