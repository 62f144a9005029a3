//! `mmtorture report`.

use super::{print, ResultsArg};
use crate::error::Result;
use crate::files;
use crate::record::Run;
use crate::report::{self, Account, FORMATS};
use clap::builder::{PossibleValue, PossibleValuesParser};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mmtorture report latest --output report.html
  mmtorture report latest --format markdown >> \"$GITHUB_STEP_SUMMARY\"
  mmtorture report latest --format mail | less")]
pub(super) struct Args {
    /// The run, as `runs` shows it; `latest` is the newest
    run: String,
    /// What to make of it
    #[arg(long, value_name = "FORMAT", value_parser = names(), default_value = FORMATS[0].name)]
    format: String,
    /// Where to write it; standard output if it is not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    results: ResultsArg,
}

fn names() -> PossibleValuesParser {
    FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.about)).collect::<Vec<_>>().into()
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let Some(format) = report::format(&args.format) else {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name.to_owned()).collect();
        return Err(super::unknown("format", &args.format, &known));
    };
    let account = Account::read(&Run::open(&args.results.dir, args.run.trim_end_matches('/'))?)?;
    let text = (format.render)(&account);
    match &args.output {
        Some(path) => files::write(path, text.as_bytes())?,
        None => print(&text)?,
    }
    Ok(0)
}
