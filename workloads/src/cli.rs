//! The command line: from arguments to a request, or to one line that says what is wrong with them.

use crate::job::{Ask, Pressure, WORKLOADS};
use clap::error::ErrorKind;
use clap::Parser;
use std::ffi::OsString;
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
    /// A workload, or `list` to list them all
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
    /// Run one.
    Run {
        /// Its place in [`WORKLOADS`].
        workload: usize,
        /// What is asked of it.
        ask: Ask,
        /// For how long.
        time: Duration,
        /// Reports instead of text.
        json: bool,
    },
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
    let Some(workload) = WORKLOADS.iter().position(|workload| workload.name() == args.workload) else {
        let names = WORKLOADS.iter().map(|workload| workload.name()).chain(["list"]);
        let hint = nearest(&args.workload, names).map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
        return Err(format!("unknown workload '{}'; expected {}{hint}", args.workload, expected()));
    };
    Ok(Request::Run {
        workload,
        ask: Ask { seed: args.seed, memory: args.memory, pressure: args.pressure },
        time: Duration::from_secs(args.seconds.into()),
        json: args.json,
    })
}

fn expected() -> String {
    let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name()).collect();
    format!("one of: {} (see `torture list`)", names.join(", "))
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
        let Ok(Request::Run { workload, ask, time, json }) = parse(["torture", "anon-churn"]) else { panic!() };
        assert_eq!(WORKLOADS[workload].name(), "anon-churn");
        assert_eq!(ask, Ask { seed: 1, memory: None, pressure: Pressure::Polite });
        assert_eq!((time, json), (Duration::from_secs(5), false));
    }

    #[test]
    fn bad_requests_say_what_was_expected_in_one_line() {
        assert_eq!(
            refuse("torture anon-chrun"),
            "unknown workload 'anon-chrun'; expected one of: anon-churn (see `torture list`); did you mean 'anon-churn'?"
        );
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
