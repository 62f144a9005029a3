//! SIGINT and SIGTERM: the first asks everything to stop and keep what it has; the second ends the process.

use crate::error::{Error, Result};
use anyhow::Context;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Whether the process was asked to stop. Clones share one answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn install() -> Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let this = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Order matters: this one runs first and acts only if the flag was set by an earlier signal. Children
            // die with us (PR_SET_PDEATHSIG), so even this way leaves no guest behind.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&this.0))
                .context("cannot catch signals")?;
            signal_hook::flag::register(signal, Arc::clone(&this.0)).context("cannot catch signals")?;
        }
        Ok(this)
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err(Interrupted)` if a signal came.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.is_set() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    /// As if a signal had come.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
