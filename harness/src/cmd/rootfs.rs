//! `mmtorture rootfs`.

use super::{cores, positive, print, print_json, read_plan, Format};
use crate::build::Builder;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::image::Programs;
use crate::interrupt::Interrupt;
use crate::plan::Cell;
use crate::progress::Progress;
use crate::root::Roots;
use crate::table::table;
use mmtorture_protocol::Suite;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A matrix, a YAML file, of whose suites the roots are made
    matrix: PathBuf,
    /// Compilers at once; by default one for each core
    #[arg(long, value_name = "N", value_parser = positive)]
    jobs: Option<usize>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let plan = read_plan(&args.matrix, &Programs::find()?)?;
    let interrupt = Interrupt::install()?;
    let cache = Cache::open()?;
    let progress = Progress::new();
    let builder = Builder::new(&cache, args.jobs.unwrap_or_else(cores), &interrupt);
    let suites: Vec<&Cell> = plan.cells.iter().filter(|cell| Suite::parse(&cell.workload).is_some()).collect();
    if suites.is_empty() {
        return Err(Error::request(format!("{}: none of its workloads is a suite", args.matrix.display())));
    }
    let roots = Roots::default();
    let mut found: Vec<crate::root::Root> = Vec::new();
    for cell in suites {
        let root = roots.of(cell, &plan, &builder, &progress)?;
        found.extend(root.filter(|root| !found.iter().any(|known| known.name == root.name)));
    }
    match args.format {
        Format::Json => {
            let rows: Vec<_> = found
                .iter()
                .map(|root| {
                    serde_json::json!({ "name": root.name, "image": root.image, "contents": root.meta.contents,
                        "left_out": root.meta.left_out })
                })
                .collect();
            print_json(&rows)?;
        }
        Format::Table => {
            let row = |root: &crate::root::Root| {
                let left_out = root.meta.left_out.join(" ");
                vec![root.meta.contents.len().to_string(), root.image.display().to_string(), left_out]
            };
            let rows: Vec<_> = found.iter().map(row).collect();
            print(&table(&["CONTENTS", "ROOT", "LEFT OUT"], &rows))?;
        }
    }
    Ok(0)
}
