//! `mmtorture merge`.

use super::{print, ResultsArg};
use crate::error::Result;
use crate::history::History;
use crate::record::{self, Run};
use crate::run::{merge::merge, summary};
use crate::trial::Trial;
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mmtorture merge 20261124T020000Z-nightly 20261124T020000Z-nightly-2
  id=$(mmtorture merge shards/* | head -n 1)

The first line on standard output is the merged run's id. The exit status is that of the whole: 0 all passed, 1 findings, \
3 some trials have no outcome; 2 if the runs cannot be merged.")]
pub(super) struct Args {
    /// Runs of one plan, as `run --shard` makes them: ids, their folders, or folders that hold runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let results = &args.results.dir;
    let mut runs = Vec::new();
    for name in &args.runs {
        let held = if Path::new(name).is_dir() { record::folders(Path::new(name))? } else { Vec::new() };
        if held.is_empty() {
            runs.push(Run::open(results, name.trim_end_matches('/'))?);
        } else {
            runs.extend(held);
        }
    }
    let run = merge(results, runs, std::env::args().collect())?;
    History::note(&run);
    let header = run.header()?;
    let trials: Vec<Trial> = run.trials()?.into_iter().map(|(_, trial)| trial).collect();
    let (trials, place) = (trials.iter().collect::<Vec<_>>(), run.dir.display().to_string());
    let text = summary::run(&header, &run.cells()?, &trials, &run.bisections()?, &place);
    print(&format!("{}\n\n{text}{}", header.id, summary::searches(&run.searches()?)))?;
    Ok(header.exit.unwrap_or(3))
}
