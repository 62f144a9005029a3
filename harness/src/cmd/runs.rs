//! `mmtorture runs`.

use super::{print, print_json, Format, ResultsArg};
use crate::error::Result;
use crate::record;
use crate::table::table;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let runs = record::list(&args.results.dir)?;
    if args.format == Format::Json {
        let headers: Vec<_> = runs.iter().map(|(_, header)| header).collect();
        print_json(&headers)?;
        return Ok(0);
    }
    if runs.is_empty() {
        eprintln!("no runs in {}", args.results.dir.display());
        return Ok(0);
    }
    let mut rows = Vec::new();
    for (run, header) in &runs {
        let trials = run.trials()?;
        let mut counts = std::collections::BTreeMap::<_, usize>::new();
        for (_, trial) in &trials {
            *counts.entry(trial.outcome).or_default() += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
        let state = serde_json::to_value(header.state).ok().and_then(|v| v.as_str().map(str::to_owned));
        let pruned = if header.pruned.is_some() { ", pruned" } else { "" };
        rows.push(vec![
            header.id.clone(),
            state.unwrap_or_default() + pruned,
            header.took().unwrap_or_else(|| "-".to_owned()),
            counts.join(", "),
        ]);
    }
    print(&table(&["RUN", "STATE", "TOOK", "OUTCOMES"], &rows))?;
    Ok(0)
}
