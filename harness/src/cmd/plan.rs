//! `mmtorture plan`.

use super::{print, print_json, read_plan};
use crate::error::{Error, Result};
use crate::image::Programs;
use crate::plan::estimate::Estimate;
use crate::plan::{shard, Cell, Choice, Plan};
use crate::table::table;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The matrix, a YAML file
    matrix: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Divide the cells among so many machines, for `run --shard I/N`
    #[arg(long, value_name = "N", value_parser = shard::count)]
    shards: Option<usize>,
    /// Say which rules leave combinations out
    #[arg(long)]
    why: bool,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// A line for the matrix of a GitHub Actions job, an item for each of `--shards`.
    Github,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let plan = read_plan(&args.matrix, &Programs::find()?)?;
    let shards = args.shards.map(|n| shards(&plan, n));
    match (args.format, shards) {
        (Format::Table, shards) => print(&text(&plan, shards.as_deref(), args.why))?,
        (Format::Json, shards) => print_json(&json(&plan, shards))?,
        (Format::Github, Some(shards)) => print(&github(&plan, &shards))?,
        (Format::Github, None) => {
            return Err(Error::request("--format github makes a job of each shard, so it needs --shards N"));
        }
    }
    Ok(0)
}

/// A shard as `run --shard` takes it, with its cells.
struct Part<'a> {
    name: String,
    cells: Vec<&'a Cell>,
    estimate: Estimate,
}

/// The shards that have cells.
fn shards(plan: &Plan, of: usize) -> Vec<Part<'_>> {
    let parts = plan.shards(of).into_iter().enumerate().map(|(i, cells)| Part {
        name: format!("{}/{of}", i + 1),
        estimate: plan.estimate(cells.iter().copied()),
        cells,
    });
    parts.filter(|part| !part.cells.is_empty()).collect()
}

fn text(plan: &Plan, shards: Option<&[Part<'_>]>, why: bool) -> String {
    let shard = |cell: &Cell| {
        let parts = shards.unwrap_or_default();
        parts.iter().find(|part| part.cells.iter().any(|c| c.id == cell.id)).map(|part| part.name.clone())
    };
    let mut head = vec!["CELL", "VARIANT", "WORKLOAD", "TIME", "SETTINGS"];
    if shards.is_some() {
        head.insert(1, "SHARD");
    }
    let rows: Vec<_> = plan
        .cells
        .iter()
        .map(|cell| {
            let settings: Vec<_> = cell.settings.iter().map(|(d, s)| format!("{d}={s}")).collect();
            let mut row = vec![cell.id.clone()];
            row.extend(shard(cell));
            row.extend([
                cell.variant.clone(),
                cell.workload.clone(),
                format!("{} s", cell.seconds),
                settings.join(" "),
            ]);
            row
        })
        .collect();
    let mut text = table(&head, &rows);
    if let Some(shards) = shards {
        let rows: Vec<_> = shards
            .iter()
            .map(|part| {
                let e = &part.estimate;
                vec![part.name.clone(), e.kernels.to_string(), part.cells.len().to_string(), minutes(e.minutes())]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["SHARD", "KERNELS", "CELLS", "ABOUT"], &rows));
    }
    text.push('\n');
    text.push_str(&coverage(plan, why));
    if why {
        text.push_str(&format!("\n{}\n", rules(&plan.choice)));
    }
    let estimate = plan.estimate(&plan.cells);
    let _ = writeln!(
        text,
        "about {} from nothing, one trial at a time: {} of builds, {} of trials",
        minutes(estimate.minutes()),
        minutes((estimate.build_seconds / 60.0).ceil() as u64),
        minutes((estimate.trial_seconds / 60.0).ceil() as u64)
    );
    let (kernels, cells) = (estimate.kernels, plan.cells.len());
    let _ = writeln!(text, "{kernels} kernels, {cells} cells, {} trials", estimate.trials);
    text
}

/// What was left out, and what is covered all the same.
fn coverage(plan: &Plan, why: bool) -> String {
    let choice = &plan.choice;
    let mut text = String::new();
    let of = choice.combinations;
    let hint = if why { "" } else { "; --why says by which rules" };
    match choice.illegal {
        Some(0) => {}
        Some(n) => drop(writeln!(text, "{n} illegal combinations left out of {of}{hint}")),
        None => drop(writeln!(text, "illegal combinations left out of {of}, too many rules to count them{hint}")),
    }
    if let Some(tuples) = &choice.tuples {
        let what = match tuples.of {
            1 => "settings".to_owned(),
            2 => "pairs of settings".to_owned(),
            n => format!("combinations of {n} settings"),
        };
        let legal = if tuples.illegal > 0 { " legal" } else { "" };
        let (cells, covered) = (plan.cells.len(), tuples.covered);
        let _ = writeln!(text, "{} coverage: {cells} cells of {of} have all {covered}{legal} {what}", choice.coverage);
    }
    text
}

fn rules(choice: &Choice) -> String {
    let rows: Vec<_> = choice
        .rules
        .iter()
        .map(|left_out| {
            let n = left_out.combinations.map_or_else(|| "?".to_owned(), |n| n.to_string());
            vec![n, left_out.rule.clone(), left_out.why.clone()]
        })
        .collect();
    table(&["LEFT OUT", "RULE", "WHY"], &rows)
}

fn minutes(n: u64) -> String {
    match n {
        0..120 => format!("{n} min"),
        _ => format!("{:.1} h", n as f64 / 60.0),
    }
}

#[derive(Serialize)]
struct Json<'a> {
    cells: &'a [Cell],
    choice: &'a Choice,
    estimate: Estimate,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<JsonShard<'a>>>,
}

#[derive(Serialize)]
struct JsonShard<'a> {
    shard: String,
    cells: Vec<&'a str>,
    estimate: Estimate,
}

fn json<'a>(plan: &'a Plan, shards: Option<Vec<Part<'a>>>) -> Json<'a> {
    let one = |part: Part<'a>| JsonShard {
        shard: part.name,
        cells: part.cells.iter().map(|c| c.id.as_str()).collect(),
        estimate: part.estimate,
    };
    Json {
        cells: &plan.cells,
        choice: &plan.choice,
        estimate: plan.estimate(&plan.cells),
        shards: shards.map(|parts| parts.into_iter().map(one).collect()),
    }
}

#[derive(Serialize)]
struct Jobs {
    include: Vec<Job>,
}

#[derive(Serialize)]
struct Job {
    shard: String,
    name: String,
    cells: usize,
    minutes: u64,
}

/// On one line, as `$GITHUB_OUTPUT` wants it.
fn github(plan: &Plan, shards: &[Part<'_>]) -> String {
    let job = |part: &Part<'_>| Job {
        shard: part.name.clone(),
        name: format!("{} {}", plan.name, part.name),
        cells: part.cells.len(),
        minutes: part.estimate.minutes(),
    };
    let jobs = Jobs { include: shards.iter().map(job).collect() };
    serde_json::to_string(&jobs).expect("strings and numbers") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    const MATRIX: &str = "\
mmtorture: 1
kernel: {source: 'debian:linux-source-6.1', kconfig: [base]}
series: [s]
dimensions: {thp: [always, never], numa: [1, 2], cpus: [1, 2]}
workloads: [anon-churn]
seconds: 57
coverage: pairwise
cells: [{variant: s/all, thp: never, cpus: 2}]
forbid: [{thp: never, numa: 2}]
";

    #[test]
    fn a_plan_in_words() {
        let plan = plan(MATRIX).unwrap();
        insta::assert_snapshot!(text(&plan, None, false), @r#"
        CELL                       VARIANT  WORKLOAD    TIME  SETTINGS
        s-all.anon-churn.18cb3344  s/all    anon-churn  57 s  cpus=2 numa=1 thp=never
        s-all.anon-churn.cbadeffe  s/all    anon-churn  57 s  cpus=1 numa=1 thp=always
        s-all.anon-churn.26ad6ef5  s/all    anon-churn  57 s  cpus=2 numa=2 thp=always
        base.anon-churn.22710a8c   base     anon-churn  57 s  cpus=2 numa=2 thp=always
        base.anon-churn.c382e1ff   base     anon-churn  57 s  cpus=1 numa=1 thp=never

        6 illegal combinations left out of 16; --why says by which rules
        pairwise coverage: 5 cells of 16 have all 22 legal pairs of settings
        about 16 min from nothing, one trial at a time: 11 min of builds, 5 min of trials
        2 kernels, 5 cells, 5 trials
        "#);
        let shards = shards(&plan, 2);
        insta::assert_snapshot!(text(&plan, Some(&shards), true), @r#"
        CELL                       SHARD  VARIANT  WORKLOAD    TIME  SETTINGS
        s-all.anon-churn.18cb3344  1/2    s/all    anon-churn  57 s  cpus=2 numa=1 thp=never
        s-all.anon-churn.cbadeffe  1/2    s/all    anon-churn  57 s  cpus=1 numa=1 thp=always
        s-all.anon-churn.26ad6ef5  1/2    s/all    anon-churn  57 s  cpus=2 numa=2 thp=always
        base.anon-churn.22710a8c   2/2    base     anon-churn  57 s  cpus=2 numa=2 thp=always
        base.anon-churn.c382e1ff   2/2    base     anon-churn  57 s  cpus=1 numa=1 thp=never

        SHARD  KERNELS  CELLS  ABOUT
        1/2    1        3      13 min
        2/2    1        2      12 min

        6 illegal combinations left out of 16
        pairwise coverage: 5 cells of 16 have all 22 legal pairs of settings

        LEFT OUT  RULE              WHY
        4         numa=N cpus<numa  each NUMA node has CPUs: both machines deal them out evenly (arch/x86/mm/srat.c, acpi_numa_processor_affinity_init)
        4         thp=never numa=2  the matrix's forbid[0]

        about 16 min from nothing, one trial at a time: 11 min of builds, 5 min of trials
        2 kernels, 5 cells, 5 trials
        "#);
    }

    #[test]
    fn a_plan_for_github() {
        let plan = plan(MATRIX).unwrap();
        insta::assert_snapshot!(github(&plan, &shards(&plan, 2)), @r#"{"include":[{"shard":"1/2","name":"m 1/2","cells":3,"minutes":13},{"shard":"2/2","name":"m 2/2","cells":2,"minutes":12}]}"#);
        assert_eq!(shards(&plan, 100).len(), plan.cells.len(), "no job without cells");
    }

    #[test]
    fn a_plan_in_json() {
        let plan = plan(MATRIX).unwrap();
        let value = serde_json::to_value(json(&plan, Some(shards(&plan, 2)))).unwrap();
        assert_eq!(value["cells"].as_array().unwrap().len(), plan.cells.len());
        assert_eq!(value["choice"]["fixed"], 1);
        let shards = value["shards"].as_array().unwrap();
        let ids: usize = shards.iter().map(|s| s["cells"].as_array().unwrap().len()).sum();
        assert_eq!(ids, plan.cells.len());
    }
}
