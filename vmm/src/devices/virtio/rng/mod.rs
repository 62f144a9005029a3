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

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, Driver, BUFFERS};
    use super::*;
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn a_request_is_filled_up_to_a_bound() {
        let memory = memory();
        for (buffers, given) in [
            (&[(BUFFERS, 300, true)][..], 300),
            (&[(BUFFERS, 300, true), (BUFFERS + 300, 1 << 20, true)], MOST as u32),
            (&[(BUFFERS, 300, false)], 0),
        ] {
            memory.write_slice(&[0; 2 * MOST], GuestAddress(BUFFERS)).unwrap();
            let mut driver = Driver::new(&memory, 16);
            let head = driver.direct(buffers);
            driver.offer(head);
            let mut chain = Chain::default();
            assert!(driver.virt_queue(true, &memory).pop(&mut chain).unwrap());
            assert_eq!(Rng::new().handler(0).handle(&chain, 0), Ok(given));
            let mut bytes = vec![0; 2 * MOST];
            memory.read_slice(&mut bytes, GuestAddress(BUFFERS)).unwrap();
            let zeros = bytes[..given as usize].iter().filter(|byte| **byte == 0).count();
            assert!(zeros <= given as usize / 16, "{zeros} zeros in {given} bytes");
            assert!(bytes[given as usize..].iter().all(|byte| *byte == 0));
        }
    }
}
