//! Dimensions of the machine: processors, memory, swap.

use super::{Dimension, Effect};
use mmtorture_protocol::Swap;

/// The kernels that we configure have room for this many (CONFIG_NR_CPUS).
const MAX_CPUS: u32 = 16;

/// A kernel of ours with its initramfs boots in less, but a guest that can do nothing tortures nothing.
const MIN_MEMORY_MIB: u64 = 128;

/// More than any host of ours has; a bound against a slip of the pen.
const MAX_MIB: u64 = 1 << 20;

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "cpus",
        about: "virtual CPUs, all online",
        expected: "a number from 1 to 16",
        parse: |_, s| canonical(s).filter(|n| (1..=MAX_CPUS).contains(n)).map(Effect::Cpus),
        knob: None,
    },
    Dimension {
        name: "memory",
        about: "the guest's memory",
        expected: "a size from 128M, as 320M or 2G",
        parse: |_, s| size_mib(s).filter(|&n| n >= MIN_MEMORY_MIB).map(Effect::MemoryMib),
        knob: None,
    },
    Dimension {
        name: "swap",
        about: "what the guest swaps to",
        expected: "none, zram:SIZE or disk:SIZE as in zram:1G",
        parse: |_, s| match s.split_once(':') {
            None if s == "none" => Some(Effect::Swap(Swap::None)),
            Some(("zram", size)) => size_mib(size).map(|mib| Effect::Swap(Swap::Zram { mib })),
            Some(("disk", size)) => size_mib(size).map(|mib| Effect::Swap(Swap::Disk { mib })),
            _ => None,
        },
        knob: None,
    },
];

fn canonical(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n: &u32| n.to_string() == text)
}

/// `320M` or `2G` in MiB. `1024M` is refused where `1G` says the same, or one size would be two cells.
fn size_mib(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = u64::from(canonical(digits)?);
    let mib = match unit {
        "M" if number % 1024 != 0 => number,
        "G" => number.checked_mul(1024)?,
        _ => return None,
    };
    (1..=MAX_MIB).contains(&mib).then_some(mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_spelling() {
        assert_eq!(size_mib("320M"), Some(320));
        assert_eq!(size_mib("2G"), Some(2048));
        for wrong in ["2048M", "0M", "2g", "2", "G", "", "2.5G", "99999999G", "\u{e9}"] {
            assert_eq!(size_mib(wrong), None, "{wrong:?}");
        }
    }
}
