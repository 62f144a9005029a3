//! What the workloads moved in /proc/vmstat, over all trials that came to their end. Pure.

use super::account::Account;
use crate::stats::median;
use mmtorture_protocol::Claim;
use std::collections::BTreeMap;

/// Counters of these families are shown though no claim names them: they are what huge pages and reclaim do.
const FAMILIES: &[&str] =
    &["thp_", "pswp", "zswp", "compact_stall", "compact_success", "compact_fail", "pgmigrate_", "pgsteal_", "htlb_"];
/// Rows of one workload.
const MOST: usize = 40;

/// One counter, over the trials of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    /// The claim that it stands for, and the least that it must move by.
    pub claim: Option<(String, u64)>,
    /// The least, the middle and the most that it moved by.
    pub least: i64,
    /// See `least`.
    pub median: f64,
    /// See `least`.
    pub most: i64,
    /// Trials in which it did not move.
    pub still: usize,
}

/// The counters of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Trials that came to their end.
    pub trials: usize,
    /// By name; those of claims first.
    pub counters: Vec<(String, Counter)>,
}

/// What one trial moved.
type Moved = BTreeMap<String, i64>;

/// By workload.
pub fn counters(account: &Account) -> BTreeMap<String, Workload> {
    let workload_of: BTreeMap<&str, &str> =
        account.cells.iter().map(|c| (c.id.as_str(), c.workload.as_str())).collect();
    let mut done: BTreeMap<&str, (Vec<&Moved>, Vec<&Claim>)> = BTreeMap::new();
    for trial in &account.trials {
        let (Some(end), Some(workload)) = (&trial.seen.done, workload_of.get(trial.cell.as_str())) else { continue };
        let entry = done.entry(workload).or_default();
        entry.0.push(&end.vmstat);
        for claim in &trial.seen.claims {
            if !entry.1.contains(&claim) {
                entry.1.push(claim);
            }
        }
    }
    done.into_iter().map(|(name, (moved, claims))| (name.to_owned(), workload(&moved, &claims))).collect()
}

fn workload(moved: &[&Moved], claims: &[&Claim]) -> Workload {
    let mut names: Vec<&str> = claims.iter().flat_map(|c| c.any_of.iter().map(String::as_str)).collect();
    let mut others: Vec<&str> = Vec::new();
    for name in moved.iter().flat_map(|m| m.keys()) {
        if FAMILIES.iter().any(|f| name.starts_with(f)) {
            others.push(name);
        }
    }
    others.sort_unstable();
    others.dedup();
    others.retain(|name| !names.contains(name));
    names.extend(others);
    let mut seen: Vec<&str> = Vec::new();
    names.retain(|name| {
        !seen.contains(name) && {
            seen.push(name);
            true
        }
    });
    names.truncate(MOST);
    let counters = names.into_iter().map(|name| {
        let by: Vec<i64> = moved.iter().map(|m| m.get(name).copied().unwrap_or_default()).collect();
        let claim = claims.iter().find(|c| c.any_of.iter().any(|n| n == name));
        let counter = Counter {
            claim: claim.map(|c| (c.shows.clone(), c.at_least)),
            least: by.iter().copied().min().unwrap_or_default(),
            median: median(&mut by.iter().map(|&n| n as f64).collect::<Vec<_>>()).unwrap_or_default(),
            most: by.iter().copied().max().unwrap_or_default(),
            still: by.iter().filter(|&&n| n == 0).count(),
        };
        (name.to_owned(), counter)
    });
    Workload { trials: moved.len(), counters: counters.collect() }
}
