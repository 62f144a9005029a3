//! Sizes, with one spelling each.

/// More than any host of ours has; a bound against a slip of the pen.
const MAX_MIB: u64 = 1 << 20;

/// `320M` or `2G` in MiB. `1024M` is refused where `1G` says the same, or one size would be two cells.
pub(crate) fn mib(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|n: &u64| n.to_string() == digits)?;
    let mib = match unit {
        "M" if !number.is_multiple_of(1024) => number,
        "G" => number.checked_mul(1024)?,
        _ => return None,
    };
    (1..=MAX_MIB).contains(&mib).then_some(mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_spelling() {
        assert_eq!(mib("320M"), Some(320));
        assert_eq!(mib("2G"), Some(2048));
        for wrong in ["2048M", "0M", "2g", "2", "G", "", "2.5G", "99999999G", "\u{e9}"] {
            assert_eq!(mib(wrong), None, "{wrong:?}");
        }
    }
}
