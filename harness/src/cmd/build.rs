//! `mmtorture build`.

use super::{cores, positive, print, read_plan, unknown};
use crate::build::Builder;
use crate::cache::Cache;
use crate::error::Result;
use crate::image::Programs;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::run;
use crate::table::table;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    matrix: PathBuf,
    /// Only this variant, as `plan` shows it
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Compilers at once; by default one for each core
    #[arg(long, value_name = "N", value_parser = positive)]
    jobs: Option<usize>,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let plan = read_plan(&args.matrix, &Programs::find()?)?;
    let variants: Vec<_> = match &args.variant {
        None => plan.variants.clone(),
        Some(name) => match plan.variant(name) {
            Some(variant) => vec![variant.clone()],
            None => {
                let known: Vec<_> = plan.variants.iter().map(|v| v.name.clone()).collect();
                return Err(unknown("variant", name, &known));
            }
        },
    };
    let interrupt = Interrupt::install()?;
    let cache = Cache::open()?;
    let progress = Progress::new();
    let builder = Builder::new(&cache, args.jobs.unwrap_or_else(cores), &interrupt);
    run::check_patches(&builder, &variants, &progress)?;
    let mut rows = Vec::new();
    let mut failed = false;
    for variant in &variants {
        let built = run::build(&builder, variant, &progress)?;
        failed |= built.is_err();
        let place = built.map_or_else(|_| "does not build".to_owned(), |kernel| kernel.dir.display().to_string());
        rows.push(vec![variant.name.clone(), place]);
    }
    print(&table(&["VARIANT", "KERNEL"], &rows))?;
    Ok(if failed { 3 } else { 0 })
}
