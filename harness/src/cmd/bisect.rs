//! `mmtorture bisect`.

use super::guests::GuestArgs;
use super::run::AskArgs;
use super::{cores, print, print_json, read_plan, Format, ResultsArg};
use crate::build::Builder;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::image::Programs;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::record::Run;
use crate::root::Roots;
use crate::run::{bisecting, check_patches, summary, Runner};
use crate::trial::Trial;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// RUN/CELL: a cell that failed, as `runs` and `show` tell them; `latest` is the newest run, and the beginning of a
    /// cell's id will do
    what: String,
    /// What the suspects are
    #[arg(long, value_enum, default_value_t)]
    over: Over,
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
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let Over::Series = args.over;
    let what = args.what.trim_end_matches('/');
    let Some((run, cell)) = what.rsplit_once('/') else {
        return Err(Error::request(format!("'{what}' names no cell, expected RUN/CELL, as in latest/delay-rmap-all")));
    };
    let run = Run::open(&args.results.dir, run)?;
    let header = run.header()?;
    let trials: Vec<Trial> = run.trials()?.into_iter().map(|(_, trial)| trial).collect();
    let programs = Programs::find()?;
    let file = args.matrix.as_ref().unwrap_or(&header.matrix_file);
    let plan = read_plan(file, &programs)?;
    let cell = plan.cell(cell)?;
    if !run.cells()?.iter().any(|c| c.id == cell.id) {
        return Err(Error::request(format!("{} was not in that run: its matrix or series has changed since", cell.id)));
    }

    let (machine, why) = args.guests.machine(&programs)?;
    let interrupt = Interrupt::install()?;
    let cache = Cache::open()?;
    let progress = Progress::new();
    let builder = Builder::new(&cache, cores(), &interrupt);
    check_patches(&builder, &plan.variants, &progress)?;
    progress.note(&format!("machine: {why}"));
    let base_image = programs.base_archive(&cache)?;
    let runner = Runner {
        plan: &plan,
        cells: plan.cells.clone(),
        builder: &builder,
        machine: &*machine,
        base_image: &base_image,
        jobs: args.guests.jobs,
        bisect: Some(args.ask.ask()),
        roots: Roots::default(),
        cores: None,
        run: &run,
        progress: &progress,
        interrupt: &interrupt,
    };
    let of_cell: Vec<Trial> = trials.iter().filter(|t| t.cell == cell.id).cloned().collect();
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
