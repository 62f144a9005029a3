//! One direction of a descriptor chain: guest memory as a sequence of bytes, wherever its pieces lie.

use super::queue::Broken;
use std::ops::Range;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// The readable or the writable part of a request. Every byte is guest memory; the guest may change it at any time.
#[derive(Debug, Default)]
pub struct Buffers<'m> {
    slices: Vec<VolatileSlice<'m>>,
    len: usize,
}

impl<'m> Buffers<'m> {
    pub(super) fn clear(&mut self) {
        self.slices.clear();
        self.len = 0;
    }

    /// Adds what a descriptor points to.
    pub(super) fn push(&mut self, memory: &'m GuestMemoryMmap, at: GuestAddress, len: u32) -> Result<(), Broken> {
        for slice in GuestMemoryBackend::get_slices(memory, at, len as usize) {
            let slice = slice.map_err(|_| Broken("a descriptor that points outside of guest memory"))?;
            self.len += slice.len();
            self.slices.push(slice);
        }
        Ok(())
    }

    /// How many bytes it has: less than 2^32.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `data` from the bytes at `at`. False, and nothing is read, if there are not so many.
    pub fn read(&self, at: usize, data: &mut [u8]) -> bool {
        let mut done = 0;
        for piece in self.pieces(at..at.saturating_add(data.len())) {
            done += piece.copy_to(&mut data[done..]);
        }
        done == data.len()
    }

    /// Puts `data` at `at`. False, and nothing is written, if there is no room for all of it.
    pub fn write(&self, at: usize, data: &[u8]) -> bool {
        let mut done = 0;
        for piece in self.pieces(at..at.saturating_add(data.len())) {
            piece.copy_from(&data[done..]);
            done += piece.len();
        }
        done == data.len()
    }

    /// The bytes of `range` for a system call, which must end before the memory does. Empty if there are not so many.
    pub fn iovecs(&self, range: Range<usize>) -> Vec<libc::iovec> {
        let iovec = |piece: VolatileSlice<'_>| libc::iovec {
            iov_base: piece.ptr_guard_mut().as_ptr().cast(),
            iov_len: piece.len(),
        };
        self.pieces(range).map(iovec).collect()
    }

    /// The pieces of `range`, or none if it reaches beyond the end.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = VolatileSlice<'m>> + '_ {
        let mut skip = range.start;
        let mut left = if range.end <= self.len { range.end.saturating_sub(range.start) } else { 0 };
        self.slices.iter().filter_map(move |slice| {
            let from = skip.min(slice.len());
            skip -= from;
            let len = left.min(slice.len() - from);
            left -= len;
            // A range within the slice cannot fail.
            (len > 0).then(|| slice.subslice(from, len).ok()).flatten()
        })
    }

    /// Fills it with what `fill` puts into each piece, until it fails. Returns the bytes filled.
    pub(super) fn fill(&self, most: usize, mut fill: impl FnMut(&mut [u8]) -> bool) -> usize {
        let mut chunk = [0; 256];
        let mut done = 0;
        let most = most.min(self.len);
        while done < most {
            let chunk = &mut chunk[..256.min(most - done)];
            if !fill(chunk) || !self.write(done, chunk) {
                break;
            }
            done += chunk.len();
        }
        done
    }
}
