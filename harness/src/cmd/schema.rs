//! `mmtorture schema`.

use super::{print, print_json, Format};
use crate::error::Result;
use crate::matrix::{dimension, schema};
use crate::table::table;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List the dimensions and their settings instead
    #[arg(long)]
    dimensions: bool,
    /// How to print the dimensions
    #[arg(long, value_enum, default_value_t, requires = "dimensions")]
    format: Format,
}

#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    acts: &'static str,
    settings: String,
    about: &'static str,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    if !args.dimensions {
        print(&schema::text())?;
        return Ok(0);
    }
    let rows =
        dimension::all().map(|d| Row { name: d.name, acts: d.acts.name(), settings: d.expected(), about: d.about });
    if args.format == Format::Json {
        print_json(&rows.collect::<Vec<_>>())?;
        return Ok(0);
    }
    let rows: Vec<_> =
        rows.map(|row| vec![row.name.to_owned(), row.acts.to_owned(), row.settings, row.about.to_owned()]).collect();
    print(&table(&["DIMENSION", "ACTS AT", "SETTINGS", "MEANING"], &rows))?;
    Ok(0)
}
