//! Files that are there whole or not at all.

use anyhow::{Context, Result};
use rustix::fs::{flock, FlockOperation};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to `path`: readers see the old content or the new, never a part.
///
/// # Errors
/// The folder is missing, the disk is full, ...; `path` is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let inner = || -> std::io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".new-").permissions(readable()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    inner().with_context(|| format!("cannot write {}", path.display()))
}

/// [`write()`] of `value` as indented JSON.
///
/// # Errors
/// As [`write()`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    text.push(b'\n');
    write(path, &text)
}

/// Reads a file that [`write_json`] wrote.
///
/// # Errors
/// It is missing, or not what was expected.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged or of another version", path.display()))
}

/// `mkdir -p`.
///
/// # Errors
/// Names the folder.
pub fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Makes the folder `path` by `fill`ing another one beside it and renaming it, so that `path` is there whole or not at
/// all. Does nothing if it is there. Call it under a [`Lock`].
///
/// # Errors
/// Those of `fill`; the half-made folder is removed.
pub fn publish_dir(path: &Path, fill: impl FnOnce(&Path) -> crate::error::Result<()>) -> crate::error::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().context("a folder in the cache has a parent")?;
    create_dir(parent)?;
    let half = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    // `tempdir` makes it for its owner alone.
    std::fs::set_permissions(half.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .with_context(|| format!("cannot open up {}", half.path().display()))?;
    fill(half.path())?;
    let half = half.keep();
    std::fs::rename(&half, path).with_context(|| format!("cannot rename to {}", path.display()))?;
    Ok(())
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// An exclusive lock between processes, held while it lives.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "closing the file drops the lock")] File);

impl Lock {
    /// Waits for the lock file at `path` (made if missing). `waiting` is called once if somebody else holds it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let context = || format!("cannot lock {}", path.display());
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).with_context(context)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            // Interrupted by Ctrl-C it fails with EINTR, which ends the command: right.
            flock(&file, FlockOperation::LockExclusive).with_context(context)?;
        }
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_folder_is_published_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a/b");
        let failed = publish_dir(&at, |half| {
            std::fs::write(half.join("x"), "1").unwrap();
            Err(Error::host("no"))
        });
        assert!(failed.is_err() && !at.exists());
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 0, "nothing is left behind");
        publish_dir(&at, |half| {
            std::fs::write(half.join("x"), "2").unwrap();
            Ok(())
        })
        .unwrap();
        publish_dir(&at, |_| panic!("it is there")).unwrap();
        assert_eq!(std::fs::read_to_string(at.join("x")).unwrap(), "2");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"old").unwrap();
        assert!(write(&dir.path().join("absent/f"), b"new").is_err());
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
