//! The framing of the event and report streams: lines, without trust in their length.

use crate::MAX_LINE;

/// Cuts a stream into lines. One longer than [`MAX_LINE`] is dropped whole.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    overlong: bool,
}

impl Lines {
    /// Takes the next bytes and hands each line that they complete, without its newline, to `each`.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            self.overlong |= self.partial.len() + text.len() > MAX_LINE;
            if self.overlong {
                self.partial.clear();
            } else {
                self.partial.extend_from_slice(text);
            }
            if ends {
                if !self.overlong {
                    each(&self.partial);
                }
                self.partial.clear();
                self.overlong = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        chunks.iter().for_each(|chunk| lines.feed(chunk, |line| out.push(line.to_vec())));
        out
    }

    #[test]
    fn lines_are_put_together_from_any_chunks() {
        assert_eq!(cut(&[b"ab", b"c\nde\n\nf"]), [b"abc".to_vec(), b"de".to_vec(), Vec::new()]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            size in 1usize..50,
        ) {
            let chunks: Vec<_> = bytes.chunks(size).collect();
            prop_assert_eq!(cut(&chunks), cut(&[&bytes]));
        }
    }

    #[test]
    fn an_overlong_line_is_dropped_and_the_next_is_not() {
        let long = vec![b'x'; MAX_LINE];
        assert_eq!(cut(&[&long, b"\nok\n"]).len(), 2);
        assert_eq!(cut(&[&long, b"x", b"\nok\n"]), [b"ok".to_vec()]);
    }
}
