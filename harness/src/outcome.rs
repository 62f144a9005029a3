//! What a trial came to. The last four are never folded into good or bad.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A trial's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The workload ran to its end, what it declares happened, and nothing was found.
    Pass,
    /// There is a finding.
    Fail,
    /// The guest fell silent, or would not end, and said nothing of why.
    Hang,
    /// Nothing was found, but a counter that the workload declares did not move, or a setting did not take effect.
    NotExercised,
    /// The guest never said hello, and the console holds no kernel report that would explain it.
    BootFailure,
    /// There is no kernel to boot.
    BuildFailure,
    /// The host or the harness failed: nothing is known about the kernel.
    InfraError,
}

impl Outcome {
    /// The name used in files and on the terminal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::NotExercised => "not-exercised",
            Self::BootFailure => "boot-failure",
            Self::BuildFailure => "build-failure",
            Self::InfraError => "infra-error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
