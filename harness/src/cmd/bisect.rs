//! `mmtorture bisect`.

use super::guests::GuestArgs;
use super::run::AskArgs;
use super::runner::{run_and_cell, Setup};
use super::{general_mix, print, print_json, read_plan, workloads, Format, ResultsArg};
use crate::bisect::settings::Verdict;
use crate::error::{Error, Result};
use crate::image::Programs;
use crate::plan::Cell;
use crate::prune;
use crate::record::Run;
use crate::run::revisions::{self, Range};
use crate::run::{bisecting, loads, settling, summary, Runner};
use crate::trial::Trial;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// RUN/CELL: a cell that failed, as `runs` and `show` tell them; `latest` is the newest run, and the beginning of a
    /// cell's id will do
    what: String,
    /// What the suspects are
    #[arg(long, value_enum, default_value_t)]
    over: Over,
    /// Over git: a revision that is good
    #[arg(long, value_name = "REVISION")]
    good: Option<String>,
    /// Over git: one that fails, if not the matrix's
    #[arg(long, value_name = "REVISION", requires = "good")]
    bad: Option<String>,
    /// The matrix, if it is no longer where the run read it
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    guests: GuestArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

/// What the suspects of a bisection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Over {
    /// The patches of the series.
    #[default]
    Series,
    /// The settings: which of them the failure needs, on the kernel as it is.
    Settings,
    /// The commits from --good to the matrix's revision.
    Git,
    /// The load: which workload, processors and memory show the failure soonest.
    Workload,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    if args.good.is_some() != (args.over == Over::Git) {
        return Err(Error::request("--over git and --good REVISION go together"));
    }
    let (run, cell) = run_and_cell(&args.what)?;
    let run = Run::open(&args.results.dir, run)?;
    let _held = run.hold()?;
    let header = run.header()?;
    let trials = run.trials()?;
    let gone = prune::gone(&header, trials.iter().map(|(dir, trial)| (dir, trial)));
    let trials: Vec<Trial> = trials.into_iter().map(|(_, trial)| trial).collect();
    let programs = Programs::find()?;
    let file = args.matrix.as_ref().unwrap_or(&header.matrix_file);
    let plan = read_plan(file, &programs)?;
    let cell = plan.cell(cell)?;
    if !run.cells()?.iter().any(|c| c.id == cell.id) {
        return Err(Error::request(format!("{} was not in that run: its matrix or series has changed since", cell.id)));
    }

    let setup = Setup::new(&args.guests, &programs)?;
    let builder = setup.builder(&plan)?;
    if let Some(gone) = gone {
        setup.progress.note(&format!("{}: {gone}; their outcomes are not", header.id));
    }
    let runner = setup.runner(&plan, plan.cells.clone(), &builder, &run);
    let of_cell: Vec<Trial> = trials.iter().filter(|t| t.cell == cell.id).cloned().collect();
    match (args.over, &args.good) {
        (Over::Settings, _) => return settings(args, &runner, cell, &of_cell),
        (Over::Git, Some(good)) => {
            let range = Range { good, bad: args.bad.as_deref() };
            let revisions = revisions::run(&runner, cell, &of_cell, range, args.ask.ask())?;
            show(args, &revisions, summary::revisions)?;
            return Ok(u8::from(revisions.culprit().is_some()));
        }
        (Over::Workload, _) => {
            let loads = loads::run(&runner, cell, &of_cell, &general_mix(workloads(&programs)?), args.ask.ask())?;
            show(args, &loads, summary::loads)?;
            return Ok(u8::from(loads.loads[loads.best].tally.hits > 0));
        }
        _ => {}
    }
    let failures = bisecting::failures(&runner, &of_cell);
    if failures.is_empty() {
        return Err(Error::request(format!(
            "{} did not fail in that run, or its variant has no patches: there is nothing to bisect",
            cell.id
        )));
    }
    let mut bisections = Vec::new();
    for failure in &failures {
        bisections.extend(bisecting::one(&runner, failure, &trials, args.ask.ask())?);
    }
    if args.format == Format::Json {
        print_json(&bisections)?;
    } else {
        print(&bisections.iter().map(summary::bisection).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(u8::from(bisections.iter().any(|b| b.culprit.is_some())))
}

fn settings(args: &Args, runner: &Runner<'_>, cell: &Cell, trials: &[Trial]) -> Result<u8> {
    let needs = settling::run(runner, cell, trials, args.ask.ask())?;
    show(args, &needs, summary::needs)?;
    Ok(u8::from(needs.settings.iter().any(|need| matches!(need.verdict, Verdict::Needed { .. }))))
}

fn show<T: Serialize>(args: &Args, result: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    match args.format {
        Format::Json => print_json(result),
        _ => print(&text(result)),
    }
}
