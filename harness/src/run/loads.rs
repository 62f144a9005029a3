//! Which load shows a failure most often a second: drives the pure core with real trials, all on the kernel that
//! failed.
//!
//! First the members of a mix race against all of it, then halves of it where no member will do, then the winner with
//! more and fewer processors and with more and less memory.

use super::bisecting::{soonest, Ask};
use super::journal::Of;
use super::search::{Question, Search, Told};
use super::Runner;
use crate::bisect::workload::{Race, Step};
use crate::error::{Error, Result};
use crate::plan::Cell;
use crate::record::{self, Loads, Over};
use crate::size;
use crate::trial::Trial;
use std::collections::{BTreeMap, VecDeque};

/// Numbers of processors that are tried.
const CPUS: [&str; 3] = ["1", "2", "4"];

/// The name of a mix.
const MIX: &str = "mix";

/// A workload, and the settings that are not the cell's own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Load {
    workload: String,
    settings: BTreeMap<String, String>,
}

/// Searches, or goes on where the log ends. `general` is who is in the general mix, with weights.
///
/// # Errors
/// The cell did not fail; the host fails, or a signal came. What was learned until then is in the log.
pub fn run(runner: &Runner<'_>, cell: &Cell, trials: &[Trial], general: &[(String, u32)], ask: Ask) -> Result<Loads> {
    let finding = soonest(cell, trials)?;
    let variant = runner.plan.variant_of(cell)?;
    // The cell's own is the first of the loads.
    let own = 0;
    let question = Question { over: Over::Workload, cell, finding, variant, own: Of::Load(own), ask };
    let race = Race::new(question.aim());
    let (search, told) = Search::open(runner, question, trials, "which load shows it soonest")?;
    let mut session = Session { search, race, loads: Vec::new(), replay: told.into() };
    session.add(Load { workload: cell.workload.clone(), settings: BTreeMap::new() });
    while session.replay.front().is_some_and(|told| told.cost == 0.0) {
        session.replayed(own)?;
    }
    let (best, confidence) = session.search(own, general)?;
    let loads = session.loads.iter().enumerate().map(|(i, load)| record::Load {
        workload: load.workload.clone(),
        settings: load.settings.clone(),
        tally: *session.race.tally(i),
        rate: session.race.rate(i),
    });
    let loads = Loads {
        cell: cell.id.clone(),
        title: finding.title.clone(),
        signature: finding.signature.clone(),
        loads: loads.collect(),
        best,
        confidence,
        seconds: session.race.spent(),
    };
    session.search.keep(&loads)?;
    Ok(loads)
}

struct Session<'a> {
    search: Search<'a>,
    race: Race,
    loads: Vec<Load>,
    /// What the log has and the race has not had yet: it asks for the same trials in the same order.
    replay: VecDeque<Told>,
}

impl Session<'_> {
    fn add(&mut self, load: Load) -> usize {
        if let Some(at) = self.loads.iter().position(|l| *l == load) {
            return at;
        }
        self.loads.push(load);
        self.race.add()
    }

    /// Adds those of these loads that are legal, in order.
    fn add_all(&mut self, loads: impl IntoIterator<Item = Load>) -> Vec<usize> {
        let (plan, Question { cell, variant, .. }) = (self.search.runner.plan, &self.search.question);
        let legal = |load: &Load| plan.loaded(cell, variant, &load.workload, &load.settings).is_some();
        let legal: Vec<_> = loads.into_iter().filter(legal).collect();
        legal.into_iter().map(|load| self.add(load)).collect()
    }

    fn search(&mut self, own: usize, general: &[(String, u32)]) -> Result<(usize, f64)> {
        let mut best = (own, 1.0);
        let mut parts = members(&self.search.question.cell.workload, general);
        let whole = (self.search.question.cell.workload.clone(), parts.clone());
        let load = |parts: &[(String, String)]| Load { workload: mixed(parts, &whole), settings: BTreeMap::new() };
        if parts.len() > 1 {
            let mut field = self.add_all(parts.chunks(1).map(load));
            field.push(own);
            best = self.race(field, best)?;
        }
        // No member will do alone: does half of them?
        while parts.len() > 2 && self.loads[best.0] == load(&parts) {
            let (first, second) = parts.split_at(parts.len() / 2);
            let halves = [first.to_vec(), second.to_vec()];
            let mut field = self.add_all(halves.iter().map(|half| load(half)));
            field.push(best.0);
            best = self.race(field, best)?;
            match halves.into_iter().find(|half| self.loads[best.0] == load(half)) {
                Some(half) => parts = half,
                None => break,
            }
        }
        let field = self.around(best.0);
        self.race(field, best)
    }

    /// The load with other processors and other memory, the smallest first.
    fn around(&mut self, load: usize) -> Vec<usize> {
        let base = self.loads[load].clone();
        let cell = self.search.question.cell;
        let setting = |name: &str| cell.settings.get(name).cloned();
        let with = |name: &str, value: String| {
            let settings = base.settings.clone().into_iter().chain([(name.to_owned(), value)]).collect();
            Load { workload: base.workload.clone(), settings }
        };
        let (mut smaller, mut larger) = (Vec::new(), Vec::new());
        if let Some(own) = setting("cpus").and_then(|cpus| cpus.parse::<u32>().ok()) {
            for cpus in CPUS {
                let number = cpus.parse::<u32>().unwrap_or(own);
                match number.cmp(&own) {
                    std::cmp::Ordering::Less => smaller.push(with("cpus", cpus.to_owned())),
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Greater => larger.push(with("cpus", cpus.to_owned())),
                }
            }
        }
        if let Some(memory) = setting("memory") {
            smaller.extend(times(&memory, 1, 2).map(|memory| with("memory", memory)));
            larger.extend(times(&memory, 2, 1).map(|memory| with("memory", memory)));
        }
        let mut field = self.add_all(smaller);
        field.push(load);
        field.extend(self.add_all(larger));
        field
    }

    /// Races these; the winner, or `before` where there is none.
    fn race(&mut self, field: Vec<usize>, before: (usize, f64)) -> Result<(usize, f64)> {
        self.race.start(field);
        loop {
            match self.race.next() {
                Step::Trial(load) if self.replay.is_empty() => self.trial(load)?,
                Step::Trial(load) => self.replayed(load)?,
                Step::Over { best, confidence } => return Ok((best, confidence.min(before.1))),
                Step::None => return Ok(before),
            }
        }
    }

    /// As if what the log has next had just been seen.
    fn replayed(&mut self, load: usize) -> Result<()> {
        let Some(Told { of, evidence, cost, .. }) = self.replay.pop_front() else { return Ok(()) };
        if of != Of::Load(load) {
            return Err(Error::host("the log is of a search that asked for other trials; remove it to begin anew"));
        }
        self.race.record(load, evidence, cost);
        Ok(())
    }

    fn trial(&mut self, load: usize) -> Result<()> {
        let runner = self.search.runner;
        let Question { cell: own, variant, .. } = self.search.question;
        let Load { workload, settings } = &self.loads[load];
        let cell = runner.plan.loaded(own, variant, workload, settings);
        // The cell's own may be one that a matrix has in spite of its rules.
        let cell = cell.unwrap_or_else(|| own.clone());
        runner.progress.note(&format!("with {}", words(workload, settings)));
        let told = self.search.trial(&cell, Of::Load(load))?;
        self.race.record(load, told.evidence, told.cost);
        Ok(())
    }
}

/// A load, for people: the workload and the settings.
pub fn words(workload: &str, settings: &BTreeMap<String, String>) -> String {
    let settings = settings.iter().map(|(dimension, setting)| format!(" {dimension}={setting}"));
    settings.fold(workload.to_owned(), |text, setting| text + &setting)
}

/// What a workload is made of, with weights; none, if it is no mix.
fn members(workload: &str, general: &[(String, u32)]) -> Vec<(String, String)> {
    match workload.strip_prefix(MIX).map(|rest| rest.strip_prefix(':')) {
        Some(Some(list)) => {
            let part = |part: &str| {
                part.split_once('=').map_or((part.to_owned(), "1".to_owned()), |(n, w)| (n.into(), w.into()))
            };
            list.split(',').map(part).collect()
        }
        Some(None) if workload == MIX => {
            general.iter().map(|(name, weight)| (name.clone(), weight.to_string())).collect()
        }
        _ => Vec::new(),
    }
}

/// The workload that these are, where `whole` is what all of them are called.
fn mixed(parts: &[(String, String)], whole: &(String, Vec<(String, String)>)) -> String {
    match parts {
        [(name, _)] => name.clone(),
        parts if whole.1 == parts => whole.0.clone(),
        parts => {
            let parts: Vec<_> = parts.iter().map(|(name, weight)| format!("{name}={weight}")).collect();
            format!("{MIX}:{}", parts.join(","))
        }
    }
}

/// A size of so many times as much; `None` where that is no setting.
fn times(size: &str, by: u64, over: u64) -> Option<String> {
    size::spelled(size::mib(size)? * by / over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_taken_apart_and_put_together() {
        let general = [("anon-churn".to_owned(), 3), ("gup-pin".to_owned(), 1), ("hot-pages".to_owned(), 2)];
        let whole = |name: &str| (name.to_owned(), members(name, &general));
        let mix = whole("mix");
        assert_eq!(mix.1.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), ["anon-churn", "gup-pin", "hot-pages"]);
        assert_eq!(mixed(&mix.1, &mix), "mix");
        assert_eq!(mixed(&mix.1[..2], &mix), "mix:anon-churn=3,gup-pin=1");
        assert_eq!(mixed(&mix.1[1..2], &mix), "gup-pin");
        let given = whole("mix:anon-churn=3,gup-pin,hot-pages=2");
        assert_eq!(mixed(&given.1, &given), given.0);
        assert_eq!(mixed(&given.1[..2], &given), "mix:anon-churn=3,gup-pin=1");
        assert!(members("anon-churn", &general).is_empty() && members("kbuild:24", &general).is_empty());
    }

    #[test]
    fn sizes_double_and_halve() {
        let both = |size| (times(size, 1, 2), times(size, 2, 1));
        assert_eq!(both("320M"), (Some("160M".into()), Some("640M".into())));
        assert_eq!(both("1G"), (Some("512M".into()), Some("2G".into())));
        assert_eq!(both("512M").1, Some("1G".into()));
        assert_eq!(both("much"), (None, None));
        assert_eq!(both("1M"), (None, Some("2M".into())));
    }
}
