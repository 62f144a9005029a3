//! After a build that was killed: make deletes what it was writing when a signal lets it, and SIGKILL does not. A half
//! object would look newer than its source, and be linked. So would a whole one, where the clock has gone back since it was
//! made: make goes by times.

use crate::error::Result;
use anyhow::Context;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// There while make runs.
const MARK: &str = ".mmtorture-building";

/// As old as what the last make that was not killed made last.
const BUILT: &str = ".mmtorture-built";

/// Kconfig's own folder: its files are renamed into place, or empty.
const KCONFIG: &str = "include/config";

/// Files that kbuild makes without a `.cmd` file are suspect if they were written this close to the end, in seconds.
/// Each of them takes it far less to write.
const LAST_SECONDS: i64 = 60;

/// The same for `.cmd` files, which are written at once. Without its own, an object is made again.
const LAST_SECONDS_OF_CMD: i64 = 2;

/// Notes that make runs in the tree at `root`.
///
/// # Errors
/// The note cannot be written.
pub fn begin(root: &Path) -> Result<()> {
    touch(&root.join(MARK))
}

fn touch(path: &Path) -> Result<()> {
    Ok(std::fs::write(path, []).with_context(|| format!("cannot write {}", path.display()))?)
}

/// Notes that make has ended, however, and so has cleaned up.
///
/// # Errors
/// The note cannot be removed.
pub fn end(root: &Path) -> Result<()> {
    touch(&root.join(BUILT))?;
    match std::fs::remove_file(root.join(MARK)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).context("cannot remove the mark of a build")?,
        _ => Ok(()),
    }
}

/// Removes what a killed build may have left half written, and all that was made at a time that is yet to come;
/// `is_source` tells the source's files, which stay. Yields how many files it removed. Does nothing if the last build was
/// not killed, and the clock has not gone back since.
///
/// # Errors
/// The tree cannot be read or written.
pub fn recover(root: &Path, is_source: &dyn Fn(&str) -> bool) -> Result<usize> {
    let now = SystemTime::now();
    let to_come = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).is_ok_and(|time| time > now);
    let mut afresh = to_come(&root.join(BUILT));
    if !afresh && !root.join(MARK).exists() {
        return Ok(0);
    }
    let context = || format!("cannot read {}", root.display());
    let mut made = Vec::new();
    walk(root, root, is_source, &mut made).with_context(context)?;
    let last = made.iter().map(|file| file.meta.mtime()).max().unwrap_or_default();
    afresh |= made.iter().any(|file| file.meta.modified().is_ok_and(|time| time > now));
    let mut removed = 0;
    for file in made.iter().filter(|file| afresh || file.is_suspect(last)) {
        std::fs::remove_file(&file.path).with_context(|| format!("cannot remove {}", file.path.display()))?;
        removed += 1;
    }
    if afresh {
        match std::fs::remove_dir_all(root.join(KCONFIG)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).with_context(context)?,
            _ => {}
        }
    }
    end(root)?;
    Ok(removed)
}

/// A file that make made.
struct Made {
    path: PathBuf,
    meta: Metadata,
    command: Option<Metadata>,
}

impl Made {
    /// kbuild writes `.NAME.cmd` once NAME is complete (scripts/Kbuild.include, `if_changed`).
    fn is_suspect(&self, last: i64) -> bool {
        let time = |meta: &Metadata| (meta.mtime(), meta.mtime_nsec());
        if self.path.extension().is_some_and(|extension| extension == "cmd") {
            return self.meta.mtime() + LAST_SECONDS_OF_CMD >= last;
        }
        match &self.command {
            Some(command) => time(command) < time(&self.meta),
            None => self.meta.mtime() + LAST_SECONDS >= last,
        }
    }
}

fn walk(root: &Path, folder: &Path, is_source: &dyn Fn(&str) -> bool, made: &mut Vec<Made>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if kind.is_dir() {
            if relative != KCONFIG {
                walk(root, &path, is_source, made)?;
            }
        } else if kind.is_file() && !ours(&name) && !is_source(&relative) {
            let command = std::fs::metadata(path.with_file_name(format!(".{name}.cmd"))).ok();
            made.push(Made { meta: entry.metadata()?, command, path });
        }
    }
    Ok(())
}

/// Our own notes, and the configuration, which we write as well.
fn ours(name: &str) -> bool {
    name.starts_with(".mmtorture-") || name.starts_with(".config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_made_at_a_time_yet_to_come_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, ahead: u64| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(ahead)).unwrap();
        };
        let is_source = |path: &str| path == "mm/a.c";
        let there = |name: &str| dir.path().join(name).exists();
        for mark in [BUILT, MARK] {
            // The clock was an hour ahead until the second object was made.
            for (name, ahead) in
                [("mm/a.c", 3590), ("mm/a.o", 3600), ("mm/.a.o.cmd", 3600), ("mm/b.o", 0), ("mm/.b.o.cmd", 0)]
            {
                write(name, ahead);
            }
            write("include/config/auto.conf", 3600);
            write(mark, if mark == BUILT { 3600 } else { 0 });
            assert_eq!(recover(dir.path(), &is_source).unwrap(), 4, "{mark}");
            assert!(there("mm/a.c") && !there("mm/a.o") && !there("mm/b.o") && !there("include/config"), "{mark}");
            assert_eq!(recover(dir.path(), &is_source).unwrap(), 0, "once is enough");
        }
    }

    #[test]
    fn what_may_be_half_written_goes_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let file = |name: &str, seconds: u64| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(start + Duration::from_secs(seconds)).unwrap();
        };
        for (name, seconds) in [
            ("mm/done.o", 100),
            ("mm/.done.o.cmd", 101),
            // Rebuilt: the command's file is of the build before.
            ("mm/again.o", 300),
            ("mm/.again.o.cmd", 50),
            ("mm/first.o", 297),
            ("mm/.last.o.cmd", 299),
            ("lib/table.h", 298),
            ("lib/old_table.h", 100),
            ("mm/source.c", 300),
            ("include/config/MM", 300),
            (".config", 300),
        ] {
            file(name, seconds);
        }
        let is_source = |path: &str| path == "mm/source.c";
        let there = |name: &str| dir.path().join(name).exists();
        assert_eq!(recover(dir.path(), &is_source).unwrap(), 0, "no build was killed");
        assert!(there("mm/again.o"));

        begin(dir.path()).unwrap();
        assert_eq!(recover(dir.path(), &is_source).unwrap(), 4);
        for name in ["mm/again.o", "mm/first.o", "mm/.last.o.cmd", "lib/table.h"] {
            assert!(!there(name), "{name}");
        }
        for name in ["mm/done.o", "lib/old_table.h", "mm/source.c", "include/config/MM", ".config", "mm/.done.o.cmd"] {
            assert!(there(name), "{name}");
        }
        assert_eq!(recover(dir.path(), &is_source).unwrap(), 0, "once is enough");
    }
}
