//! Which settings a failure needs: drives the pure core with real trials, all on the kernel that failed.

use super::bisecting::{soonest, Ask};
use super::journal::Of;
use super::play::{Mean, BOOT};
use super::search::{Question, Search, Told};
use super::Runner;
use crate::bisect::settings::{Reduction, Step, Thrown, MOST};
use crate::bisect::Tally;
use crate::error::{Error, Result};
use crate::plan::{Cell, Switch};
use crate::record::{Need, Needs, Over};
use crate::trial::Trial;
use std::collections::BTreeMap;

/// Searches, or goes on where the log ends.
///
/// # Errors
/// The cell did not fail, or has no setting to be tried without; the host fails, or a signal came. What was learned until
/// then is in the log.
pub fn run(runner: &Runner<'_>, cell: &Cell, trials: &[Trial], ask: Ask) -> Result<Needs> {
    let finding = soonest(cell, trials)?;
    let variant = runner.plan.variant_of(cell)?;
    let mut switches = runner.plan.switches(cell, variant);
    switches.truncate(MOST);
    if switches.is_empty() {
        return Err(Error::request(format!("{} has no setting that could be plainer on the same kernel", cell.id)));
    }
    let question = Question { over: Over::Settings, cell, finding, variant, own: Of::Switched(0), ask };
    let reduction = Reduction::new(switches.len(), question.aim());
    let what = format!("which of {} settings it needs", switches.len());
    let (search, told) = Search::open(runner, question, trials, &what)?;
    let mut session = Session { search, switches, reduction, tallies: BTreeMap::new(), boots: Mean::new(BOOT) };
    session.replay(&told);
    session.search()?;
    let needs = session.result();
    session.search.keep(&needs)?;
    Ok(needs)
}

struct Session<'a> {
    search: Search<'a>,
    switches: Vec<Switch>,
    reduction: Reduction,
    tallies: BTreeMap<Thrown, Tally>,
    boots: Mean,
}

impl Session<'_> {
    fn learn(&mut self, thrown: Thrown, told: Told) {
        if told.cost > 0.0 {
            self.boots.add(told.beside);
        }
        self.tallies.entry(thrown).or_default().add(told.evidence);
        self.reduction.record(thrown, told.evidence, told.cost);
    }

    /// As if all of it had just been seen: the same is concluded after the same trials.
    fn replay(&mut self, all: &[Told]) {
        for told in all {
            let Of::Switched(thrown) = told.of else { continue };
            if told.cost > 0.0 {
                self.next();
            }
            self.learn(thrown, *told);
        }
    }

    fn next(&mut self) -> Step {
        let (plan, switches) = (self.search.runner.plan, &self.switches);
        let Question { cell, variant, .. } = self.search.question;
        let legal = |thrown| plan.switched(cell, variant, &of(switches, thrown), cell.seconds).is_some();
        self.reduction.next(self.boots.get(), &legal)
    }

    fn search(&mut self) -> Result<()> {
        let runner = self.search.runner;
        let Question { cell: own, variant, .. } = self.search.question;
        let mut told = 0;
        loop {
            let step = self.next();
            let verdicts = self.reduction.verdicts();
            for (switch, verdict) in self.switches.iter().zip(verdicts).skip(told) {
                let what = format!("{}={}: {}", switch.dimension, switch.setting, verdict.name());
                runner.progress.note(&what);
            }
            told = verdicts.len();
            let Step::Trial { thrown, seconds } = step else { return Ok(()) };
            let chosen = of(&self.switches, thrown);
            let cell = runner.plan.switched(own, variant, &chosen, seconds.ceil() as u32);
            let cell = cell.ok_or_else(|| Error::host("a cell that was legal is not"))?;
            let words: Vec<_> = chosen.iter().map(|s| format!("{}={}", s.dimension, s.instead)).collect();
            runner.progress.note(&format!("with {}", if words.is_empty() { "all".into() } else { words.join(" ") }));
            let seen = self.search.trial(&cell, Of::Switched(thrown))?;
            self.learn(thrown, seen);
        }
    }

    fn result(&self) -> Needs {
        let Question { cell, finding, .. } = self.search.question;
        let mut thrown: Thrown = 0;
        let mut settings = Vec::new();
        for (i, (switch, verdict)) in self.switches.iter().zip(self.reduction.verdicts()).enumerate() {
            let with = thrown | 1 << i;
            if verdict.is_irrelevant() {
                thrown = with;
            }
            settings.push(Need {
                dimension: switch.dimension.clone(),
                setting: switch.setting.clone(),
                instead: switch.instead.clone(),
                verdict: *verdict,
                tally: self.tallies.get(&with).copied().unwrap_or_default(),
            });
        }
        let mut smallest = cell.settings.clone();
        for switch in of(&self.switches, self.reduction.thrown()) {
            smallest.insert(switch.dimension.clone(), switch.instead.clone());
        }
        Needs {
            cell: cell.id.clone(),
            title: finding.title.clone(),
            signature: finding.signature.clone(),
            settings,
            smallest,
            seconds: self.reduction.spent(),
        }
    }
}

/// The switches that are thrown.
fn of(switches: &[Switch], thrown: Thrown) -> Vec<&Switch> {
    switches.iter().enumerate().filter(|(i, _)| thrown & (1 << i) != 0).map(|(_, switch)| switch).collect()
}
