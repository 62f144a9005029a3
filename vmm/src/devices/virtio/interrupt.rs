//! What a device tells its driver without being asked.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING};
use vmm_sys_util::eventfd::EventFd;

/// The interrupt of one device: its line, and the register that says why it was raised.
#[derive(Debug)]
pub(crate) struct Interrupt {
    line: EventFd,
    status: AtomicU32,
    needs_reset: AtomicBool,
}

impl Interrupt {
    pub fn new(line: EventFd) -> Self {
        Self { line, status: AtomicU32::new(0), needs_reset: AtomicBool::new(false) }
    }

    /// Buffers have been used.
    pub fn used(&self) {
        self.raise(VIRTIO_MMIO_INT_VRING);
    }

    /// The device stands still until it is reset, and says so (section 2.1.2).
    pub fn need_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
        self.raise(VIRTIO_MMIO_INT_CONFIG);
    }

    pub fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    pub fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    pub fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }

    pub fn reset(&self) {
        self.status.store(0, Ordering::Release);
        self.needs_reset.store(false, Ordering::Release);
    }

    /// Raises the line even if an earlier interrupt is not yet acknowledged: a driver may acknowledge after it has
    /// looked at its rings.
    fn raise(&self, bits: u32) {
        self.status.fetch_or(bits, Ordering::AcqRel);
        // An eventfd takes 2^64 - 2 of these before it would block.
        let _ = self.line.write(1);
    }
}
