//! What a guest or a stranger can feed to this program, as functions of bytes: `examples/fuzz.rs` runs them.

use crate::devices::fuzz as devices;
use crate::devices::virtio::fuzz as virtio;
use crate::{boot::fuzz as boot, control, dump};

/// One way in.
pub struct Target {
    /// Its name on the command line, and of its folder in a corpus.
    pub name: &'static str,
    /// Feeds it `data`. It must not panic, nor take long, nor allocate much, whatever the bytes are. The result is a
    /// digest of what it came to: an input that comes to something new is worth keeping.
    pub run: fn(&[u8]) -> u64,
    /// Inputs to start from, near to what makes sense.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All ways in. A new one is a line here.
pub const TARGETS: &[Target] = &[
    Target { name: "virtio-block", run: virtio::block, seeds: virtio::block_seeds },
    Target { name: "virtio-mmio", run: virtio::mmio, seeds: virtio::mmio_seeds },
    Target { name: "ports", run: devices::ports, seeds: devices::seeds },
    Target { name: "kernel", run: boot::load, seeds: boot::seeds },
    Target { name: "control", run: control::fuzz, seeds: control::fuzz_seeds },
    Target { name: "vmcoreinfo", run: dump::fuzz, seeds: dump::fuzz_seeds },
];

/// Bytes of an input, taken one after the other. After its end come zeros.
#[derive(Debug, Clone)]
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let len = N.min(self.0.len());
        bytes[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        bytes
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    /// Whether nothing but zeros is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A digest of many words: FNV-1a.
#[derive(Debug, Clone, Copy)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
