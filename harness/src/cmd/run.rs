//! `mmtorture run`.

use super::{cores, positive, print, read_plan, ResultsArg};
use crate::build::Builder;
use crate::cache::Cache;
use crate::error::Result;
use crate::history::History;
use crate::image::Programs;
use crate::interrupt::Interrupt;
use crate::machine::choose::{choose, AskedAccel, AskedMachine, Choice};
use crate::machine::qemu::{self, Qemu};
use crate::machine::vmm::Vmm;
use crate::machine::Machine;
use crate::plan::Cell;
use crate::progress::Progress;
use crate::record::{Header, Run, State, LAYOUT};
use crate::run::{self, summary, Runner};
use crate::trial::dump::Cores;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    matrix: PathBuf,
    /// Only this cell, by its id or the beginning of it; may be given several times
    #[arg(long = "cell", value_name = "ID")]
    cells: Vec<String>,
    /// Guests at once; by default as many as the host's cores and memory bear
    #[arg(long, value_name = "N", value_parser = positive)]
    jobs: Option<usize>,
    /// What runs the guests
    #[arg(long, value_enum, default_value_t)]
    machine: AskedMachine,
    /// How it executes them
    #[arg(long, value_enum, default_value_t)]
    accel: AskedAccel,
    /// Keep a memory dump of the first failure of each signature
    #[arg(long)]
    core: bool,
    /// Do not look for the patch that broke it
    #[arg(long)]
    no_bisect: bool,
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
        cells.clone_from(&plan.cells);
    }

    // Before kernels are built for minutes.
    let (choice, why) = choose(args.machine, args.accel, mmtorture_vmm::probe)?;
    let machine: Box<dyn Machine> = match choice {
        Choice::Vmm { masks } => Box::new(Vmm::new(programs.vmm(), masks)),
        Choice::Qemu(accel) => {
            qemu::installed()?;
            Box::new(Qemu::new(accel))
        }
    };
    let interrupt = Interrupt::install()?;
    let cache = Cache::open()?;
    let progress = Progress::new();
    let builder = Builder::new(&cache, cores(), &interrupt)?;
    run::check_patches(&builder, &plan.variants, &progress)?;
    progress.note(&format!("machine: {why}"));
    let base_image = programs.base_archive(&cache)?;

    let header = Header {
        layout: LAYOUT,
        id: String::new(),
        matrix: plan.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
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
        jobs: args.jobs,
        bisect: !args.no_bisect,
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
