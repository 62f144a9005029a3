//! Where a matrix's kernel comes from.

use super::{is_plain_name, parsed_from_str};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// Where a kernel's source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// `debian:PACKAGE`: the tarball that Debian's source package of that name installs under /usr/src.
    Debian(String),
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(package) => write!(f, "debian:{package}"),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            // The package names a file under /usr/src, so it must not walk elsewhere.
            Some(("debian", p)) if is_plain_name(p) => Ok(Self::Debian(p.to_owned())),
            _ => Err(format!("kernel source '{text}', expected debian:PACKAGE, as in debian:linux-source-6.1")),
        }
    }
}
parsed_from_str!(SourceSpec, "debian:PACKAGE");
