//! The only place that knows the YAML crate.
//!
//! Everything else sees types that deserialize themselves, and errors with a file, a line and a column.

pub mod locate;

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

/// Reads `path`.
///
/// # Errors
/// The file cannot be read, is larger than 1 MiB, is not UTF-8, or is not the YAML that `T` expects.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, YamlError> {
    let fail = |message: String| YamlError { file: path.to_owned(), at: None, message };
    let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > MAX_SIZE {
        return Err(fail(format!("{size} bytes; a matrix has at most {MAX_SIZE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    parse(path, &text)
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
        YamlError { file: path.to_owned(), at, message }
    })
}
