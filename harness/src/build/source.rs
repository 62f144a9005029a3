//! Kernel sources: unpacked once into the cache, never modified.

use super::Step;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{self, short};
use crate::interrupt::Interrupt;
use crate::matrix::SourceSpec;
use crate::process;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's source packages put their tarballs.
const DEBIAN_SOURCES: &str = "/usr/src";

/// A kernel source, unpacked.
#[derive(Debug, Clone)]
pub struct Source {
    /// SHA-256 of the tarball.
    pub id: String,
    /// The pristine tree.
    pub tree: PathBuf,
}

/// A tarball's hash, remembered while the file looks the same: hashing 140 MB would cost more than all else that a
/// second run needs to know that it has nothing to build.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    size: u64,
    modified_ns: i128,
    inode: u64,
    id: String,
}

impl Source {
    /// The source that `spec` names, unpacked unless it is in the cache.
    ///
    /// # Errors
    /// It is not installed, or cannot be unpacked.
    pub fn get(spec: &SourceSpec, cache: &Cache, interrupt: &Interrupt, watch: &dyn Fn(Step)) -> Result<Self> {
        let SourceSpec::Debian(package) = spec;
        let tarball = Path::new(DEBIAN_SOURCES).join(format!("{package}.tar.xz"));
        let id = identify(&tarball, package, cache)?;
        let dir = cache.path("sources", short(&id));
        if !dir.is_dir() {
            let _lock = cache.lock("sources", short(&id))?;
            files::publish_dir(&dir, |half| {
                watch(Step::Unpack(tarball.display().to_string()));
                unpack(&tarball, half, interrupt)
            })?;
        }
        Ok(Self { id, tree: dir.join("tree") })
    }

    /// The content of a file of the tree, or `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.tree.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn identify(tarball: &Path, package: &str, cache: &Cache) -> Result<String> {
    let meta = match std::fs::metadata(tarball) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::host(format!(
                "kernel source debian:{package}: {} is missing; install it with `apt-get install {package}`",
                tarball.display()
            )))
        }
        Err(e) => return Err(Error::host(format!("{}: {e}", tarball.display()))),
    };
    let memo = cache.path("sources", &format!("{package}.json"));
    let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    let looks = |id: String| Remembered { size: meta.size(), modified_ns, inode: meta.ino(), id };
    if let Ok(memo) = files::read_json::<Remembered>(&memo) {
        if memo == looks(memo.id.clone()) {
            return Ok(memo.id);
        }
    }
    let context = || format!("cannot read {}", tarball.display());
    let file = File::open(tarball).with_context(context)?;
    let id = hash::of_reader(file).with_context(context)?;
    files::create_dir(&cache.root().join("sources"))?;
    files::write_json(&memo, &looks(id.clone()))?;
    Ok(id)
}

/// Unpacks to `dir/tree`, without the tarball's own top folder.
fn unpack(tarball: &Path, dir: &Path, interrupt: &Interrupt) -> Result<()> {
    let tree = dir.join("tree");
    files::create_dir(&tree)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(tarball).arg("--directory").arg(&tree);
    tar.args(["--strip-components=1", "--no-same-owner"]);
    let mut said = String::new();
    let status = process::run(tar, &dir.join("unpack.log"), interrupt, |line| {
        if said.is_empty() {
            line.clone_into(&mut said);
        }
    })?;
    if !status.success() {
        return Err(Error::host(format!("cannot unpack {}: {said} ({status})", tarball.display())));
    }
    Ok(())
}
