//! `mmtorture run`.

use super::guests::GuestArgs;
use super::{cores, print, read_plan, ResultsArg};
use crate::build::Builder;
use crate::cache::Cache;
use crate::error::Result;
use crate::history::History;
use crate::image::Programs;
use crate::interrupt::Interrupt;
use crate::plan::shard::Shard;
use crate::plan::Cell;
use crate::progress::Progress;
use crate::record::{Header, Run, State, LAYOUT};
use crate::root::Roots;
use crate::run::bisecting::Ask;
use crate::run::{self, summary, Runner};
use crate::trial::dump::Cores;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    matrix: PathBuf,
    /// Only this cell, by its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID")]
    cells: Vec<String>,
    /// Only this part of the cells, as `plan --shards N` divides them
    #[arg(long, value_name = "I/N", conflicts_with = "cells")]
    shard: Option<Shard>,
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

pub(super) fn run(args: &Args) -> Result<u8> {
    let programs = Programs::find()?;
    let plan = read_plan(&args.matrix, &programs)?;
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

    // Before kernels are built for minutes.
    let (machine, why) = args.guests.machine(&programs)?;
    let interrupt = Interrupt::install()?;
    let cache = Cache::open()?;
    let progress = Progress::new();
    let builder = Builder::new(&cache, cores(), &interrupt);
    run::check_patches(&builder, &plan.variants, &progress)?;
    let roots = Roots::default();
    for cell in &cells {
        roots.of(cell, &plan, &builder, &progress)?;
    }
    progress.note(&format!("machine: {why}"));
    let base_image = programs.base_archive(&cache)?;

    let header = Header {
        layout: LAYOUT,
        id: String::new(),
        matrix: plan.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        matrix_file: absolute(&args.matrix),
        machine: why,
        state: State::Running,
        started: jiff::Timestamp::now(),
        ended: None,
        planned: cells.len() * plan.matrix.trials.0 as usize,
        exit: None,
        problems: Vec::new(),
    };
    let run = Run::create(&args.results.dir, &plan, header)?;
    let header = run.header()?;
    progress.note(&format!("results: {}", run.dir.display()));
    let runner = Runner {
        plan: &plan,
        cells,
        builder: &builder,
        machine: &*machine,
        base_image: &base_image,
        jobs: args.guests.jobs,
        bisect: (!args.no_bisect).then(|| args.ask.ask()),
        roots,
        cores: args.core.then(Cores::default),
        run: &run,
        progress: &progress,
        interrupt: &interrupt,
    };
    let results = runner.run();
    let closed = run::close(&run, header, &results);
    History::note(&run);
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

/// Where a file is, whatever the working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
