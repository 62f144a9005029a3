//! What the machine has: memory, swap, counters, as /proc tells.

use crate::job::Pressure;
use std::collections::BTreeMap;
use std::io;

/// Where a write of `1` compacts all of memory.
pub const COMPACT_MEMORY: &str = "/proc/sys/vm/compact_memory";

/// The facts that a workload is sized by. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// MemAvailable.
    pub available: u64,
    /// SwapFree.
    pub swap_free: u64,
    /// Whether compaction may be asked for.
    pub can_compact: bool,
    /// NUMA nodes with memory.
    pub nodes: usize,
}

impl Host {
    /// Reads the facts. What acts on the whole machine is only done to one that exists to be tortured.
    ///
    /// # Errors
    /// If /proc/meminfo cannot be read or lacks a line that is needed.
    pub fn read(pressure: Pressure) -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/meminfo")?;
        let lacks = |name| io::Error::other(format!("/proc/meminfo has no line {name}"));
        Ok(Self {
            available: meminfo(&text, "MemAvailable").ok_or_else(|| lacks("MemAvailable"))?,
            swap_free: meminfo(&text, "SwapFree").unwrap_or(0),
            can_compact: pressure == Pressure::Full && writable(COMPACT_MEMORY),
            nodes: std::fs::read_to_string("/sys/devices/system/node/has_memory").map_or(1, |text| nodes(&text)),
        })
    }
}

/// Whether a control file may be written to. Opening alone does nothing.
pub fn writable(path: impl AsRef<std::path::Path>) -> bool {
    std::fs::OpenOptions::new().write(true).open(path).is_ok()
}

/// How many nodes a list as `0-2,5` names. Never 0.
fn nodes(list: &str) -> usize {
    let count = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (last.parse::<usize>().ok()? + 1).checked_sub(first.parse().ok()?)
    };
    list.trim().split(',').filter_map(count).sum::<usize>().max(1)
}

/// A line of /proc/meminfo, in bytes.
pub fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// /proc/vmstat as it stands; empty where it cannot be read.
pub fn vmstat() -> BTreeMap<String, u64> {
    std::fs::read_to_string("/proc/vmstat").map(|text| counters(&text)).unwrap_or_default()
}

fn counters(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// What changed from `before` to `after`, by how much.
pub fn deltas(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    after
        .iter()
        .map(|(name, &now)| (name.clone(), now.wrapping_sub(before.get(name).copied().unwrap_or(0)) as i64))
        .filter(|&(_, delta)| delta != 0)
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A host with so many MiB.
    pub fn host(available: u64, swap: u64) -> Host {
        Host { available: available << 20, swap_free: swap << 20, can_compact: true, nodes: 1 }
    }

    #[test]
    fn nodes_are_counted() {
        assert_eq!((nodes("0\n"), nodes("0-1\n"), nodes("0-2,5"), nodes("")), (1, 2, 4, 1));
    }

    #[test]
    fn meminfo_lines_are_kib() {
        let text = "MemTotal:         492152 kB\nMemAvailable:     444120 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemAvailable"), Some(444_120 * 1024));
        assert_eq!(meminfo(text, "Mem"), None, "a prefix of a name is not the name");
        assert_eq!(meminfo(text, "HugePages_Total"), None, "a count is not a size");
    }

    #[test]
    fn only_what_moved_is_told_and_gauges_may_fall() {
        let before = counters("pswpout 10\nnr_free_pages 500\npswpin 3\n");
        let after = counters("pswpout 25\nnr_free_pages 400\npswpin 3\nnew 1\ngarbage\n");
        let expected = [("new", 1), ("nr_free_pages", -100), ("pswpout", 15)];
        assert_eq!(deltas(&before, &after), expected.map(|(name, n)| (name.to_owned(), n)).into());
    }
}
