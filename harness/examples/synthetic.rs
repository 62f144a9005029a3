//! Figures of `docs/reports.md`: a large run to report on, and a long history to ask. See `make figures-report`.

#[path = "../tests/common/synthetic.rs"]
mod synthetic;

use mmtorture_harness::history::History;
use mmtorture_harness::record::Run;
use mmtorture_harness::report::{history_page, Account};
use std::path::PathBuf;
use std::time::Instant;
use synthetic::Spec;

const USAGE: &str = "usage: synthetic run|history FOLDER [CORPUS]";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(what), Some(folder)) = (args.first(), args.get(1).map(PathBuf::from)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let consoles = synthetic::consoles(args.get(2).map(PathBuf::from).as_deref());
    println!("{} consoles with a failure", consoles.len());
    let spec = Spec { cells: 10_000, failures: 200, day: 0, first_console: 0 };
    match what.as_str() {
        "run" => {
            let run = synthetic::write(&folder, &spec, &consoles);
            // Of the first bug, which the page shows unfolded.
            let account = Account::read(&run).unwrap();
            synthetic::bisect(&run, &account.trials[account.bugs[0].trial]);
            println!("{}", run.dir.display());
        }
        "history" => history(&folder, &spec, &consoles),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

/// A thousand such runs: their folders hold `run.json` alone, the trials go to the index from memory.
fn history(folder: &std::path::Path, spec: &Spec, consoles: &[synthetic::Console]) {
    std::fs::create_dir_all(folder).unwrap();
    let mut history = History::open(folder).unwrap();
    // Half of the signatures begin late, so that there is an answer to when.
    let [early, late] = [consoles.len() / 2, consoles.len()].map(|n| {
        let (_, cells, trials) = synthetic::run(spec, &consoles[..n]);
        (cells, trials.into_iter().map(|(trial, _)| trial).collect::<Vec<_>>())
    });
    let start = Instant::now();
    for day in 0..1000 {
        let (cells, trials) = if day < 500 { &early } else { &late };
        let (header, _, _) = synthetic::run(&Spec { day, cells: 0, failures: 0, ..spec.clone() }, consoles);
        let run = Run { dir: folder.join(&header.id) };
        std::fs::create_dir_all(&run.dir).unwrap();
        run.write_header(&header).unwrap();
        history.put(&run, &header, cells, trials).unwrap();
    }
    println!("1,000 runs of 10,000 cells put in: {:.1} s", start.elapsed().as_secs_f64());
    let all = history.signatures().unwrap();
    let mut slowest = 0.0f64;
    for one in &all {
        let start = Instant::now();
        history.when(&one.signature).unwrap().unwrap();
        slowest = slowest.max(start.elapsed().as_secs_f64());
    }
    println!("{} signatures; the slowest answer to when one began: {:.1} ms", all.len(), slowest * 1000.0);
    let start = Instant::now();
    History::open(folder).unwrap().signatures().unwrap();
    println!("opened, brought up to date, all listed: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    let start = Instant::now();
    let page = history_page(&history.overview(1000).unwrap(), "results");
    println!("the page of them: {:.1} ms, {} bytes", start.elapsed().as_secs_f64() * 1000.0, page.len());
}
