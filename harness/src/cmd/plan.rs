//! `mmtorture plan`.

use super::{print, print_json, read_plan, Format};
use crate::error::Result;
use crate::image::Programs;
use crate::table::table;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    matrix: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let plan = read_plan(&args.matrix, &Programs::find()?)?;
    if args.format == Format::Json {
        print_json(&plan.cells)?;
        return Ok(0);
    }
    let rows: Vec<_> = plan
        .cells
        .iter()
        .map(|cell| {
            let settings: Vec<_> = cell.settings.iter().map(|(d, s)| format!("{d}={s}")).collect();
            vec![
                cell.id.clone(),
                cell.variant.clone(),
                cell.workload.clone(),
                format!("{} s", cell.seconds),
                settings.join(" "),
            ]
        })
        .collect();
    print(&table(&["CELL", "VARIANT", "WORKLOAD", "TIME", "SETTINGS"], &rows))?;
    let trials = plan.cells.len() * plan.matrix.trials.0 as usize;
    print(&format!("\n{} kernels, {} cells, {trials} trials\n", plan.variants.len(), plan.cells.len()))?;
    Ok(0)
}
