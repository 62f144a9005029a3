//! Which breakages of a series were found, by what and how soon: the table of docs/detection.md.
//!
//! Usage: `detection DOCUMENT SERIES COMMIT RESULTS`. The runs in RESULTS are of a matrix with one `only:K` variant for each
//! patch of the series, and of the bare source; their trials are taken together. COMMIT is told as it is. In DOCUMENT, what
//! is below the line [`MARK`] is replaced.

mod document;

use mmtorture_harness::outcome::Outcome;
use mmtorture_harness::record;
use mmtorture_harness::report::text;
use mmtorture_harness::series::{Patch, Series};
use mmtorture_harness::stats;
use mmtorture_harness::trial::Trial;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// What is below it is made.
const MARK: &str = "<!-- below: made by `make detection` -->\n";

/// What is shown of a title, in characters.
const WIDTH: usize = 90;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [document, series, commit, results] = &args[..] else {
        eprintln!("usage: detection DOCUMENT SERIES COMMIT RESULTS");
        return ExitCode::from(2);
    };
    document::remake(document, MARK, table(Path::new(series), commit, Path::new(results)))
}

fn table(series: &Path, commit: &str, results: &Path) -> anyhow::Result<String> {
    let series = Series::load(Path::new("."), series)?;
    let mut trials = Vec::new();
    let mut machines = BTreeSet::new();
    for (run, header) in record::list(results).map_err(anyhow::Error::msg)? {
        machines.insert(header.machine);
        trials.extend(run.trials().map_err(anyhow::Error::msg)?.into_iter().map(|(_, trial)| trial));
    }
    let seconds = trials.iter().map(|trial| trial.seconds).max().unwrap_or(0);
    let rows: Vec<_> = series.patches.iter().map(|patch| Row::of(&series.name, patch, &trials)).collect();
    let tried = rows.iter().filter(|row| row.trials > 0).count();
    let found = rows.iter().filter(|row| row.always()).count();
    let (hits, all) = rows.iter().fold((0, 0), |(k, n), row| (k + row.found, n + row.trials));
    let mut first: Vec<f64> = rows.iter().flat_map(|row| row.times.clone()).collect();
    let base: Vec<_> = trials.iter().filter(|trial| trial.variant == "base").collect();
    let clean = base.iter().filter(|trial| trial.outcome == Outcome::Pass).count();
    let exposure: f64 = base.iter().map(|trial| trial.exposure()).sum();
    let against: f64 =
        trials.iter().filter(|trial| trial.variant != "base").map(|trial| f64::from(trial.seconds)).sum();

    let mut out = format!("Made at commit {commit}; {}.\n\n", machines.into_iter().collect::<Vec<_>>().join("; "));
    out += "| breakage | in | found | after | by |\n|---|---|---|---|---|\n";
    for row in &rows {
        out += &row.render();
    }
    out += &format!(
        "\n**{found} of {tried}** breakages were found in each of their trials of {seconds} s ({hits} of {all} trials), \
         the median of all findings after {}.\n\n",
        stats::median(&mut first).map_or("-".to_owned(), text::seconds)
    );
    out += &format!(
        "`base`: **{} findings** in {} trials, {} of workload time; the breakages had {} to be found in.\n",
        base.len() - clean,
        base.len(),
        text::seconds(exposure),
        text::seconds(against)
    );
    for trial in base.iter().filter(|trial| trial.outcome != Outcome::Pass) {
        out += &format!("- seed {}: {}, {}\n", trial.seed, trial.outcome.name(), cell(&trial.why));
    }
    Ok(out)
}

struct Row<'a> {
    patch: &'a Patch,
    trials: usize,
    found: usize,
    times: Vec<f64>,
    titles: Vec<String>,
}

impl<'a> Row<'a> {
    fn of(series: &str, patch: &'a Patch, trials: &[Trial]) -> Self {
        let variant = format!("{series}/only:{}", patch.number);
        let mut row = Self { patch, trials: 0, found: 0, times: Vec::new(), titles: Vec::new() };
        for trial in trials.iter().filter(|trial| trial.variant == variant) {
            row.trials += 1;
            // A hang is found as well: the guest answers no more.
            let title = match (trial.outcome, trial.finding()) {
                (Outcome::Fail, Some(finding)) => finding.title.clone(),
                (Outcome::Hang, _) => format!("hang: {}", trial.why),
                // Nothing that says anything about the kernel.
                (outcome, _) => {
                    row.titles.extend((outcome != Outcome::Pass).then(|| format!("({})", outcome.name())));
                    continue;
                }
            };
            row.found += 1;
            row.times.extend(trial.seen.times.to_finding().map(|time| time.as_secs_f64()));
            if !row.titles.contains(&title) {
                row.titles.push(title);
            }
        }
        row
    }

    fn always(&self) -> bool {
        self.trials > 0 && self.found == self.trials
    }

    fn render(&self) -> String {
        let name = document::name(self.patch);
        let file = self.patch.text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"+++ b/"));
        let file = file.map(|file| String::from_utf8_lossy(file).into_owned()).unwrap_or_default();
        let found = match self.trials {
            0 => "not tried".to_owned(),
            n if self.always() => format!("{n} of {n}"),
            n => format!("**{} of {n}**", self.found),
        };
        let after = stats::median(&mut self.times.clone()).map_or("-".to_owned(), text::seconds);
        let by = self.titles.iter().map(|title| cell(title)).collect::<Vec<_>>().join("<br>");
        format!("| {name} | `{file}` | {found} | {after} | {by} |\n")
    }
}

/// What a guest said, fit for a cell of a table.
fn cell(said: &str) -> String {
    text::line(said).chars().take(WIDTH).collect::<String>().replace('|', "\\|").replace('<', "&lt;")
}
