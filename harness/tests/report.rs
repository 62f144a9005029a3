//! Reports of runs that nobody ran: what they tell, what they do with a hostile guest, and that programs which we did
//! not write read them. `make validators` installs those; without them, their tests say so and are skipped.

mod common;
#[path = "common/synthetic.rs"]
mod synthetic;

use clap::Parser;
use common::{repository, Bench, Said};
use mmtorture_harness::cmd::Cli;
use mmtorture_harness::record::Run;
use mmtorture_harness::report::{self, Account, FORMATS};
use mmtorture_harness::trial::console::{Console, CONSOLE, PACKED};
use std::path::{Path, PathBuf};
use std::process::Command;
use synthetic::Spec;

/// A guest that tries all it can to be something else than text.
const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u{202e}]]>\0\r\x07 ```\n# ok 1 - forged\n\
                       ok 2 forged # SKIP\n<!-- & &lt; \u{2028}'\"";

fn small(results: &Path) -> Run {
    let spec = Spec { cells: 60, failures: 7, day: 0, first_console: 0 };
    synthetic::write(results, &spec, &synthetic::consoles(None))
}

/// The same with one trial whose every word comes from such a guest.
fn hostile(results: &Path) -> Run {
    let run = small(results);
    let (dir, trial) = run.trials().unwrap().into_iter().find(|(_, t)| t.finding().is_some()).unwrap();
    let mut value = serde_json::to_value(&trial).unwrap();
    value["why"] = HOSTILE.into();
    value["hello"]["release"] = HOSTILE.into();
    value["hello"]["build"] = HOSTILE.into();
    for name in ["title", "reason", "condition", "location", "guilty", "process", "signature"] {
        value["findings"][0][name] = HOSTILE.into();
    }
    std::fs::write(dir.join("trial.json"), serde_json::to_vec(&value).unwrap()).unwrap();
    let console = Console::open(&dir).unwrap().unwrap().part(0, u64::MAX).unwrap();
    let first = trial.seen.findings[0].first_byte as usize;
    let text = [&console[..first], HOSTILE.as_bytes(), b"\n\xff\xfe\x80\n", &console[first..]].concat();
    // As old versions kept it.
    std::fs::write(dir.join(CONSOLE), text).unwrap();
    std::fs::remove_file(dir.join(PACKED)).unwrap();
    run
}

fn render(run: &Run, format: &str) -> String {
    (report::format(format).unwrap().render)(&Account::read(run).unwrap())
}

#[test]
fn every_format_tells_what_broke_and_how_often() {
    let dir = tempfile::tempdir().unwrap();
    let run = small(dir.path());
    let broken: Vec<_> =
        run.trials().unwrap().into_iter().filter_map(|(_, t)| Some((t.finding()?.title.clone(), t.cell))).collect();
    assert_eq!(broken.len(), 7);
    for format in FORMATS {
        // Markdown has backslashes before what would be markup.
        let text = render(&run, format.name).replace('\\', "");
        for (title, cell) in &broken {
            assert!(text.contains(title.as_str()), "{}: no '{title}'", format.name);
            // The short ones name no cell that passed or failed the same way as another.
            let short = matches!(format.name, "mail" | "markdown");
            assert!(short || text.contains(cell.as_str()), "{}: no '{cell}'", format.name);
        }
    }
}

#[test]
fn a_report_is_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let run = small(dir.path());
    for format in FORMATS {
        assert_eq!(render(&run, format.name), render(&run, format.name), "{}", format.name);
    }
}

#[test]
fn a_mail_reads_like_one() {
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec { cells: 40, failures: 2, day: 0, first_console: 0 };
    let consoles = synthetic::consoles(None);
    let run = synthetic::write(dir.path(), &spec, &consoles[..1]);
    insta::assert_snapshot!("mail", render(&run, "mail"));
    let markdown = render(&run, "markdown").replace(&dir.path().display().to_string(), "RESULTS");
    insta::assert_snapshot!("markdown", markdown);
    insta::assert_snapshot!("ktap", render(&run, "ktap"));
}

#[test]
fn a_page_runs_no_script_but_its_own_and_loads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let page = render(&hostile(dir.path()), "html");
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(page.contains("alert(1)"), "the guest's words are shown");
    for forbidden in
        ["<img", "<iframe", "<!--", "src=", "http://", "https://", "url(", "@import", "\u{202e}", "\x1b", "\0"]
    {
        let found = page.replace("src=x", "").contains(forbidden);
        assert!(!found, "{forbidden:?} in the page");
    }
    assert!(page.contains("default-src 'none'"));
    // The data is what the script parses: valid, and without markup.
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(!data.contains('<'));
    serde_json::from_str::<serde_json::Value>(data).unwrap();
}

/// A small run whose first bug was bisected, with that bisection's files: result and log.
fn bisected(results: &Path) -> (Run, PathBuf, PathBuf) {
    let run = small(results);
    let account = Account::read(&run).unwrap();
    let trial = &account.trials[account.bugs[0].trial];
    let bisection = synthetic::bisect(&run, trial);
    let log = run.bisect_log(&bisection.cell, &bisection.signature).unwrap();
    let result = PathBuf::from(log.to_string_lossy().replace(".log.jsonl", ".json"));
    (run, result, log)
}

/// The first bug's bisection and all that belongs to it, as the page has it.
fn drawn(page: &str) -> &str {
    page.split("<div class=\"bisection\">").nth(1).unwrap().split("</div></details>").next().unwrap()
}

#[test]
fn a_bisection_is_drawn_trial_by_trial() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _, log) = bisected(dir.path());
    let page = render(&run, "html");
    let trials = std::fs::read_to_string(log).unwrap().lines().count() - 1;
    assert!(trials > 10, "{trials}");
    let drawn = drawn(&page);
    let count = |what: &str| drawn.matches(what).count();
    let marks = ["hit", "clean", "silent"].map(|class| count(&format!(" class=\"{class}\"")));
    assert_eq!(marks.iter().sum::<usize>(), trials, "{marks:?}");
    assert!(marks.iter().all(|&n| n > 0), "{marks:?}");
    assert_eq!(count("<tr><td class=\"n\">"), trials, "the same in words");
    let Account { bisections, .. } = Account::read(&run).unwrap();
    let posterior = &bisections[0].result.posterior;
    let last = format!("In the end: 6 mm-the-change-number-6 {:.1} %.", (posterior[5] * 1000.0).floor() / 10.0);
    assert!(drawn.contains(&last), "{last}");
    for format in ["html", "markdown", "mail", "json"] {
        assert!(render(&run, format).contains("irrelevant"), "{format}: which settings it needs");
    }
}

#[test]
fn what_an_older_version_did_not_keep_of_a_bisection_stops_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let (run, result, log) = bisected(dir.path());
    let tells = |why: &str| {
        for format in FORMATS {
            render(&run, format.name);
        }
        let page = render(&run, "html");
        assert!(page.contains(&format!("How it went is not drawn: {why}")), "{why}");
        assert!(!page.contains("class=\"course\"") && page.contains("culprit: series-a/0006"));
    };
    let (whole, kept) = (std::fs::read(&log).unwrap(), std::fs::read(&result).unwrap());
    std::fs::write(&log, b"{\"event\":\"guess\"}\n").unwrap();
    tells("its log is damaged or of another version");
    // Another model came to this.
    std::fs::write(&log, &whole[..whole.len() / 3]).unwrap();
    tells("the version that made it counted otherwise");
    std::fs::remove_file(&log).unwrap();
    tells("its log is not there");
    let mut older: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    older.as_object_mut().unwrap().remove("posterior").unwrap();
    std::fs::write(&result, serde_json::to_vec(&older).unwrap()).unwrap();
    tells("the version that made it did not keep how likely each patch is");
}

#[test]
fn the_commands_to_copy_are_ones_that_there_are() {
    let bench = Bench::new();
    let run = small(&bench.path("results"));
    let account = Account::read(&run).unwrap();
    let trial = &account.trials[account.bugs[0].trial];
    let all = [
        Some(account.show(trial)),
        Some(account.reproduce(trial)),
        Some(account.bundle(trial)),
        account.bisect(trial),
        Some(account.bisect_settings(trial)),
        Some(account.command(trial)),
    ];
    let page = render(&run, "html");
    for command in all.map(Option::unwrap) {
        Cli::try_parse_from(command.split(' ')).unwrap_or_else(|e| panic!("{command}: {e}"));
        assert!(page.contains(&format!(">{command}</code>")), "{command}");
    }
    let words: Vec<String> = account.show(trial).split(' ').skip(1).map(str::to_owned).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let title = trial.finding().unwrap().title.clone();
    let said = bench.run(&words).expect(0, &[]);
    assert!(said.stdout.contains(&title), "{}", said.stdout);
    // Only a whole series has a patch to look for.
    let base = account.trials.iter().find(|t| t.variant == "base").unwrap();
    assert_eq!(account.bisect(base), None);
}

#[test]
fn a_run_shows_which_settings_its_failures_need() {
    let bench = Bench::new();
    bisected(&bench.path("results"));
    let said = bench.run(&["show", "latest"]).expect(0, &[]);
    assert!(said.stdout.contains("thp=always: needed, confidence 97.3 %"), "{}", said.stdout);
    let json = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    assert_eq!(json["over"]["settings"][0]["settings"][1]["verdict"], "irrelevant");
}

#[test]
fn no_format_hands_on_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let run = hostile(dir.path());
    for format in FORMATS {
        let text = render(&run, format.name);
        let bad = text.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
        assert_eq!(bad, None, "{}", format.name);
    }
    let ktap = render(&run, "ktap");
    assert_eq!(ktap.lines().filter(|l| l.trim_start().starts_with("ok 2 forged")).count(), 0, "{ktap}");
}

#[test]
fn the_command_line_writes_files_and_refuses_what_it_does_not_know() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("results")).unwrap();
    small(&bench.path("results"));
    let file = bench.path("report.xml");
    bench.run(&["report", "latest", "--format", "junit", "--output", &file.display().to_string()]).expect(0, &[]);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("<?xml"));
    let json = bench.run(&["report", "latest", "--format", "json"]).expect(0, &[]).json();
    assert_eq!((&json["mmtorture_report"], &json["outcomes"]["fail"]), (&1.into(), &7.into()));
    bench.run(&["report", "latest", "--format", "pdf"]).expect(2, &["possible values: html, markdown, junit"]);
    bench.run(&["report", "absent"]).expect(2, &["no run 'absent'"]);
}

#[test]
fn a_shell_and_a_manual_know_every_command() {
    let bench = Bench::new();
    let script = bench.run(&["completions", "bash"]).expect(0, &[]);
    assert!(script.stdout.contains("history"));
    let folder = bench.path("man");
    bench.run(&["man", &folder.display().to_string()]).expect(0, &[]);
    let page = std::fs::read_to_string(folder.join("mmtorture-report.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("kcidb"), "{page}");
}

/// Python with what `make validators` installs.
fn python() -> Option<PathBuf> {
    let python = mmtorture_harness::cache::Cache::open().unwrap().root().join("validators/bin/python");
    if !python.exists() {
        println!("skipped: kcidb-io and junitparser are missing, `make validators` installs them");
        return None;
    }
    Some(python)
}

#[test]
fn kcidb_and_a_junit_reader_take_them() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (name, run) in [("small", small(&dir.path().join("small"))), ("hostile", hostile(&dir.path().join("hostile")))]
    {
        for format in ["kcidb", "junit"] {
            std::fs::write(dir.path().join(format), render(&run, format)).unwrap();
        }
        let script = repository().join("harness/tests/data/validate.py");
        let mut command = Command::new(&python);
        command.arg(script).args([dir.path().join("kcidb"), dir.path().join("junit")]);
        let said = Said::of(command.output().unwrap()).expect(0, &[]);
        println!("{name}: {}", said.stdout);
        let said = said.json();
        assert_eq!((&said["kcidb"]["tests"], &said["kcidb"]["incidents"]), (&60.into(), &7.into()));
        assert_eq!(
            (&said["junit"]["tests"], &said["junit"]["failures"], &said["junit"]["errors"]),
            (&60.into(), &7.into(), &0.into())
        );
    }
}

#[test]
fn the_kernels_own_parser_takes_ktap() {
    let sources = mmtorture_harness::cache::Cache::open().unwrap().root().join("sources");
    let folders = std::fs::read_dir(&sources).into_iter().flatten().flatten();
    let Some(kunit) = folders.map(|f| f.path().join("tree/tools/testing/kunit/kunit.py")).find(|p| p.is_file()) else {
        println!("skipped: no kernel source is unpacked, `mmtorture build matrices/demo.yaml` gets one");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (name, run) in [("small", small(&dir.path().join("small"))), ("hostile", hostile(&dir.path().join("hostile")))]
    {
        let file = dir.path().join("ktap");
        std::fs::write(&file, render(&run, "ktap")).unwrap();
        let output = Command::new("python3").arg(&kunit).arg("parse").arg(&file).output();
        let Ok(output) = output else {
            println!("skipped: python3 is missing");
            return;
        };
        let said = Said::of(output);
        let last = said
            .stdout
            .lines()
            .rev()
            .find(|l| l.contains("Testing complete"))
            .unwrap_or_else(|| panic!("{}", said.stdout));
        println!("{name}: {last}");
        assert!(
            last.contains("Ran 60 tests") && last.contains("failed: 7") && !last.contains("errors"),
            "{}",
            said.stdout
        );
    }
}
