//! The one error of the harness: it decides the exit status.

use std::fmt;

/// Why a command did not do what was asked. The variants are the exit statuses of the command line.
#[derive(Debug)]
pub enum Error {
    /// The request is wrong: a file, a key, a value, a patch. Exit status 2.
    Request(anyhow::Error),
    /// The host could not do it: a tool is missing, a disk is full, a build failed. Exit status 3.
    Host(anyhow::Error),
    /// SIGINT or SIGTERM came. Exit status 130.
    Interrupted,
}

/// What fallible functions of the harness return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A wrong request, from anything that prints.
    pub fn request(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Request(anyhow::Error::msg(message))
    }

    /// A host that cannot, from anything that prints.
    pub fn host(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Host(anyhow::Error::msg(message))
    }

    /// The process's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Request(_) => 2,
            Self::Host(_) => 3,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(e) | Self::Host(e) => write!(f, "{e:#}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What fails without saying whose fault it is, is the host's: an I/O error, a child that died.
impl From<anyhow::Error> for Error {
    fn from(e: anyhow::Error) -> Self {
        Self::Host(e)
    }
}
