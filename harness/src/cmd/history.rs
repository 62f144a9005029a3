//! `mmtorture history`.

use super::{print, ResultsArg};
use crate::error::{Error, Result};
use crate::files;
use crate::history::{self, History, Sighting, Signature, When};
use crate::report::{self, text};
use crate::table::table;
use anyhow::Context;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mmtorture history                          all that was ever found, the newest first
  mmtorture history migrate_pages_batch      when it was first seen, and the last run before that did not see it
  mmtorture history --format html -o history.html
                                             all of it as a page: signatures by run, and what is known of each
  mmtorture history --rebuild                make the index anew from the runs' folders")]
pub(super) struct Args {
    /// A finding's signature or title, or a part of one
    signature: Option<String>,
    /// Make the index anew from the runs' folders; runs whose folders are gone are forgotten
    #[arg(long)]
    rebuild: bool,
    /// What to make of it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    /// Where to write it; standard output if it is not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The newest so many runs are columns of the page
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    #[command(flatten)]
    results: ResultsArg,
}

/// What is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// One self-contained page for a browser.
    Html,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let results = &args.results.dir;
    if !results.is_dir() {
        return Err(Error::request(format!("there is no folder {}, expected one with runs in it", results.display())));
    }
    let history = if args.rebuild { History::rebuild(results)? } else { History::open(results)? };
    let text = made(&history, args)?;
    match &args.output {
        Some(path) => files::write(path, text.as_bytes())?,
        None => print(&text)?,
    }
    Ok(0)
}

fn made(history: &History, args: &Args) -> Result<String> {
    let results = &args.results.dir;
    let chosen = args.signature.as_ref().map(|asked| history.matching(asked)).transpose()?;
    if let (Some([]), Some(asked)) = (chosen.as_deref(), &args.signature) {
        let index = history::path(results);
        return Err(Error::request(format!(
            "no finding '{asked}' in {}; `mmtorture history` lists them",
            index.display()
        )));
    }
    if args.format == Form::Html {
        let mut overview = history.overview(args.runs as usize)?;
        if let Some(chosen) = chosen {
            overview.rows.retain(|row| chosen.contains(&row.when.signature.signature));
        }
        return Ok(report::history_page(&overview, &results.display().to_string()));
    }
    let Some(chosen) = chosen else {
        let all = history.signatures()?;
        if all.is_empty() {
            eprintln!("nothing was found in any run in {}", results.display());
        }
        return if args.format == Form::Json { json(&all) } else { Ok(list(&all)) };
    };
    let mut whens = Vec::new();
    for one in chosen {
        whens.extend(history.when(&one)?);
    }
    if args.format == Form::Json {
        return json(&whens);
    }
    Ok(whens.iter().map(tell).collect::<Vec<_>>().join("\n"))
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot make JSON of it")?;
    text.push('\n');
    Ok(text)
}

/// A line for each signature; nothing if there is none.
fn list(all: &[Signature]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = all
        .iter()
        .map(|s| {
            let known = if s.known.is_some() { " (known)" } else { "" };
            let (first, last) = (day(&s.first), day(&s.last));
            vec![format!("{}{known}", text::line(&s.title)), first, last, s.runs.to_string(), s.trials.to_string()]
        })
        .collect();
    table(&["FINDING", "FIRST SEEN", "LAST SEEN", "RUNS", "TRIALS"], &rows)
}

fn day(sighting: &Sighting) -> String {
    jiff::Timestamp::from_millisecond(sighting.started_ms)
        .map_or_else(|_| "-".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

/// When it started, on what, and how it went since.
fn tell(when: &When) -> String {
    let s = &when.signature;
    let place = |sighting: &Sighting| format!("{}  {}", day(sighting), sighting.run);
    let mut out = format!("{}\n  {}\n", text::line(&s.title), text::line(&s.signature));
    if let Some(reason) = &s.known {
        let _ = writeln!(out, "  known issue   {}", text::line(reason));
    }
    let clean = |sighting: &Option<Sighting>| sighting.as_ref().map_or_else(|| "-".to_owned(), place);
    let _ = writeln!(out, "  clean before  {}", clean(&when.clean_before));
    let _ = writeln!(out, "  first seen    {}", place(&s.first));
    let _ = writeln!(out, "  last seen     {}", place(&s.last));
    let _ = writeln!(out, "  clean since   {}", clean(&when.clean_since));
    for variant in &when.variants {
        let after = variant
            .median_ms
            .map_or_else(String::new, |ms| format!(", median after {}", text::seconds(ms as f64 / 1000.0)));
        let _ = writeln!(
            out,
            "  {} {}: {} of {} trials, {}{after}",
            text::line(&variant.variant),
            text::line(&variant.workload),
            variant.trials,
            variant.of,
            text::count(usize::try_from(variant.kernels).unwrap_or_default(), "kernel"),
        );
    }
    let marks: String = when.runs.iter().map(|(_, seen, of)| mark(*seen, *of)).collect();
    let _ = writeln!(out, "  runs          {marks}  (oldest first; . clean, 1 to 9 tenths of the trials, # all)");
    out
}

/// A run in a character.
fn mark(seen: i64, of: i64) -> char {
    match seen * 10 / of.max(1) {
        _ if seen == 0 => '.',
        tenths if tenths >= 10 => '#',
        tenths => char::from_digit(u32::try_from(tenths).unwrap_or_default().max(1), 10).unwrap_or('#'),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_run_is_a_character() {
        let marks: String =
            [(0, 10), (1, 100), (5, 10), (10, 10), (3, 0)].map(|(k, n)| super::mark(k, n)).iter().collect();
        assert_eq!(marks, ".15##");
    }
}
