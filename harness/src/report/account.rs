//! A run as all reports tell it. Pure.

use super::course::Step;
use super::text;
use crate::decoded::Symbolized;
use crate::oracle::{self, Finding};
use crate::outcome::Outcome;
use crate::plan::Cell;
use crate::record::{Bisection, Header, Loads, Needs, RevisionLine, Revisions, Searches, State};
use crate::trial::Trial;
use std::collections::BTreeMap;

/// A run, with its findings grouped to bugs.
#[derive(Debug, Clone)]
pub struct Account {
    /// The run as a whole.
    pub header: Header,
    /// The matrix's text.
    pub matrix: String,
    /// The planned cells.
    pub cells: Vec<Cell>,
    /// The planned trials that came to an outcome, by cell and seed.
    pub trials: Vec<Trial>,
    /// The bisections.
    pub bisections: Vec<Bisected>,
    /// The searches over something else than the series.
    pub searches: Searches,
    /// What broke: by how many trials it broke, the most first.
    pub bugs: Vec<Bug>,
    /// The run's folder.
    pub place: String,
    /// What was pruned of it, for people.
    pub gone: Option<String>,
}

/// Findings that are likely one bug.
#[derive(Debug, Clone)]
pub struct Bug {
    /// The best report of it.
    pub finding: Finding,
    /// The trial that it is from, as an index into [`Account::trials`].
    pub trial: usize,
    /// All trials that it decided.
    pub trials: Vec<usize>,
    /// The other titles that it was seen under.
    pub also: Vec<String>,
    /// The console around the best report, if it was kept.
    pub console: Option<Console>,
    /// Its stack with files and lines, where its kernel's symbols are at hand.
    pub decoded: Option<Symbolized>,
}

/// A bisection.
#[derive(Debug, Clone)]
pub struct Bisected {
    /// What it came to.
    pub result: Bisection,
    /// How it went there, if its log tells that.
    pub course: Course,
}

/// How a bisection went.
#[derive(Debug, Clone)]
pub enum Course {
    /// Trial by trial.
    Known(Vec<Step>),
    /// That cannot be told, and why.
    Unknown(String),
}

/// A part of a console, as UTF-8 without trust; the bytes that are none are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Console {
    /// The number of its first line, 1-based.
    pub first_line: u64,
    /// Lines before the report.
    pub before: String,
    /// The report's own.
    pub report: String,
    /// Bytes of the report that were left out here.
    pub left_out: u64,
    /// Lines behind it.
    pub after: String,
}

/// What a run says in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There are findings.
    Failed,
    /// The matrix's own verdicts were reached, failures among them perhaps.
    AsExpected,
    /// They were not.
    NotAsExpected,
    /// All trials passed.
    Passed,
    /// Nothing was found, and not all of it was looked at.
    Inconclusive,
}

impl Verdict {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::AsExpected => "as expected",
            Self::NotAsExpected => "not as expected",
            Self::Passed => "passed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Account {
    /// Groups the trials' deciding findings. The consoles, the decoded stacks, the bisections and what settings are needed
    /// are for the caller to fill in.
    pub fn new(header: Header, matrix: String, cells: Vec<Cell>, trials: Vec<Trial>, place: String) -> Self {
        let found: Vec<(usize, &Finding)> =
            trials.iter().enumerate().filter_map(|(i, t)| Some((i, t.finding()?))).collect();
        let findings: Vec<&Finding> = found.iter().map(|(_, f)| *f).collect();
        let mut bugs: Vec<Bug> = oracle::group(&findings)
            .into_iter()
            .map(|group| {
                let finding = findings[group.best].clone();
                let mut also: Vec<String> = Vec::new();
                for title in group.members.iter().map(|&m| &findings[m].title) {
                    if *title != finding.title && !also.contains(title) {
                        also.push(title.clone());
                    }
                }
                let trials = group.members.iter().map(|&m| found[m].0).collect();
                Bug { finding, trial: found[group.best].0, trials, also, console: None, decoded: None }
            })
            .collect();
        bugs.sort_by_key(|bug| std::cmp::Reverse(bug.trials.len()));
        let (bisections, searches) = (Vec::new(), Searches::default());
        Self { header, matrix, cells, trials, bisections, searches, bugs, place, gone: None }
    }

    /// How many trials came to what.
    pub fn counts(&self) -> BTreeMap<Outcome, usize> {
        let mut counts = BTreeMap::new();
        for trial in &self.trials {
            *counts.entry(trial.outcome).or_default() += 1;
        }
        counts
    }

    /// Planned trials that came to nothing, since the run ended before.
    pub fn missing(&self) -> usize {
        self.header.planned.saturating_sub(self.trials.len())
    }

    /// The run in a word.
    pub fn verdict(&self) -> Verdict {
        let done = self.header.state == State::Done;
        let passed = self.missing() == 0 && self.trials.iter().all(|t| t.outcome == Outcome::Pass);
        let broke = !self.bugs.is_empty() || self.trials.iter().any(|t| t.outcome == Outcome::Hang);
        match (done, self.header.exit) {
            (true, _) if !self.header.problems.is_empty() => Verdict::NotAsExpected,
            // A run with failures that ends with 0 had verdicts to reach.
            (true, Some(0)) if broke => Verdict::AsExpected,
            _ if broke => Verdict::Failed,
            (true, _) if passed => Verdict::Passed,
            _ => Verdict::Inconclusive,
        }
    }

    /// The run in a sentence.
    pub fn headline(&self) -> String {
        let broken = self.trials.iter().filter(|t| matches!(t.outcome, Outcome::Fail | Outcome::Hang)).count();
        let of = text::count(self.trials.len(), "trial");
        let none = match self.trials.iter().filter(|t| t.outcome != Outcome::Pass).count() {
            0 => format!("all {of} passed"),
            n => format!("no findings; {} of {of} say nothing", text::number(n as u64)),
        };
        let what = match self.bugs.as_slice() {
            [] if broken > 0 => format!("{} of {of} hung", text::number(broken as u64)),
            [] => none,
            [bug] => format!("{} in {} of {of}", text::line(&bug.finding.title), text::number(bug.trials.len() as u64)),
            bugs => format!("{} in {} of {of}", text::count(bugs.len(), "bug"), text::number(broken as u64)),
        };
        let state = match self.header.state {
            State::Done => "",
            State::Running => "; the run has not ended",
            State::Interrupted => "; the run was interrupted",
            State::Failed => "; the run was ended by an error",
        };
        let missing = match self.missing() {
            0 => String::new(),
            n => format!("; {} of {} planned trials not run", text::number(n as u64), self.header.planned),
        };
        let gone = self.gone.as_ref().map_or_else(String::new, |gone| format!("; {gone}"));
        format!("{what}{missing}{state}{gone}")
    }

    /// The cell of a trial.
    pub fn cell(&self, trial: &Trial) -> Option<&Cell> {
        self.cells.iter().find(|c| c.id == trial.cell)
    }

    /// The bisection of a bug.
    pub fn bisection(&self, bug: &Bug) -> Option<&Bisected> {
        let of = |signature: &str| self.bisections.iter().find(|b| b.result.signature == signature);
        of(&bug.finding.signature)
            .or_else(|| self.bisections.iter().find(|b| self.is_seen_as(bug, &b.result.signature)))
    }

    /// What settings a bug needs, by cell.
    pub fn needs<'a>(&'a self, bug: &'a Bug) -> impl Iterator<Item = &'a Needs> {
        self.searches.settings.iter().filter(|needs| self.is_seen_as(bug, &needs.signature))
    }

    /// Which loads show a bug soonest, by cell.
    pub fn loads<'a>(&'a self, bug: &'a Bug) -> impl Iterator<Item = &'a Loads> {
        self.searches.workload.iter().filter(|loads| self.is_seen_as(bug, &loads.signature))
    }

    /// Which commits brought a bug, by cell.
    pub fn revisions<'a>(&'a self, bug: &'a Bug) -> impl Iterator<Item = &'a Revisions> {
        let seen = move |line: &RevisionLine| self.is_seen_as(bug, &line.bisection.signature);
        self.searches.git.iter().filter(move |found| found.lines.iter().any(seen))
    }

    /// Whether one of a bug's trials was decided by a finding of that signature.
    fn is_seen_as(&self, bug: &Bug, signature: &str) -> bool {
        bug.finding.signature == signature || bug.trials.iter().any(|&t| self.trials[t].finding_has(signature))
    }

    /// Seconds of torture until this bug showed, sorted, for the trials where that is known.
    pub fn times_to_fail(&self, bug: &Bug) -> Vec<f64> {
        let times = bug.trials.iter().filter_map(|&t| self.trials[t].seen.times.to_finding());
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// By variant: trials that this bug decided, trials there were.
    pub fn rates(&self, bug: &Bug) -> BTreeMap<&str, (usize, usize)> {
        let mut rates: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for trial in &self.trials {
            rates.entry(&trial.variant).or_default().1 += 1;
        }
        for &t in &bug.trials {
            rates.entry(&self.trials[t].variant).or_default().0 += 1;
        }
        rates
    }

    /// The command that runs a trial's cell again: the run's own, for that cell alone.
    pub fn command(&self, trial: &Trial) -> String {
        let mut words = self.header.command.iter();
        let mut command: Vec<String> = Vec::new();
        while let Some(word) = words.next() {
            match word.as_str() {
                // The option and its value.
                "--cell" | "--shard" => drop(words.next()),
                "--no-bisect" => {}
                other if other.starts_with("--cell=") || other.starts_with("--shard=") => {}
                other => command.push(text::shell(&text::line(other))),
            }
        }
        command.extend(["--cell".to_owned(), text::shell(&trial.cell), "--no-bisect".to_owned()]);
        command.join(" ")
    }

    /// The command that shows a trial's cell.
    pub fn show(&self, trial: &Trial) -> String {
        format!("mmtorture show {}", self.named(trial))
    }

    /// The command that runs a trial's cell ten times to see how often it fails so, with the seed that did first.
    pub fn reproduce(&self, trial: &Trial) -> String {
        // Without a seed it takes the cell's first trial that failed.
        let first = self.trials.iter().find(|t| t.cell == trial.cell && t.finding().is_some());
        let seed = match first {
            Some(first) if first.seed != trial.seed => format!(" --seed {}", trial.seed),
            _ => String::new(),
        };
        format!("mmtorture reproduce {}{seed}", self.named(trial))
    }

    /// The command that packs a trial up for a machine that has QEMU alone.
    pub fn bundle(&self, trial: &Trial) -> String {
        format!("{} --bundle {}", self.reproduce(trial), text::shell(&format!("{}.tar.zst", trial.cell)))
    }

    /// The command that looks for the patch behind a bug, or goes on looking; none if its variant has not a whole series.
    pub fn bisect(&self, trial: &Trial) -> Option<String> {
        // `SERIES/SELECTION`, and `+DIMENSION=SETTING` for what is built in.
        let whole = trial.variant.split('+').next().is_some_and(|name| name.ends_with("/all"));
        whole.then(|| format!("mmtorture bisect {}", self.named(trial)))
    }

    /// The command that says which of its cell's settings a bug needs.
    pub fn bisect_settings(&self, trial: &Trial) -> String {
        format!("mmtorture bisect {} --over settings", self.named(trial))
    }

    /// A trial's cell as commands name it.
    fn named(&self, trial: &Trial) -> String {
        text::shell(&format!("{}/{}", self.place, trial.cell))
    }

    /// Trials that say nothing about the kernel, by outcome and reason; with how many, and the first of them.
    pub fn silent(&self) -> Vec<(Outcome, String, usize, &Trial)> {
        let mut groups: Vec<(Outcome, String, usize, &Trial)> = Vec::new();
        for trial in &self.trials {
            if matches!(trial.outcome, Outcome::Pass | Outcome::Fail | Outcome::Hang) {
                continue;
            }
            let why = text::line(&trial.why);
            match groups.iter_mut().find(|g| (g.0, &g.1) == (trial.outcome, &why)) {
                Some(group) => group.2 += 1,
                None => groups.push((trial.outcome, why, 1, trial)),
            }
        }
        groups.sort_by_key(|group| (group.0, std::cmp::Reverse(group.2)));
        groups
    }
}

impl Trial {
    /// Whether the finding that decided it has that signature.
    fn finding_has(&self, signature: &str) -> bool {
        self.finding().is_some_and(|f| f.signature == signature)
    }
}
