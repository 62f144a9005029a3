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

#[cfg(test)]
mod tests {
    use super::*;

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
