//! `mmtorture history`.

use super::{print, print_json, Format, ResultsArg};
use crate::error::{Error, Result};
use crate::history::{self, History, Sighting, When};
use crate::report::text;
use crate::table::table;
use std::fmt::Write;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mmtorture history                          all that was ever found, the newest first
  mmtorture history migrate_pages_batch      when it was first seen, and the last run before that did not see it
  mmtorture history --rebuild                make the index anew from the runs' folders")]
pub(super) struct Args {
    /// A finding's signature or title, or a part of one
    signature: Option<String>,
    /// Make the index anew from the runs' folders; runs whose folders are gone are forgotten
    #[arg(long)]
    rebuild: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let results = &args.results.dir;
    if !results.is_dir() {
        return Err(Error::request(format!("there is no folder {}, expected one with runs in it", results.display())));
    }
    let history = if args.rebuild { History::rebuild(results)? } else { History::open(results)? };
    let Some(asked) = &args.signature else {
        let all = history.signatures()?;
        if args.format == Format::Json {
            print_json(&all)?;
        } else if all.is_empty() {
            eprintln!("nothing was found in any run in {}", results.display());
        } else {
            let rows: Vec<_> = all
                .iter()
                .map(|s| {
                    let (first, last) = (day(&s.first), day(&s.last));
                    vec![text::line(&s.title), first, last, s.runs.to_string(), s.trials.to_string()]
                })
                .collect();
            print(&table(&["FINDING", "FIRST SEEN", "LAST SEEN", "RUNS", "TRIALS"], &rows))?;
        }
        return Ok(0);
    };
    let chosen = history.matching(asked)?;
    if chosen.is_empty() {
        let index = history::path(results);
        return Err(Error::request(format!(
            "no finding '{asked}' in {}; `mmtorture history` lists them",
            index.display()
        )));
    }
    let mut whens = Vec::new();
    for one in chosen {
        whens.extend(history.when(&one)?);
    }
    if args.format == Format::Json {
        print_json(&whens)?;
    } else {
        let texts: Vec<_> = whens.iter().map(tell).collect();
        print(&texts.join("\n"))?;
    }
    Ok(0)
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
