//! Work trees: a source hard-linked from its pristine tree, patched by rewriting the files that differ, built in place.
//!
//! Built in place because kbuild's dependency files then hold relative paths, so that the compiler cache and a tree's
//! own objects serve whatever the tree is called. Every rewritten file gets the time of its rewriting: make compares
//! times, and a pristine file put back with its old time would not be compiled again.

use super::history::History;
use super::recover;
use super::source::{Manifest, Source};
use super::Step;
use crate::error::{Error, Result};
use crate::files;
use crate::interrupt::Interrupt;
use crate::process;
use crate::series::Applied;
use anyhow::Context;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lists the files that may differ from the pristine tree. Written before they are touched.
const PATCHED: &str = ".mmtorture-patched.json";

/// Which source the tree is one of; absent where its lineage has but one.
const SOURCE: &str = ".mmtorture-source";

/// That source's manifest.
const MANIFEST: &str = ".mmtorture-manifest.json";

/// What builds here took: [`History`].
pub const HISTORY: &str = ".mmtorture-history.json";

/// A work tree. The caller holds its lock.
pub struct Tree<'a> {
    source: &'a Source,
    root: PathBuf,
}

impl<'a> Tree<'a> {
    /// The tree at `root`, made if missing.
    pub fn open(source: &'a Source, root: PathBuf, interrupt: &Interrupt, watch: &dyn Fn(Step)) -> Result<Self> {
        files::publish_dir(&root, |half| {
            watch(Step::Tree);
            // cp links 80,000 files in seconds, and knows symbolic links; the pristine files are never opened for
            // writing: `sync` renames new files over the links.
            let mut cp = Command::new("cp");
            cp.args(["--recursive", "--link", "--no-dereference", "--no-target-directory"]).arg(&source.tree).arg(half);
            let log = half.with_extension("log");
            let status = process::run(cp, &log, interrupt, |_| {});
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let _ = std::fs::remove_file(&log);
            if !status?.success() {
                return Err(Error::host(format!("cannot link {}: {}", source.tree.display(), said.trim())));
            }
            if source.manifest.is_some() {
                note_source(source, half)?;
            }
            Ok(())
        })?;
        Ok(Self { source, root })
    }

    /// What differs between the source that the tree was of and the one that it is to be of.
    fn moved(&self) -> Result<BTreeSet<String>> {
        let Some(manifest) = &self.source.manifest else { return Ok(BTreeSet::new()) };
        if std::fs::read_to_string(self.path(SOURCE)).is_ok_and(|id| id == self.source.id) {
            return Ok(BTreeSet::new());
        }
        let before: Manifest = files::read_json(&self.path(MANIFEST))?;
        Ok(before.differences(&files::read_json(manifest)?))
    }

    /// A path in the tree.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Makes the tree the pristine one with `files` as given (`None`: deleted). What already is so is not touched.
    /// Yields the files that changed.
    pub fn sync(&self, applied: &Applied) -> Result<BTreeSet<String>> {
        recover::recover(&self.root, &|path| {
            applied.files.contains_key(path) || self.source.tree.join(path).symlink_metadata().is_ok()
        })?;
        let files = &applied.files;
        let record = self.path(PATCHED);
        let before: BTreeSet<String> = if record.exists() { files::read_json(&record)? } else { BTreeSet::new() };
        let moved = self.moved()?;
        let all: BTreeSet<String> = before.into_iter().chain(files.keys().cloned()).chain(moved.clone()).collect();
        // Killed between here and the end, the next sync looks at every file that this one may have changed.
        files::write_json(&record, &all)?;
        if !moved.is_empty() {
            note_source(self.source, &self.root)?;
        }
        let mut changed = BTreeSet::new();
        for path in &all {
            let did = match files.get(path) {
                Some(Some(bytes)) => {
                    let wrote = self.write_if_changed(path, bytes)?;
                    let mode = applied.executable.get(path).map(|&yes| if yes { 0o755 } else { 0o644 });
                    self.set_mode(path, mode)? || wrote
                }
                Some(None) => self.remove(path)?,
                None => self.put_back(path)?,
            };
            if did {
                changed.insert(path.clone());
            }
        }
        files::write_json(&record, &files.keys().collect::<Vec<_>>())?;
        Ok(changed)
    }

    /// Makes a file what it is in the pristine tree; yields whether it was not.
    fn put_back(&self, path: &str) -> Result<bool> {
        let pristine = self.source.tree.join(path);
        let Ok(meta) = pristine.symlink_metadata() else { return self.remove(path) };
        if meta.is_symlink() {
            let to = std::fs::read_link(&pristine).with_context(|| format!("cannot read {path}"))?;
            if std::fs::read_link(self.path(path)).is_ok_and(|now| now == to) {
                return Ok(false);
            }
            self.remove(path)?;
            self.make_room(path)?;
            std::os::unix::fs::symlink(to, self.path(path)).with_context(|| format!("cannot write {path}"))?;
            return Ok(true);
        }
        let bytes = std::fs::read(&pristine).with_context(|| format!("cannot read {path}"))?;
        let wrote = self.write_if_changed(path, &bytes)?;
        Ok(self.set_mode(path, Some(meta.permissions().mode() & 0o777))? || wrote)
    }

    fn remove(&self, path: &str) -> Result<bool> {
        match std::fs::remove_file(self.path(path)) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(e) => Err(Error::host(format!("cannot remove {path}: {e}"))),
        }
    }

    /// Sets a file's mode, but not through a link that the pristine tree has as well.
    fn set_mode(&self, path: &str, mode: Option<u32>) -> Result<bool> {
        let to = self.path(path);
        let context = || format!("cannot chmod {path}");
        let now = std::fs::metadata(&to).with_context(context)?.permissions().mode() & 0o777;
        let Some(mode) = mode.filter(|&mode| mode & 0o100 != now & 0o100) else { return Ok(false) };
        let bytes = std::fs::read(&to).with_context(context)?;
        files::write(&to, &bytes)?;
        std::fs::set_permissions(&to, PermissionsExt::from_mode(mode)).with_context(context)?;
        Ok(true)
    }

    /// Makes the folder that `path` lies in; a file or link in its way, of another source, goes.
    fn make_room(&self, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            let folder = self.path(&path[..at]);
            if folder.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
                self.remove(&path[..at])?;
            }
            files::create_dir(&folder)?;
        }
        Ok(())
    }

    /// Writes a file, breaking its link to the pristine tree, unless it is so already; yields whether it was not.
    pub fn write_if_changed(&self, relative: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.path(relative);
        let is_link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if !is_link && std::fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(false);
        }
        self.make_room(relative)?;
        // A folder of another source's, with what make left in it.
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {relative}"))?;
        }
        // kbuild runs scripts of the tree: a patched one stays executable, and so does one put back.
        let mode = [&path, &self.source.tree.join(relative)]
            .into_iter()
            .find_map(|p| std::fs::metadata(p).ok())
            .map(|meta| meta.permissions());
        files::write(&path, bytes)?;
        if let Some(mode) = mode {
            std::fs::set_permissions(&path, mode).with_context(|| format!("cannot chmod {relative}"))?;
        }
        Ok(true)
    }

    /// What builds here took.
    pub fn history(&self) -> History {
        files::read_json(&self.path(HISTORY)).unwrap_or_default()
    }

    /// Adds a build to them.
    pub fn remember(&self, history: &History) -> Result<()> {
        Ok(files::write_json(&self.path(HISTORY), history)?)
    }
}

/// Notes which source the tree at `root` is of.
fn note_source(source: &Source, root: &Path) -> Result<()> {
    if let Some(manifest) = &source.manifest {
        let bytes = std::fs::read(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        files::write(&root.join(MANIFEST), &bytes)?;
        files::write(&root.join(SOURCE), source.id.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn source() -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("mm")).unwrap();
        for name in ["mm/rmap.c", "mm/memory.c"] {
            std::fs::write(tree.join(name), format!("pristine {name}")).unwrap();
            // As a release tarball's files are: old.
            let file = std::fs::File::options().write(true).open(tree.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
        }
        (dir, Source::at(tree, "0", None))
    }

    fn files(all: &[(&str, Option<&str>)]) -> Applied {
        let files = all.iter().map(|(p, c)| ((*p).to_owned(), c.map(|c| c.as_bytes().to_vec()))).collect();
        Applied { files, ..Applied::default() }
    }

    #[test]
    fn a_tree_goes_from_variant_to_variant_and_the_source_stays_pristine() {
        let (dir, source) = source();
        let tree = Tree::open(&source, dir.path().join("work"), &Interrupt::default(), &|_| {}).unwrap();
        let read = |name: &str| std::fs::read_to_string(tree.path(name)).ok();
        let modified = |name: &str| std::fs::metadata(tree.path(name)).unwrap().modified().unwrap();
        let old = modified("mm/memory.c");

        tree.sync(&files(&[("mm/rmap.c", Some("patched")), ("mm/new.c", Some("new"))])).unwrap();
        assert_eq!(read("mm/rmap.c").unwrap(), "patched");
        assert_eq!(modified("mm/memory.c"), old, "what does not change keeps its time, or all would be rebuilt");
        let patched_at = modified("mm/rmap.c");

        tree.sync(&files(&[("mm/memory.c", None)])).unwrap();
        assert_eq!(read("mm/rmap.c").unwrap(), "pristine mm/rmap.c");
        assert!(modified("mm/rmap.c") >= patched_at, "put back with a new time, or make would not see it");
        assert_eq!((read("mm/new.c"), read("mm/memory.c")), (None, None));

        tree.sync(&Applied::default()).unwrap();
        assert_eq!(read("mm/memory.c").unwrap(), "pristine mm/memory.c");
        for name in ["mm/rmap.c", "mm/memory.c"] {
            let pristine = std::fs::read_to_string(source.tree.join(name)).unwrap();
            assert_eq!(pristine, format!("pristine {name}"));
        }
    }
}
