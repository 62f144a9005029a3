//! The matrix: what a run is asked to do, as a YAML file.
//!
//! Everything is checked while it is read, so that an error carries its line: an unknown key, an unknown dimension, a
//! setting that the dimension does not have. What a matrix names on disk (series, fragments) is checked by the plan.

pub mod coverage;
pub mod dimension;
mod dimensions;
mod document;
pub mod rule;
pub mod schema;
pub mod source;
pub mod text;
pub mod yaml;

pub use dimensions::Dimensions;

use crate::oracle::expect::Kind;
use crate::outcome::Outcome;
use crate::series::Selection;
use coverage::Coverage;
use dimension::define::{self, Define};
pub use document::Document;
use rule::{Require, Settings};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use text::{bounded, parsed_from_str};
use yaml::YamlError;

pub use source::{SourceSpec, Toolchain};

/// A matrix as read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Matrix {
    /// The version of this format. It is 1.
    pub mmtorture: FormatVersion,
    /// A matrix in the same folder that this one changes: maps are merged, lists replaced.
    #[serde(default)]
    pub extends: Option<PathBuf>,
    /// A line or two for people.
    #[serde(default)]
    pub about: String,
    /// What to build.
    pub kernel: Kernel,
    /// Patch series to apply, each on the bare source: folders, mailboxes (relative to the matrix) or
    /// `git:PATH@A..B`.
    #[serde(default)]
    pub series: Vec<PathBuf>,
    /// Which selections of each series' patches are built. `base` is built once, whatever the series.
    #[serde(default = "default_variants")]
    pub variants: Vec<Variant>,
    /// Dimensions of this matrix's own.
    #[serde(default)]
    pub define: Define,
    /// The axes and the settings on each. What is not named keeps the dimension's default.
    #[serde(default)]
    pub dimensions: Dimensions,
    /// Workloads, as `torture list` names them.
    pub workloads: Vec<String>,
    /// How much of the product of variants, dimensions and workloads is run.
    #[serde(default)]
    pub coverage: Coverage,
    /// Cells that are run in any case. What one does not name takes its first setting; a list makes several.
    #[serde(default)]
    pub cells: Vec<Settings>,
    /// What is illegal: all of one item together.
    #[serde(default)]
    pub forbid: Vec<Settings>,
    /// What must hold where something else does.
    #[serde(default)]
    pub require: Vec<Require>,
    /// How long a workload runs, in seconds of guest time. 1 to 86400.
    pub seconds: Seconds,
    /// Trials of each cell, each with the next seed.
    #[serde(default = "one")]
    pub trials: Trials,
    /// The first trial's seed; ties in the choice of cells are broken by it too.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How long a guest may take to its first event, in seconds; without it, what the accelerator needs.
    #[serde(default)]
    pub boot_seconds: Option<Seconds>,
    /// Kinds of findings that are no failures here: `oom`, `segfault`, or a class of findings.
    #[serde(default)]
    pub expect: Vec<Expected>,
    /// An allow-list: findings that are known and no failures, with reasons. A YAML file, relative to the matrix.
    #[serde(default)]
    pub allow: Option<PathBuf>,
    /// What this run must find. With it, the exit status says whether it did.
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
}

/// What to build.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Where the source comes from.
    pub source: SourceSpec,
    /// Kconfig fragments on top of `tinyconfig`, in this order: `NAME` is `kconfig/NAME.config` beside the matrix.
    #[serde(default)]
    pub kconfig: Vec<FragmentName>,
    /// What builds it.
    #[serde(default)]
    pub toolchain: Toolchain,
    /// The ELF file of an `image:`, for symbols.
    #[serde(default)]
    pub vmlinux: Option<PathBuf>,
    /// The folder with the modules of an `image:`: what a guest needs of them is loaded.
    #[serde(default)]
    pub modules: Option<PathBuf>,
}

/// What a variant's cells must come to, for a matrix that tests the harness itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The variant, as `plan` shows it: `base`, `delay-rmap/all`.
    pub variant: String,
    /// What each of its trials must come to, if that is certain.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The patch that bisection must name, without `.patch`.
    #[serde(default)]
    pub culprit: Option<String>,
}

impl Matrix {
    /// Reads the matrix at `path` and what it extends; and the document, for errors that are found later.
    ///
    /// # Errors
    /// Something in it is wrong. What it names on disk is not looked at.
    pub fn read(path: &Path) -> Result<(Self, Document), YamlError> {
        let document = Document::read(path)?;
        Ok((Self::from_document(&document)?, document))
    }

    /// The matrix of one text, as a run keeps it at `path`.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, YamlError> {
        Self::from_document(&Document::of(path, text)?)
    }

    fn from_document(document: &Document) -> Result<Self, YamlError> {
        let define: Define = document.part("define")?.unwrap_or_default();
        define::scope(&define, || document.as_a().map_err(Wrong::Here)).map_err(|wrong| match wrong {
            Wrong::Here(error) => error,
            Wrong::Defined(message) => document.fail(&["define".into()], message),
        })
    }
}

/// What is wrong with a matrix.
enum Wrong {
    Here(YamlError),
    Defined(String),
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self::Defined(message)
    }
}

fn default_variants() -> Vec<Variant> {
    vec![Variant(Selection::Base), Variant(Selection::All)]
}

fn default_seed() -> u64 {
    1
}

fn one() -> Trials {
    Trials(1)
}

bounded!(
    /// The format's version.
    FormatVersion, (1..=1)
);
bounded!(
    /// A time in seconds.
    Seconds, (1..=86_400)
);
bounded!(
    /// A number of trials.
    Trials, (1..=100_000)
);

/// A kind of finding that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(pub Kind);

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}
parsed_from_str!(Expected, "oom, segfault or a class of findings", "^[a-z-]+$");

/// The name of a Kconfig fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentName(pub String);

impl FromStr for FragmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_plain_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("Kconfig fragment '{text}', expected the name of a file in kconfig/, without .config"))
    }
}
parsed_from_str!(FragmentName, "the name of a Kconfig fragment", "^[A-Za-z0-9][A-Za-z0-9._+-]*$");

/// A selection of a series' patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant(pub Selection);

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|e| format!("{e}"))
    }
}
parsed_from_str!(
    Variant,
    "base, all, prefix:K, without:K or only:1,3-4",
    "^(base|all|(prefix|without):[0-9]+|only:[0-9,-]+)$"
);

fn is_plain_name(text: &str) -> bool {
    !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
mmtorture: 1
kernel: {source: 'debian:linux-source-6.1', kconfig: [base]}
dimensions:
  thp: [always, never]
  cpus: 2
workloads: [anon-churn]
seconds: 5
";

    fn parse(text: &str) -> Result<Matrix, String> {
        let document = Document::of(Path::new("m.yaml"), text).map_err(|e| e.to_string())?;
        Matrix::from_document(&document).map_err(|e| e.to_string())
    }

    #[test]
    fn a_small_matrix_has_defaults() {
        let matrix = parse(GOOD).unwrap();
        assert_eq!(matrix.variants, default_variants());
        assert_eq!(matrix.trials, Trials(1));
        let settings: Vec<_> = matrix.dimensions.0.iter().map(|(d, s)| (d.name, s.clone())).collect();
        assert_eq!(settings, [("thp", vec!["always".to_owned(), "never".to_owned()]), ("cpus", vec!["2".to_owned()])]);
    }

    #[test]
    fn a_matrix_says_what_it_expects() {
        let matrix = parse(&format!("{GOOD}expect: [oom, hung-task]\nallow: known.yaml\n")).unwrap();
        let kinds: Vec<_> = matrix.expect.iter().map(|e| e.0.to_string()).collect();
        assert_eq!((kinds, matrix.allow), (vec!["oom".into(), "hung-task".into()], Some("known.yaml".into())));
        let error = parse(&format!("{GOOD}expect: [ooom]\n")).unwrap_err();
        assert!(error.starts_with("m.yaml:8:10: expect[0]: 'ooom' is no kind of finding"), "{error}");
    }

    /// Each error says where, what was found, and what was expected.
    #[test]
    fn errors_say_where_what_and_what_was_expected() {
        let with = |from: &str, to: &str| parse(&GOOD.replace(from, to)).unwrap_err();
        let all = [
            with("seconds: 5", "secnds: 5"),
            with("seconds: 5", "seconds: 0"),
            with("seconds: 5", "seconds: soon"),
            with("mmtorture: 1", "mmtorture: 2"),
            with("thp: [always, never]", "thp: [always, sometimes]"),
            with("thp: [always, never]", "thp: [always, always]"),
            with("thp: [always, never]", "thq: [always, never]"),
            with("cpus: 2", "cpus: 17"),
            with("cpus: 2", "cpus: []"),
            with("debian:linux-source-6.1", "git:linux"),
            with("[base]}", "['../base']}"),
            with("workloads: [anon-churn]", "workloads: [anon-churn"),
        ]
        .join("\n");
        insta::assert_snapshot!(all, @r#"
        m.yaml:7:1: unknown key 'secnds', expected one of mmtorture, extends, about, kernel, series, variants, define, dimensions, workloads, coverage, cells, forbid, require, seconds, trials, seed, boot-seconds, expect, allow, verdicts; did you mean 'seconds'?
        m.yaml:7:10: seconds: invalid value: integer `0`, expected a number from 1 to 86400
        m.yaml:7:10: seconds: invalid type: string "soon", expected a number from 1 to 86400
        m.yaml:1:12: mmtorture: invalid value: integer `2`, expected a number from 1 to 1
        m.yaml:4:17: dimensions.thp[1]: thp 'sometimes', expected one of always madvise never
        m.yaml:4:8: dimensions.thp: thp: 'always' is given twice
        m.yaml:4:3: dimensions: unknown dimension 'thq', expected one of those that `mmtorture schema --dimensions` lists; did you mean 'thp'?
        m.yaml:5:9: dimensions.cpus: cpus '17', expected a number from 1 to 16
        m.yaml:5:9: dimensions.cpus: cpus: no setting; expected a number from 1 to 16
        m.yaml:2:18: kernel.source: kernel source 'git:linux' names no revision, expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        m.yaml:2:55: kernel.kconfig[0]: Kconfig fragment '../base', expected the name of a file in kconfig/, without .config
        m.yaml:7:8: did not find expected ',' or ']', while parsing a flow sequence at line 6 column 12
        "#);
    }

    #[test]
    fn a_yaml_bomb_is_an_error() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(parse(&bomb).is_err());
    }
}
