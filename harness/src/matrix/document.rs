//! A matrix and all that it extends, as one document; and where in which file something of it stands.

use super::yaml::locate::{locate, Step};
use super::yaml::{self, YamlError};
use serde::de::DeserializeOwned;
use serde_yaml::Value;
use std::path::{Path, PathBuf};

/// How many files may extend one another.
const MAX_DEPTH: usize = 8;

/// The key that names the file that one extends.
const EXTENDS: &str = "extends";

/// Maps merged, lists and scalars replaced.
#[derive(Debug)]
pub struct Document {
    /// The file that was asked for, then the one that it extends, and so on.
    files: Vec<(PathBuf, String)>,
    value: Value,
}

impl Document {
    /// Reads the file at `path` and those that it extends.
    ///
    /// # Errors
    /// One of them cannot be read, is no YAML, extends what lies elsewhere, or in the end itself.
    pub fn read(path: &Path) -> Result<Self, YamlError> {
        let mut files = Vec::new();
        let mut values = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let text = yaml::text(&path)?;
            let value: Value = yaml::parse(&path, &text)?;
            let fail = |message: String| YamlError::at(&path, &text, &[EXTENDS.into()], false, message);
            next = match value.get(EXTENDS) {
                None => None,
                Some(Value::String(name)) if is_beside(name) => Some(path.with_file_name(name)),
                Some(_) => {
                    let message = "expected the name of a matrix in the same folder, as in nightly.yaml";
                    return Err(fail(message.to_owned()));
                }
            };
            if let Some(next) = &next {
                if *next == path || files.iter().any(|(known, _): &(PathBuf, String)| known == next) {
                    return Err(fail(format!("{} extends itself in the end", next.display())));
                }
                if files.len() + 1 >= MAX_DEPTH {
                    return Err(fail(format!("more than {MAX_DEPTH} files that extend one another")));
                }
                if !next.is_file() {
                    return Err(fail(format!("there is no {}", next.display())));
                }
            }
            files.push((path, text));
            values.push(value);
        }
        // The last one is what all others change.
        let value = values.into_iter().rev().reduce(merge).unwrap_or(Value::Null);
        Ok(Self { files, value })
    }

    /// The document from one text, which stands or stood at `path`.
    ///
    /// # Errors
    /// It is no YAML.
    pub fn of(path: &Path, text: &str) -> Result<Self, YamlError> {
        Ok(Self { files: vec![(path.to_owned(), text.to_owned())], value: yaml::parse(path, text)? })
    }

    /// The document as a `T`.
    ///
    /// # Errors
    /// It is none; the error says where that is, in the file that it stands in.
    pub fn as_a<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        Self::typed(&self.value).map_err(|(path, message)| self.fail(&path, message))
    }

    /// What stands under a key of the whole, if it is there.
    ///
    /// # Errors
    /// As above.
    pub fn part<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, YamlError> {
        let Some(value) = self.value.get(key) else { return Ok(None) };
        Self::typed(value).map(Some).map_err(|(mut path, message)| {
            path.insert(0, key.into());
            self.fail(&path, message)
        })
    }

    /// An error about what stands at `path`.
    pub fn fail(&self, path: &[Step], message: String) -> YamlError {
        let (message, about_key) = yaml::explain(message);
        // Lists are replaced whole, so that the first file that has anything there is the one that counts.
        for (file, text) in &self.files {
            if locate(text, path).is_some() {
                return YamlError::at(file, text, path, about_key, message);
            }
        }
        // Something is missing: its place is where it should stand, in the file that was asked for.
        let (file, text) = &self.files[0];
        let known = (0..=path.len()).rev().map(|n| &path[..n]).find(|p| locate(text, p).is_some());
        YamlError::at(file, text, known.unwrap_or_default(), false, message)
    }

    /// The whole as one text: the file itself where it extends none.
    pub fn text(&self) -> String {
        if let [(_, text)] = &self.files[..] {
            return text.clone();
        }
        let mut value = self.value.clone();
        if let Value::Mapping(map) = &mut value {
            map.remove(EXTENDS);
        }
        serde_yaml::to_string(&value).unwrap_or_default()
    }

    fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, (Vec<Step>, String)> {
        serde_path_to_error::deserialize(value)
            .map_err(|e| (e.path().iter().filter_map(segment).collect(), e.inner().to_string()))
    }
}

fn is_beside(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

fn segment(of: &serde_path_to_error::Segment) -> Option<Step> {
    match of {
        serde_path_to_error::Segment::Seq { index } => Some(Step::Item(*index)),
        serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
        _ => None,
    }
}

/// What `base` becomes under what extends it.
fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Mapping(mut base), Value::Mapping(over)) => {
            for (key, value) in over {
                let merged = match base.remove(&key) {
                    Some(old) => merge(old, value),
                    None => value,
                };
                base.insert(key, merged);
            }
            Value::Mapping(base)
        }
        (_, over) => over,
    }
}
