//! `--vmlinux`: the symbols of the commands that show findings of any log.

use crate::cache::Cache;
use crate::decoded::Symbols;
use crate::error::{Error, Result};
use crate::symbolize::Vmlinux;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The vmlinux of the kernel that wrote the logs: shows file, line and inlined functions of every frame
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// The kernel's source tree, to show the guilty lines [default: where the vmlinux was built, if it is there]
    #[arg(long, value_name = "DIR", requires = "vmlinux")]
    source: Option<PathBuf>,
}

impl Args {
    /// Opens the vmlinux that was named.
    pub fn open(&self) -> Result<Option<Vmlinux>> {
        if let Some(source) = self.source.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(Error::request(format!("--source {}: not a folder", source.display())));
        }
        self.vmlinux.as_deref().map(Vmlinux::open).transpose().map_err(Error::Request)
    }

    /// What resolves frames against it.
    pub fn symbols<'f>(&self, file: &'f Vmlinux) -> Symbols<'f> {
        // Without a home everything works, slower.
        let cache = Cache::open().map_err(|e| tracing::debug!("symbols are not cached: {e}")).ok();
        Symbols::new(file, cache.as_ref(), self.source.clone())
    }
}
