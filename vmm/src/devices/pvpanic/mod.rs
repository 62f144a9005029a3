//! pvpanic: a port to which a guest's kernel says that it panicked (docs/specs/pvpanic.rst of QEMU;
//! drivers/misc/pvpanic in Linux, which finds it by its ACPI id QEMU0001).

use crate::bus::Device;
use crate::ending::End;
use std::sync::Arc;

/// The guest panicked, and nobody but the host can tell what happened.
const PANICKED: u8 = 1 << 0;
/// The guest panicked and boots a crash kernel, which will see to it.
const CRASH_LOADED: u8 = 1 << 1;

/// The device.
pub struct Pvpanic {
    end: Arc<End>,
}

impl Pvpanic {
    /// A device that tells `end`.
    pub fn new(end: Arc<End>) -> Self {
        Self { end }
    }
}

impl Device for Pvpanic {
    fn read(&mut self, _: u64, data: &mut [u8]) {
        // What it understands.
        data.fill(PANICKED | CRASH_LOADED);
    }

    fn write(&mut self, _: u64, data: &[u8]) {
        if data.first().is_some_and(|events| events & PANICKED != 0) {
            self.end.panicked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EventFd;

    #[test]
    fn a_panic_is_told_and_a_crash_kernel_is_none() {
        let end = Arc::new(End::new(EventFd::new(0).unwrap()));
        let mut pvpanic = Pvpanic::new(end.clone());
        pvpanic.write(0, &[CRASH_LOADED]);
        assert!(!end.has_panicked());
        pvpanic.write(0, &[PANICKED]);
        assert!(end.has_panicked());
        assert_eq!(end.get(), None, "what its console has yet to say is waited for");
    }
}
