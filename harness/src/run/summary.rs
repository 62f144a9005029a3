//! A run in words: what a person reads at its end, and again from `show`.

use super::loads::words;
use crate::bisect::settings::Verdict;
use crate::bisect::{Conclusion, Tally};
use crate::oracle::{self, Finding};
use crate::outcome::Outcome;
use crate::plan::Cell;
use crate::record::{Bisection, Header, Loads, Needs, Revisions, Searches, State, Verification};
use crate::stats::median;
use crate::table::table;
use crate::trial::Trial;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A trial in a line.
pub fn one_line(trial: &Trial) -> String {
    let after = match trial.seen.times.to_finding() {
        Some(time) if trial.outcome == Outcome::Fail => format!(" after {:.1} s of torture", time.as_secs_f64()),
        _ => String::new(),
    };
    format!("{}{after}: {}", trial.outcome.name().to_uppercase(), trial.why)
}

/// The table of trials.
pub fn trials_table(trials: &[&Trial], cells: &[Cell]) -> String {
    // Only what differs between the cells is worth a column.
    let mut varying: Vec<&String> = Vec::new();
    for name in cells.iter().flat_map(|c| c.settings.keys()) {
        let mut values = cells.iter().map(|c| c.settings.get(name));
        let first = values.next();
        if !varying.contains(&name) && values.any(|v| Some(v) != first) {
            varying.push(name);
        }
    }
    let by_id: BTreeMap<&str, &Cell> = cells.iter().map(|c| (c.id.as_str(), c)).collect();
    let mut head = vec!["VARIANT", "WORKLOAD"];
    head.extend(varying.iter().map(|n| n.as_str()));
    head.extend(["SEED", "OUTCOME", "TORTURE", "WHAT"]);
    let rows: Vec<Vec<String>> = trials
        .iter()
        .map(|trial| {
            let cell = by_id.get(trial.cell.as_str());
            let mut row = vec![trial.variant.clone(), cell.map_or_else(String::new, |c| c.workload.clone())];
            for name in &varying {
                row.push(cell.and_then(|c| c.settings.get(*name)).cloned().unwrap_or_default());
            }
            let seconds =
                if trial.seen.times.torture_ms.is_some() { format!("{:.1} s", trial.exposure()) } else { "-".into() };
            row.extend([trial.seed.to_string(), trial.outcome.to_string(), seconds, trial.why.clone()]);
            row
        })
        .collect();
    table(&head, &rows)
}

/// Findings grouped to bugs: the best report's title, how often, on what.
pub fn findings(trials: &[&Trial]) -> String {
    let found: Vec<(&Trial, &Finding)> = trials.iter().filter_map(|t| Some((*t, t.finding()?))).collect();
    let findings: Vec<&Finding> = found.iter().map(|(_, finding)| *finding).collect();
    let mut text = String::new();
    for group in oracle::group(&findings) {
        let finding = findings[group.best];
        let mut on: BTreeMap<&str, usize> = BTreeMap::new();
        let mut others: Vec<&str> = Vec::new();
        for &member in &group.members {
            *on.entry(&found[member].0.variant).or_default() += 1;
            let title = findings[member].title.as_str();
            if title != finding.title && !others.contains(&title) {
                others.push(title);
            }
        }
        let on: Vec<_> =
            on.iter().map(|(v, n)| if *n == 1 { (*v).to_owned() } else { format!("{v} ({n} times)") }).collect();
        let _ = writeln!(text, "finding: {}", finding.title);
        for detail in [&finding.condition, &finding.reason].into_iter().flatten() {
            let _ = writeln!(text, "         {detail}");
        }
        if let Some(location) = &finding.location {
            let _ = writeln!(text, "         at {location}");
        }
        if !others.is_empty() {
            let _ = writeln!(text, "         also seen as {}", others.join(", "));
        }
        let _ = writeln!(text, "         on {}", on.join(", "));
    }
    text
}

/// How long things took, by variant, where there are trials enough for a median.
pub fn times(trials: &[&Trial]) -> String {
    const ENOUGH: usize = 3;
    let mut by_variant: BTreeMap<&str, Vec<&Trial>> = BTreeMap::new();
    for trial in trials {
        by_variant.entry(&trial.variant).or_default().push(trial);
    }
    let mut text = String::new();
    for (variant, trials) in by_variant {
        let hello = trials.iter().filter_map(|t| t.seen.times.hello_ms).map(|ms| ms as f64 / 1000.0).collect();
        let found = trials.iter().filter_map(|t| t.seen.times.to_finding()).map(|d| d.as_secs_f64()).collect();
        for (what, mut seconds) in [("first event", hello), ("torture to finding", found)] {
            let seconds: &mut Vec<f64> = &mut seconds;
            let n = seconds.len();
            if let Some(median) = median(seconds).filter(|_| n >= ENOUGH) {
                let (least, most) = (seconds[0], seconds[n - 1]);
                let _ =
                    writeln!(text, "time: {variant}: {what}: median {median:.2} s of {n} ({least:.2} to {most:.2})");
            }
        }
    }
    text
}

/// Rounded down: 99.97 % is not 100 %.
fn percent(chance: f64) -> String {
    format!("{:.1} %", (chance * 1000.0).floor() / 10.0)
}

/// A bisection's result.
pub fn bisection(b: &Bisection) -> String {
    let mut text = String::new();
    let subject = b.subject.as_deref().unwrap_or_default();
    let _ = match &b.conclusion {
        Conclusion::Culprit { patch, confidence } => {
            let name = b.culprit.as_deref().unwrap_or_default();
            writeln!(
                text,
                "culprit: {}/{name} (patch {patch} of {}), confidence {}\n         {subject}",
                b.series,
                b.patches.len(),
                percent(*confidence)
            )
        }
        Conclusion::PreExisting { confidence } => writeln!(
            text,
            "bisection: pre-existing: the source fails without {} too, confidence {}",
            b.series,
            percent(*confidence)
        ),
        Conclusion::NotReproduced { confidence } => writeln!(
            text,
            "bisection: no patch of {}: it fails this way hardly ever, confidence {}",
            b.series,
            percent(*confidence)
        ),
        Conclusion::Unclear { patches, or_none, confidence } => {
            let names = suspects(b, patches, *or_none, "no patch at all");
            writeln!(text, "bisection: not decided: {} in {{{}}}", percent(*confidence), names.join(", "))
        }
    };
    if let Some(v) = &b.verification {
        let _ = writeln!(text, "         {}", verified(v));
    }
    for (k, tally) in b.tallies.iter().enumerate().filter(|(_, t)| t.hits + t.clean + t.other > 0) {
        let name = if k == 0 { "base".to_owned() } else { format!("prefix:{k}") };
        let _ = write!(text, "         {name:<9} ");
        let _ = writeln!(text, "{}", seen(tally));
    }
    text
}

/// A search for a commit.
pub fn revisions(r: &Revisions) -> String {
    let mut text = String::new();
    for line in &r.lines {
        let b = &line.bisection;
        let _ = match &b.conclusion {
            Conclusion::Culprit { patch, confidence } => {
                let (what, of) =
                    (if line.commits[patch - 1].parents.len() > 1 { "merge" } else { "commit" }, &b.series);
                let name = b.culprit.as_deref().unwrap_or_default();
                let (n, confidence) = (b.patches.len(), percent(*confidence));
                writeln!(text, "{what}: {name}\n        {patch} of {n} in {of}, confidence {confidence}")
            }
            Conclusion::PreExisting { confidence } => {
                let (start, confidence) = (line.start.short(), percent(*confidence));
                writeln!(text, "bisection: pre-existing: {start} fails too, confidence {confidence}")
            }
            Conclusion::NotReproduced { confidence } => {
                let confidence = percent(*confidence);
                writeln!(
                    text,
                    "bisection: no commit of {}: it fails this way hardly ever, confidence {confidence}",
                    b.series
                )
            }
            Conclusion::Unclear { patches, or_none, confidence } => {
                let names = suspects(b, patches, *or_none, "no commit at all").join("\n          ");
                writeln!(text, "bisection: not decided: {} in one of\n          {names}", percent(*confidence))
            }
        };
        if let Some(v) = &b.verification {
            let _ = writeln!(text, "        {}", verified(v));
        }
        for (k, tally) in b.tallies.iter().enumerate().filter(|(_, t)| t.hits + t.clean + t.other > 0) {
            let commit = k.checked_sub(1).map_or(&line.start, |at| &line.commits[at]);
            let _ = writeln!(text, "        {} {}", commit.short(), seen(tally));
        }
    }
    let _ = write!(text, "\n{}", r.log);
    text
}

fn verified(v: &Verification) -> String {
    if v.verified {
        format!("verified: {}", v.why)
    } else {
        format!("not verified, because {}", v.why)
    }
}

/// Those that it may be.
fn suspects<'a>(b: &'a Bisection, patches: &[usize], or_none: bool, none: &'a str) -> Vec<&'a str> {
    let names = patches.iter().filter_map(|i| b.patches.get(i - 1)).map(String::as_str);
    names.chain(or_none.then_some(none)).collect()
}

/// What was seen of a kernel or a cell.
pub fn seen(tally: &Tally) -> String {
    let mut parts = Vec::new();
    if tally.hits > 0 {
        parts.push(format!("failed {} times in {:.1} s", tally.hits, tally.hit_seconds));
    }
    if tally.clean > 0 {
        parts.push(format!("clean for {:.1} s", tally.clean_seconds));
    }
    if tally.other > 0 {
        parts.push(format!("{} of no use", tally.other));
    }
    parts.join(", ")
}

/// Which settings a failure needs.
pub fn needs(needs: &Needs) -> String {
    let mut text = format!("settings: {} ({})\n", needs.title, needs.cell);
    for need in &needs.settings {
        let verdict = match need.verdict {
            Verdict::Needed { confidence } | Verdict::Irrelevant { confidence } => {
                format!("{}, confidence {}", need.verdict.name(), percent(confidence))
            }
            Verdict::Open | Verdict::Illegal => need.verdict.name().to_owned(),
        };
        let (dimension, instead) = (&need.dimension, &need.instead);
        let with = if let Verdict::Illegal = need.verdict {
            format!("{dimension}={instead} would be illegal")
        } else {
            let seen = seen(&need.tally);
            format!("{dimension}={instead} {}", if seen.is_empty() { "not run" } else { &seen })
        };
        let _ = writeln!(text, "          {dimension}={}: {verdict}: {with}", need.setting);
    }
    let smallest: Vec<_> = needs.smallest.iter().map(|(name, setting)| format!("{name}={setting}")).collect();
    let _ = writeln!(text, "          smallest that failed: {}", smallest.join(" "));
    text
}

/// Which load shows a failure soonest.
pub fn loads(l: &Loads) -> String {
    let mut text = format!("workload: {} ({})\n", l.title, l.cell);
    for load in l.loads.iter().filter(|load| load.tally.hits + load.tally.clean + load.tally.other > 0) {
        let (what, tally, rate) = (words(&load.workload, &load.settings), seen(&load.tally), load.rate);
        let rate = if load.tally.hits > 0 {
            format!("; each {:.1} s ({:.1} to {:.1})", 1.0 / rate.median, 1.0 / rate.high, 1.0 / rate.low)
        } else {
            String::new()
        };
        let _ = writeln!(text, "          {what}: {tally}{rate}");
    }
    if let (Some(own), Some(best)) = (l.loads.first(), l.loads.get(l.best)) {
        let times = best.rate.median / own.rate.median;
        let confidence = percent(l.confidence);
        let what = words(&best.workload, &best.settings);
        let _ = if l.best == 0 {
            writeln!(text, "          use it as it is: nothing smaller is as fast, confidence {confidence}")
        } else {
            writeln!(text, "          use {what}: {times:.1} times as often, confidence {confidence}")
        };
    }
    text
}

/// What all searches over something else than a series came to, each after an empty line.
pub fn searches(s: &Searches) -> String {
    let texts = s.settings.iter().map(needs).chain(s.git.iter().map(revisions)).chain(s.workload.iter().map(loads));
    texts.map(|text| format!("\n{text}")).collect()
}

/// The whole run.
pub fn run(header: &Header, cells: &[Cell], trials: &[&Trial], bisections: &[Bisection], place: &str) -> String {
    let mut text = trials_table(trials, cells);
    let all = findings(trials);
    if !all.is_empty() {
        let _ = write!(text, "\n{all}");
    }
    for b in bisections {
        let _ = write!(text, "\n{}", bisection(b));
    }
    let times = times(trials);
    if !times.is_empty() {
        let _ = write!(text, "\n{times}");
    }
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for trial in trials {
        *counts.entry(trial.outcome).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(o, n)| format!("{n} {o}")).collect();
    let state = match header.state {
        State::Done => String::new(),
        State::Running => "; not finished".to_owned(),
        State::Interrupted => "; interrupted".to_owned(),
        State::Failed => "; ended by an error".to_owned(),
    };
    let took = header.took().map_or_else(String::new, |t| format!(" in {t}"));
    let missing = header.planned.saturating_sub(trials.len());
    let missing = if missing > 0 { format!(", {missing} of {} not run", header.planned) } else { String::new() };
    let _ = writeln!(text, "\n{}: {}{missing}{took}{state}", header.matrix, counts.join(", "));
    for problem in &header.problems {
        let _ =
            writeln!(text, "{}: {problem}", if header.state == State::Done { "NOT AS EXPECTED" } else { "problem" });
    }
    let _ = writeln!(text, "machine: {}\nresults: {place}", header.machine);
    text
}
