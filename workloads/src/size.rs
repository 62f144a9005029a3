//! How much memory a run takes.

use crate::host::Host;
use crate::job::{Ask, Pressure};
use crate::region::PAGE;

const MIB: u64 = 1 << 20;

/// The working set of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Bytes, part of it in swap if it `swaps`.
    pub bytes: u64,
    /// Whether there is swap for what does not fit.
    pub swap: bool,
    /// Whether the working set exceeds memory, so that the kernel must swap.
    pub swaps: bool,
    /// Whether the machine exists to be tortured.
    pub full: bool,
    available: u64,
}

impl Size {
    /// What `ask` says, or what suits `host`: with swap more than there is memory, without it little more than half.
    ///
    /// # Errors
    /// One line, if the machine cannot give what is asked.
    pub fn of(ask: &Ask, host: &Host) -> Result<Self, String> {
        let full = ask.pressure == Pressure::Full;
        // Swap counts as there if it can take a third of memory: less of it would only bring the OOM killer.
        let swap = host.swap_free >= host.available / 3;
        let bytes = match ask.memory {
            Some(bytes) => bytes,
            None if !full => (256 * MIB).min(host.available / 10),
            None if swap => (host.available / 100 * 145).min(host.available + host.swap_free / 10 * 6),
            None => host.available / 100 * 55,
        };
        let most = host.available + host.swap_free / 10 * 8;
        if bytes > most {
            return Err(format!(
                "--memory asks for {} MiB, but this machine has {} MiB of memory and swap to give",
                bytes / MIB,
                most / MIB
            ));
        }
        // Of a working set that fits, the kernel need not swap anything.
        Ok(Self { bytes, swap, swaps: swap && bytes > host.available, full, available: host.available })
    }

    /// The working set in pages, if each of `owners` is to have at least `least` of them.
    ///
    /// # Errors
    /// One line that says how much would do.
    pub fn each(&self, owners: usize, least: usize) -> Result<usize, String> {
        self.share(self.bytes, owners, least)
    }

    /// As [`Self::each`], of what leaves a third of memory to those who play with it: for races, not for pressure.
    ///
    /// # Errors
    /// One line that says how much would do.
    pub fn each_resident(&self, owners: usize, least: usize) -> Result<usize, String> {
        self.share(self.bytes.min(self.available / 3 * 2), owners, least)
    }

    fn share(&self, bytes: u64, owners: usize, least: usize) -> Result<usize, String> {
        let pages = usize::try_from(bytes / PAGE as u64).unwrap_or(usize::MAX) / owners;
        if pages < least {
            return Err(format!(
                "a working set of {} KiB is too small to race with; give --memory at least {} KiB",
                bytes / 1024,
                owners * least * PAGE / 1024
            ));
        }
        Ok(pages)
    }

    /// A line for people.
    pub fn says(&self, host: &Host) -> String {
        format!(
            "memory available {} MiB, swap free {} MiB; working set {} MiB",
            host.available / MIB,
            host.swap_free / MIB,
            self.bytes / MIB
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::host;
    use crate::job::tests::ask;

    fn size(pressure: Pressure, memory: Option<u64>, available: u64, swap: u64) -> Result<Size, String> {
        Size::of(&ask(pressure, memory), &host(available, swap))
    }

    #[test]
    fn a_guest_with_swap_is_overcommitted_and_one_without_is_not() {
        let with = size(Pressure::Full, None, 400, 512).unwrap();
        assert!(with.swaps && (570 * MIB..=580 * MIB).contains(&with.bytes), "{with:?}");
        let without = size(Pressure::Full, None, 400, 0).unwrap();
        assert!(!without.swaps && without.bytes <= 220 * MIB, "{without:?}");
        let little = size(Pressure::Full, None, 400, 20).unwrap();
        assert_eq!((little.swaps, little.bytes), (false, without.bytes), "too little swap is none");
    }

    #[test]
    fn a_host_is_asked_for_little() {
        assert!(size(Pressure::Polite, None, 24_000, 8_000).unwrap().bytes <= 256 * MIB);
        assert!(size(Pressure::Polite, None, 600, 0).unwrap().bytes <= 60 * MIB);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_with_what_would_do() {
        let error = size(Pressure::Full, Some(1_000 * MIB), 400, 100).unwrap_err();
        assert!(error.contains("480 MiB"), "{error}");
        let error = size(Pressure::Full, Some(MIB), 400, 100).unwrap().each(8, 512).unwrap_err();
        assert!(error.contains("at least 16384 KiB"), "{error}");
    }

    #[test]
    fn resident_shares_leave_memory_over() {
        let size = size(Pressure::Full, None, 400, 512).unwrap();
        assert!(size.each(1, 1).unwrap() > 400 * 256);
        assert!(size.each_resident(1, 1).unwrap() < 270 * 256);
    }
}
