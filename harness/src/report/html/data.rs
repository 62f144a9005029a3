//! The trials as the script reads them: small, since there may be ten thousand.

use super::super::account::Account;
use super::super::dimensions::{setting, Dimension};
use super::super::text;
use super::{page, parts};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// JSON that may stand in a script element: no `<` in it, and all of it as the script may show it.
pub fn data(account: &Account, dims: &[Dimension], shown: (usize, usize)) -> String {
    let mut bug_of: BTreeMap<usize, usize> = BTreeMap::new();
    for (b, bug) in account.bugs.iter().enumerate() {
        bug_of.extend(bug.trials.iter().map(|&t| (t, b)));
    }
    let by_id = parts::cells(account);
    let mut whys: Interned = Interned::default();
    let mut outcomes: Interned = Interned::default();
    let mut cells: Interned = Interned::default();
    let mut settings: Vec<Vec<usize>> = Vec::new();
    let rows: Vec<Value> = account
        .trials
        .iter()
        .enumerate()
        .map(|(t, trial)| {
            let cell = cells.index(&trial.cell);
            if cell == settings.len() {
                let position = |dim: &Dimension| {
                    let value = by_id.get(trial.cell.as_str()).map(|cell| setting(cell, &dim.name));
                    dim.settings.iter().position(|s| Some(s.as_str()) == value).unwrap_or_default()
                };
                settings.push(dims.iter().map(position).collect());
            }
            let tenths = (trial.exposure() * 10.0).round() as u64;
            let bug = bug_of.get(&t).map_or(-1, |&b| b as i64);
            // A seed has 64 bits, more than a number of the script.
            let seed = if trial.seed < 1 << 53 { json!(trial.seed) } else { json!(trial.seed.to_string()) };
            json!([cell, outcomes.index(trial.outcome.name()), whys.index(&text::line(&trial.why)), seed, tenths, bug])
        })
        .collect();
    let dims: Vec<Value> = dims
        .iter()
        .map(|d| json!([text::line(&d.name), d.settings.iter().map(|s| text::line(s)).collect::<Vec<_>>()]))
        .collect();
    let all = json!({
        "dims": dims,
        "shown": [shown.0, shown.1],
        "outcomes": outcomes.texts,
        "whys": whys.texts,
        "cells": cells.texts.iter().map(|c| text::line(c)).collect::<Vec<_>>(),
        "settings": settings,
        "rows": rows,
    });
    page::data(&all)
}

#[derive(Default)]
struct Interned {
    texts: Vec<String>,
    at: BTreeMap<String, usize>,
}

impl Interned {
    fn index(&mut self, text: &str) -> usize {
        if let Some(&at) = self.at.get(text) {
            return at;
        }
        self.texts.push(text.to_owned());
        self.at.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }
}
