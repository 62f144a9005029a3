//! What can go wrong before a guest runs: the request is wrong, or the host fails.

use std::fmt::Display;

/// An error, for the person who started the machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense: a file that is no kernel, more vCPUs than KVM has.
    #[error("{0}")]
    Request(String),
    /// The host did not do what it was asked to.
    #[error("{step}: {why}")]
    Host {
        /// What was being done.
        step: String,
        /// What the host said.
        why: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A wrong request.
    pub fn request(what: impl Display) -> Self {
        Self::Request(what.to_string())
    }

    /// For `map_err`: the host failed at `step`.
    pub fn host<E: Display>(step: impl Display) -> impl FnOnce(E) -> Self {
        move |why| Self::Host { step: step.to_string(), why: why.to_string() }
    }

    /// The exit status of a program that ends with it: 2 for a wrong request, 3 for a host that fails.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Request(_) => 2,
            Self::Host { .. } => 3,
        }
    }
}
