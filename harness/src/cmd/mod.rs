//! The command line. Each command is a file; what it prints on stdout is its result, the rest goes to stderr.

mod bisect;
mod build;
mod cache;
mod doctor;
mod guests;
mod history;
mod merge;
mod plan;
mod prune;
mod report;
mod reproduce;
mod resume;
mod rootfs;
mod run;
mod runner;
mod runs;
mod scan;
mod schema;
mod shell;
mod show;
mod symbols;

use crate::error::{Error, Result};
use crate::image::Programs;
use crate::plan::Plan;
use crate::process;
use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Boots kernels with a patch series applied or removed, tortures their memory management across a matrix of
/// huge-page configurations, reads the console like their maintainers do, and names the patch that broke them.
#[derive(Debug, Parser)]
#[command(name = "mmtorture", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 all passed (or all verdicts of the matrix reached); 1 findings; 2 the request is \
wrong; 3 the host or a build failed; 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// What this host can do, what is missing, how to get it
    Doctor(doctor::Args),
    /// The cells of a matrix
    Plan(plan::Args),
    /// Build a matrix's kernels
    Build(build::Args),
    /// Make the root file systems that a matrix's suites run in
    Rootfs(rootfs::Args),
    /// Run a matrix: build, boot, torture, judge, record, bisect
    Run(run::Args),
    /// What is kept of builds, and how much room it takes
    Cache(cache::Args),
    /// Look for the patch behind a failure of a run, or for the settings it needs, or go on looking
    Bisect(bisect::Args),
    /// Run a failure of a run again: how often it comes, how soon; or pack it up for another machine
    Reproduce(reproduce::Args),
    /// A run's report: a page, a summary, a mail, or what other programs read
    Report(report::Args),
    /// The findings in any console log
    Scan(scan::Args),
    /// The JSON Schema of a matrix, or all dimensions
    Schema(schema::Args),
    /// The runs there are
    Runs(runs::Args),
    /// Shards of one plan, made by `run --shard`, to one run
    Merge(merge::Args),
    /// A run, or one of its cells
    Show(show::Args),
    /// Make room: old runs give up consoles, events and dumps, passes before failures
    Prune(prune::Args),
    /// When findings were seen, over all runs
    History(history::Args),
    /// A script that completes the command line in a shell
    Completions(shell::CompletionsArgs),
    /// Manual pages
    Man(shell::ManArgs),
}

/// Runs what the command line asks for; yields the exit status.
///
/// # Errors
/// See [`Error`].
pub fn dispatch(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Subcommands::Doctor(args) => doctor::run(args),
        Subcommands::Plan(args) => plan::run(args),
        Subcommands::Build(args) => build::run(args),
        Subcommands::Rootfs(args) => rootfs::run(args),
        Subcommands::Run(args) => run::run(args),
        Subcommands::Cache(args) => cache::run(args),
        Subcommands::Bisect(args) => bisect::run(args),
        Subcommands::Reproduce(args) => reproduce::run(args),
        Subcommands::Report(args) => report::run(args),
        Subcommands::Scan(args) => scan::run(args),
        Subcommands::Schema(args) => schema::run(args),
        Subcommands::Runs(args) => runs::run(args),
        Subcommands::Merge(args) => merge::run(args),
        Subcommands::Show(args) => show::run(args),
        Subcommands::Prune(args) => prune::run(args),
        Subcommands::History(args) => history::run(args),
        Subcommands::Completions(args) => shell::completions(args),
        Subcommands::Man(args) => shell::man(args),
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Where runs are.
#[derive(Debug, clap::Args)]
struct ResultsArg {
    /// The folder that runs land in
    #[arg(long = "results", value_name = "DIR", env = "MMTORTURE_RESULTS", default_value = "results")]
    dir: PathBuf,
}

/// A workload, as `torture list --format json` tells it.
#[derive(Debug, serde::Deserialize)]
struct Workload {
    name: String,
    /// How many turns it has in a tour of the general mix.
    #[serde(default)]
    weight: u32,
}

/// Reads a matrix and all that it names.
fn read_plan(matrix: &Path, programs: &Programs) -> Result<Plan> {
    Plan::read(matrix, &names(&workloads(programs)?))
}

/// The workloads that there are.
fn workloads(programs: &Programs) -> Result<Vec<Workload>> {
    let mut list = Command::new(programs.torture());
    list.args(["list", "--format", "json"]);
    Ok(serde_json::from_str(&process::output(list)?).context("`torture list` is of another version")?)
}

fn names(workloads: &[Workload]) -> Vec<String> {
    workloads.iter().map(|workload| workload.name.clone()).collect()
}

/// Who is in the general mix, with weights.
fn general_mix(workloads: Vec<Workload>) -> Vec<(String, u32)> {
    workloads
        .into_iter()
        .filter(|workload| workload.weight > 0)
        .map(|workload| (workload.name, workload.weight))
        .collect()
}

/// Writes a result to stdout.
fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")?)
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot make JSON of it")?;
    print(&format!("{text}\n"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A number of parallel jobs from the command line.
fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&n| (1..=4096).contains(&n)).ok_or_else(|| "expected a number from 1 to 4096".to_owned())
}

/// A wrong request about a name: says which there are.
fn unknown(what: &str, name: &str, known: &[String]) -> Error {
    Error::request(format!("no {what} '{name}', expected one of {}", known.join(", ")))
}
