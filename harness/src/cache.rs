//! The cache folder: what can be made again, kept because it is slow to make.
//!
//! ```text
//! sources/ID/tree     a kernel source, unpacked, never modified
//! trees/ID/           a source as built last, hard-linked to it; one for each source and configuration
//! configs/KEY         a final .config
//! kernels/KEY/        bzImage, vmlinux, config, meta.json
//! images/KEY.cpio     the guest's base archive
//! symbols/KEY.json    what was resolved of a vmlinux
//! ccache/             the compiler cache
//! locks/              one for each thing that two processes must not make at once
//! ```

use crate::error::{Error, Result};
use crate::files::{self, Lock};
use std::path::{Path, PathBuf};

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME/mmtorture`, or `~/.cache/mmtorture`.
    ///
    /// # Errors
    /// Neither variable is set to an absolute path, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| Error::host("no cache folder: neither XDG_CACHE_HOME nor HOME is an absolute path"))?;
        Self::at(base.join("mmtorture"))
    }

    /// The cache at `root`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn at(root: PathBuf) -> Result<Self> {
        files::create_dir(&root)?;
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `KIND/NAME` in it.
    pub fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(kind).join(name)
    }

    /// Locks `KIND/NAME` against other processes.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn lock(&self, kind: &str, name: &str) -> Result<Lock> {
        let path = self.root.join("locks").join(format!("{kind}-{name}"));
        Ok(Lock::take(&path, || tracing::info!("waiting for another mmtorture that is making {kind}/{name}"))?)
    }
}
