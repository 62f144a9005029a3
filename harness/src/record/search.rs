//! What the searches of a run came to: for a patch, a commit, the settings that a failure needs, the load that shows it.

use crate::bisect::settings::Verdict;
use crate::bisect::workload::Rate;
use crate::bisect::{Conclusion, Tally};
use crate::git::Commit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A bisection's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bisection {
    /// The cell that failed.
    pub cell: String,
    /// The finding's title.
    pub title: String,
    /// Its signature: nothing else counted as a failure.
    pub signature: String,
    /// The series.
    pub series: String,
    /// Its patches' names, in order.
    pub patches: Vec<String>,
    /// What was seen, by number of patches applied.
    pub tallies: Vec<Tally>,
    /// How likely each patch is, and at the end "none of them". Empty in runs of versions that did not keep it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub posterior: Vec<f64>,
    /// What its trials and their kernels took, in seconds.
    pub seconds: f64,
    /// The result.
    #[serde(flatten)]
    pub conclusion: Conclusion,
    /// The culprit's name, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
    /// The culprit's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether the culprit was shown to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// Which commit broke a cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revisions {
    /// The repository.
    pub repository: PathBuf,
    /// The commit that was said to be good.
    pub good: Commit,
    /// The commit that failed.
    pub bad: Commit,
    /// The bisections: of the first-parent way between the two, then of each merged branch that it led into.
    pub lines: Vec<RevisionLine>,
    /// All of it as `git bisect replay` takes it.
    pub log: String,
}

/// A bisection of commits in a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevisionLine {
    /// The commit before the first one.
    pub start: Commit,
    /// The commits, which are the bisection's `patches`.
    pub commits: Vec<Commit>,
    /// The bisection.
    pub bisection: Bisection,
}

impl Revisions {
    /// The commit that it came to, if to one.
    pub fn culprit(&self) -> Option<&Commit> {
        let last = self.lines.last()?;
        match last.bisection.conclusion {
            Conclusion::Culprit { patch, .. } => last.commits.get(patch - 1),
            _ => None,
        }
    }
}

/// Which load shows a failure most often a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loads {
    /// The cell that failed.
    pub cell: String,
    /// The finding's title.
    pub title: String,
    /// Its signature: nothing else counted as a failure.
    pub signature: String,
    /// The loads that were tried, the cell's own first.
    pub loads: Vec<Load>,
    /// The one to use, as an index.
    pub best: usize,
    /// How likely it fails at least at half the rate of any other.
    pub confidence: f64,
    /// What the trials took, in seconds.
    pub seconds: f64,
}

/// A workload with some settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The workload, as a matrix has it.
    pub workload: String,
    /// The settings that are not the cell's own.
    pub settings: BTreeMap<String, String>,
    /// What was seen.
    pub tally: Tally,
    /// How often it fails.
    pub rate: Rate,
}

/// Which settings a failure needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Needs {
    /// The cell that failed.
    pub cell: String,
    /// The finding's title.
    pub title: String,
    /// Its signature: nothing else counted as a failure.
    pub signature: String,
    /// Its settings that have a plainer one, in the order in which they were looked at.
    pub settings: Vec<Need>,
    /// The settings of the smallest cell that was seen to fail.
    pub smallest: BTreeMap<String, String>,
    /// What its trials took, in seconds.
    pub seconds: f64,
}

/// What is known of a setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Need {
    /// The dimension.
    pub dimension: String,
    /// The cell's setting.
    pub setting: String,
    /// What was tried in its place.
    pub instead: String,
    /// What is known.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was seen with that other setting.
    pub tally: Tally,
}

/// What became of taking the culprit out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Whether it fails with the culprit and passes without.
    pub verified: bool,
    /// What was seen, or why not, for people.
    pub why: String,
}

impl Verification {
    /// Not verified.
    pub fn not(why: &str) -> Self {
        Self { verified: false, why: why.to_owned() }
    }
}

/// What a search goes over, if not over a series: each has a folder of its own in a run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The cell's settings: [`Needs`].
    Settings,
    /// Commits of the kernel's repository: [`Revisions`].
    Git,
    /// Workloads, processors, memory: [`Loads`].
    Workload,
}

/// What the searches of a run over something else than a series came to, each by cell.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Searches {
    /// Over the cells' settings.
    pub settings: Vec<Needs>,
    /// Over commits.
    pub git: Vec<Revisions>,
    /// Over loads.
    pub workload: Vec<Loads>,
}

impl Over {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Settings, Self::Git, Self::Workload];

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Git => "git",
            Self::Workload => "workload",
        }
    }
}
