//! The only place, with [`super::document`], that knows the YAML crate.
//!
//! Everything else sees types that deserialize themselves, and errors with a file, a line and a column.

pub mod locate;

use crate::suggest::did_you_mean;
use locate::Step;
use serde::de::DeserializeOwned;
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
    pub(super) fn at(file: &Path, text: &str, path: &[Step], key: bool, message: String) -> Self {
        let (at, shown) = match path {
            [outer @ .., Step::Key(_)] if key => (locate::locate_key(text, path), outer),
            _ => (locate::locate(text, path), path),
        };
        let shown = locate::path(shown);
        let message = if shown.is_empty() { message } else { format!("{shown}: {message}") };
        Self { file: file.to_owned(), at, message }
    }
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
    if let Some((before, rest)) = message.split_once("missing field `") {
        let (word, after) = rest.split_once('`').unwrap_or((rest, ""));
        return (format!("{before}the key '{word}' is missing{after}"), false);
    }
    let Some((before, word, rest, key)) = unknown else {
        let key = message.starts_with("unknown ");
        return (message, key);
    };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let hint = did_you_mean(&word, known.iter().copied());
    let what = if key { "key" } else { "word" };
    (format!("{before}unknown {what} '{word}', expected one of {}{hint}", known.join(", ")), key)
}
