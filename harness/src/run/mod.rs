//! A run: everything that a plan asks for, in order: kernels, trials, bisections, verdicts.

mod bars;
pub mod bisecting;
pub mod journal;
pub mod loads;
pub mod merge;
pub(crate) mod play;
mod pool;
pub mod reproducing;
pub mod revisions;
mod search;
mod seeds;
pub mod settling;
pub mod summary;

use crate::build::{BuildError, Builder, Kernel, Step};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::matrix::Verdict;
use crate::outcome::Outcome;
use crate::plan::{Cell, Plan, Variant};
use crate::progress::{Progress, Task};
use crate::record::{Bisection, Header, Run};
use crate::root::Roots;
use crate::trial::dump::{Core, Cores};
use crate::trial::{self, Job, Trial};
use bisecting::Ask;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What a run needs.
pub struct Runner<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The cells to run: the plan's, or those that were chosen.
    pub cells: Vec<Cell>,
    /// Makes kernels.
    pub builder: &'a Builder<'a>,
    /// Runs guests.
    pub machine: &'a dyn Machine,
    /// The guest's base archive.
    pub base_image: &'a Path,
    /// Trials at once; `None` for what the host bears.
    pub jobs: Option<usize>,
    /// Whether failures are bisected, and how far.
    pub bisect: Option<Ask>,
    /// The roots of suites.
    pub roots: Roots,
    /// The memory dumps, if they are kept.
    pub cores: Option<Cores>,
    /// Where it is recorded.
    pub run: &'a Run,
    /// What a person sees.
    pub progress: &'a Progress,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

/// What a run came to.
#[derive(Debug)]
pub struct Results {
    /// The planned trials, by cell and seed.
    pub trials: Vec<Trial>,
    /// The bisections.
    pub bisections: Vec<Bisection>,
    /// Verdicts that the matrix asks for and the run did not reach, for people.
    pub problems: Vec<String>,
    /// The exit status.
    pub exit: u8,
}

/// A kernel, or why there is none.
type Built = std::result::Result<Kernel, String>;

impl Runner<'_> {
    /// Does all of it.
    ///
    /// # Errors
    /// The request is wrong, the host fails, or a signal came. What was done until then is recorded.
    pub fn run(&self) -> Result<Results> {
        for rule in self.plan.expectations.expired(jiff::Zoned::now().date()) {
            self.progress.note(&format!("the allow-list's '{rule}' has expired: what it matches is a failure again"));
        }
        let trials = self.trials()?;
        let bisections = match self.bisect {
            Some(ask) => bisecting::run(self, &trials, ask)?,
            None => Vec::new(),
        };
        let problems = verdicts(&self.plan.matrix.verdicts, &self.cells, &trials, &bisections, self.bisect.is_some());
        let exit = exit_status(&self.plan.matrix.verdicts, &trials, &problems);
        Ok(Results { trials, bisections, problems, exit })
    }

    /// Builds every variant that the cells need, and runs each cell as soon as its kernel is there. A variant that does
    /// not compile is an outcome, not an error. What the run's record has is not run again.
    fn trials(&self) -> Result<Vec<Trial>> {
        let first = self.plan.matrix.seed;
        let (mut asked, mut done) = (Vec::new(), Vec::new());
        for n in 0..u64::from(self.plan.matrix.trials.0) {
            for cell in &self.cells {
                let seed = first.wrapping_add(n);
                match self.run.trial(&cell.id, seed)? {
                    Some(trial) => done.push(trial),
                    None => asked.push((cell, seed)),
                }
            }
        }
        let slots = pool::slots(self.cells.iter().map(|c| &c.shape), self.machine.overhead_mib(), self.jobs);
        let kernels: Mutex<BTreeMap<String, Built>> = Mutex::default();
        let lock = || kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trials = pool::run(
            slots,
            &asked,
            |(cell, _)| lock().contains_key(&cell.variant),
            |(cell, seed)| {
                self.interrupt.check()?;
                let built = lock()[&cell.variant].clone();
                match built {
                    Ok(kernel) => self.trial(cell, *seed, &kernel, &self.run.trial_dir(&cell.id, *seed)),
                    Err(why) => {
                        let trial = unbuilt(cell, *seed, self.machine, &why);
                        trial::keep(&trial, &self.run.trial_dir(&cell.id, *seed))?;
                        Ok(trial)
                    }
                }
            },
            |more| {
                let wanted: BTreeSet<&str> = asked.iter().map(|(cell, _)| cell.variant.as_str()).collect();
                for variant in self.plan.variants.iter().filter(|v| wanted.contains(v.name.as_str())) {
                    let built = build(self.builder, variant, self.progress)?;
                    lock().insert(variant.name.clone(), built);
                    if !more() {
                        break;
                    }
                }
                Ok(())
            },
        )?;
        trials.append(&mut done);
        trials.sort_by(|a, b| (&a.cell, a.seed).cmp(&(&b.cell, b.seed)));
        Ok(trials)
    }

    /// One trial, shown and recorded.
    fn trial(&self, cell: &Cell, seed: u64, kernel: &Kernel, dir: &Path) -> Result<Trial> {
        let name = format!("{} {} seed {seed}", cell.variant, cell.workload);
        let task = self.progress.task(&name);
        let root = self.roots.of(cell, self.plan, self.builder, self.progress)?;
        task.at(0, None, "boot");
        let job = Job {
            cell,
            seed,
            kernel,
            machine: self.machine,
            base_image: self.base_image,
            root: root.as_ref().map(|root| root.image.as_path()),
            boot_seconds: self.plan.matrix.boot_seconds.map(|s| s.0),
            expectations: &self.plan.expectations,
            cores: self.cores.as_ref(),
            dir,
            interrupt: self.interrupt,
        };
        let trial = trial::run(&job, &mut |phase| task.at(0, None, phase.name()))?;
        task.finish(&summary::one_line(&trial));
        match &trial.core {
            Some(Core::Kept { file, .. }) => self.progress.note(&format!("memory dump: {}", dir.join(file).display())),
            Some(Core::Failed { why }) => self.progress.note(&format!("no memory dump of {name}: {why}")),
            None => {}
        }
        Ok(trial)
    }
}

/// Builds one variant, shown. `Ok(Err(_))` is a build failure: the compiler's words.
///
/// # Errors
/// The request is wrong, the host fails, or a signal came.
pub fn build(builder: &Builder<'_>, variant: &Variant, progress: &Progress) -> Result<Built> {
    let task = progress.task(&format!("kernel {}", variant.name));
    let start = std::time::Instant::now();
    match builder.build(variant, &|step| show(&task, &step)) {
        Ok((kernel, true)) => {
            task.finish(&format!("built in {:.0} s", start.elapsed().as_secs_f64()));
            Ok(Ok(kernel))
        }
        Ok((kernel, false)) => {
            task.finish("in the cache");
            Ok(Ok(kernel))
        }
        Err(BuildError::Failed { excerpt, log }) => {
            let why = format!("{excerpt}\nthe whole log: {}", log.display());
            task.finish(&format!("does not build\n{why}"));
            Ok(Err(why))
        }
        Err(BuildError::Other(e)) => Err(e),
    }
}

fn show(task: &Task<'_>, step: &Step) {
    match step {
        Step::Unpack(what) => task.at(0, None, &format!("unpack {what}")),
        Step::Tree => task.at(0, None, "link the work tree"),
        Step::Configure => task.at(0, None, "configure"),
        Step::Compile { done, of } => task.at(*done as u64, of.map(|n| n as u64), "objects"),
    }
}

/// Checks every variant's patches against the source, before anything is built: a request that is wrong should say so
/// in seconds. Notes on hunks that applied elsewhere than they say go to the user.
///
/// # Errors
/// A patch does not apply, or the source is missing.
pub fn check_patches(builder: &Builder<'_>, variants: &[Arc<Variant>], progress: &Progress) -> Result<()> {
    let mut noted = BTreeSet::new();
    for variant in variants {
        // Unpacking the source takes half a minute the first time; nothing else here does.
        let unpacking = std::cell::OnceCell::new();
        let notes =
            builder.check(variant, &|step| show(unpacking.get_or_init(|| progress.task("kernel source")), &step))?;
        let new: Vec<_> = notes.into_iter().filter(|note| noted.insert(note.to_string())).collect();
        // Ignored context may hide a mistake, so each such hunk is told; of a series made for another release, hundreds
        // may stand at an offset.
        let (fuzzy, moved): (Vec<_>, Vec<_>) = new.iter().partition(|note| note.fuzz > 0);
        for note in fuzzy.iter().chain(moved.iter().take(MOST_OFFSETS)) {
            progress.note(&format!("{}: {note}", variant.name));
        }
        if let Some(more) = moved.len().checked_sub(MOST_OFFSETS).filter(|more| *more > 0) {
            progress.note(&format!("{}: {more} more hunks applied at an offset", variant.name));
        }
    }
    Ok(())
}

/// So many hunks at an offset are told of one by one.
const MOST_OFFSETS: usize = 10;

/// The trial of a kernel that there is not.
fn unbuilt(cell: &Cell, seed: u64, machine: &dyn Machine, why: &str) -> Trial {
    Trial {
        cell: cell.id.clone(),
        variant: cell.variant.clone(),
        seed,
        seconds: cell.seconds,
        kernel: String::new(),
        machine: machine.describe(),
        outcome: Outcome::BuildFailure,
        why: why.lines().next().unwrap_or_default().to_owned(),
        ending: None,
        core: None,
        seen: trial::watch::Seen::default(),
    }
}

/// What the matrix's verdicts find wanting.
pub fn verdicts(
    verdicts: &[Verdict],
    cells: &[Cell],
    trials: &[Trial],
    bisections: &[Bisection],
    bisected: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    for verdict in verdicts {
        // Cells that were not chosen owe nothing.
        if !cells.iter().any(|c| c.variant == verdict.variant) {
            continue;
        }
        if let Some(want) = verdict.outcome {
            for trial in trials.iter().filter(|t| t.variant == verdict.variant && t.outcome != want) {
                let got = trial.outcome;
                problems.push(format!("{} seed {}: {got} ({}), expected {want}", trial.cell, trial.seed, trial.why));
            }
        }
        let Some(culprit) = verdict.culprit.as_deref().filter(|_| bisected) else { continue };
        let named: Vec<_> = bisections
            .iter()
            .filter(|b| trials.iter().any(|t| t.cell == b.cell && t.variant == verdict.variant))
            .map(|b| b.culprit.as_deref().unwrap_or("no patch"))
            .collect();
        if named.is_empty() || named.iter().any(|n| *n != culprit) {
            let got =
                if named.is_empty() { "was not bisected".to_owned() } else { format!("blames {}", named.join(", ")) };
            problems.push(format!("{}: {got}, expected {culprit}", verdict.variant));
        }
    }
    problems
}

/// With verdicts: whether they were reached. Without: 0 all passed, 1 findings, 3 neither.
pub fn exit_status(verdicts: &[Verdict], trials: &[Trial], problems: &[String]) -> u8 {
    if !verdicts.is_empty() {
        return u8::from(!problems.is_empty());
    }
    let found = |t: &Trial| {
        matches!(t.outcome, Outcome::Fail | Outcome::Hang)
            || (t.outcome != Outcome::InfraError && t.finding().is_some())
    };
    if trials.iter().any(found) {
        1
    } else if trials.iter().all(|t| t.outcome == Outcome::Pass) {
        0
    } else {
        3
    }
}

/// Closes the run's record, whatever it came to, at the time that `clock` says.
///
/// # Errors
/// The record cannot be written.
pub fn close(run: &Run, mut header: Header, clock: &Clock, results: &Result<Results>) -> Result<()> {
    use crate::record::State;
    header.ended = Some(clock.now());
    match results {
        Ok(results) => {
            header.state = State::Done;
            header.exit = Some(results.exit);
            header.problems.clone_from(&results.problems);
        }
        Err(e) => {
            header.state = if matches!(e, Error::Interrupted) { State::Interrupted } else { State::Failed };
            header.exit = Some(e.exit_status());
            header.problems = vec![e.to_string()];
        }
    }
    run.write_header(&header)
}
