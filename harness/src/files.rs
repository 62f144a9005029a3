//! Files that are there whole or not at all.

use crate::interrupt::Interrupt;
use anyhow::{Context, Result};
use rustix::fs::{flock, FlockOperation};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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

/// As [`write_json`], without the blanks, for what is large.
///
/// # Errors
/// As [`write()`].
pub fn write_compact_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, &serde_json::to_vec(value).with_context(|| format!("cannot write {}", path.display()))?)
}

/// Reads a file that [`write_json`] wrote.
///
/// # Errors
/// It is missing, or not what was expected.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged or of another version", path.display()))
}

/// As [`read_json`]; `None` if there is no such file.
///
/// # Errors
/// It is not what was expected.
pub fn read_json_if_there<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    path.is_file().then(|| read_json(path)).transpose()
}

/// `path` as a file in the folder `here` means it: relative to that folder, or below the home folder (`~/`).
pub fn resolve(here: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => here.join(path),
    }
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
    let half = half_dir(parent)?;
    fill(half.path())?;
    let half = half.keep();
    std::fs::rename(&half, path).with_context(|| format!("cannot rename to {}", path.display()))?;
    Ok(())
}

/// A folder in `parent` to be filled and renamed. Its name begins with a dot; it is removed if that does not happen.
///
/// # Errors
/// It cannot be made.
pub fn half_dir(parent: &Path) -> Result<tempfile::TempDir> {
    let half = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    // `tempdir` makes it for its owner alone.
    std::fs::set_permissions(half.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .with_context(|| format!("cannot open up {}", half.path().display()))?;
    Ok(half)
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Whom a lock lets in beside its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody.
    Exclusive,
    /// Others that share.
    Shared,
}

/// How often a lock that is waited for is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// A lock between processes, held while it lives, and while a child lives that was given it ([`Lock::give`]).
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the lock file at `path` (made if missing). `waiting` is called once if somebody else holds it.
    ///
    /// # Errors
    /// The file cannot be made or locked, or a signal came.
    pub fn take(
        path: &Path,
        sharing: Sharing,
        interrupt: &Interrupt,
        waiting: impl FnOnce(),
    ) -> crate::error::Result<Self> {
        if let Some(lock) = Self::try_take(path, sharing)? {
            return Ok(lock);
        }
        waiting();
        // Polled: flock(2) is restarted behind our signal handlers, so a wait in it could not be interrupted.
        loop {
            interrupt.check()?;
            std::thread::sleep(LOCK_INTERVAL);
            if let Some(lock) = Self::try_take(path, sharing)? {
                return Ok(lock);
            }
        }
    }

    /// The lock, unless somebody else holds it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn try_take(path: &Path, sharing: Sharing) -> Result<Option<Self>> {
        let context = || format!("cannot lock {}", path.display());
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).with_context(context)?;
        let operation = match sharing {
            Sharing::Exclusive => FlockOperation::NonBlockingLockExclusive,
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e).with_context(context),
        }
    }

    /// Whether somebody holds the lock, exclusively. False where there is no such file, or it cannot be read.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// The process that took the lock, as far as the kernel tells: not across containers, nor on every file system.
    pub fn holder(path: &Path) -> Option<u32> {
        let meta = std::fs::metadata(path).ok()?;
        let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
        // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131073 0 EOF`; who waits for it has `->` after the number.
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, "FLOCK", _, "WRITE", pid, at, ..] if at == file => pid.parse().ok().filter(|&pid| pid > 0),
            _ => None,
        })
    }

    /// Gives the lock to `command`'s process and all that it starts as well: it is held until the last of them is gone,
    /// though we be killed.
    pub fn give(&self, command: &mut Command) {
        let fd = self.0.as_raw_fd();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: fcntl(2) is a system call. `fd` is
        // open there if it is open here when the command starts; if not, the call fails and so does the start.
        unsafe {
            command.pre_exec(move || {
                let fd = BorrowedFd::borrow_raw(fd);
                Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
            });
        }
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
    fn paths_are_relative_to_the_file_that_names_them() {
        assert_eq!(resolve(Path::new("m"), Path::new("../linux")), Path::new("m/../linux"));
        assert_eq!(resolve(Path::new("m"), Path::new("/linux")), Path::new("/linux"));
        assert!(resolve(Path::new("m"), Path::new("~/linux")).is_absolute());
    }

    #[test]
    fn a_lock_is_shared_or_not_and_outlives_us_in_a_child() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let free = |sharing| Lock::try_take(&path, sharing).unwrap().is_some();
        let shared = Lock::try_take(&path, Sharing::Shared).unwrap().unwrap();
        assert!(free(Sharing::Shared) && !free(Sharing::Exclusive));
        drop(shared);
        let lock = Lock::try_take(&path, Sharing::Exclusive).unwrap().unwrap();
        assert!(!free(Sharing::Shared) && !free(Sharing::Exclusive));
        // Where the kernel tells it.
        assert!(Lock::holder(&path).is_none_or(|pid| pid == std::process::id()));
        let interrupt = Interrupt::default();
        interrupt.set();
        let mut waited = false;
        let interrupted = Lock::take(&path, Sharing::Exclusive, &interrupt, || waited = true);
        assert!(waited && matches!(interrupted, Err(Error::Interrupted)));

        let mut child = Command::new("cat");
        child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        lock.give(&mut child);
        let mut child = child.spawn().unwrap();
        drop(lock);
        assert!(!free(Sharing::Exclusive), "the child has it");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(free(Sharing::Exclusive));
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
