//! The dimensions that a run's cells differ in, and which of them matter. Pure.

use super::account::Account;
use crate::outcome::Outcome;
use crate::plan::Cell;
use std::collections::BTreeMap;

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Its name; the variant and the workload are dimensions too.
    pub name: String,
    /// The settings that occur, in the order of their first cells.
    pub settings: Vec<String>,
}

/// A cell's setting on a dimension.
pub fn setting<'a>(cell: &'a Cell, name: &str) -> &'a str {
    match name {
        "variant" => &cell.variant,
        "workload" => &cell.workload,
        other => cell.settings.get(other).map_or("-", String::as_str),
    }
}

/// All dimensions on which the cells differ, and the variant and the workload in any case.
pub fn dimensions(cells: &[Cell]) -> Vec<Dimension> {
    let mut names = vec!["variant", "workload"];
    for name in cells.iter().flat_map(|c| c.settings.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| {
            let mut settings: Vec<String> = Vec::new();
            for cell in cells {
                let value = setting(cell, name);
                if !settings.iter().any(|s| s == value) {
                    settings.push(value.to_owned());
                }
            }
            Dimension { name: name.to_owned(), settings }
        })
        .filter(|d| d.settings.len() > 1 || d.name == "variant" || d.name == "workload")
        .collect()
}

/// The two dimensions that tell the most about which trials broke, as indices, by the information that each gives
/// alone. Where nothing broke, or nothing tells: the variant and the workload.
pub fn matter(account: &Account, dimensions: &[Dimension]) -> (usize, usize) {
    let by_id: BTreeMap<&str, &Cell> = account.cells.iter().map(|c| (c.id.as_str(), c)).collect();
    let trials: Vec<(&Cell, bool)> = account
        .trials
        .iter()
        .filter_map(|t| Some((*by_id.get(t.cell.as_str())?, matches!(t.outcome, Outcome::Fail | Outcome::Hang))))
        .collect();
    let gain = |name: &str| {
        let mut split: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (cell, broke) in &trials {
            let entry = split.entry(setting(cell, name)).or_default();
            entry.0 += usize::from(*broke);
            entry.1 += 1;
        }
        let after: f64 = split.values().map(|&(k, n)| n as f64 * entropy(k, n)).sum();
        let broken = trials.iter().filter(|(_, broke)| *broke).count();
        trials.len() as f64 * entropy(broken, trials.len()) - after
    };
    let mut order: Vec<(usize, f64)> = dimensions.iter().enumerate().map(|(i, d)| (i, gain(&d.name))).collect();
    // Stable: the variant and the workload stand first among equals.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    match order.as_slice() {
        [(a, _), (b, _), ..] => (*a, *b),
        _ => (0, 0),
    }
}

/// Of a coin that fell `k` of `n` times one way, in nats.
fn entropy(k: usize, n: usize) -> f64 {
    [k, n - k].iter().filter(|&&k| k > 0).map(|&k| k as f64 / n as f64).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_that_always_falls_one_way_tells_nothing() {
        assert_eq!(entropy(0, 5), 0.0);
        assert_eq!(entropy(5, 5), 0.0);
        assert!((entropy(1, 2) - std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(entropy(0, 0), 0.0);
    }
}
