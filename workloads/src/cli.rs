//! The command line: from arguments to a request, or to one line that says what is wrong with them.

use crate::job::{Pressure, WORKLOADS};
use crate::mix::{What, MIX};
use clap::error::ErrorKind;
use clap::Parser;
use mmtorture_protocol::Suite;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(
    name = "torture",
    version,
    about = "Tortures the memory management of the kernel it runs on",
    after_help = "Exit status: 0 fine, 1 violations were seen, 2 the request is wrong, 3 the machine cannot run it, \
                  128+N stopped by signal N."
)]
struct Args {
    /// A workload, a mix of them as `mix:anon-churn=2,shmem-punch=1`, or `list` to list them all
    #[arg(value_name = "NAME")]
    workload: String,
    /// How long to run
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    seconds: u32,
    /// What the run draws its random numbers from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The working set, as 512M or 2G [default: by --pressure]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// How to size the working set: `polite` takes a tenth of the available memory and at most 256M, `full` all of it
    /// and part of swap
    #[arg(long, value_enum, default_value_t = Pressure::Polite)]
    pressure: Pressure,
    /// A folder for files [default: memfds, or with `--pressure full` a tmpfs of its own]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// The root file system that a suite runs in, already mounted [default: the machine's own]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Report as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// How `list` prints
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// What to do.
#[derive(Debug)]
pub enum Request {
    /// Print this and be done.
    Print(String),
    /// List the workloads.
    List {
        /// As JSON.
        json: bool,
    },
    /// Run.
    Run(Run),
}

/// What is to run.
#[derive(Debug)]
pub enum Asked {
    /// Workloads of our own.
    Ours(What),
    /// A suite, and how it was asked for.
    Suite(String, Suite),
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// What.
    pub what: Asked,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The working set in bytes.
    pub memory: Option<u64>,
    /// How to size what the user does not say.
    pub pressure: Pressure,
    /// Where files go.
    pub scratch: Option<PathBuf>,
    /// The root of a suite.
    pub root: Option<PathBuf>,
    /// For how long.
    pub time: Duration,
    /// Reports instead of text.
    pub json: bool,
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// One line that says what was wrong and what was expected.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Request, String> {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Request::Print(error.render().to_string()));
        }
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            return Err(format!("no workload is named; expected {}", expected()));
        }
        Err(error) => return Err(one_line(&error.render().to_string())),
    };
    if args.workload == "list" {
        return Ok(Request::List { json: args.json || args.format == "json" });
    }
    let what = match Suite::parse(&args.workload) {
        Some(suite) => Asked::Suite(args.workload.clone(), suite?),
        None => {
            Asked::Ours(What::parse(&args.workload).map_err(|wrong| wrong.unwrap_or_else(|| unknown(&args.workload)))?)
        }
    };
    let Args { seed, memory, pressure, scratch, root, json, .. } = args;
    let time = Duration::from_secs(args.seconds.into());
    Ok(Request::Run(Run { what, seed, memory, pressure, scratch, root, time, json }))
}

fn names() -> impl Iterator<Item = &'static str> {
    WORKLOADS.iter().map(|workload| workload.name()).chain([MIX]).chain(Suite::TABLE.iter().map(|(name, ..)| *name))
}

fn unknown(name: &str) -> String {
    let hint = nearest(name, names().chain(["list"])).map(|name| format!("; did you mean '{name}'?"));
    format!("unknown workload '{name}'; expected {}{}", expected(), hint.unwrap_or_default())
}

fn expected() -> String {
    format!("one of: {} (see `torture list`)", names().collect::<Vec<_>>().join(", "))
}

/// clap explains over several lines; what matters stands on the first, or goes on indented below it.
fn one_line(text: &str) -> String {
    let text = text.split("\n\n").next().unwrap_or(text).replace('\n', " ");
    text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn seconds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n @ 1..=604_800) => Ok(n),
        _ => Err("expected a whole number of seconds from 1 to 604800 (a week)".to_owned()),
    }
}

/// A size in bytes, with an optional binary suffix.
fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size as 268435456, 256M or 2G (K, M, G are powers of 1024)".to_owned();
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(expected)
}

/// The name that `word` is most likely meant to be, if any is near.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (far, name) = names.map(|name| (distance(word, name), name)).min()?;
    (far <= name.len().max(4) / 2).then_some(name)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(256).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(line: &str) -> String {
        let error = parse(line.split(' ')).unwrap_err();
        assert!(!error.contains('\n'), "{error:?}");
        error
    }

    #[test]
    fn defaults_are_a_short_polite_run() {
        let Ok(Request::Run(run)) = parse(["torture", "anon-churn"]) else { panic!() };
        let Asked::Ours(what) = &run.what else { panic!() };
        assert_eq!((what.name.as_str(), what.parts.len()), ("anon-churn", 1));
        assert_eq!((run.seed, run.memory, run.pressure, run.scratch), (1, None, Pressure::Polite, None));
        assert_eq!((run.time, run.json), (Duration::from_secs(5), false));
    }

    #[test]
    fn bad_requests_say_what_was_expected_in_one_line() {
        let unknown = refuse("torture anon-chrun");
        assert!(unknown.starts_with("unknown workload 'anon-chrun'; expected one of: anon-churn, "), "{unknown}");
        assert!(unknown.ends_with(" (see `torture list`); did you mean 'anon-churn'?"), "{unknown}");
        assert!(refuse("torture mix:anon-chrun").contains("no workload 'anon-chrun'"));
        assert!(refuse("torture stress-ng:vn").contains("no class 'vn'"));
        assert!(!refuse("torture zzz").contains("did you mean"));
        assert!(refuse("torture").contains("anon-churn"));
        assert!(refuse("torture anon-churn --seconds 0").contains("from 1 to 604800"));
        assert!(refuse("torture anon-churn --memory lots").contains("256M or 2G"));
        assert!(refuse("torture anon-churn --memory 99999999999999999999G").contains("256M or 2G"));
        assert!(refuse("torture anon-churn --pressure mild").contains("[possible values: polite, full]"));
        assert!(refuse("torture anon-churn --sedo 3").contains("--sedo"));
    }

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(
            size("").is_err()
                && size("M").is_err()
                && size("0").is_err()
                && size("-1K").is_err()
                && size("1é").is_err()
        );
    }

    #[test]
    fn distances_are_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
