//! The dimensions of a matrix: one axis each, with where its settings act and how they show in the guest.
//!
//! To add one: a row in the table of the file that it belongs to, or a new file with its own table, named in [`TABLES`].
//! A matrix adds its own by [`define`].

mod backing;
mod compaction;
mod debug;
pub mod define;
mod khugepaged;
mod ksm;
mod machine;
mod memcg;
mod mthp;
mod part;
mod reclaim;
mod shape;
mod swap;
mod thp;

pub use part::Part;
pub use shape::{BuildSetting, Shape};

use crate::suggest::did_you_mean;

/// One axis of a matrix.
#[derive(Debug)]
pub struct Dimension {
    /// Its name in a matrix.
    pub name: &'static str,
    /// What it means, with the kernel's own name for it and the file that gives it that meaning.
    pub about: &'static str,
    /// Where its settings act.
    pub acts: Acts,
    /// Its settings.
    settings: Settings,
}

/// Where a setting acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// Kconfig: each setting is a kernel of its own.
    Build,
    /// The command line or the machine.
    Boot,
    /// Written or mounted in the guest before the workload starts.
    Run,
    /// As a matrix says that defines it.
    AsDefined,
}

impl Acts {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Boot => "boot",
            Self::Run => "run",
            Self::AsDefined => "as defined",
        }
    }
}

/// The settings of a dimension.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settings {
    /// Words, each with what it does.
    Words(&'static [(&'static str, &'static [Part])]),
    /// Whole numbers.
    Numbers { least: u64, most: u64, part: fn(u64) -> Part },
    /// What a word alone does not say.
    Parsed {
        /// For errors.
        expected: &'static str,
        /// A regular expression of ECMA 262 that every setting matches, for editors.
        pattern: &'static str,
        parse: fn(&str) -> Option<Vec<Part>>,
    },
}

/// What one setting does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    dimension: &'static str,
    setting: String,
    parts: Vec<Part>,
}

impl Dimension {
    /// What `setting` does.
    ///
    /// # Errors
    /// The dimension has no such setting; the message says which it has.
    pub fn effect(&self, setting: &str) -> Result<Effect, String> {
        let parts = match self.settings {
            Settings::Words(words) => words.iter().find(|(word, _)| *word == setting).map(|(_, parts)| parts.to_vec()),
            // Only the canonical spelling, or `007` and `7` would be two cells.
            Settings::Numbers { least, most, part } => setting
                .parse()
                .ok()
                .filter(|n: &u64| (least..=most).contains(n) && n.to_string() == setting)
                .map(|n| vec![part(n)]),
            Settings::Parsed { parse, .. } => parse(setting),
        };
        match parts {
            Some(parts) => Ok(Effect { dimension: self.name, setting: setting.to_owned(), parts }),
            None => {
                let hint = did_you_mean(setting, self.words());
                Err(format!("{} '{setting}', expected {}{hint}", self.name, self.expected()))
            }
        }
    }

    /// What its settings look like, for errors.
    pub fn expected(&self) -> String {
        match self.settings {
            Settings::Words(_) => format!("one of {}", self.words().collect::<Vec<_>>().join(" ")),
            Settings::Numbers { least, most, .. } => format!("a number from {least} to {most}"),
            Settings::Parsed { expected, .. } => expected.to_owned(),
        }
    }

    /// The settings that are words, in order.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        let words: &'static [(&'static str, &'static [Part])] = match self.settings {
            Settings::Words(words) => words,
            _ => &[],
        };
        words.iter().map(|(word, _)| *word)
    }

    /// JSON Schema of one setting.
    pub fn schema(&self) -> serde_json::Value {
        match self.settings {
            Settings::Words(_) => serde_json::json!({ "enum": self.words().collect::<Vec<_>>() }),
            Settings::Numbers { least, most, .. } => {
                serde_json::json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Settings::Parsed { pattern, .. } => serde_json::json!({ "type": "string", "pattern": pattern }),
        }
    }
}

/// Every table of dimensions.
const TABLES: &[&[Dimension]] = &[
    thp::TABLE,
    khugepaged::TABLE,
    mthp::TABLE,
    swap::TABLE,
    reclaim::TABLE,
    compaction::TABLE,
    ksm::TABLE,
    memcg::TABLE,
    backing::TABLE,
    machine::TABLE,
    debug::TABLE,
];

/// All built-in dimensions.
pub fn all() -> impl Iterator<Item = &'static Dimension> {
    TABLES.iter().copied().flatten()
}

/// The dimension called `name`: a built-in one, or one that the matrix being read defines.
///
/// # Errors
/// There is none; the message says what was probably meant, or lists those there are.
pub fn find(name: &str) -> Result<&'static Dimension, String> {
    if let Some(found) = all().find(|d| d.name == name).or_else(|| define::find(name)) {
        return Ok(found);
    }
    let names: Vec<_> = all().map(|d| d.name).chain(define::names()).collect();
    let hint = did_you_mean(name, names.iter().copied());
    if hint.is_empty() {
        return Err(format!("unknown dimension '{name}', expected one of {}", names.join(", ")));
    }
    Err(format!("unknown dimension '{name}', expected one of those that `mmtorture schema --dimensions` lists{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_settings_are_unique() {
        let mut names: Vec<_> = all().map(|d| d.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for dimension in all() {
            let words: std::collections::BTreeSet<_> = dimension.words().collect();
            assert_eq!(words.len(), dimension.words().count(), "{}", dimension.name);
        }
    }

    /// A dimension that nothing verifies would be a claim.
    #[test]
    fn every_setting_shows_in_the_guest() {
        for dimension in all() {
            for word in dimension.words() {
                let shows = |part: &Part| !matches!(part, Part::Kconfig(_) | Part::Cmdline(_));
                let effect = dimension.effect(word).unwrap();
                assert!(effect.parts.iter().any(shows), "{} {word}", dimension.name);
                let builds = effect.parts.iter().any(|part| matches!(part, Part::Kconfig(_)));
                assert_eq!(builds, dimension.acts == Acts::Build, "{} {word}", dimension.name);
            }
            assert!(dimension.about.contains(".c") || dimension.about.contains(".rs"), "{}: no file", dimension.name);
        }
    }

    #[test]
    fn only_the_canonical_spelling_of_a_number_is_a_setting() {
        let swappiness = find("swappiness").unwrap();
        assert!(swappiness.effect("200").is_ok());
        for wrong in ["201", "-1", "007", "+7", " 7", ""] {
            assert!(swappiness.effect(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        assert!(find("shmemhuge").unwrap_err().ends_with("did you mean 'shmem-huge'?"));
        let error = find("thp").unwrap().effect("madvice").unwrap_err();
        assert_eq!(error, "thp 'madvice', expected one of always madvise never; did you mean 'madvise'?");
    }
}
