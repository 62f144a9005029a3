//! A kernel in the cache.

use super::header;
use crate::cache::Cache;
use crate::error::Result;
use crate::files::{self, Lock};
use crate::hash::short;
use crate::interrupt::Interrupt;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the cache that kernels are in.
pub const KERNELS: &str = "kernels";

/// The bootable image.
pub const IMAGE: &str = "bzImage";

/// The same kernel as an ELF file.
pub const VMLINUX: &str = "vmlinux";

/// The modules that a guest needs, as an archive for its initramfs.
pub const MODULES: &str = "modules.cpio";

/// The final .config.
pub const CONFIG: &str = "config";

/// The [`Meta`].
pub const META: &str = "meta.json";

/// A kernel in the cache. It is not pruned while this lives.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its content address.
    pub key: String,
    /// Its folder in the cache.
    pub dir: PathBuf,
    banner: String,
    _held: Arc<Lock>,
}

impl Kernel {
    /// The kernel `key`, made by `fill` unless it is in the cache.
    ///
    /// # Errors
    /// Those of `fill`, or it is no bootable image.
    pub fn hold(
        cache: &Cache,
        key: String,
        interrupt: &Interrupt,
        fill: impl FnMut(&Path) -> Result<()>,
    ) -> Result<Self> {
        let held = Arc::new(cache.hold(KERNELS, &key, interrupt, fill)?);
        let dir = cache.path(KERNELS, &key);
        let banner = header::read(&dir.join(IMAGE))?.version;
        Ok(Self { key, dir, banner, _held: held })
    }

    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.dir.join(IMAGE)
    }

    /// The same kernel as an ELF file, if there is one.
    pub fn vmlinux(&self) -> Option<PathBuf> {
        Some(self.dir.join(VMLINUX)).filter(|path| path.exists())
    }

    /// The modules that a guest needs, as an archive for its initramfs, if it needs any.
    pub fn modules(&self) -> Option<PathBuf> {
        Some(self.dir.join(MODULES)).filter(|path| path.exists())
    }

    /// Its final .config, if that is known.
    pub fn config(&self) -> Option<PathBuf> {
        Some(self.dir.join(CONFIG)).filter(|path| path.exists())
    }

    /// What is known of how it was made.
    pub fn meta(&self) -> Option<Meta> {
        files::read_json(&self.dir.join(META)).ok()
    }

    /// What `uname -v` is in a guest that runs it.
    pub fn banner(&self) -> &str {
        &self.banner
    }
}

/// What is kept beside an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    /// The variant it was built for first; others may have the same key.
    pub variant: String,
    /// Where the source came from.
    pub source: String,
    /// The source's identity.
    pub source_id: String,
    /// Compiler and linker; empty if somebody else built it.
    pub toolchain: String,
    /// Files that the patches change.
    pub patched: Vec<String>,
    /// How long make took, in seconds of wall time.
    pub seconds: f64,
    /// User's and system's time of make and all that it started, in seconds; configuring is not in it.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// Objects compiled for it.
    pub objects: usize,
}

/// The `#N` of `uname -v`, by which a guest proves that it runs what was built.
pub fn build_version(key: &str) -> String {
    format!("mmt-{}", short(key))
}
