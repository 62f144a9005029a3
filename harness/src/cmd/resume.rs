//! `mmtorture run --resume`: what a run was begun with.

use super::run::Args;
use super::{names, workloads, Cli, Subcommands};
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::image::Programs;
use crate::plan::{Cell, Plan};
use crate::record::{Header, Run, State, LAYOUT};
use clap::Parser;
use std::path::Path;

/// A run that goes on.
pub(super) struct Begun {
    pub(super) run: Run,
    pub(super) lock: Lock,
    pub(super) header: Header,
    pub(super) args: Args,
    pub(super) plan: Plan,
    pub(super) cells: Vec<Cell>,
}

impl Begun {
    /// Takes the run called `id` on, with the options that it was begun with, and the same cells.
    pub(super) fn open(results: &Path, id: &str, programs: &Programs) -> Result<Self> {
        let run = Run::open(results, id.trim_end_matches('/'))?;
        let lock = run.hold()?;
        let mut header = run.header()?;
        let no = |why: &str| Error::request(format!("{} cannot go on: {why}", header.id));
        if !header.parts.is_empty() {
            return Err(no("it was merged; resume the runs that it was merged from, and merge again"));
        }
        let parsed = Cli::try_parse_from(&header.command).map(|cli| cli.command);
        let Ok(Subcommands::Run(args)) = parsed else {
            return Err(no("it was not begun by this version's `mmtorture run`"));
        };
        if header.version != env!("CARGO_PKG_VERSION") {
            return Err(no(&format!("it was begun by mmtorture {}", header.version)));
        }
        let mut plan = Plan::recorded(&header.matrix_file, &run.matrix()?, &names(&workloads(programs)?))?;
        plan.matrix.seed = header.seed;
        let ids = |cells: &[Cell]| cells.iter().map(|cell| cell.id.clone()).collect::<Vec<_>>();
        if ids(&plan.cells) != ids(&run.cells()?) {
            return Err(no(
                "a patch, a Kconfig fragment or what chooses cells has changed since, so that its cells have",
            ));
        }
        let mut cells = plan.cells.clone();
        if let Some(part) = run.part()? {
            cells.retain(|cell| part.contains(&cell.id));
        }
        run.sweep()?;
        header.layout = LAYOUT;
        header.state = State::Running;
        header.bisects = args.bisects();
        header.ended = None;
        header.exit = None;
        header.problems.clear();
        Ok(Self { run, lock, header, args, plan, cells })
    }
}
