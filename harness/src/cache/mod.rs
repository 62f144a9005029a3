//! The cache folder: what can be made again, kept because it is slow to make.
//!
//! ```text
//! sources/ID/tree     a kernel source, unpacked, never modified
//! trees/ID/           a source as built last, hard-linked to it; one for each source and configuration
//! configs/KEY         a final .config
//! kernels/KEY/        bzImage, vmlinux, config, meta.json
//! roots/NAME/         root file systems of suites
//! images/KEY.cpio     the guest's base archive
//! symbols/KEY.json    what was resolved of a vmlinux
//! ccache/             the compiler cache
//! locks/              one for each thing that two processes must not make at once
//! ```

pub mod prune;
pub mod usage;

use crate::error::{Error, Result};
use crate::files::{self, Lock, Sharing};
use crate::interrupt::Interrupt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
    /// The lock file cannot be made or locked, or a signal came.
    pub fn lock(&self, kind: &str, name: &str, interrupt: &Interrupt) -> Result<Lock> {
        self.take(kind, name, Sharing::Exclusive, interrupt)
    }

    /// Keeps `KIND/NAME` as it is: others may use it too, nobody may remove it.
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub fn share(&self, kind: &str, name: &str, interrupt: &Interrupt) -> Result<Lock> {
        self.take(kind, name, Sharing::Shared, interrupt)
    }

    /// The folder `KIND/NAME`, kept as with [`Cache::share`], and made by `fill` unless it is there. That it was used
    /// is noted.
    ///
    /// # Errors
    /// As [`Cache::lock`], and those of `fill`.
    pub fn hold(
        &self,
        kind: &str,
        name: &str,
        interrupt: &Interrupt,
        mut fill: impl FnMut(&Path) -> Result<()>,
    ) -> Result<Lock> {
        let path = self.path(kind, name);
        loop {
            let held = self.share(kind, name, interrupt)?;
            if path.is_dir() {
                self.used(kind, name);
                return Ok(held);
            }
            drop(held);
            let _lock = self.lock(kind, name, interrupt)?;
            files::publish_dir(&path, &mut fill)?;
        }
    }

    /// Notes that `KIND/NAME` was used now: what was not for the longest goes first when the cache is full.
    pub fn used(&self, kind: &str, name: &str) {
        // The lock's own file bears the time: touching the thing itself would change what builds look at. A time that
        // is not noted costs a rebuild at worst.
        if let Ok(file) = File::options().write(true).open(self.lock_path(kind, name)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// When `KIND/NAME` was used last; if that was never noted, when it was made.
    pub fn last_used(&self, kind: &str, name: &str) -> Option<SystemTime> {
        let time = |path: PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        time(self.lock_path(kind, name)).or_else(|| time(self.path(kind, name)))
    }

    /// [`Cache::lock`], unless somebody else has it.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn try_lock(&self, kind: &str, name: &str) -> Result<Option<Lock>> {
        let before = self.last_used(kind, name);
        let path = self.lock_path(kind, name);
        let lock = Lock::try_take(&path, Sharing::Exclusive)?;
        // Making the lock's file is no use of the thing.
        if let (Some(before), Ok(file)) = (before, File::options().write(true).open(&path)) {
            let _ = file.set_modified(before);
        }
        Ok(lock)
    }

    fn take(&self, kind: &str, name: &str, sharing: Sharing, interrupt: &Interrupt) -> Result<Lock> {
        Lock::take(&self.lock_path(kind, name), sharing, interrupt, || {
            tracing::info!("waiting for another mmtorture that uses {kind}/{name}");
        })
    }

    fn lock_path(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{kind}-{name}"))
    }
}
