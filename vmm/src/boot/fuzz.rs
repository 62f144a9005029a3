//! Any file as a kernel.

use super::{bzimage, elf, kernel};
use crate::config::Protocol;
use crate::fuzz::Digest;
use std::io::Cursor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Guest memory, in bytes: room for the samples, and little to map for each execution.
const MEMORY: usize = 4 << 20;

/// Loads `data`; nothing below 1 MiB, where the boot structures are, may change.
pub fn load(data: &[u8]) -> u64 {
    let Ok(memory) = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)]) else { return 0 };
    let mut digest = Digest::default();
    match kernel::load(&memory, &mut Cursor::new(data), Protocol::Auto) {
        Ok(kernel) => {
            assert!(kernel.range.start >= crate::layout::HIGH_RAM && kernel.range.end <= MEMORY as u64);
            digest.add(format!("{:?} {:?}", kernel.format, kernel.entry).as_bytes());
        }
        // The words without their numbers: what it was refused for.
        Err(why) => digest.add(why.to_string().replace(|c: char| c.is_ascii_hexdigit(), "").as_bytes()),
    }
    // The last bytes before: a segment that begins too early would end there.
    let mut below = [0; 4096];
    let read = memory.read_slice(&mut below, GuestAddress(crate::layout::HIGH_RAM - 4096));
    assert!(read.is_ok() && below == [0; 4096]);
    digest.0
}

/// A kernel of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![elf::sample::kernel(), bzimage::sample::kernel()]
}
