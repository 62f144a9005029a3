//! What each page of a mapping holds, where one thread does all that is done to it: exactly, not "at least".

use crate::region::WORDS;
use crate::rng::mix;
use crate::window::Window;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The words of a page that show its value: its ends, and one in between.
pub const SHOWN: [usize; 3] = [0, 200, WORDS - 1];

/// One page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    /// In each of the words; 0 if nothing was written.
    value: u64,
    /// What it held before, to name what came back.
    before: u64,
    /// The kernel may turn it to zeros at any time (MADV_FREE).
    lazy: bool,
}

/// All pages of a mapping, or of a file.
#[derive(Debug, Clone)]
pub struct Model {
    pages: Vec<Held>,
    key: u64,
    written: u64,
}

impl Model {
    /// `pages` pages of zeros.
    pub fn new(pages: usize, key: u64) -> Self {
        Self { pages: vec![Held::default(); pages], key, written: 0 }
    }

    /// From now on this model's values are others than those of its copy in another process.
    pub fn depart(&mut self, key: u64) {
        self.key = key;
    }

    /// Writes a new value to page `page` by way of page `at` of `window`.
    pub fn write(&mut self, page: usize, window: &Window, at: usize) {
        let value = self.next(page);
        SHOWN.iter().for_each(|&word| window.word(at, word).store(value, Ordering::Relaxed));
    }

    /// A new value, which the caller writes.
    pub fn next(&mut self, page: usize) -> u64 {
        self.written += 1;
        // Never 0, which is what an empty page has.
        let value = mix(mix(self.key, page as u64), self.written) | 1;
        self.set(page, value);
        value
    }

    /// These pages are empty now.
    pub fn clear(&mut self, range: Range<usize>) {
        range.for_each(|page| self.set(page, 0));
    }

    /// These pages may be turned to zeros until they are written to.
    pub fn free(&mut self, range: Range<usize>) {
        range.for_each(|page| self.pages[page].lazy = true);
    }

    /// What `range` held is at `to` now, and `range` is empty.
    pub fn shift(&mut self, range: Range<usize>, to: usize) {
        for (i, page) in range.enumerate() {
            let moved = std::mem::take(&mut self.pages[page]);
            self.pages[page].before = moved.value;
            self.pages[to + i] = moved;
        }
    }

    /// Checks page `page` as page `at` of `window` shows it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&mut self, page: usize, window: &Window, at: usize) -> Result<(), String> {
        self.judge(page, SHOWN.map(|word| window.word(at, word).load(Ordering::Relaxed)))
    }

    /// Checks what was found in the words of a page.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&mut self, page: usize, found: [u64; 3]) -> Result<(), String> {
        let held = &mut self.pages[page];
        if held.lazy && found == [0; 3] {
            *held = Held { before: held.value, ..Held::default() };
            return Ok(());
        }
        let Held { value, before, .. } = *held;
        let Some((wrong, word)) = found.into_iter().zip(SHOWN).find(|&(found, _)| found != value) else {
            return Ok(());
        };
        let meaning = match self.pages.iter().position(|other| other.value == wrong) {
            _ if wrong == 0 => "zeros: its contents were lost".to_owned(),
            _ if wrong == before && value == 0 => "what it held before it was let go".to_owned(),
            _ if wrong == before => "what it held before: the last write was lost".to_owned(),
            Some(other) => format!("the contents of page {other}"),
            None => "nothing that is known here".to_owned(),
        };
        Err(format!("page {page}, word {word}: expected {value:#018x}, found {wrong:#018x}, {meaning}"))
    }

    fn set(&mut self, page: usize, value: u64) {
        let held = &mut self.pages[page];
        *held = Held { value, before: held.value, lazy: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_was_written_last() {
        let (mut model, window) = (Model::new(4, 7), Window::anonymous(4, 1).unwrap());
        assert_eq!(model.check(1, &window, 1), Ok(()));
        model.write(1, &window, 1);
        let old = window.word(1, 0).load(Ordering::Relaxed);
        model.write(1, &window, 1);
        assert_eq!(model.check(1, &window, 1), Ok(()));
        window.word(1, WORDS - 1).store(old, Ordering::Relaxed);
        assert!(model.check(1, &window, 1).unwrap_err().contains("the last write was lost"));
        window.word(2, 0).store(3, Ordering::Relaxed);
        assert!(model.check(2, &window, 2).unwrap_err().contains("nothing that is known here"));
    }

    #[test]
    fn what_is_let_go_lazily_is_there_or_not_until_it_is_written_to() {
        let mut model = Model::new(2, 7);
        let value = model.next(0);
        model.free(0..1);
        assert_eq!(model.judge(0, [value; 3]), Ok(()), "still there");
        assert!(model.judge(0, [value, 0, value]).is_err(), "a part of it is no page");
        assert_eq!(model.judge(0, [0; 3]), Ok(()));
        assert!(model.judge(0, [value; 3]).unwrap_err().contains("before it was let go"));
        let value = model.next(0);
        model.free(0..1);
        let again = model.next(0);
        assert!(model.judge(0, [0; 3]).unwrap_err().contains("lost"));
        assert!(model.judge(0, [value; 3]).is_err() && model.judge(0, [again; 3]).is_ok());
    }

    #[test]
    fn what_moves_leaves_nothing_behind() {
        let mut model = Model::new(4, 7);
        let values = [model.next(0), model.next(1)];
        model.shift(0..2, 2);
        assert!((0..2).all(|page| model.judge(page, [0; 3]).is_ok()));
        assert!((0..2).all(|page| model.judge(2 + page, [values[page]; 3]).is_ok()));
        assert!(model.judge(0, [values[0]; 3]).is_err(), "an old translation");
        assert!(model.judge(2, [values[1]; 3]).unwrap_err().contains("the contents of page 3"));
    }
}
