//! A mapping that several threads play with at once, of a file or of anonymous memory.
//!
//! Unlike a [`crate::region::Region`] it never has holes, so that any thread may touch any page at any time; what a
//! page holds is for a [`crate::ledger::Ledger`] to know.

use crate::region::{PAGE, WORDS};
use crate::sys;
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

/// The mapping.
#[derive(Debug)]
pub struct Window {
    base: *mut u8,
    pages: usize,
    first: usize,
}

// SAFETY: a window owns its mapping, and every access to it is by atomic words.
unsafe impl Send for Window {}
// SAFETY: as above; its methods change the kernel's tables, under the kernel's own locks.
unsafe impl Sync for Window {}

const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Window {
    /// Private anonymous memory, its first page at a multiple of `align` pages.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn anonymous(pages: usize, align: usize) -> Result<Self, Errno> {
        let base = reserve(pages, align)?;
        let window = Self { base, pages, first: 0 };
        window.renew(0..pages)?;
        Ok(window)
    }

    /// `pages` pages of a file from its page `first` on, shared.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn file(file: impl AsFd, first: usize, pages: usize, align: usize) -> Result<Self, Errno> {
        let window = Self { base: reserve(pages, align)?, pages, first };
        window.replace(0..pages, file, false)?;
        Ok(window)
    }

    /// The first `pages` pages of a file, private: what is written to them stays here.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn private(file: impl AsFd, pages: usize, align: usize) -> Result<Self, Errno> {
        let window = Self { base: reserve(pages, align)?, pages, first: 0 };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: replaces the reservation, which is ours and untouched.
        unsafe { mm::mmap(window.base.cast(), pages * PAGE, RW, flags, file, 0) }?;
        Ok(window)
    }

    /// The first `pages` pages of a file as a program's text: read-only, executable, at a multiple of a huge page. Nobody may
    /// write to it.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn text(file: impl AsFd, pages: usize) -> Result<Self, Errno> {
        let window = Self { base: reserve(pages, crate::region::HUGE)?, pages, first: 0 };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: replaces the reservation, which is ours and untouched; nothing is ever executed in it.
        unsafe { mm::mmap(window.base.cast(), pages * PAGE, ProtFlags::READ | ProtFlags::EXEC, flags, file, 0) }?;
        Ok(window)
    }

    /// Its pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Which page of the file, or of the ledger, its own first one is.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Where a page begins.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn address(&self, page: usize) -> *mut u8 {
        assert!(page <= self.pages, "page {page} of {}", self.pages);
        self.base.wrapping_add(page * PAGE)
    }

    /// A word of a page.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn word(&self, page: usize, word: usize) -> &AtomicU64 {
        assert!(page < self.pages && word < WORDS, "page {page} of {}, word {word}", self.pages);
        // SAFETY: in bounds of the mapping, which lives as long as `self`, has no holes, and is accessed as atomics only;
        // aligned, and any bit pattern is a u64.
        unsafe { AtomicU64::from_ptr(self.base.wrapping_add(page * PAGE + word * 8).cast()) }
    }

    /// madvise(2) by number.
    ///
    /// # Errors
    /// Its own.
    pub fn advise(&self, range: Range<usize>, advice: i32) -> Result<(), Errno> {
        sys::madvise(self.address(range.start), range.len() * PAGE, advice)
    }

    /// msync(2), and wait.
    ///
    /// # Errors
    /// Its own.
    pub fn sync(&self, range: Range<usize>) -> Result<(), Errno> {
        // SAFETY: the range is ours; syncing changes no contents.
        unsafe { mm::msync(self.address(range.start).cast(), range.len() * PAGE, mm::MsyncFlags::SYNC) }
    }

    /// Maps `range` anew from the file, in one call that leaves no moment without a mapping.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn replace(&self, range: Range<usize>, file: impl AsFd, populate: bool) -> Result<(), Errno> {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let flags = if populate { flags | MapFlags::POPULATE } else { flags };
        let offset = ((self.first + range.start) * PAGE) as u64;
        // SAFETY: replaces a part of our own mapping by the same pages of the same file.
        unsafe { mm::mmap(self.address(range.start).cast(), range.len() * PAGE, RW, flags, file, offset) }.map(|_| ())
    }

    /// Maps `range` anew as private anonymous memory, one mapping with nothing in it, in one call that leaves no moment without.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn renew(&self, range: Range<usize>) -> Result<(), Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: replaces a part of our own mapping.
        unsafe { mm::mmap_anonymous(self.address(range.start).cast(), range.len() * PAGE, RW, flags) }.map(|_| ())
    }

    /// mprotect(2), executable or not: a new kind of mapping with the same access for those who play with it, which splits
    /// mappings and huge page table entries, or lets them merge again.
    ///
    /// # Errors
    /// Its own.
    pub fn recolor(&self, range: Range<usize>, executable: bool) -> Result<(), Errno> {
        let flags = mm::MprotectFlags::READ | mm::MprotectFlags::WRITE;
        let flags = if executable { flags | mm::MprotectFlags::EXEC } else { flags };
        // SAFETY: the range is ours and stays readable and writable; nothing is ever executed in it.
        unsafe { mm::mprotect(self.address(range.start).cast(), range.len() * PAGE, flags) }
    }

    /// mremap(2) of `range` to where page `to` begins, over what is there. The old place stays mapped, and empty: zeros, or
    /// what the file has.
    ///
    /// # Errors
    /// Those of mremap(2); EINVAL on a kernel without MREMAP_DONTUNMAP.
    pub fn shift(&self, range: Range<usize>, to: usize) -> Result<(), Errno> {
        assert!(range.end <= self.pages && to + range.len() <= self.pages, "{range:?} to {to} of {}", self.pages);
        let bytes = range.len() * PAGE;
        let flags = mm::MremapFlags::MAYMOVE | mm::MremapFlags::DONTUNMAP;
        // SAFETY: both places are ours, and both stay mapped throughout.
        unsafe { mm::mremap_fixed(self.address(range.start).cast(), bytes, bytes, flags, self.address(to).cast()) }
            .map(|_| ())
    }

    /// mlock(2).
    ///
    /// # Errors
    /// Its own.
    pub fn lock(&self, range: Range<usize>) -> Result<(), Errno> {
        // SAFETY: the range is ours; locking changes no contents.
        unsafe { mm::mlock(self.address(range.start).cast(), range.len() * PAGE) }
    }

    /// munlock(2).
    ///
    /// # Errors
    /// Its own.
    pub fn unlock(&self, range: Range<usize>) -> Result<(), Errno> {
        // SAFETY: as above.
        unsafe { mm::munlock(self.address(range.start).cast(), range.len() * PAGE) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can refer to it any more.
        let _ = unsafe { mm::munmap(self.base.cast(), self.pages * PAGE) };
    }
}

/// Address space with nothing in it.
fn reserve(pages: usize, align: usize) -> Result<*mut u8, Errno> {
    let slack = align.max(1) - 1;
    let bytes = (pages + slack).checked_mul(PAGE).ok_or(Errno::NOMEM)?;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), MapFlags::PRIVATE) }?;
    let start = start.cast::<u8>();
    let skip = start.align_offset(align.max(1) * PAGE) / PAGE;
    let base = start.wrapping_add(skip * PAGE);
    for (from, pages) in [(start, skip), (base.wrapping_add(pages * PAGE), slack - skip)] {
        if pages > 0 {
            // SAFETY: head and tail of the reservation, which nothing refers to.
            let _ = unsafe { mm::munmap(from.cast(), pages * PAGE) };
        }
    }
    Ok(base)
}
