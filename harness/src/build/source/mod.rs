//! Kernel sources: a pristine tree in the cache, named by its content, never modified. One file for each kind.

mod folder;
mod git;
mod snapshot;
mod tarball;

use super::Step;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::hash::{self, Hasher};
use crate::interrupt::Interrupt;
use crate::matrix::source::SourceSpec;
use anyhow::Context;
use serde::{Deserialize, Serialize};
pub use snapshot::Manifest;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A kernel source with its tree in the cache.
#[derive(Debug)]
pub struct Source {
    /// Names its content: the hash of a tarball, of a git tree, or of a folder's files.
    pub id: String,
    /// Sources of one lineage differ in little: a repository's revisions, a folder over time. Their builds share a
    /// work tree.
    pub lineage: String,
    /// The pristine tree.
    pub tree: PathBuf,
    /// Where its [`Manifest`] is; what comes as a tarball has none, because its lineage has but one source.
    pub manifest: Option<PathBuf>,
    /// Keeps it from being pruned.
    _held: Option<Lock>,
}

/// What making a source available needs.
pub struct Setting<'a> {
    /// Where it goes.
    pub cache: &'a Cache,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// Told what takes a while.
    pub watch: &'a dyn Fn(Step),
}

impl Source {
    /// The source that `spec` names, for a matrix in the folder `here`; unpacked unless it is in the cache.
    ///
    /// # Errors
    /// There is no such thing, it is no kernel's source, or it cannot be unpacked.
    pub fn get(spec: &SourceSpec, here: &Path, with: &Setting<'_>) -> Result<Self> {
        match spec {
            SourceSpec::Debian(package) => tarball::debian(package, with),
            SourceSpec::Tarball(path) => tarball::get(&files::resolve(here, path), with),
            SourceSpec::Git { repository, revision } => git::get(&files::resolve(here, repository), revision, with),
            SourceSpec::Tree(path) => folder::get(&files::resolve(here, path), with),
            SourceSpec::Image(_) => Err(Error::request(format!("{spec} has no source"))),
        }
    }

    /// The content of a file of the tree, or `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.tree.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A source whose tree is where it is, for tests.
    #[cfg(test)]
    pub fn at(tree: PathBuf, id: &str, manifest: Option<PathBuf>) -> Self {
        Self { id: id.to_owned(), lineage: "test".to_owned(), tree, manifest, _held: None }
    }
}

/// What a kernel's tree has at its top, whatever its version.
const TOP: [&str; 2] = ["Makefile", "Kconfig"];

/// Refuses a tree that is no kernel's.
fn check_kernel(tree: &Path, what: &str) -> Result<()> {
    match TOP.iter().find(|name| !tree.join(name).is_file()) {
        None => Ok(()),
        Some(name) => Err(Error::request(format!("{what} is no kernel source: it has no {name} at its top"))),
    }
}

/// A file's hash, remembered while the file looks the same: hashing 140 MB would cost more than all else that a second
/// run needs to know that it has nothing to build.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    size: u64,
    modified_ns: i128,
    inode: u64,
    id: String,
}

/// The SHA-256 of the file at `path`, remembered as `memo` in the cache.
///
/// # Errors
/// The file cannot be read, or the memo cannot be written.
pub fn hash_of_file(path: &Path, memo: &str, cache: &Cache) -> anyhow::Result<String> {
    let context = || format!("cannot read {}", path.display());
    let meta = std::fs::metadata(path).with_context(context)?;
    let memo = cache.path("sources", memo);
    let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    let looks = |id: String| Remembered { size: meta.size(), modified_ns, inode: meta.ino(), id };
    if let Ok(memo) = files::read_json::<Remembered>(&memo) {
        if memo == looks(memo.id.clone()) {
            return Ok(memo.id);
        }
    }
    let id = hash::of_reader(File::open(path).with_context(context)?).with_context(context)?;
    files::create_dir(&cache.root().join("sources"))?;
    files::write_json(&memo, &looks(id.clone()))?;
    Ok(id)
}

/// A name in the cache for what belongs to a path.
pub fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let hash = Hasher::new("path").field(std::os::unix::ffi::OsStrExt::as_bytes(whole.as_os_str())).finish();
    hash::short(&hash).to_owned()
}
