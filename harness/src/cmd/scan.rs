//! `mmtorture scan`.

use super::print;
use super::symbols;
use crate::decoded::{Symbolized, Symbols};
use crate::error::{Error, Result};
use crate::matrix::yaml;
use crate::oracle::expect::Expectations;
use crate::oracle::{group, Finding, Notice, Oracle};
use crate::symbolize::Identities;
use crate::zstd;
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;
/// Trace entries shown to people.
const SHOWN_FRAMES: usize = 12;
/// Findings kept for the summary of a scan of several logs.
const MAX_SUMMARY: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Console logs, `dmesg` or journal output, folders of such, compressed with zstd or not; `-` is standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<String>,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t)]
    format: ScanFormat,
    /// Print also what a healthy kernel under pressure says: OOM kills, failed allocations, segfaults, injected faults
    #[arg(long)]
    noise: bool,
    /// Findings that are no failures: an allow-list as a matrix names it
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    #[command(flatten)]
    symbols: symbols::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ScanFormat {
    /// For people.
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
    let rules = match &args.allow {
        Some(file) => yaml::read(file).map_err(Error::request)?,
        None => Vec::new(),
    };
    let vmlinux = args.symbols.open()?;
    let mut scan = Scan {
        format: args.format,
        noise: args.noise,
        expectations: Expectations { kinds: Vec::new(), rules },
        today: jiff::Zoned::now().date(),
        found: false,
        logs: 0,
        summary: Vec::new(),
        symbols: vmlinux.as_ref().map(|file| args.symbols.symbols(file)),
    };
    for log in &args.logs {
        if log == "-" {
            scan.log("-", std::io::stdin().lock(), Given::Itself)?;
            continue;
        }
        let given = if Path::new(log).is_dir() { Given::InFolder } else { Given::Itself };
        for path in logs_in(Path::new(log))? {
            let name = path.display().to_string();
            let file = File::open(&path).with_context(|| name.clone()).map_err(Error::Request)?;
            scan.log(&name, file, given)?;
        }
    }
    scan.finish()
}

/// The file itself, or all files in a folder and below it, by name. Links to folders are not followed.
fn logs_in(path: &Path) -> Result<Vec<PathBuf>> {
    let context = || path.display().to_string();
    if !std::fs::metadata(path).with_context(context).map_err(Error::Request)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(context)
        .map_err(Error::Request)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut logs = Vec::new();
    for entry in entries {
        let kind = entry.file_type().with_context(context).map_err(Error::Request)?;
        if kind.is_dir() {
            logs.extend(logs_in(&entry.path())?);
        } else if entry.path().is_file() {
            logs.push(entry.path());
        }
    }
    Ok(logs)
}

/// How a log was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Itself,
    /// As all that is in a folder.
    InFolder,
}

/// How a memory dump begins: it holds the kernel's log, and all else that was ever in memory.
const ELF: &[u8] = b"\x7fELF";

struct Scan<'v> {
    format: ScanFormat,
    noise: bool,
    expectations: Expectations,
    today: jiff::civil::Date,
    found: bool,
    logs: usize,
    summary: Vec<Finding>,
    symbols: Option<Symbols<'v>>,
}

impl Scan<'_> {
    /// Reads one log, compressed or not.
    fn log(&mut self, name: &str, source: impl Read, given: Given) -> Result<()> {
        let context = || name.to_owned();
        let mut source = zstd::Reader::new(source).with_context(context).map_err(Error::Request)?;
        let mut oracle = if self.noise { Oracle::with_noise() } else { Oracle::new() };
        let mut names = Identities::default();
        let mut buffer = vec![0; CHUNK];
        let mut begun = false;
        loop {
            let n = source.read(&mut buffer).with_context(context).map_err(Error::Request)?;
            if !begun {
                if given == Given::InFolder && buffer[..n].starts_with(ELF) {
                    return Ok(());
                }
                begun = true;
                self.logs += 1;
            }
            if self.symbols.is_some() {
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
                    self.finding(name, *finding, &names)?;
                }
            }
            if n == 0 {
                break;
            }
        }
        if oracle.suppressed() > 0 {
            eprintln!("{name}: {} more reports in its last boot are left out", oracle.suppressed());
        }
        Ok(())
    }

    fn finding(&mut self, file: &str, mut finding: Finding, names: &Identities) -> Result<()> {
        finding.expected = self.expectations.reason(&finding, self.today);
        self.found |= finding.expected.is_none() && !finding.class.is_noise();
        let symbols = self.symbols.as_mut().map(|symbols| {
            let verdict = names.at(finding.end_byte).compare(symbols.identity());
            symbols.apply(&finding, verdict)
        });
        if self.format == ScanFormat::Json {
            return print(&(json(file, &finding, symbols)? + "\n"));
        }
        print(&show(file, &finding, symbols.as_ref()))?;
        if self.summary.len() < MAX_SUMMARY && !finding.class.is_noise() {
            self.summary.push(finding);
        }
        Ok(())
    }

    /// Prints what the logs have in common, if there were several; yields the exit status.
    fn finish(&mut self) -> Result<u8> {
        if let Some(symbols) = &mut self.symbols {
            symbols.save();
        }
        let groups = group(&self.summary);
        if self.format == ScanFormat::Text && self.logs > 1 && groups.len() < self.summary.len() {
            let mut text = format!("\n{} findings, likely {} bugs:\n", self.summary.len(), groups.len());
            for group in groups {
                let _ = writeln!(text, "{:>5}  {}", group.members.len(), self.summary[group.best].title);
            }
            print(&text)?;
        }
        Ok(u8::from(self.found))
    }
}

fn json(file: &str, finding: &Finding, symbols: Option<Symbolized>) -> Result<String> {
    let finding = InFile { file, finding };
    let text = match symbols {
        None => serde_json::to_string(&finding),
        Some(symbols) => serde_json::to_value(&finding).and_then(|mut finding| {
            symbols.put_into(&mut finding)?;
            Ok(finding.to_string())
        }),
    };
    Ok(text.context("cannot make JSON of it")?)
}

/// A finding for people.
fn show(file: &str, finding: &Finding, symbols: Option<&Symbolized>) -> String {
    let mut text = format!("{file}:{}-{}: {}", finding.first_line, finding.last_line, finding.title);
    if !finding.primary {
        text.push_str(" (a consequence)");
    }
    if let Some(why) = &finding.corrupted_why {
        let _ = write!(text, " (incomplete: {why})");
    }
    if let Some(why) = &finding.expected {
        let _ = write!(text, " (expected: {why})");
    }
    text.push('\n');
    for detail in [&finding.condition, &finding.reason, &finding.location].into_iter().flatten() {
        let _ = writeln!(text, "    {detail}");
    }
    let mut who = vec![format!("{}, {}", finding.class, severity(finding))];
    if let Some(process) = &finding.process {
        who.push(match finding.pid {
            Some(pid) => format!("task {process}/{pid}"),
            None => format!("task {process}"),
        });
    }
    who.extend(finding.cpu.map(|cpu| format!("CPU {cpu}")));
    who.extend(finding.taint.as_ref().map(|taint| format!("tainted {taint}")));
    let _ = writeln!(text, "    {}", who.join(", "));
    if let Some(symbols) = symbols {
        // The same trace, with more to say.
        text.push_str(&symbols.text());
        return plain(&text);
    }
    for frame in finding.frames.iter().take(SHOWN_FRAMES) {
        let base = finding
            .guilty
            .as_deref()
            .is_some_and(|g| frame.function == g || frame.function.starts_with(&format!("{g}.")));
        let mark = if base {
            "->"
        } else if frame.unreliable {
            " ?"
        } else {
            "  "
        };
        let offset = frame.offset.map_or_else(String::new, |o| format!("+{o:#x}"));
        let module = frame.module.as_ref().map_or_else(String::new, |m| format!(" [{m}]"));
        let source = frame.source.as_ref().map_or_else(String::new, |s| format!(" {s}"));
        let _ = writeln!(text, "    {mark} {}{offset}{module}{source}", frame.function);
    }
    if finding.frames.len() > SHOWN_FRAMES {
        let _ = writeln!(text, "       and {} more", finding.frames.len() - SHOWN_FRAMES);
    }
    plain(&text)
}

/// The console is a guest's: nothing of it may reach the terminal as a control sequence.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn severity(finding: &Finding) -> String {
    // The serialized name is the one name.
    serde_json::to_value(finding.severity).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
