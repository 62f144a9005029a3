//! A sparse file as a list of what is in it: a file system's image is almost all holes, and the guest has neither a
//! disk to copy it from nor a program to make it.
//!
//! Each extent is its offset and its length, in bytes and as 64 bits little-endian, and then its bytes.

/// Appends one extent to `out`.
pub fn push(out: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The next extent of `rest`, which moves on; `None` at its end, or where it is cut off.
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let (offset, tail) = rest.split_first_chunk()?;
    let (length, tail) = tail.split_first_chunk()?;
    let (bytes, tail) = tail.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *rest = tail;
    Some((u64::from_le_bytes(*offset), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_pushed_comes_out(all in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..20)), 0..8)) {
            let mut packed = Vec::new();
            all.iter().for_each(|(offset, bytes)| push(&mut packed, *offset, bytes));
            let mut rest = &packed[..];
            let mut out = Vec::new();
            while let Some((offset, bytes)) = next(&mut rest) {
                out.push((offset, bytes.to_vec()));
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(out, all);
        }
    }

    #[test]
    fn what_is_cut_off_ends_it() {
        let mut packed = Vec::new();
        push(&mut packed, 4096, b"abc");
        packed.pop();
        assert_eq!(next(&mut &packed[..]), None);
        assert_eq!(next(&mut &packed[..7]), None);
    }
}
