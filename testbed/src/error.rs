//! Why there is no bed, or no answer from it.

/// What the testbed's functions fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host lacks something, named with how to get it. A test that needs the bed is to be skipped, saying this.
    #[error("{0}")]
    Missing(String),
    /// Everything was there and it did not work; the text has what QEMU and the guest's console said last.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::Missing(what.into())
    }

    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

impl From<mmtorture_bootkit::debian::Error> for Error {
    fn from(error: mmtorture_bootkit::debian::Error) -> Self {
        match error {
            mmtorture_bootkit::debian::Error::Missing(what) => Self::Missing(what),
            mmtorture_bootkit::debian::Error::Failed(why) => Self::Failed(why),
        }
    }
}
