//! Dividing a plan among machines that know nothing of each other: each works out the same division.

use super::estimate::Times;
use super::{Cell, Variant};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// More shards than any engine has machines.
const MAX_SHARDS: usize = 10_000;

/// How far above the mean a shard's load may go for the sake of keeping cells of one kernel together.
const SLACK: f64 = 1.05;

/// One part of a plan, written `I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=MAX_SHARDS).contains(n));
        let parts = text.split_once('/').and_then(|(i, n)| Some((number(i)?, number(n)?)));
        match parts {
            Some((index, of)) if index <= of => Ok(Self { index, of }),
            _ => Err(format!("expected I/N as in 1/4, with I from 1 to N and N to {MAX_SHARDS}")),
        }
    }
}

/// A number of shards from the command line.
pub fn count(text: &str) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| (1..=MAX_SHARDS).contains(n));
    n.ok_or_else(|| format!("expected a number from 1 to {MAX_SHARDS}"))
}

/// What one shard has so far.
#[derive(Debug, Clone, Default)]
struct Load {
    seconds: f64,
    kernels: Vec<usize>,
    cells: Vec<usize>,
}

/// Divides the cells into `shards` lists of their numbers, each in the plan's order. Longest processing time first,
/// where a cell counts with its kernel's build, and stays with others of its kernel while that shard is not above the
/// mean. Some lists are empty where there are more shards than cells.
pub fn divide(
    cells: &[Cell],
    variants: &[Arc<Variant>],
    trials: u32,
    times: &dyn Times,
    shards: usize,
) -> Vec<Vec<usize>> {
    let seconds: Vec<f64> = cells.iter().map(|cell| f64::from(trials) * times.trial(cell)).collect();
    let kernel = |cell: &Cell| variants.iter().position(|v| v.name == cell.kernel()).unwrap_or_default();
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, cell) in cells.iter().enumerate() {
        groups.entry(kernel(cell)).or_default().push(i);
    }
    let sum = |group: &[usize]| group.iter().map(|&i| seconds[i]).sum::<f64>();
    // Each shard builds its first kernel from nothing.
    let next: f64 = groups.keys().map(|&k| times.build(&variants[k], false)).sum();
    let more = |&k: &usize| times.build(&variants[k], true) - times.build(&variants[k], false);
    let first = groups.keys().map(more).fold(0.0, f64::max);
    let mean = (seconds.iter().sum::<f64>() + next) / shards as f64 + first;

    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| sum(&b.1).total_cmp(&sum(&a.1)).then(a.0.cmp(&b.0)));
    let mut loads = vec![Load::default(); shards];
    for (kernel, mut group) in groups {
        group.sort_by(|&a, &b| seconds[b].total_cmp(&seconds[a]).then(a.cmp(&b)));
        for cell in group {
            let after = |load: &Load| {
                let build = if load.kernels.contains(&kernel) {
                    0.0
                } else {
                    times.build(&variants[kernel], load.kernels.is_empty())
                };
                load.seconds + build + seconds[cell]
            };
            let stays = |load: &Load| load.kernels.contains(&kernel) && after(load) <= mean * SLACK;
            let least = |a: &&usize, b: &&usize| after(&loads[**a]).total_cmp(&after(&loads[**b]));
            let all: Vec<usize> = (0..shards).collect();
            let home = all.iter().filter(|&&s| stays(&loads[s])).min_by(least);
            let Some(&shard) = home.or_else(|| all.iter().min_by(least)) else { return Vec::new() };
            let load = &mut loads[shard];
            load.seconds = after(load);
            if !load.kernels.contains(&kernel) {
                load.kernels.push(kernel);
            }
            load.cells.push(cell);
        }
    }
    // Full shards have the first numbers, so that the empty ones are the last.
    loads.sort_by_key(|load| Reverse(!load.cells.is_empty()));
    loads
        .into_iter()
        .map(|mut load| {
            load.cells.sort_unstable();
            load.cells
        })
        .collect()
}
