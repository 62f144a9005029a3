//! What is in the cache, how large it is, when it was used.

use super::Cache;
use crate::error::Result;
use anyhow::Context;
use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// The kinds whose entries can go one by one, and be made again. Sources come first: what they share with the work
/// trees that are linked to them counts as theirs.
pub const PRUNABLE: [&str; 5] = ["sources", "trees", "kernels", "images", "roots"];

/// Something in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its folder below the cache's root.
    pub kind: String,
    /// Its name there; for a kind that cannot be pruned, the kind as a whole: empty.
    pub name: String,
    /// What it takes on the disk, each file counted once.
    pub bytes: u64,
    /// When it was used last.
    pub used: SystemTime,
}

/// All that is in the cache.
///
/// # Errors
/// It cannot be read.
pub fn measure(cache: &Cache) -> Result<Vec<Item>> {
    let mut seen = Seen::default();
    let mut items = Vec::new();
    for kind in PRUNABLE {
        for name in names(&cache.root().join(kind))? {
            let path = cache.path(kind, &name);
            // A memo, or half of something that is being made or removed.
            let entry = if kind == "images" { path.is_file() } else { path.is_dir() };
            if !entry || name.starts_with('.') {
                continue;
            }
            let used = cache.last_used(kind, &name).unwrap_or(SystemTime::UNIX_EPOCH);
            items.push(Item { kind: kind.to_owned(), bytes: seen.size(&path)?, name, used });
        }
    }
    for kind in names(cache.root())? {
        let path = cache.root().join(&kind);
        let used = path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        // Of a prunable kind, what was not counted above.
        let bytes = seen.size(&path)?;
        if bytes > 0 {
            let kind = if PRUNABLE.contains(&kind.as_str()) { "other".to_owned() } else { kind };
            items.push(Item { kind, name: String::new(), bytes, used });
        }
    }
    Ok(items)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot read {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.with_context(context)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The files that were counted.
#[derive(Default)]
struct Seen(HashSet<u64>);

impl Seen {
    /// What `path` takes with all below it, without what was counted before. What vanishes meanwhile takes nothing.
    fn size(&mut self, path: &Path) -> Result<u64> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) => {
                self.add(path, &meta).with_context(|| format!("cannot read {}", path.display())).map_err(Into::into)
            }
            Err(_) => Ok(0),
        }
    }

    fn add(&mut self, path: &Path, meta: &Metadata) -> io::Result<u64> {
        // In units of 512 bytes whatever the file system's (stat(2)).
        let own = if self.0.insert(meta.ino()) { meta.blocks() * 512 } else { 0 };
        if !meta.is_dir() {
            return Ok(own);
        }
        let entries = match std::fs::read_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(own),
            entries => entries?,
        };
        let mut all = own;
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) => all += self.add(&entry.path(), &meta)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }
}
