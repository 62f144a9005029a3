//! Snapshots: pristine trees of which the next differs in little from the last. What did not change is hard-linked
//! from the last one, so that a snapshot costs what changed.

use super::{check_kernel, Setting, Source};
use crate::build::Step;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::short;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As git has it: 100644, 100755, or 120000 for a symbolic link (all octal).
    pub mode: u32,
    /// Names its content; which hash it is depends on the lineage.
    pub hash: String,
}

/// A plain file.
pub const PLAIN: u32 = 0o100_644;
/// An executable file.
pub const EXECUTABLE: u32 = 0o100_755;
/// A symbolic link; its content is where it leads to.
pub const LINK: u32 = 0o120_000;

/// All files of a tree, by their paths below its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest(pub BTreeMap<String, Entry>);

impl Manifest {
    /// The paths that differ.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let changed = |a: &Self, b: &Self| -> Vec<String> {
            a.0.iter().filter(|(path, entry)| b.0.get(*path) != Some(entry)).map(|(path, _)| path.clone()).collect()
        };
        changed(self, other).into_iter().chain(changed(other, self)).collect()
    }
}

/// Which source of a lineage was made last.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    id: String,
}

/// The file in a source's folder that holds its [`Manifest`].
const MANIFEST: &str = "manifest.json";

/// The source `id` of `lineage`. Unless it is in the cache, `list` yields its files and `fetch` their contents.
///
/// # Errors
/// Those of `list` and `fetch`, or it is no kernel's source.
pub fn get(
    (id, lineage): (String, String),
    what: &str,
    with: &Setting<'_>,
    list: impl FnOnce() -> Result<Manifest>,
    mut fetch: impl FnMut(&str, &Entry) -> Result<Vec<u8>>,
) -> Result<Source> {
    let folder = with.cache.path("sources", short(&id));
    let last_file = with.cache.path("sources", &format!("lineage-{}.json", short(&lineage)));
    let mut list = Some(list);
    let held = with.cache.hold("sources", short(&id), with.interrupt, |half| {
        (with.watch)(Step::Unpack(what.to_owned()));
        // `hold` fills once, or twice if another process removes what was made at once.
        let list =
            list.take().ok_or_else(|| Error::host(format!("{} was pruned while it was made", half.display())))?;
        let manifest = list()?;
        let last = files::read_json::<Last>(&last_file).ok().filter(|last| last.id != id);
        let last = last.and_then(|last| Previous::find(with.cache, &last.id, with));
        let tree = half.join("tree");
        files::create_dir(&tree)?;
        for (path, entry) in &manifest.0 {
            with.interrupt.check()?;
            let to = tree.join(path);
            if let Some(parent) = to.parent() {
                files::create_dir(parent)?;
            }
            if last.as_ref().is_some_and(|last| last.link(path, entry, &to)) {
                continue;
            }
            write(&to, entry.mode, &fetch(path, entry)?)?;
        }
        check_kernel(&tree, what)?;
        Ok(files::write_json(&half.join(MANIFEST), &manifest)?)
    })?;
    if list.is_none() {
        files::write_json(&last_file, &Last { id: id.clone() })?;
    }
    Ok(Source { id, lineage, tree: folder.join("tree"), manifest: Some(folder.join(MANIFEST)), _held: Some(held) })
}

/// Makes `to` a file or a symbolic link with this content.
///
/// # Errors
/// It cannot be written.
pub fn write(to: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", to.display());
    if mode == LINK {
        return Ok(symlink(std::ffi::OsStr::from_bytes(content), to).with_context(context)?);
    }
    std::fs::write(to, content).with_context(context)?;
    let mode = if mode == EXECUTABLE { 0o755 } else { 0o644 };
    Ok(std::fs::set_permissions(to, PermissionsExt::from_mode(mode)).with_context(context)?)
}

/// The snapshot before.
struct Previous {
    tree: std::path::PathBuf,
    manifest: Manifest,
    _held: files::Lock,
}

impl Previous {
    /// `None` where it was pruned: then all is fetched.
    fn find(cache: &Cache, id: &str, with: &Setting<'_>) -> Option<Self> {
        let held = cache.share("sources", short(id), with.interrupt).ok()?;
        let folder = cache.path("sources", short(id));
        let manifest = files::read_json(&folder.join(MANIFEST)).ok()?;
        Some(Self { tree: folder.join("tree"), manifest, _held: held })
    }

    fn link(&self, path: &str, entry: &Entry, to: &Path) -> bool {
        self.manifest.0.get(path) == Some(entry) && std::fs::hard_link(self.tree.join(path), to).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[(&str, u32, &str)]) -> Manifest {
        let entry = |&(path, mode, hash): &(&str, u32, &str)| (path.to_owned(), Entry { mode, hash: hash.to_owned() });
        Manifest(files.iter().map(entry).collect())
    }

    #[test]
    fn differences_are_what_came_went_or_changed() {
        let a = manifest(&[("same", PLAIN, "1"), ("content", PLAIN, "1"), ("mode", PLAIN, "1"), ("gone", PLAIN, "1")]);
        let b =
            manifest(&[("same", PLAIN, "1"), ("content", PLAIN, "2"), ("mode", EXECUTABLE, "1"), ("new", LINK, "1")]);
        assert_eq!(a.differences(&b).into_iter().collect::<Vec<_>>(), ["content", "gone", "mode", "new"]);
        assert_eq!(a.differences(&b), b.differences(&a));
        assert!(a.differences(&a).is_empty());
    }
}
