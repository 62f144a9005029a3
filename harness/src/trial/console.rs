//! A trial's console in its folder: plain while the trial runs, compressed once it is over. Whoever reads one takes
//! both forms, for a trial that was killed has the first, and so have the runs of old versions.

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::zstd;
use anyhow::Context;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The console, byte for byte as it comes, while the trial runs.
pub const CONSOLE: &str = "console.log";
/// The same, compressed, once it is over.
pub const PACKED: &str = "console.log.zst";

/// Compresses the console in a trial's folder. Killed at any moment, it is there in one form or both, and whole.
///
/// # Errors
/// It is missing, or the disk is full; it is then as it was.
pub fn pack(dir: &Path) -> Result<()> {
    let plain = dir.join(CONSOLE);
    let inner = || -> anyhow::Result<()> {
        // Milliseconds: a signal can wait for it.
        zstd::write(&File::open(&plain)?, &dir.join(PACKED), &Interrupt::default())?;
        Ok(std::fs::remove_file(&plain)?)
    };
    Ok(inner().with_context(|| format!("cannot compress {}", plain.display()))?)
}

/// The console's file in a trial's folder, if it was kept.
pub fn file(dir: &Path) -> Option<PathBuf> {
    [PACKED, CONSOLE].map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
}

/// A console, from its beginning to its end.
pub struct Console {
    path: PathBuf,
    bytes: zstd::Reader<File>,
    /// How many of them were read.
    at: u64,
}

impl Console {
    /// The console in a trial's folder, if it was kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        // It may be compressed between two looks.
        for name in [PACKED, CONSOLE, PACKED] {
            let path = dir.join(name);
            match File::open(&path).and_then(zstd::Reader::new) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                bytes => {
                    let bytes = bytes.with_context(|| cannot_read(&path))?;
                    return Ok(Some(Self { path, bytes, at: 0 }));
                }
            }
        }
        Ok(None)
    }

    /// Its bytes from `from` on, at most `most` of them; fewer where it ends before. What lies before `from`, and was
    /// not read yet, is passed over.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn part(&mut self, from: u64, most: u64) -> Result<Vec<u8>> {
        debug_assert!(from >= self.at, "a console is read forwards");
        let mut bytes = Vec::new();
        let passed = from.saturating_sub(self.at);
        let read = io::copy(&mut self.by_ref().take(passed), &mut io::sink())
            .and_then(|_| self.by_ref().take(most).read_to_end(&mut bytes));
        read.with_context(|| cannot_read(&self.path))?;
        Ok(bytes)
    }

    /// Reads it to its end: the last bytes of what was not read yet, at most `most`, and where they begin.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn tail(mut self, most: usize) -> Result<(u64, Vec<u8>)> {
        let mut bytes = Vec::new();
        // Never more than twice as much in memory.
        while self.by_ref().take(most as u64).read_to_end(&mut bytes).with_context(|| cannot_read(&self.path))? > 0 {
            bytes.drain(..bytes.len().saturating_sub(most));
        }
        Ok((self.at - bytes.len() as u64, bytes))
    }

    /// How many bytes of it were read.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl Read for Console {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn both_forms_are_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(Console::open(dir).unwrap().is_none() && file(dir).is_none());
        assert!(pack(dir).is_err(), "there is none");
        for text in [&b"0123456789".repeat(9999)[..], b"\xff\0", b""] {
            std::fs::write(dir.join(CONSOLE), text).unwrap();
            let look = || {
                let open = || Console::open(dir).unwrap().unwrap();
                let mut console = open();
                let parts = [(3, 4), (9_000, 0), (9_000, 5), (99_985, 99)].map(|(at, n)| console.part(at, n).unwrap());
                (parts, console.at(), open().tail(7).unwrap(), open().tail(1 << 20).unwrap())
            };
            let plain = look();
            assert_eq!(plain.1, text.len() as u64);
            assert_eq!(
                (plain.2 .0, &plain.2 .1[..]),
                (text.len().saturating_sub(7) as u64, &text[text.len().saturating_sub(7)..])
            );
            assert_eq!(plain.3 .1, text);
            assert_eq!(file(dir), Some(dir.join(CONSOLE)));
            pack(dir).unwrap();
            assert_eq!(names(dir), [PACKED]);
            assert_eq!(file(dir), Some(dir.join(PACKED)));
            assert_eq!(look(), plain);
            std::fs::remove_file(dir.join(PACKED)).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_compressed_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONSOLE), "a console").unwrap();
        std::fs::create_dir_all(dir.path().join(PACKED).join("in the way")).unwrap();
        let said = pack(dir.path()).unwrap_err().to_string();
        assert!(said.contains("cannot compress") && said.contains(CONSOLE), "{said}");
        assert_eq!(names(dir.path()), [CONSOLE, PACKED]);
        assert_eq!(file(dir.path()), Some(dir.path().join(CONSOLE)));
    }
}
