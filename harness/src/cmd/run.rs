//! `mmtorture run`.

use super::guests::GuestArgs;
use super::resume::Begun;
use super::runner::Setup;
use super::{print, read_plan, ResultsArg};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::history::History;
use crate::image::Programs;
use crate::plan::shard::Shard;
use crate::plan::Cell;
use crate::record::Header;
use crate::root::Roots;
use crate::run::bisecting::Ask;
use crate::run::{self, summary, Runner};
use crate::trial::dump::Cores;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    #[arg(required_unless_present = "resume")]
    matrix: Option<PathBuf>,
    /// Go on with a run that was killed, interrupted or failed, with the options that it was begun with
    #[arg(long, value_name = "RUN", conflicts_with_all = ["matrix", "cells", "shard", "seed", "core", "no_bisect", "jobs",
        "machine", "accel", "confidence", "bisect_budget"])]
    resume: Option<String>,
    /// Only this cell, by its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID")]
    cells: Vec<String>,
    /// Only this part of the cells, as `plan --shards N` divides them
    #[arg(long, value_name = "I/N", conflicts_with = "cells")]
    shard: Option<Shard>,
    /// The first trial's seed of each cell, instead of the matrix's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    guests: GuestArgs,
    /// Keep a memory dump of the first failure of each signature
    #[arg(long)]
    core: bool,
    /// Do not look for the patch that broke it
    #[arg(long)]
    no_bisect: bool,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    results: ResultsArg,
}

impl Args {
    /// Whether failures are bisected.
    pub(super) fn bisects(&self) -> bool {
        !self.no_bisect
    }
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let programs = Programs::find()?;
    let matrix = match (&args.resume, &args.matrix) {
        (Some(id), _) => {
            let Begun { run, lock, header, args, plan, cells } = Begun::open(&args.results.dir, id, &programs)?;
            let setup = Setup::new(&args.guests, &programs)?;
            let builder = setup.builder(&plan)?;
            setup.progress.note(&format!("going on with {}", run.dir.display()));
            run.write_header(&header)?;
            return go(&args, setup.runner(&plan, cells, &builder, &run), header, lock);
        }
        (None, Some(matrix)) => matrix,
        (None, None) => return Err(Error::request("no matrix")),
    };
    let mut plan = read_plan(matrix, &programs)?;
    plan.matrix.seed = args.seed.unwrap_or(plan.matrix.seed);
    let mut cells: Vec<Cell> = Vec::new();
    for id in &args.cells {
        let cell = plan.cell(id)?;
        if !cells.iter().any(|c| c.id == cell.id) {
            cells.push(cell.clone());
        }
    }
    if args.cells.is_empty() {
        match args.shard {
            Some(shard) => cells.extend(plan.shard(shard).into_iter().cloned()),
            None => cells.clone_from(&plan.cells),
        }
    }
    if let (true, Some(shard)) = (cells.is_empty(), args.shard) {
        let (n, of) = (plan.cells.len(), shard.of);
        print(&format!("shard {shard} has nothing to run: {} has {n} cells for {of} shards\n", plan.name))?;
        return Ok(0);
    }

    let setup = Setup::new(&args.guests, &programs)?;
    let builder = setup.builder(&plan)?;
    let roots = Roots::default();
    for cell in &cells {
        roots.of(cell, &plan, &builder, &setup.progress)?;
    }
    let planned = cells.len() * plan.matrix.trials.0 as usize;
    let run = setup.record(&plan, &cells, matrix, planned, &args.results.dir)?;
    let lock = run.hold()?;
    let mut header = run.header()?;
    header.bisects = args.bisects();
    run.write_header(&header)?;
    go(args, Runner { roots, ..setup.runner(&plan, cells, &builder, &run) }, header, lock)
}

/// Does what is not done yet.
fn go(args: &Args, runner: Runner<'_>, header: Header, _held: Lock) -> Result<u8> {
    let run = runner.run;
    let before = run.trials()?;
    let runner = Runner {
        bisect: args.bisects().then(|| args.ask.ask()),
        cores: args.core.then(|| Cores::kept(before.iter().map(|(_, trial)| trial))),
        ..runner
    };
    // A run that goes on may do so by a clock that is behind its beginning.
    let clock = Clock::from(jiff::Timestamp::now().max(header.started));
    let results = runner.run();
    let closed = run::close(run, header, &clock, &results);
    History::note(run);
    let results = results?;
    closed?;
    let trials: Vec<_> = results.trials.iter().collect();
    let place = run.dir.display().to_string();
    print(&summary::run(&run.header()?, &runner.cells, &trials, &results.bisections, &place))?;
    Ok(results.exit)
}

/// What is asked of bisections.
#[derive(Debug, clap::Args)]
pub(super) struct AskArgs {
    /// How sure a bisection must be before it names a patch, from 0.5 to 0.9999
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = confidence)]
    confidence: f64,
    /// The most that the bisection of one failure may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u32).range(1..))]
    bisect_budget: u32,
}

impl AskArgs {
    pub(super) fn ask(&self) -> Ask {
        Ask { confidence: self.confidence, budget: f64::from(self.bisect_budget) }
    }
}

fn confidence(text: &str) -> std::result::Result<f64, String> {
    let wrong = || "expected a number from 0.5 to 0.9999".to_owned();
    text.parse().ok().filter(|p| (0.5..=0.9999).contains(p)).ok_or_else(wrong)
}
