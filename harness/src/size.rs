//! Sizes as people write and read them. Pure.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Size(pub u64);

/// Powers of 1024, with the letters that stand for them.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) => write!(f, "{:.1} {unit}iB", self.0 as f64 / (1u64 << shift) as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("size '{text}', expected a number of bytes, or one with K, M, G or T (of 1024), as in 40G");
        let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, *shift)));
        let (digits, shift) = unit.unwrap_or((text, 0));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

/// More MiB than any host of ours has; a bound against a slip of the pen.
const MAX_MIB: u64 = 1 << 20;

/// `320M` or `2G` in MiB, as settings have it. `1024M` is refused where `1G` says the same, or one size would be two cells.
pub fn mib(text: &str) -> Option<u64> {
    let mib = text.parse::<Size>().ok()?.0 >> 20;
    (spelled(mib)? == text).then_some(mib)
}

/// So many MiB in the one way to write them; `None` if that is no setting.
pub fn spelled(mib: u64) -> Option<String> {
    let text = if mib.is_multiple_of(1024) { format!("{}G", mib >> 10) } else { format!("{mib}M") };
    (1..=MAX_MIB).contains(&mib).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_one_spelling() {
        assert_eq!((mib("320M"), mib("2G"), mib("1024G")), (Some(320), Some(2048), Some(1 << 20)));
        let wrong = [
            "2048M",
            "0M",
            "0G",
            "2g",
            "2",
            "G",
            "",
            "2.5G",
            "99999999G",
            "\u{e9}",
            "02G",
            "1T",
            "1025G",
            "327680K",
            "335544320",
            "+1G",
        ];
        for wrong in wrong {
            assert_eq!(mib(wrong), None, "{wrong:?}");
        }
        assert_eq!(
            (spelled(512), spelled(1536), spelled(2048)),
            (Some("512M".into()), Some("1536M".into()), Some("2G".into()))
        );
        assert_eq!((spelled(0), spelled(MAX_MIB + 1)), (None, None));
    }

    #[test]
    fn sizes_are_read_and_shown() {
        let read = |text: &str| text.parse::<Size>();
        assert_eq!((read("0"), read("40G"), read("3K")), (Ok(Size(0)), Ok(Size(40 << 30)), Ok(Size(3 << 10))));
        for wrong in ["", "G", "-1", "+1", "4.5G", "40GB", "40 G", "99999999999T", "x"] {
            assert!(read(wrong).unwrap_err().starts_with(&format!("size '{wrong}', expected")), "{wrong}");
        }
        let shown: Vec<_> = [0, 1023, 1024, 1536, 40 << 30, 3 << 40].map(|n| Size(n).to_string()).to_vec();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "40.0 GiB", "3.0 TiB"]);
    }
}
