//! Which patches of a series a variant carries.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A choice of patches out of a series, written as `base`, `all`, `prefix:K`,
/// `without:K` or `only:1,3-4`.
///
/// It does not know the series: [`Selection::resolve`] turns it into indices for a series of `n` patches. Two
/// selections that resolve to the same indices are the same kernel (`prefix:0` is `base`, `prefix:n` is `all`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selection {
    /// No patch.
    Base,
    /// Every patch.
    All,
    /// The first K patches, 0 to n.
    Prefix(usize),
    /// Every patch but the K-th, 1 to n.
    Without(usize),
    /// These patches, from 1 to n: ranges, both ends in them, ascending, with at least one patch between them.
    Only(Vec<(usize, usize)>),
}

/// Why a selection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The text is no selection.
    #[error(
        "`{0}` is no selection of patches: expected `base`, `all`, `prefix:K`, `without:K` (K a number) or `only:LIST` \
         (as in `only:1,3-4`)"
    )]
    Syntax(String),
    /// `prefix:K` with more patches than there are.
    #[error("`prefix:{k}`: the series has {n} patches, so K is 0 to {n}")]
    Prefix {
        /// What was asked for.
        k: usize,
        /// How many patches there are.
        n: usize,
    },
    /// `only:LIST` names a patch that there is not.
    #[error("`only:{list}`: patches are counted from 1 and the series has {n}")]
    Only {
        /// What was asked for.
        list: String,
        /// How many patches there are.
        n: usize,
    },
    /// `without:K` names no patch of the series.
    #[error("`without:{k}`: patches are counted from 1 and the series has {n}")]
    Without {
        /// What was asked for.
        k: usize,
        /// How many patches there are.
        n: usize,
    },
}

impl Selection {
    /// The 0-based indices, ascending, that this selection takes out of a series of `n` patches.
    ///
    /// # Errors
    /// K is out of the series' range.
    pub fn resolve(&self, n: usize) -> Result<Vec<usize>, SelectionError> {
        match *self {
            Self::Only(ref ranges) => match ranges.iter().all(|&(first, last)| first >= 1 && last <= n) {
                true => Ok(ranges.iter().flat_map(|&(first, last)| first - 1..last).collect()),
                false => Err(SelectionError::Only { list: list(ranges), n }),
            },
            Self::Base => Ok(Vec::new()),
            Self::All => Ok((0..n).collect()),
            Self::Prefix(k) if k <= n => Ok((0..k).collect()),
            Self::Prefix(k) => Err(SelectionError::Prefix { k, n }),
            Self::Without(k) if (1..=n).contains(&k) => Ok((0..n).filter(|i| i + 1 != k).collect()),
            Self::Without(k) => Err(SelectionError::Without { k, n }),
        }
    }
}

/// The ranges in their one spelling: ascending, those that touch or overlap made one. `None` if one is backwards.
fn merged(mut ranges: Vec<(usize, usize)>) -> Option<Vec<(usize, usize)>> {
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (first, last) in ranges {
        if first > last {
            return None;
        }
        match merged.last_mut() {
            Some((_, before)) if first <= before.saturating_add(1) => *before = last.max(*before),
            _ => merged.push((first, last)),
        }
    }
    Some(merged)
}

fn list(ranges: &[(usize, usize)]) -> String {
    let range = |&(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::All => f.write_str("all"),
            Self::Prefix(k) => write!(f, "prefix:{k}"),
            Self::Without(k) => write!(f, "without:{k}"),
            Self::Only(ranges) => write!(f, "only:{}", list(ranges)),
        }
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let syntax = || SelectionError::Syntax(text.to_owned());
        // `usize::from_str` takes a leading `+`; one selection must have one spelling.
        let number = |k: &str| match k.bytes().all(|b| b.is_ascii_digit()) {
            true => k.parse().map_err(|_| syntax()),
            false => Err(syntax()),
        };
        match text.split_once(':') {
            None if text == "base" => Ok(Self::Base),
            None if text == "all" => Ok(Self::All),
            Some(("prefix", k)) => Ok(Self::Prefix(number(k)?)),
            Some(("without", k)) => Ok(Self::Without(number(k)?)),
            Some(("only", list)) => {
                let range = |part: &str| match part.split_once('-') {
                    Some((first, last)) => Ok((number(first)?, number(last)?)),
                    None => number(part).map(|k| (k, k)),
                };
                let ranges = list.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
                merged(ranges).map(Self::Only).ok_or_else(syntax)
            }
            _ => Err(syntax()),
        }
    }
}

impl TryFrom<String> for Selection {
    type Error = SelectionError;

    fn try_from(text: String) -> Result<Self, SelectionError> {
        text.parse()
    }
}

impl From<Selection> for String {
    fn from(selection: Selection) -> Self {
        selection.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["base", "all", "prefix:0", "prefix:3", "without:1", "without:12", "only:2", "only:1,3-4"] {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused_with_what_was_expected() {
        for text in [
            "",
            "Base",
            "prefix",
            "prefix:",
            "prefix:+1",
            "prefix:-1",
            "without:x",
            "without: 1",
            "all:1",
            "only:",
            "only:1,",
            "only:3-1",
            "only:-2",
        ] {
            let error = text.parse::<Selection>().unwrap_err();
            assert_eq!(error, SelectionError::Syntax(text.to_owned()));
        }
        let huge = "prefix:99999999999999999999999";
        assert_eq!(huge.parse::<Selection>(), Err(SelectionError::Syntax(huge.to_owned())));
    }

    #[test]
    fn resolves_to_indices() {
        assert_eq!(Selection::Base.resolve(3), Ok(vec![]));
        assert_eq!(Selection::All.resolve(3), Ok(vec![0, 1, 2]));
        assert_eq!(Selection::Prefix(2).resolve(3), Ok(vec![0, 1]));
        assert_eq!(Selection::Without(2).resolve(3), Ok(vec![0, 2]));
        assert_eq!(Selection::Prefix(0).resolve(3), Selection::Base.resolve(3));
        assert_eq!(Selection::Prefix(3).resolve(3), Selection::All.resolve(3));
        assert_eq!(Selection::Without(1).resolve(1), Selection::Base.resolve(1));
    }

    #[test]
    fn a_subset_has_one_spelling() {
        let only = |text: &str| text.parse::<Selection>().unwrap();
        assert_eq!(only("only:4,1,3,3-3").to_string(), "only:1,3-4");
        assert_eq!(only("only:1-3,2-5,6").to_string(), "only:1-6");
        assert_eq!(only("only:4,1,3").resolve(4), Ok(vec![0, 2, 3]));
        assert_eq!(only("only:1-4").resolve(4), Selection::All.resolve(4));
        let error = |text: &str| only(text).resolve(3).unwrap_err().to_string();
        assert_eq!(error("only:2-4"), "`only:2-4`: patches are counted from 1 and the series has 3");
        assert_eq!(error("only:0-1"), "`only:0-1`: patches are counted from 1 and the series has 3");
    }

    #[test]
    fn out_of_range_says_the_range() {
        let text = |s: Selection| s.resolve(3).unwrap_err().to_string();
        assert_eq!(text(Selection::Prefix(4)), "`prefix:4`: the series has 3 patches, so K is 0 to 3");
        assert_eq!(text(Selection::Without(0)), "`without:0`: patches are counted from 1 and the series has 3");
        assert_eq!(text(Selection::Without(4)), "`without:4`: patches are counted from 1 and the series has 3");
    }

    #[test]
    fn serde_uses_the_text() {
        let json = serde_json::to_string(&Selection::Without(2)).unwrap();
        assert_eq!(json, "\"without:2\"");
        assert_eq!(serde_json::from_str::<Selection>(&json).unwrap(), Selection::Without(2));
        assert!(serde_json::from_str::<Selection>("\"some\"").is_err());
    }
}
