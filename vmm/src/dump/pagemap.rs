//! Which pages of guest memory have been touched, so that a dump touches no other.
//!
//! Not by mincore(2), which takes a page that the host has swapped out for one that was never there.

use super::PAGE;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use vm_memory::VolatileSlice;

/// Documentation/admin-guide/mm/pagemap.rst: the page is swapped out, or present. The other bits do not matter here.
const TOUCHED: u64 = 1 << 62 | 1 << 63;

/// Pages asked for at once: 32 MiB of guest memory.
const CHUNK: usize = 8192;

/// This process's /proc/self/pagemap. A confined process opens it beforehand.
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    /// Opens it. `None` where there is none that tells the truth.
    pub fn open() -> Option<Self> {
        let pagemap = Self(File::open("/proc/self/pagemap").ok()?);
        // A sandbox may have one in which nothing is ever present. This very page is.
        let here = std::hint::black_box([1_u8]);
        let present = pagemap.entries(here.as_ptr() as usize / PAGE, &mut [0; 8])?.any(touched);
        present.then_some(pagemap)
    }

    /// The entries of the pages from number `first` on, as many as `buffer` has room for.
    fn entries<'a>(&self, first: usize, buffer: &'a mut [u8]) -> Option<impl Iterator<Item = u64> + 'a> {
        self.0.read_exact_at(buffer, first as u64 * 8).ok()?;
        Some(buffer.chunks_exact(8).map(|entry| u64::from_ne_bytes(entry.try_into().unwrap_or_default())))
    }
}

fn touched(entry: u64) -> bool {
    entry & TOUCHED != 0
}

/// Calls `visit` with each run of touched pages of `memory`, in order, as offsets into it; without `pages` with all.
///
/// # Errors
/// Those of `visit`, at once.
pub fn visit(
    memory: &VolatileSlice<'_, impl vm_memory::bitmap::BitmapSlice>,
    pages: Option<&Pagemap>,
    visit: &mut dyn FnMut(Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let first = memory.ptr_guard().as_ptr() as usize / PAGE;
    let mut buffer = vec![0; CHUNK * 8];
    for start in (0..memory.len()).step_by(CHUNK * PAGE) {
        let end = memory.len().min(start + CHUNK * PAGE);
        let count = (end - start).div_ceil(PAGE);
        let entries = pages.and_then(|pages| pages.entries(first + start / PAGE, &mut buffer[..count * 8]));
        let Some(entries) = entries else {
            visit(start..end)?;
            continue;
        };
        let mut run = None;
        for (at, entry) in (start..end).step_by(PAGE).zip(entries) {
            match (touched(entry), run) {
                (true, None) => run = Some(at),
                (false, Some(from)) => {
                    visit(from..at)?;
                    run = None;
                }
                _ => {}
            }
        }
        if let Some(from) = run {
            visit(from..end)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

    #[test]
    fn only_touched_pages_are_visited() {
        let pages = Pagemap::open().expect("/proc/self/pagemap");
        let size = (CHUNK + 16) * PAGE;
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), size)]).unwrap();
        // Those beside the boundary between two chunks are two runs. A page may come with its neighbours (a large page,
        // where the host has them for everything).
        for page in [3, CHUNK - 1, CHUNK, CHUNK + 15] {
            memory.write_slice(&[0], GuestAddress((page * PAGE) as u64)).unwrap();
        }
        let all = memory.iter().next().unwrap().as_volatile_slice().unwrap();
        let mut seen = vec![];
        visit(&all, Some(&pages), &mut |run| {
            seen.extend(run.step_by(PAGE).map(|at| at / PAGE));
            Ok(())
        })
        .unwrap();
        assert!(seen.is_sorted());
        for page in [3, CHUNK - 1, CHUNK, CHUNK + 15] {
            assert!(seen.contains(&page), "{page}");
        }
        assert!(seen.len() < CHUNK / 2, "{}", seen.len());

        let mut whole = vec![];
        visit(&all, None, &mut |run| {
            whole.push(run);
            Ok(())
        })
        .unwrap();
        assert_eq!(whole, [0..CHUNK * PAGE, CHUNK * PAGE..size]);
    }
}
