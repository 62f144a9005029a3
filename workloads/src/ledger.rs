//! What is known to be written to pages that several threads or processes share: whoever reads one later than its
//! writer noted it must find that value or a newer one.
//!
//! A page has one writer and any number of readers. The writer stores a value in the page, then notes it here; a
//! reader looks here first, then reads the page. So no lock is needed, and none slows the races down: the note says
//! "at least this". A value is 24 bits of who the page is and 40 bits of how often it was written.

use crate::region::{PAGE, WORDS};
use crate::rng::mix;
use crate::window::Window;
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::sync::atomic::{AtomicU64, Ordering};

/// `count` zeros that every process forked from this one shares. Never unmapped.
///
/// # Errors
/// ENOMEM.
pub fn shared_words(count: usize) -> Result<&'static [AtomicU64], Errno> {
    let bytes = count.max(1) * size_of::<AtomicU64>();
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let at = unsafe {
        mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }?;
    // SAFETY: the mapping is zeroed, page aligned, large enough, never unmapped, and only ever accessed as atomics.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), count) })
}

const VERSION_BITS: u32 = 40;
const VERSION: u64 = (1 << VERSION_BITS) - 1;

/// The words of a page that hold its value: its ends, so that a page put together from two is seen.
const HELD_IN: [usize; 2] = [0, WORDS - 1];

/// A page for reads past the page cache, which want it aligned.
#[repr(align(4096))]
#[derive(Debug)]
pub struct DiskPage(pub [u8; PAGE]);

/// The notes.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// What is known to be in each page; 0 if nothing is.
    noted: &'static [AtomicU64],
    /// The last version that was ever written, which survives forgetting.
    versions: &'static [AtomicU64],
    /// How often each page was forgotten.
    forgotten: &'static [AtomicU64],
    key: u64,
}

/// What was noted of a page at one time.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    value: u64,
    forgotten: u64,
}

impl Ledger {
    /// Notes for `pages` pages of zeros.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(pages: usize, key: u64) -> Result<Self, Errno> {
        Ok(Self { noted: shared_words(pages)?, versions: shared_words(pages)?, forgotten: shared_words(pages)?, key })
    }

    /// A new value for `page`, not noted yet. For its writer only.
    pub fn next(&self, page: usize) -> u64 {
        let version = self.versions[page].load(Ordering::Relaxed) + 1;
        self.versions[page].store(version, Ordering::Relaxed);
        self.tag(page) | (version & VERSION)
    }

    /// How many pages it knows of.
    pub fn pages(&self) -> usize {
        self.noted.len()
    }

    /// A new value for `page`, not noted yet, and a whole page that holds it.
    pub fn next_bytes(&self, page: usize) -> (u64, [u8; PAGE]) {
        let value = self.next(page);
        let mut bytes = [0; PAGE];
        HELD_IN.iter().for_each(|word| bytes[word * 8..][..8].copy_from_slice(&value.to_ne_bytes()));
        (value, bytes)
    }

    /// A page that is `page` before anything is written to it: older than whatever is noted of it.
    pub fn first_bytes(&self, page: usize) -> [u8; PAGE] {
        let mut bytes = [0; PAGE];
        HELD_IN.iter().for_each(|word| bytes[word * 8..][..8].copy_from_slice(&self.tag(page).to_ne_bytes()));
        bytes
    }

    /// Notes that `page` holds `value`.
    pub fn note(&self, page: usize, value: u64) {
        self.noted[page].store(value, Ordering::Release);
    }

    /// Writes a new value to a page of `window`, and notes it.
    pub fn write(&self, window: &Window, at: usize) {
        self.write_moved(window, at, window.first() + at, 1);
    }

    /// Writes to `count` pages of `window` from `at` on, which the ledger knows as those from `page` on.
    pub fn write_moved(&self, window: &Window, at: usize, page: usize, count: usize) {
        for i in 0..count {
            let value = self.next(page + i);
            HELD_IN.iter().for_each(|&word| window.word(at + i, word).store(value, Ordering::Release));
            self.note(page + i, value);
        }
    }

    /// Checks page `at` of `window`, which the ledger knows as `page`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_moved(&self, window: &Window, at: usize, page: usize) -> Result<(), String> {
        self.check_by(page, || Some(HELD_IN.map(|word| window.word(at, word).load(Ordering::Acquire))))
    }

    /// From now on `page` may read as zeros. Its writer says so before it discards it.
    pub fn forget(&self, page: usize) {
        self.note(page, 0);
        self.forgotten[page].fetch_add(1, Ordering::Release);
    }

    /// Checks a page of `window`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, window: &Window, at: usize) -> Result<(), String> {
        self.check_moved(window, at, window.first() + at)
    }

    /// Checks a page by the bytes of it that `read` fetches, whatever way it comes by them; nothing, if it cannot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_bytes(&self, page: usize, read: impl FnOnce(&mut [u8; PAGE]) -> bool) -> Result<(), String> {
        self.check_by(page, || {
            let mut bytes = [0; PAGE];
            let word =
                |bytes: &[u8; PAGE], word: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[word * 8 + i]));
            read(&mut bytes).then(|| HELD_IN.map(|at| word(&bytes, at)))
        })
    }

    /// What is noted of `page`.
    pub fn noted(&self, page: usize) -> Note {
        // In this order: who sees that it was forgotten sees what was noted since.
        let forgotten = self.forgotten[page].load(Ordering::Acquire);
        Note { value: self.noted[page].load(Ordering::Acquire), forgotten }
    }

    /// Checks a page of `window`, a private copy made after `noted` was noted of it: the notes go on without it. One that
    /// was forgotten since may have been let go before the copy was made.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_copy(&self, window: &Window, at: usize, noted: Note) -> Result<(), String> {
        let page = window.first() + at;
        let found = HELD_IN.map(|word| window.word(at, word).load(Ordering::Acquire));
        let let_go = self.forgotten[page].load(Ordering::Acquire) != noted.forgotten;
        let mut judged = found.into_iter().filter(|&found| found != 0 || !let_go);
        match judged.find_map(|found| Some((found, self.wrong(page, noted.value, found)?))) {
            None => Ok(()),
            Some((found, meaning)) => {
                let noted = noted.value;
                Err(format!("page {page} of a copy: {noted:#018x} was in it, found {found:#018x}, {meaning}"))
            }
        }
    }

    /// Checks what `read` fetches of a page from the disk, which was synced when `noted` had been noted of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_synced(
        &self,
        page: usize,
        noted: Note,
        read: impl FnOnce(&mut DiskPage) -> bool,
    ) -> Result<(), String> {
        let mut on_disk = DiskPage([0; PAGE]);
        if !read(&mut on_disk) {
            return Ok(());
        }
        for word in HELD_IN {
            let found = u64::from_ne_bytes(std::array::from_fn(|i| on_disk.0[word * 8 + i]));
            let noted = noted.value;
            if let Some(meaning) = self.wrong(page, noted, found) {
                return Err(format!(
                    "page {page}, word {word}, on disk after msync: expected {noted:#018x} or a later version, \
                     found {found:#018x}, {meaning}"
                ));
            }
        }
        Ok(())
    }

    fn check_by(&self, page: usize, read: impl FnOnce() -> Option<[u64; 2]>) -> Result<(), String> {
        let noted = self.noted[page].load(Ordering::Acquire);
        let Some(found) = read() else { return Ok(()) };
        for (found, word) in found.into_iter().zip(HELD_IN) {
            let Some(meaning) = self.wrong(page, noted, found) else { continue };
            // Discarded since we looked: versions only grow, so the note cannot be the same again.
            if self.noted[page].load(Ordering::Acquire) != noted && found == 0 {
                continue;
            }
            return Err(format!(
                "page {page}, word {word}: expected {noted:#018x} or a later version, found {found:#018x}, {meaning}"
            ));
        }
        Ok(())
    }

    fn wrong(&self, page: usize, noted: u64, found: u64) -> Option<String> {
        if found == 0 {
            return (noted != 0).then(|| "zeros: its contents were lost".to_owned());
        }
        if found & !VERSION != self.tag(page) {
            let other = (0..self.noted.len()).find(|&other| self.tag(other) == found & !VERSION);
            return Some(other.map_or_else(|| "nothing of ours".to_owned(), |o| format!("the contents of page {o}")));
        }
        let (old, least) = (found & VERSION, noted & VERSION);
        (old < least).then(|| format!("its own version {old}, {} writes ago: an update was lost", least - old))
    }

    fn tag(&self, page: usize) -> u64 {
        // Never 0: an empty page is no version of it.
        (mix(self.key, page as u64) | 1 << VERSION_BITS) & !VERSION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_is_noted_or_something_newer() {
        let (ledger, window) = (Ledger::new(4, 7).unwrap(), Window::anonymous(4, 1).unwrap());
        assert_eq!(ledger.check(&window, 1), Ok(()), "zeros, and nothing is known");
        ledger.write(&window, 1);
        let old = window.word(1, 0).load(Ordering::Relaxed);
        ledger.write(&window, 1);
        assert_eq!(ledger.check(&window, 1), Ok(()));
        let newer = ledger.next(1);
        window.word(1, 0).store(newer, Ordering::Relaxed);
        assert_eq!(ledger.check(&window, 1), Ok(()), "written, but not noted yet");
        window.word(1, 511).store(old, Ordering::Relaxed);
        assert!(ledger.check(&window, 1).unwrap_err().contains("version 1, 1 writes ago: an update was lost"));
    }

    #[test]
    fn lost_and_mixed_up_pages_are_told() {
        let (ledger, window) = (Ledger::new(4, 7).unwrap(), Window::anonymous(4, 1).unwrap());
        (0..4).for_each(|page| ledger.write(&window, page));
        let other = window.word(3, 0).load(Ordering::Relaxed);
        window.word(0, 0).store(0, Ordering::Relaxed);
        assert!(ledger.check(&window, 0).unwrap_err().contains("lost"));
        ledger.forget(0);
        assert_eq!(ledger.check(&window, 0), Ok(()));
        window.word(0, 0).store(other, Ordering::Relaxed);
        assert!(ledger.check(&window, 0).unwrap_err().contains("the contents of page 3"));
        window.word(1, 0).store(3, Ordering::Relaxed);
        assert!(ledger.check(&window, 1).unwrap_err().contains("nothing of ours"));
    }

    #[test]
    fn a_copy_may_be_of_a_page_let_go_after_it_was_noted() {
        let (ledger, window) = (Ledger::new(1, 7).unwrap(), Window::anonymous(1, 1).unwrap());
        ledger.write(&window, 0);
        let noted = ledger.noted(0);
        window.word(0, 0).store(0, Ordering::Relaxed);
        assert!(ledger.check_copy(&window, 0, noted).unwrap_err().contains("lost"));
        ledger.forget(0);
        ledger.write(&window, 0);
        window.word(0, 0).store(0, Ordering::Relaxed);
        assert_eq!(ledger.check_copy(&window, 0, noted), Ok(()));
        assert!(ledger.check_copy(&window, 0, ledger.noted(0)).unwrap_err().contains("lost"));
        window.word(0, 0).store(3, Ordering::Relaxed);
        assert!(ledger.check_copy(&window, 0, noted).unwrap_err().contains("nothing of ours"));
    }

    #[test]
    fn a_page_is_judged_by_its_bytes_too() {
        let (ledger, window) = (Ledger::new(1, 7).unwrap(), Window::anonymous(1, 1).unwrap());
        ledger.write(&window, 0);
        assert!(ledger.check_bytes(0, |_| true).unwrap_err().contains("lost"));
        let (value, newer) = ledger.next_bytes(0);
        ledger.note(0, value);
        assert_eq!(
            ledger.check_bytes(0, |bytes| {
                *bytes = newer;
                true
            }),
            Ok(())
        );
        assert_eq!(ledger.check_bytes(0, |_| false), Ok(()), "what cannot be read is not judged");
    }
}
