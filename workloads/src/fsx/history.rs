//! What was done to which pages, to be told when one of them turns out to be wrong.

use std::collections::VecDeque;
use std::ops::Range;

/// The steps remembered.
const KEPT: usize = 2000;

/// The steps told of one page.
const TOLD: usize = 16;

/// The last steps of a process.
#[derive(Debug, Clone, Default)]
pub struct History(VecDeque<(&'static str, Range<usize>)>);

impl History {
    /// Remembers a step on these pages.
    pub fn add(&mut self, what: &'static str, range: &Range<usize>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((what, range.clone()));
    }

    /// The last steps on a page, oldest first.
    pub fn of(&self, page: usize) -> String {
        let on_it = self.0.iter().rev().filter(|(_, range)| range.contains(&page)).take(TOLD);
        let mut steps: Vec<_> =
            on_it.map(|(what, range)| format!("{what} {}-{}", range.start, range.end - 1)).collect();
        steps.reverse();
        format!("steps on it: {}", steps.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_steps_on_a_page_are_told_oldest_first() {
        let mut history = History::default();
        history.add("fork", &(0..9));
        (0..KEPT).for_each(|_| history.add("write", &(0..4)));
        history.add("free", &(3..5));
        history.add("page-out", &(0..2));
        let told = history.of(3);
        assert!(told.starts_with("steps on it: write 0-3, write") && told.ends_with("write 0-3, free 3-4"), "{told}");
        assert_eq!(told.matches(", ").count(), TOLD - 1);
        assert_eq!(history.of(4), "steps on it: free 3-4", "what is too long ago is forgotten");
    }
}
