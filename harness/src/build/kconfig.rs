//! Kconfig fragments: what they ask for, and whether the final .config has it. Pure.

use crate::hash::Hasher;
use crate::plan::Fragment;
use std::collections::BTreeMap;
use std::fmt;

/// An option that did not survive `make olddefconfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    option: String,
    asked: String,
    fragment: String,
    line: usize,
    got: Option<String>,
}

/// What is wrong with a configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// A line of a fragment is neither a setting, nor "is not set", nor a comment.
    Syntax {
        /// `NAME.config:LINE`.
        at: String,
        /// The line.
        text: String,
    },
    /// Options that the final .config lacks.
    Lost(Vec<Lost>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { at, text } => {
                write!(f, "{at}: '{text}', expected CONFIG_NAME=value, '# CONFIG_NAME is not set' or a comment")
            }
            Self::Lost(all) => {
                write!(f, "the kernel's configuration did not keep what was asked for:")?;
                for lost in all {
                    let got = lost.got.as_deref().unwrap_or("n, or there is no such option");
                    write!(
                        f,
                        "\n  {}={} ({}.config:{}), but the final .config has {got}",
                        lost.option, lost.asked, lost.fragment, lost.line
                    )?;
                }
                write!(f, "\na dependency is missing or another option forbids it: see its `depends on` in the source")
            }
        }
    }
}

/// Checks that every option that the fragments ask for stands in the final `config`. Where several fragments ask for
/// one, the last counts, as it does for merge_config.sh.
///
/// # Errors
/// See [`ConfigError`].
pub fn check(fragments: &[Fragment], config: &str) -> Result<(), ConfigError> {
    let mut asked: BTreeMap<&str, (&str, &str, usize)> = BTreeMap::new();
    for fragment in fragments {
        for (number, line) in fragment.text.lines().enumerate() {
            match parse(line) {
                Line::Option(option, value) => {
                    asked.insert(option, (value, &fragment.name, number + 1));
                }
                Line::Nothing => {}
                Line::Wrong => {
                    let at = format!("{}.config:{}", fragment.name, number + 1);
                    return Err(ConfigError::Syntax { at, text: line.to_owned() });
                }
            }
        }
    }
    let got: BTreeMap<&str, &str> = config
        .lines()
        .filter_map(|line| match parse(line) {
            Line::Option(option, value) => Some((option, value)),
            _ => None,
        })
        .collect();
    let lost: Vec<_> = asked
        .into_iter()
        .filter(|(option, (value, ..))| got.get(option).copied().unwrap_or("n") != *value)
        .map(|(option, (value, fragment, line))| Lost {
            option: option.to_owned(),
            asked: value.to_owned(),
            fragment: fragment.to_owned(),
            line,
            got: got.get(option).filter(|v| **v != "n").map(|v| (*v).to_owned()),
        })
        .collect();
    if lost.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Lost(lost))
    }
}

/// A hash of what the fragments ask for. Comments count: a work tree more is cheaper than a rule to get wrong.
pub fn request_hash(fragments: &[Fragment]) -> String {
    fragments.iter().fold(Hasher::new("fragments"), |hash, f| hash.field(&f.text)).finish()
}

/// Whether the final .config may depend on this file of the source.
pub fn is_input(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("Kconfig") || path.starts_with("scripts/") || path.contains("/configs/") || name == "Makefile"
}

/// Whether a line of a fragment sets an option, be it to n.
pub fn is_setting(line: &str) -> bool {
    !line.contains('\n') && matches!(parse(line), Line::Option(..))
}

enum Line<'a> {
    Option(&'a str, &'a str),
    Nothing,
    Wrong,
}

fn parse(line: &str) -> Line<'_> {
    let line = line.trim_end();
    if let Some(comment) = line.strip_prefix('#') {
        return match comment.trim_start().strip_suffix(" is not set") {
            Some(option) if option.starts_with("CONFIG_") && !option.contains(' ') => Line::Option(option, "n"),
            _ => Line::Nothing,
        };
    }
    if line.is_empty() {
        return Line::Nothing;
    }
    match line.split_once('=') {
        Some((option, value)) if option.starts_with("CONFIG_") && !value.is_empty() => Line::Option(option, value),
        _ => Line::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(text: &str) -> Fragment {
        Fragment { name: "mm".into(), text: text.into() }
    }

    const FINAL: &str = "CONFIG_SWAP=y\n# CONFIG_KSM is not set\nCONFIG_NR_CPUS=16\n";

    #[test]
    fn what_is_asked_for_must_be_there() {
        let good = "# swap\n\nCONFIG_SWAP=y\n# CONFIG_KSM is not set\n# CONFIG_NUMA is not set\nCONFIG_NR_CPUS=16\n";
        check(&[fragment(good)], FINAL).unwrap();
        let error = check(&[fragment("CONFIG_KSM=y\nCONFIG_NR_CPUS=8\nCONFIG_SWAPP=y\n")], FINAL).unwrap_err();
        insta::assert_snapshot!(error, @"
        the kernel's configuration did not keep what was asked for:
          CONFIG_KSM=y (mm.config:1), but the final .config has n, or there is no such option
          CONFIG_NR_CPUS=8 (mm.config:2), but the final .config has 16
          CONFIG_SWAPP=y (mm.config:3), but the final .config has n, or there is no such option
        a dependency is missing or another option forbids it: see its `depends on` in the source
        ");
    }

    #[test]
    fn the_last_fragment_counts() {
        check(&[fragment("CONFIG_KSM=y\n"), fragment("# CONFIG_KSM is not set\n")], FINAL).unwrap();
    }

    #[test]
    fn a_line_that_is_nothing_is_an_error() {
        let error = check(&[fragment("CONFIG_SWAP=y\nSWAP=y\n")], FINAL).unwrap_err();
        assert!(error.to_string().starts_with("mm.config:2: 'SWAP=y', expected"), "{error}");
    }
}
