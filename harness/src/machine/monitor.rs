//! What can be done to a machine while it runs, and what it says of itself.

use super::ending::Ending;
use crate::error::Result;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a machine may take to answer. It answers in milliseconds; a host that swaps may not.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The hand on a machine. Every call may fail: the machine may have ended a moment ago.
pub trait Monitor {
    /// Stops the vCPUs. What they wrote is there, and nothing more comes.
    ///
    /// # Errors
    /// The machine does not answer, or refuses.
    fn pause(&mut self) -> Result<()>;

    /// Lets the vCPUs go on.
    ///
    /// # Errors
    /// As [`Monitor::pause`].
    fn resume(&mut self) -> Result<()>;

    /// Injects a non-maskable interrupt into every vCPU that takes one.
    ///
    /// # Errors
    /// As [`Monitor::pause`].
    fn nmi(&mut self) -> Result<()>;

    /// Writes the guest's memory and registers to the file `path` as an ELF core, within `patience`. Stop the vCPUs
    /// first: what they change meanwhile would be torn.
    ///
    /// # Errors
    /// As [`Monitor::pause`], or the file cannot be written; it may then hold a part.
    fn dump(&mut self, path: &Path, patience: Duration) -> Result<()>;

    /// What the vCPUs do, in the machine's own word: `running`, `paused`, ...
    ///
    /// # Errors
    /// As [`Monitor::pause`].
    fn status(&mut self) -> Result<String>;

    /// Asks the machine to end.
    ///
    /// # Errors
    /// As [`Monitor::pause`].
    fn quit(&mut self) -> Result<()>;

    /// What the machine has said of itself up to now. Returns at once, except where the machine stopped by itself and has
    /// to be asked why.
    fn said(&mut self) -> Said;

    /// All that the machine said. Call it once its process has ended.
    fn last_words(&mut self) -> Said;
}

/// What a machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The guest's kernel said that it panicked, by pvpanic.
    pub panicked: bool,
    /// The vCPUs are stopped.
    pub stopped: bool,
    /// How it ended.
    pub ending: Option<Ending>,
}

/// Where the thread that listens to a machine leaves what it said. Latched, not queued: a guest that panics a million
/// times a second costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Said>>);

impl Board {
    /// What stands on it.
    pub fn read(&self) -> Said {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what stands on it.
    pub fn write(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The machine ends. The first word stands.
    pub fn end(&self, ending: Ending) {
        self.write(|said| {
            said.ending.get_or_insert(ending);
        });
    }
}
