//! What commands that make trials have in common: a machine, kernels, a base archive, and the runner over them.

use super::cores;
use super::guests::GuestArgs;
use crate::build::Builder;
use crate::cache::Cache;
use crate::clock::Begin;
use crate::error::{Error, Result};
use crate::image::{Programs, IMAGES};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::plan::{Cell, Plan};
use crate::progress::Progress;
use crate::record::{self, Header, Run, State, LAYOUT};
use crate::root::Roots;
use crate::run::{check_patches, Runner};
use std::path::{Path, PathBuf};

/// What trials need of this host.
pub(super) struct Setup {
    pub(super) machine: Box<dyn Machine>,
    /// Which machine, and why.
    pub(super) why: String,
    pub(super) interrupt: Interrupt,
    pub(super) cache: Cache,
    pub(super) progress: Progress,
    pub(super) base_image: PathBuf,
    jobs: Option<usize>,
}

impl Setup {
    /// Before kernels are built for minutes: whatever this host cannot do shows here.
    pub(super) fn new(guests: &GuestArgs, programs: &Programs) -> Result<Self> {
        let (machine, why) = guests.machine(programs)?;
        let interrupt = Interrupt::install()?;
        let cache = Cache::open()?;
        let base_image = programs.base_archive(&cache)?;
        Ok(Self { machine, why, interrupt, cache, progress: Progress::new(), base_image, jobs: guests.jobs })
    }

    /// Goes back to the guests' programs of an older run, if they are still in the cache.
    pub(super) fn use_image(&mut self, image: &str) {
        let name = format!("{image}.cpio");
        let old = self.cache.path(IMAGES, &name);
        if !image.is_empty() && old.is_file() {
            self.cache.used(IMAGES, &name);
            self.base_image = old;
        }
    }

    /// What makes the plan's kernels, once it is known that its patches apply.
    pub(super) fn builder(&self, plan: &Plan) -> Result<Builder<'_>> {
        let builder = Builder::new(&self.cache, cores(), &self.interrupt);
        check_patches(&builder, &plan.variants, &self.progress)?;
        self.progress.note(&format!("machine: {}", self.why));
        Ok(builder)
    }

    /// Runs these cells, without bisections and dumps.
    pub(super) fn runner<'a>(
        &'a self,
        plan: &'a Plan,
        cells: Vec<Cell>,
        builder: &'a Builder<'a>,
        run: &'a Run,
    ) -> Runner<'a> {
        Runner {
            plan,
            cells,
            builder,
            machine: &*self.machine,
            base_image: &self.base_image,
            jobs: self.jobs,
            bisect: None,
            roots: Roots::default(),
            cores: None,
            run,
            progress: &self.progress,
            interrupt: &self.interrupt,
        }
    }

    /// Makes the folder of a new run of so many trials of these cells.
    pub(super) fn record(
        &self,
        plan: &Plan,
        cells: &[Cell],
        matrix: &Path,
        planned: usize,
        results: &Path,
    ) -> Result<Run> {
        let now = jiff::Timestamp::now();
        let newest = record::list(results)?.pop().map(|(_, header)| header);
        let begin = Begin::new(now, newest.as_ref().map(|newest| newest.started));
        let before = newest.map(|newest| newest.id).unwrap_or_default();
        match begin {
            Begin::Now(_) => {}
            Begin::Behind(_, by) => self.progress.note(&format!(
                "the clock is {by:#} behind the run {before}: this one is dated right after it"
            )),
            Begin::Astray(_, by) => tracing::warn!(
                "the clock is {:.0} h behind the run {before}: that one stays `latest` and the last in the history until \
                 the clock has passed it",
                by.as_secs_f64() / 3600.0
            ),
        }
        let header = Header {
            layout: LAYOUT,
            id: String::new(),
            matrix: plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            // Wherever it is read from next.
            matrix_file: std::path::absolute(matrix).unwrap_or_else(|_| matrix.to_owned()),
            image: self.image(),
            machine: self.why.clone(),
            state: State::Running,
            started: begin.time(),
            ended: None,
            planned,
            seed: plan.matrix.seed,
            trials: plan.matrix.trials.0,
            bisects: false,
            parts: Vec::new(),
            pruned: None,
            exit: None,
            problems: Vec::new(),
        };
        let run = Run::create(results, plan, cells, header)?;
        self.progress.note(&format!("results: {}", run.dir.display()));
        Ok(run)
    }

    /// What tells the guests' programs apart.
    pub(super) fn image(&self) -> String {
        self.base_image.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// RUN and CELL of `RUN/CELL`: a run may be given as a path, so the cell is what stands after the last slash.
pub(super) fn run_and_cell(what: &str) -> Result<(&str, &str)> {
    let what = what.trim_end_matches('/');
    what.rsplit_once('/').ok_or_else(|| {
        Error::request(format!("'{what}' names no cell, expected RUN/CELL, as in latest/delay-rmap-all"))
    })
}
