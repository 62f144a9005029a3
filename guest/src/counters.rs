//! /proc/vmstat: what the kernel says it did.

use std::collections::BTreeMap;

/// The counters as they stand; empty where they cannot be read.
pub fn read() -> BTreeMap<String, u64> {
    std::fs::read_to_string("/proc/vmstat").map(|text| parse(&text)).unwrap_or_default()
}

/// What changed from `before` to `after`, by how much. Gauges may have fallen.
pub fn deltas(before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    after
        .into_iter()
        .map(|(name, now)| {
            let delta = now.wrapping_sub(before.get(&name).copied().unwrap_or(0)) as i64;
            (name, delta)
        })
        .filter(|&(_, delta)| delta != 0)
        .collect()
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_move_is_not_told() {
        let before = parse("pswpout 5\npswpin 1\nnr_free_pages 900\n");
        let after = parse("pswpout 9\npswpin 1\nnr_free_pages 800\nthp_fault_alloc 2\nno number\n");
        let expected = [("nr_free_pages", -100), ("pswpout", 4), ("thp_fault_alloc", 2)];
        assert_eq!(deltas(&before, after), expected.map(|(name, n)| (name.to_owned(), n)).into());
    }
}
