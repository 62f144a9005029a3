//! `mmtorture show`.

use super::{print, print_json, Format, ResultsArg};
use crate::error::{Error, Result};
use crate::oracle::Finding;
use crate::prune;
use crate::record::Run;
use crate::report::decode::decode;
use crate::run::summary;
use crate::trial::dump::Core;
use crate::trial::{self, console, Trial, EVENTS};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// RUN or RUN/CELL, as `runs` and `plan` show them; `latest` is the newest run, and the beginning of a cell's id will do
    what: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    // A run may be given as a path, so the cell is what stands after the last slash, unless all of it is a run.
    let (run, cell) = match Run::open(&args.results.dir, args.what.trim_end_matches('/')) {
        Ok(run) => (run, None),
        Err(e) => match args.what.rsplit_once('/') {
            Some((run, cell)) => (Run::open(&args.results.dir, run)?, Some(cell)),
            None => return Err(e),
        },
    };
    let mut trials = run.trials()?;
    if cell.is_some() {
        trials.extend(run.bisect_trials()?);
    }
    match cell {
        None => show_run(&run, &trials, args.format)?,
        Some(cell) => show_cell(&run, &trials, cell, args.format)?,
    }
    Ok(0)
}

fn show_run(run: &Run, trials: &[(PathBuf, Trial)], format: Format) -> Result<()> {
    let (header, cells, bisections) = (run.header()?, run.cells()?, run.bisections()?);
    let (planned, reproduction): (Vec<_>, _) = (trials.iter().map(|(_, t)| t).collect(), run.reproduction()?);
    let searches = run.searches()?;
    if format == Format::Json {
        return print_json(&serde_json::json!({
            "run": header, "trials": planned, "bisections": bisections, "reproduction": reproduction,
            "over": searches
        }));
    }
    print(&summary::run(&header, &cells, &planned, &bisections, &run.dir.display().to_string()))?;
    if let Some(gone) = prune::gone(&header, trials.iter().map(|(dir, trial)| (dir, trial))) {
        print(&format!("{gone}\n"))?;
    }
    print(&summary::searches(&searches))?;
    reproduction.map_or(Ok(()), |r| print(&format!("\n{}", r.text())))
}

fn show_cell(run: &Run, trials: &[(PathBuf, Trial)], cell: &str, format: Format) -> Result<()> {
    let chosen: Vec<_> = trials.iter().filter(|(_, t)| t.cell.starts_with(cell)).collect();
    let mut ids: Vec<_> = chosen.iter().map(|(_, t)| t.cell.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [] => {
            return Err(Error::request(format!("no trial of a cell '{cell}' in {}", run.dir.display())));
        }
        [_] => {}
        many if many.contains(&cell) => {}
        many => return Err(Error::request(format!("cell '{cell}' is ambiguous: {}", many.join(" or ")))),
    }
    if format == Format::Json {
        return print_json(&chosen.iter().map(|(_, t)| t).collect::<Vec<_>>());
    }
    let (mut text, header) = (String::new(), run.header()?);
    let findings: Vec<_> =
        chosen.iter().flat_map(|(_, trial)| trial.seen.findings.iter().map(|f| (trial.kernel.as_str(), f))).collect();
    let mut decoded = decode(&findings).into_iter();
    for (dir, trial) in chosen {
        let _ = writeln!(text, "{} seed {}: {}", trial.cell, trial.seed, summary::one_line(trial));
        let times = &trial.seen.times;
        let at = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", ms as f64 / 1000.0));
        let _ = writeln!(
            text,
            "  {}; first event {}, torture {}, finding {}, end {}",
            trial.machine,
            at(times.hello_ms),
            at(times.torture_ms),
            at(times.finding_ms),
            at(Some(times.end_ms))
        );
        if let Some(ending) = &trial.ending {
            let _ = writeln!(text, "  machine ended: {}", plain(&ending.to_string()));
        }
        match &trial.core {
            Some(Core::Kept { file, .. }) if !dir.join(file).exists() => {
                text.push_str("  its memory dump is gone\n");
            }
            Some(Core::Kept { file, bytes, .. }) => {
                let _ = writeln!(text, "  {}: memory dump, {} MiB unpacked", dir.join(file).display(), bytes >> 20);
            }
            Some(Core::Failed { why }) => {
                let _ = writeln!(text, "  no memory dump: {why}");
            }
            None => {}
        }
        for knob in &trial.seen.knobs {
            let wrong = knob.error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
            let _ = writeln!(text, "  {}={} reads back as '{}'{wrong}", knob.dimension, knob.asked, knob.got);
        }
        for (class, times) in &trial.seen.noise {
            let _ = writeln!(text, "  {class}: {times} times, no failure");
        }
        let events = Some(dir.join(EVENTS)).filter(|path| path.is_file());
        for path in [console::file(dir), events].into_iter().flatten() {
            let _ = writeln!(text, "  {}", path.display());
        }
        if let Some(gone) = prune::gone_of(&header, dir) {
            let _ = writeln!(text, "  {gone}");
        }
        for finding in &trial.seen.findings {
            let consequence = if finding.primary { "" } else { " (a consequence)" };
            let expected = finding.expected.as_ref().map_or_else(String::new, |why| format!(" (expected: {why})"));
            let _ = writeln!(text, "\n{}{consequence}{expected}", finding.title);
            text.push_str(&report(dir, finding)?);
            if let Some(decoded) = decoded.next().flatten() {
                text.push('\n');
                text.extend(decoded.text().lines().map(|line| format!("    {}\n", plain(line).trim_end())));
            }
        }
        text.push('\n');
    }
    print(&text)
}

/// The report's own lines off the console, indented.
fn report(dir: &Path, finding: &Finding) -> Result<String> {
    let mut text = trial::report(dir, finding)?.unwrap_or_default();
    if text.is_empty() {
        text.extend(finding.reason.as_deref());
    }
    Ok(text.lines().map(|line| format!("    {}\n", plain(line).trim_end())).collect())
}

/// What comes from a guest, or from a machine that may quote one: nothing of it may reach the terminal as a control
/// sequence.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
