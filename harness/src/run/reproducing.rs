//! Runs a failure again: on the same kernel, with the same seed and then with others.

use super::{build, pool, Runner};
use crate::build::Kernel;
use crate::error::{Error, Result};
use crate::files;
use crate::plan::Cell;
use crate::reproduce::Sought;
use crate::trial::console::Console;
use crate::trial::{Trial, REQUEST};
use mmtorture_protocol::Request;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A failure of a run.
pub struct Failed<'a> {
    /// Its cell, as the matrix has it now.
    pub cell: &'a Cell,
    /// Its trial.
    pub trial: &'a Trial,
    /// The trial's folder.
    pub dir: &'a Path,
    /// The run's guest programs; empty if that is not known.
    pub image: &'a str,
}

/// The kernel that failed: the very same if it is in the cache, else built again; and what of it differs.
///
/// # Errors
/// It cannot be built, the host fails, or a signal came.
pub fn kernel(runner: &Runner<'_>, failed: &Failed<'_>) -> Result<(Kernel, Vec<String>)> {
    let key = &failed.trial.kernel;
    if let Some(kernel) = runner.builder.cached(key)? {
        return Ok((kernel, Vec::new()));
    }
    let variant = runner.plan.variant_of(failed.cell)?;
    let kernel = build(runner.builder, variant, runner.progress)?.map_err(Error::host)?;
    let mut differs = Vec::new();
    if kernel.key != *key {
        differs.push(match (compiled_by(failed.dir), kernel.meta().map(|m| m.toolchain)) {
            (Some(then), Some(now)) if !now.split("; ").all(|tool| then.contains(tool)) => {
                format!("the kernel was built by {then}, now by {now}")
            }
            _ => "the kernel: its source, a patch or its configuration has changed".to_owned(),
        });
    }
    Ok((kernel, differs))
}

/// What else is not as it was: the machine, the guest's programs, what is asked of the guest.
///
/// # Errors
/// The old request is damaged.
pub fn differs(runner: &Runner<'_>, failed: &Failed<'_>, image: &str, request: &Request) -> Result<Vec<String>> {
    let mut differs = Vec::new();
    let machine = runner.machine.describe();
    if machine != failed.trial.machine {
        differs.push(format!("the machine was {}, now {machine}", failed.trial.machine));
    }
    if failed.image.is_empty() {
        differs.push("the guest's programs, maybe: the run does not say which it had".to_owned());
    } else if failed.image != image {
        differs.push("the guest's programs are of another build".to_owned());
    }
    let then: Option<serde_json::Value> = files::read_json_if_there(&failed.dir.join(REQUEST))?;
    match then {
        None => differs.push(format!("what was asked of the guest, maybe: its {REQUEST} is gone")),
        Some(then) if serde_json::to_value(request).ok().as_ref() != Some(&then) => {
            differs.push("what is asked of the guest: mmtorture has changed since".to_owned());
        }
        Some(_) => {}
    }
    Ok(differs)
}

/// Runs the cell with these seeds; the trials in their order.
///
/// # Errors
/// The host fails, or a signal came. What was done until then is recorded.
pub fn trials(runner: &Runner<'_>, cell: &Cell, kernel: &Kernel, seeds: &[u64]) -> Result<Vec<Trial>> {
    let slots = pool::slots(std::iter::once(&cell.shape), runner.machine.overhead_mib(), runner.jobs);
    let work = |seed: &u64| {
        runner.interrupt.check()?;
        runner.trial(cell, *seed, kernel, &runner.run.trial_dir(&cell.id, *seed))
    };
    let mut trials = pool::run(slots, seeds, |_| true, work, |_| Ok(()))?;
    trials.sort_by_key(|trial| seeds.iter().position(|seed| *seed == trial.seed));
    Ok(trials)
}

/// The seeds to try: the one that failed, then such as no planned trial of that cell had.
pub fn seeds(sought: &Sought, seen: impl Iterator<Item = u64>, count: usize) -> Vec<u64> {
    let fresh = seen.fold(sought.seed, u64::max);
    let others = (1..).map(|n| fresh.wrapping_add(n));
    std::iter::once(sought.seed).chain(others).take(count).collect()
}

/// Compiler and linker, as the kernel says on the console in a trial's folder: `Linux version R (USER@HOST) (TOOLS) #N ...`.
fn compiled_by(dir: &Path) -> Option<String> {
    let lines = BufReader::new(Console::open(dir).ok()??).split(b'\n').map_while(std::io::Result::ok);
    let banner =
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).find(|l| l.contains("Linux version "))?;
    let (_, tools) = banner.split_once(") (")?;
    let (tools, _) = tools.rsplit_once(") #")?;
    Some(tools.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    #[test]
    fn the_first_seed_is_the_one_that_failed_and_the_others_are_new() {
        let sought = Sought {
            run: "r".into(),
            cell: "c".into(),
            seed: 2,
            outcome: Outcome::Fail,
            title: "t".into(),
            signature: None,
        };
        assert_eq!(seeds(&sought, [1, 2, 3].into_iter(), 4), [2, 4, 5, 6]);
        assert_eq!(seeds(&sought, [2].into_iter(), 1), [2]);
    }

    #[test]
    fn a_console_says_what_built_its_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let console = dir.path().join("console.log");
        let text =
            "SeaBIOS\n[    0.000000][    T0] Linux version 6.1.192 (m@m) (gcc (Debian 12) 12.2.0, GNU ld (Binutils) \
                    2.40) #mmt-1 SMP\n";
        std::fs::write(&console, text).unwrap();
        assert_eq!(compiled_by(dir.path()).unwrap(), "gcc (Debian 12) 12.2.0, GNU ld (Binutils) 2.40");
        std::fs::write(&console, "nothing\n").unwrap();
        assert_eq!(compiled_by(dir.path()), None);
    }
}
