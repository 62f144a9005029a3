//! Finds which of many literals stand in a line, fast: nearly all console output holds none.

/// Literals have at least as many bytes: fewer would be found in most lines.
pub(super) const MIN_LITERAL: usize = 4;

/// A set of literals, each with the numbers of the table rows that want it.
#[derive(Debug)]
pub(super) struct Triggers {
    /// One bit for every hash that a literal's first four bytes have: 8 KiB, which stay in the L1 cache.
    seen: Box<[u64; 1024]>,
    /// The literals, by the low byte of that hash.
    buckets: Vec<Vec<(&'static [u8], u16)>>,
}

impl Triggers {
    /// Literals that are too short are left out.
    pub fn new(literals: impl IntoIterator<Item = (&'static str, u16)>) -> Self {
        let mut triggers = Triggers { seen: Box::new([0; 1024]), buckets: vec![Vec::new(); 256] };
        for (literal, row) in literals {
            let literal = literal.as_bytes();
            if let Some(first) = literal.first_chunk() {
                let hash = hash(*first);
                triggers.seen[usize::from(hash / 64)] |= 1 << (hash % 64);
                triggers.buckets[usize::from(hash & 0xff)].push((literal, row));
            }
        }
        triggers
    }

    /// Calls `hit` with the row of every literal found, once for each place; stops when it returns false.
    pub fn find(&self, text: &[u8], mut hit: impl FnMut(u16) -> bool) {
        self.find_at(text, |_, row| hit(row));
    }

    fn find_at(&self, text: &[u8], mut hit: impl FnMut(usize, u16) -> bool) {
        for (at, first) in text.windows(MIN_LITERAL).enumerate() {
            let hash = hash([first[0], first[1], first[2], first[3]]);
            if self.seen[usize::from(hash / 64)] & (1 << (hash % 64)) == 0 {
                continue;
            }
            for (literal, row) in &self.buckets[usize::from(hash & 0xff)] {
                if text[at..].starts_with(literal) && !hit(at, *row) {
                    return;
                }
            }
        }
    }

    /// Where the first literal stands in the text.
    pub fn first(&self, text: &[u8]) -> Option<usize> {
        let mut found = None;
        self.find_at(text, |at, _| {
            found = Some(at);
            false
        });
        found
    }

    /// Whether any literal stands in the text.
    pub fn any(&self, text: &[u8]) -> bool {
        self.first(text).is_some()
    }
}

/// Multiplicative hashing: the high half of the product depends on all four bytes.
fn hash(first: [u8; MIN_LITERAL]) -> u16 {
    (u32::from_le_bytes(first).wrapping_mul(0x9e37_79b1) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_literal_is_found_wherever_it_stands() {
        let triggers = Triggers::new([("BUG: ", 1), ("kernel BUG at ", 2), ("WARNING: ", 3)]);
        let found = |text: &str| {
            let mut rows = Vec::new();
            triggers.find(text.as_bytes(), |row| {
                rows.push(row);
                true
            });
            rows
        };
        assert_eq!(found("kernel BUG at x BUG: "), [2, 1]);
        assert_eq!(found("WARNING: BUG"), [3]);
        assert_eq!(found("WARNIN"), [0; 0]);
        assert!(!triggers.any(b"B"));
    }
}
