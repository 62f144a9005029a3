//! The machine's swap device, off and on again.

use crate::sys;
use rustix::io::Errno;
use std::ffi::CString;

/// The first swap device, as /proc/swaps names it.
pub fn device() -> Option<CString> {
    first(&std::fs::read_to_string("/proc/swaps").ok()?)
}

fn first(swaps: &str) -> Option<CString> {
    let name = swaps.lines().nth(1)?.split_whitespace().next()?;
    CString::new(name).ok()
}

/// Whether what is swapped would fit into half of the memory that is there: swapoff is the OOM killer's first choice
/// (set_current_oom_origin()), and its report would be taken for a finding.
pub fn fits() -> bool {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return false };
    let value = |name| crate::host::meminfo(&text, name).unwrap_or(0);
    (value("SwapTotal") - value("SwapFree")) * 2 < value("MemAvailable")
}

/// What [`off_and_on()`] may say: this process's time is up, or another one has turned it off or on meanwhile.
pub const MAY: &[Errno] = &[Errno::INTR, Errno::INVAL, Errno::BUSY];

/// Turns the device off and on again.
///
/// # Errors
/// ENOMEM if what is swapped does not fit, EINTR on a signal; it is on then. EINVAL or EBUSY if it is off or on already.
pub fn off_and_on(device: &CString) -> Result<(), Errno> {
    sys::swapoff(device)?;
    sys::swapon(device)
}

/// Sees to it that swap is there as it was in the beginning, though a process may have been killed between off and on.
#[derive(Debug)]
pub struct Keep(Option<CString>);

impl Keep {
    /// Remembers what there is.
    pub fn now() -> Self {
        Self(device())
    }

    /// Turns on what was on. A process that was about to do so is told that it is busy.
    pub fn restore(&self) {
        if let (Some(before), None) = (&self.0, device()) {
            // Without the right to turn it on nobody turned it off.
            let _ = sys::swapon(before);
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_device_is_below_the_header() {
        let swaps =
            "Filename\t\t\tType\t\tSize\tUsed\tPriority\n/dev/zram0  partition\t1048572\t0\t-2\n/swap file 1 0 -3\n";
        assert_eq!(first(swaps).unwrap().to_str(), Ok("/dev/zram0"));
        assert_eq!(first("Filename\n"), None);
    }
}
