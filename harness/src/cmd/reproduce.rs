//! `mmtorture reproduce`.

use super::guests::GuestArgs;
use super::runner::{run_and_cell, Setup};
use super::{print, print_json, read_plan, Format, ResultsArg};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::history::History;
use crate::image::Programs;
use crate::plan::Plan;
use crate::prune;
use crate::record::Run;
use crate::reproduce::bundle::{self, Bundle};
use crate::reproduce::{Reproduction, Sought};
use crate::run::reproducing::{self, Failed};
use crate::run::{close, Results};
use crate::trial::guest::Guest;
use crate::trial::Trial;
use std::path::{Path, PathBuf};

/// Trials, unless told how many.
const TRIALS: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// RUN/CELL: a cell that failed, as `runs` and `show` tell them; `latest` is the newest run, and the beginning of a
    /// cell's id will do
    what: String,
    /// How often to run it: 10 times, or not at all with --bundle
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: Option<u32>,
    /// Pack all that it takes to see the failure with QEMU alone into this file, a .tar.zst
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The trial with this seed; by default the first one that failed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The matrix, if it is no longer where the run read it
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    #[command(flatten)]
    guests: GuestArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let (run, cell) = run_and_cell(&args.what)?;
    // Before trials are run for minutes.
    args.bundle.as_deref().map(bundle::folder).transpose()?;
    let run = Run::open(&args.results.dir, run)?;
    let header = run.header()?;
    let programs = Programs::find()?;
    let matrix = args.matrix.as_ref().unwrap_or(&header.matrix_file);
    let mut plan = read_plan(matrix, &programs)?;
    let cell = plan.cell(cell)?.clone();
    let trials: Vec<_> = run.trials()?.into_iter().filter(|(_, trial)| trial.cell == cell.id).collect();
    let (dir, trial, sought) = failed(&trials, &header.id, args.seed)
        .ok_or_else(|| Error::request(no_failure(&cell.id, &header.id, trials.len(), args.seed)))?;
    let gone = prune::gone_of(&header, dir);
    if let (Some(gone), Some(_)) = (&gone, &args.bundle) {
        // The script in it looks for what the console said.
        let again =
            format!("`mmtorture reproduce {}/{}` makes a run of which a bundle can be made", header.id, cell.id);
        return Err(Error::request(format!("--bundle: {}/{}: {gone}; {again}", header.id, cell.id)));
    }
    // What follows is about this cell alone, and so is what is recorded.
    only(&mut plan, &cell.id);

    let mut setup = Setup::new(&args.guests, &programs)?;
    setup.use_image(&header.image);
    let builder = setup.builder(&plan)?;
    if let Some(gone) = gone {
        setup.progress.note(&format!("{}/{}: {gone}", header.id, cell.id));
    }
    let planned = args.trials.or_else(|| args.bundle.is_none().then_some(TRIALS)).unwrap_or(0) as usize;
    let failed = Failed { cell: &cell, trial, dir, image: &header.image };
    let scratch = tempfile::tempdir().map_err(|e| Error::host(format!("cannot create a temporary folder: {e}")))?;
    let prepare = setup.runner(&plan, plan.cells.clone(), &builder, &run);
    let (kernel, mut differs) = reproducing::kernel(&prepare, &failed)?;
    let root = prepare.roots.of(&cell, &plan, &builder, &setup.progress)?;
    let root = root.as_ref().map(|root| root.image.as_path());
    let guest = Guest::make(&cell, sought.seed, &kernel, &setup.base_image, root, false, scratch.path())?;
    differs.extend(reproducing::differs(&prepare, &failed, &setup.image(), &guest.request)?);
    for differs in &differs {
        setup.progress.note(&format!("not as it was in {}: {differs}", header.id));
    }

    let mut reproduction = None;
    if planned > 0 {
        let again = setup.record(&plan, &plan.cells, matrix, planned, &args.results.dir)?;
        let _held = again.hold()?;
        let started = again.header()?;
        let clock = Clock::from(started.started);
        let runner = setup.runner(&plan, plan.cells.clone(), &builder, &again);
        let seeds = reproducing::seeds(&sought, trials.iter().map(|(_, t)| t.seed), planned);
        let done = reproducing::trials(&runner, &cell, &kernel, &seeds).and_then(|trials| {
            let looked = trials.iter().map(|t| sought.look(t)).collect();
            let result = Reproduction::new(sought.clone(), looked, differs.clone());
            again.write_reproduction(&result)?;
            let exit = exit_status(&result);
            reproduction = Some(result);
            Ok(Results { trials, bisections: Vec::new(), problems: Vec::new(), exit })
        });
        let closed = close(&again, started, &clock, &done);
        History::note(&again);
        done?;
        closed?;
    }
    if let Some(file) = &args.bundle {
        let patches = plan.variant(&cell.variant).map_or_else(Vec::new, |v| bundle::patches(v));
        let packed = Bundle {
            sought: &sought,
            cell: &cell,
            trial,
            dir,
            kernel: &kernel,
            guest: &guest,
            boot_seconds: plan.matrix.boot_seconds.map(|s| s.0),
            patches,
            reproduction: reproduction.as_ref(),
            differs: &differs,
        };
        let bytes = packed.write(file, &setup.interrupt)?;
        setup.progress.note(&format!("bundle: {}, {:.1} MiB", file.display(), bytes as f64 / f64::from(1 << 20)));
    }
    match (&reproduction, args.format) {
        (Some(result), Format::Json) => print_json(result)?,
        (Some(result), Format::Table) => print(&result.text())?,
        (None, Format::Json) => print_json(&sought)?,
        (None, Format::Table) => {}
    }
    Ok(reproduction.as_ref().map_or(0, exit_status))
}

/// Of these trials the one with that seed, or the first that failed; its folder, and what it showed.
fn failed<'a>(trials: &'a [(PathBuf, Trial)], run: &str, seed: Option<u64>) -> Option<(&'a Path, &'a Trial, Sought)> {
    let asked = trials.iter().filter(|(_, trial)| seed.is_none_or(|seed| seed == trial.seed));
    asked.filter_map(|(dir, trial)| Some((dir.as_path(), trial, Sought::of(run, trial)?))).next()
}

fn no_failure(cell: &str, run: &str, trials: usize, seed: Option<u64>) -> String {
    match (trials, seed) {
        (0, _) => format!("{cell} was not run in {run}, or its matrix or series has changed since"),
        (_, Some(seed)) => format!("{cell} did not fail with seed {seed} in {run}: there is nothing to reproduce"),
        (_, None) => format!("{cell} did not fail in {run}: there is nothing to reproduce"),
    }
}

/// Leaves nothing in the plan but that cell and its kernel.
fn only(plan: &mut Plan, cell: &str) {
    plan.cells.retain(|c| c.id == cell);
    plan.variants.retain(|v| plan.cells.iter().any(|c| c.variant == v.name));
}

/// 1 it came again, 0 it did not, 3 nobody knows.
fn exit_status(result: &Reproduction) -> u8 {
    match result.rate {
        _ if result.came() => 1,
        Some(_) => 0,
        None => 3,
    }
}
