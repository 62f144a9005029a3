//! Entropy (section 5.4 of the specification), from the host's kernel.

use super::{Broken, Chain, Handler, VirtioDevice};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

/// Requests at once. Linux makes one at a time.
const QUEUE_SIZE: u16 = 64;
/// The most bytes that one request is given; a driver asks again for more.
const MOST: usize = 64 << 10;

/// A source of entropy.
#[derive(Debug, Default)]
pub struct Rng;

impl Rng {
    /// There is one kind.
    pub fn new() -> Self {
        Self
    }
}

impl VirtioDevice for Rng {
    fn name(&self) -> &str {
        "rng"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn handler(&self, _: usize) -> Box<dyn Handler> {
        Box::new(GetRandom)
    }
}

struct GetRandom;

impl Handler for GetRandom {
    fn handle(&mut self, chain: &Chain<'_>, _: u64) -> Result<u32, Broken> {
        // At most MOST, which fits.
        Ok(chain.writable.fill(MOST, getrandom) as u32)
    }
}

/// Fills `bytes`, of which there are at most 256: for so many, getrandom gives all or nothing (getrandom(2)).
fn getrandom(bytes: &mut [u8]) -> bool {
    // SAFETY: the pointer and the length are of one slice.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    usize::try_from(got) == Ok(bytes.len())
}
