//! The host's time stamp counter, which TCG hands to its guests as it is.
//!
//! A guest that calibrates it against the PIT while the host is busy is off by as much as it was kept waiting, and so is
//! every time-out of its kernel from then on. It is told the rate instead.

use std::time::{Duration, Instant};

/// How long it is measured. An interruption of 1 ms on either side is then 4 % wrong, and the best of [`TRIES`] counts.
const WINDOW: Duration = Duration::from_millis(25);

/// Measurements.
const TRIES: usize = 3;

/// Its rate in kHz.
pub fn khz() -> u64 {
    // What delays a reading makes a window look longer on one clock than on the other, either way: the middle of three.
    let mut measured: Vec<_> = (0..TRIES).map(|_| once()).collect();
    measured.sort_unstable();
    measured[TRIES / 2]
}

fn once() -> u64 {
    let (start, ticks) = (Instant::now(), counter());
    let mut elapsed = start.elapsed();
    while elapsed < WINDOW {
        std::hint::spin_loop();
        elapsed = start.elapsed();
    }
    let ticks = counter().wrapping_sub(ticks);
    u64::try_from(u128::from(ticks) * 1_000_000 / elapsed.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn counter() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and it only reads a counter. Where the kernel forbids it (PR_SET_TSC),
    // it forbids it to QEMU as well.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_counter_counts_in_gigahertz() {
        let khz = super::khz();
        assert!((100_000..20_000_000).contains(&khz), "{khz}");
    }
}
