//! The only place, with [`super::document`], that knows the YAML crate.
//!
//! Everything else sees types that deserialize themselves, and errors with a file, a line and a column.

use crate::suggest::did_you_mean;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;
use std::fmt;
use std::path::{Path, PathBuf};

/// The largest file read, in bytes. A matrix is a page; the bound is against a wrong file given by mistake.
const MAX_SIZE: u64 = 1 << 20;

/// What is wrong with a YAML file, and where.
#[derive(Debug, thiserror::Error)]
pub struct YamlError {
    file: PathBuf,
    at: Option<(usize, usize)>,
    message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl YamlError {
    /// An error about what stands at `path` of `text`, or about its key.
    pub(super) fn at(file: &Path, text: &str, path: &[Segment], key: bool, message: String) -> Self {
        let at = locate(text, path, key);
        let shown: String = path[..path.len() - usize::from(key && !path.is_empty())]
            .iter()
            .map(|segment| match segment {
                Segment::Key(key) => format!(".{key}"),
                Segment::Index(index) => format!("[{index}]"),
            })
            .collect();
        let shown = shown.trim_start_matches('.');
        let message =
            if shown.is_empty() || message.starts_with(shown) { message } else { format!("{shown}: {message}") };
        Self { file: file.to_owned(), at, message }
    }
}

/// A step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// To what stands under a key.
    Key(String),
    /// To an element of a list.
    Index(usize),
}

/// Reads `path`.
///
/// # Errors
/// The file cannot be read, is larger than 1 MiB, is not UTF-8, or is not the YAML that `T` expects.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, YamlError> {
    parse(path, &text(path)?)
}

/// The text of the file at `path`.
///
/// # Errors
/// The file cannot be read, is larger than 1 MiB, or is not UTF-8.
pub fn text(path: &Path) -> Result<String, YamlError> {
    let fail = |message: String| YamlError { file: path.to_owned(), at: None, message };
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > MAX_SIZE {
        return Err(fail(format!("{size} bytes; a matrix has at most {MAX_SIZE}")));
    }
    std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))
}

/// Parses `text`, which came from `path`.
///
/// # Errors
/// It is not the YAML that `T` expects. Aliases that multiply ("billion laughs") are refused by the parser.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|e| {
        let at = e.location().map(|l| (l.line(), l.column()));
        // The crate appends the position to its message; ours stands in front, where editors look for it.
        let mut message = e.to_string();
        if let Some((line, column)) = at {
            let tail = format!(" at line {line} column {column}");
            message = message.replace(&tail, "");
        }
        YamlError { file: path.to_owned(), at, message: explain(message).0 }
    })
}

/// An error of serde's in our words, with what was probably meant; and whether it is about a key rather than its value.
pub(super) fn explain(message: String) -> (String, bool) {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|start| {
        let (before, rest) = message.split_once(start)?;
        let (word, rest) = rest.split_once('`')?;
        Some((before.to_owned(), word.to_owned(), rest.to_owned(), *start == "unknown field `"))
    });
    let Some((before, word, rest, key)) = unknown else {
        let key = message.starts_with("unknown ");
        return (message, key);
    };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let hint = did_you_mean(&word, known.iter().copied());
    let what = if key { "key" } else { "word" };
    (format!("{before}unknown {what} '{word}', expected one of {}{hint}", known.join(", ")), key)
}

/// Line and column of what stands at `path` of `text`, or of its key; `None` where there is nothing.
///
/// The crate tells places only in errors: one is raised there.
pub(super) fn locate(text: &str, path: &[Segment], key: bool) -> Option<(usize, usize)> {
    let error = Walk { path, key }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.to_string().contains(HERE).then(|| error.location().map(|l| (l.line(), l.column())))?
}

/// What no error of the crate's own says.
const HERE: &str = "mmtorture: here";

#[derive(Clone, Copy)]
struct Walk<'p> {
    path: &'p [Segment],
    key: bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn scalar<E: de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() {
            return Err(E::custom(HERE));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(de::Error::custom(HERE)) };
        let wanted = match first {
            Segment::Key(key) => key.as_str(),
            Segment::Index(_) => "",
        };
        while let Some(found) = map.next_key_seed(Key { wanted, stop: self.key && rest.is_empty() })? {
            if found {
                map.next_value_seed(Walk { path: rest, key: self.key })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(de::Error::custom(HERE)) };
        if let Segment::Index(index) = first {
            for _ in 0..*index {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
            }
            seq.next_element_seed(Walk { path: rest, key: self.key })?;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

struct Key<'p> {
    wanted: &'p str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<bool, E> {
        match v == self.wanted {
            true if self.stop => Err(E::custom(HERE)),
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_somewhere_is_found_there() {
        let text = "a: 1\nb:\n  c: [x, {d: y}]\n";
        let at = |path: &[Segment], key| locate(text, path, key);
        let key = |name: &str| Segment::Key(name.into());
        let deep = [key("b"), key("c"), Segment::Index(1), key("d")];
        assert_eq!(at(&[], false), Some((1, 1)));
        assert_eq!(at(&[key("a")], false), Some((1, 4)));
        assert_eq!((at(&deep, false), at(&deep, true)), (Some((3, 14)), Some((3, 11))));
        assert_eq!(at(&[key("b")], true), Some((2, 1)));
        assert_eq!((at(&[key("z")], false), at(&[key("a"), key("b")], false)), (None, None));
        assert_eq!(at(&[key("b"), key("c"), Segment::Index(2)], false), None);
    }
}
