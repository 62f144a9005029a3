//! `mmtorture scan`.

use super::print;
use super::symbols::{self, Symbolized, Symbols};
use crate::error::{Error, Result};
use crate::oracle::{Finding, Notice, Oracle};
use crate::symbolize::Identities;
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Console logs, dmesg output; `-` is standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t)]
    format: ScanFormat,
    #[command(flatten)]
    symbols: symbols::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ScanFormat {
    /// A line a finding, for people.
    #[default]
    Text,
    /// One JSON object a finding, a line each.
    Json,
}

#[derive(Serialize)]
struct InFile<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let mut found = false;
    let vmlinux = args.symbols.open()?;
    let mut symbols = vmlinux.as_ref().map(|file| Symbols::new(file, &args.symbols));
    for name in &args.files {
        let mut source: Box<dyn Read> = if name == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(File::open(name).with_context(|| name.clone()).map_err(Error::Request)?)
        };
        let mut oracle = Oracle::new();
        let mut names = Identities::default();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = source.read(&mut buffer).with_context(|| name.clone()).map_err(Error::Request)?;
            if symbols.is_some() {
                names.feed(&buffer[..n]);
                if n == 0 {
                    names.finish();
                }
            }
            let notices = if n == 0 {
                // A whole log: a report that its end cuts off is as complete as it will ever be.
                let mut last = oracle.quiet();
                last.extend(oracle.finish());
                last
            } else {
                oracle.feed(&buffer[..n])
            };
            for notice in notices {
                if let Notice::Completed(finding) = notice {
                    found = true;
                    let symbolized = symbols.as_mut().map(|symbols| symbols.apply(&finding, &names));
                    print(&show(name, &finding, symbolized, args.format)?)?;
                }
            }
            if n == 0 {
                break;
            }
        }
    }
    if let Some(symbols) = &mut symbols {
        symbols.save();
    }
    Ok(u8::from(found))
}

fn show(file: &str, finding: &Finding, symbols: Option<Symbolized>, format: ScanFormat) -> Result<String> {
    if format == ScanFormat::Json {
        let finding = InFile { file, finding };
        let text = match symbols {
            None => serde_json::to_string(&finding),
            Some(symbols) => serde_json::to_value(&finding).and_then(|mut finding| {
                symbols.put_into(&mut finding)?;
                Ok(finding.to_string())
            }),
        };
        return Ok(text.context("cannot make JSON of it")? + "\n");
    }
    let mut text = format!("{file}:{}-{}: {}", finding.first_line, finding.last_line, finding.title);
    if !finding.primary {
        text.push_str(" (a consequence)");
    }
    if let Some(why) = &finding.corrupted_why {
        let _ = write!(text, " (incomplete: {why})");
    }
    text.push('\n');
    for detail in [&finding.condition, &finding.reason, &finding.location].into_iter().flatten() {
        let _ = writeln!(text, "    {detail}");
    }
    if let Some(symbols) = symbols {
        text.push_str(&symbols.text());
    }
    Ok(text)
}
