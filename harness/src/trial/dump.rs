//! Memory dumps of guests that failed: one for each signature, compressed.
//!
//! The machine writes the dump beside the trial's other files, uncompressed, while its vCPUs stand still; once the machine
//! is gone it is compressed, and removed. Neither half is ever there under the dump's own name.

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::machine::monitor::Monitor;
use crate::trial::Trial;
use crate::zstd;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempPath;

/// A dump's name in its trial's folder.
pub const CORE: &str = "core.elf.zst";

/// What a dump leaves free on the disk, in MiB: other trials' consoles go there too.
const RESERVE_MIB: u64 = 256;

/// A disk that takes less than this, in MiB a second, has other troubles.
const SLOWEST_MIB_S: u64 = 10;

/// What became of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Core {
    /// It was kept.
    Kept {
        /// Its name in the trial's folder.
        file: String,
        /// The ELF core's size, in bytes.
        bytes: u64,
        /// The file's size, in bytes.
        compressed_bytes: u64,
    },
    /// It was wanted, and there is none.
    Failed {
        /// Why not.
        why: String,
    },
}

impl From<Result<Self>> for Core {
    fn from(result: Result<Self>) -> Self {
        result.unwrap_or_else(|e| Self::Failed { why: e.to_string() })
    }
}

/// The signatures of a run that have their dump.
#[derive(Debug, Default)]
pub struct Cores(Mutex<BTreeSet<String>>);

impl Cores {
    /// With the dumps that these trials have kept.
    pub fn kept<'a>(trials: impl IntoIterator<Item = &'a Trial>) -> Self {
        let kept = trials.into_iter().filter(|t| matches!(t.core, Some(Core::Kept { .. })));
        Self(Mutex::new(kept.filter_map(|t| Some(t.finding()?.signature.clone())).collect()))
    }

    /// Takes it on to make `signature`'s dump. False if somebody has.
    pub fn claim(&self, signature: &str) -> bool {
        self.lock().insert(signature.to_owned())
    }

    /// Whether `signature` has its dump, or is about to.
    pub fn has(&self, signature: &str) -> bool {
        self.lock().contains(signature)
    }

    /// It came to nothing: the next one may try.
    pub fn give_back(&self, signature: &str) {
        self.lock().remove(signature);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the machine, which has `memory_mib` of memory, write its dump into `dir`. Its vCPUs stand still from then on.
///
/// # Errors
/// The disk is too small, or the machine does not write it. What was written is gone.
pub fn dump(monitor: &mut dyn Monitor, dir: &Path, memory_mib: u64) -> Result<TempPath> {
    room(dir, memory_mib)?;
    let raw = tempfile::Builder::new()
        .prefix(".new-core-")
        .tempfile_in(dir)
        .with_context(|| format!("cannot write to {}", dir.display()))?
        .into_temp_path();
    monitor.pause()?;
    monitor.dump(&raw, Duration::from_secs(30 + memory_mib / SLOWEST_MIB_S))?;
    let mut magic = [0; 4];
    let whole = File::open(&raw).and_then(|mut file| file.read_exact(&mut magic));
    if whole.is_err() || magic != *b"\x7fELF" {
        return Err(Error::host("what the machine wrote is no ELF core"));
    }
    Ok(raw)
}

/// A disk that runs full takes more with it than the dump: whoever writes a console is ended by it.
fn room(dir: &Path, memory_mib: u64) -> Result<()> {
    let context = || format!("cannot tell what is free in {}", dir.display());
    let disk = rustix::fs::statvfs(dir).with_context(context)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    // Compressed it is a half at most of most guests; of one full of noise the compressor hits the reserve.
    let needed = memory_mib + memory_mib / 2 + RESERVE_MIB;
    if free < needed {
        return Err(Error::host(format!("a dump needs {needed} MiB, and {} has {free} MiB free", dir.display())));
    }
    Ok(())
}

/// Compresses `raw` to the file [`CORE`] in `dir`: there whole or not at all.
///
/// # Errors
/// It cannot be read or written, or a signal came.
pub fn keep(raw: &Path, dir: &Path, interrupt: &Interrupt) -> Result<Core> {
    let path = dir.join(CORE);
    let inner = || -> anyhow::Result<Core> {
        let (bytes, compressed_bytes) = zstd::write(&File::open(raw)?, &path, interrupt)?;
        Ok(Core::Kept { file: CORE.to_owned(), bytes, compressed_bytes })
    };
    Ok(inner().with_context(|| format!("cannot write {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::monitor::Said;

    /// A machine that writes `0` as its dump.
    struct Fake(&'static [u8]);

    impl Monitor for Fake {
        fn pause(&mut self) -> Result<()> {
            Ok(())
        }
        fn resume(&mut self) -> Result<()> {
            Ok(())
        }
        fn nmi(&mut self) -> Result<()> {
            Ok(())
        }
        fn dump(&mut self, path: &Path, _: Duration) -> Result<()> {
            Ok(std::fs::write(path, self.0).context("cannot write")?)
        }
        fn status(&mut self) -> Result<String> {
            Ok(String::new())
        }
        fn quit(&mut self) -> Result<()> {
            Ok(())
        }
        fn said(&mut self) -> Said {
            Said::default()
        }
        fn last_words(&mut self) -> Said {
            Said::default()
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_dump_comes_out_as_it_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dump(&mut Fake(b"\x7fELF and the memory"), dir.path(), 1).unwrap();
        // Zeros, text, and noise: what memory is made of.
        let mut content = std::fs::read(&raw).unwrap();
        content.resize(3 << 20, 0);
        let mut noise = 1_u64;
        content.extend((0..1 << 20).map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 56) as u8
        }));
        std::fs::write(&raw, &content).unwrap();
        let core = keep(&raw, dir.path(), &Interrupt::default()).unwrap();
        drop(raw);
        assert_eq!(names(dir.path()), [CORE]);
        let path = dir.path().join(CORE);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < 2 << 20, "{size}");
        assert_eq!(core, Core::Kept { file: CORE.into(), bytes: content.len() as u64, compressed_bytes: size });
        let mut back = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(File::open(&path).unwrap()).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == content);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = dump(&mut Fake(b"no ELF"), dir.path(), 1).unwrap_err();
        assert!(error.to_string().contains("no ELF core"), "{error}");
        let error = dump(&mut Fake(b"\x7fELF"), dir.path(), 1 << 40).unwrap_err();
        assert!(error.to_string().contains("MiB free"), "{error}");
        let raw = dump(&mut Fake(b"\x7fELF"), dir.path(), 1).unwrap();
        let interrupt = Interrupt::default();
        interrupt.set();
        assert!(keep(&raw, dir.path(), &interrupt).is_err());
        drop(raw);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn one_dump_a_signature() {
        let cores = Cores::default();
        assert!(cores.claim("a") && cores.claim("b") && !cores.claim("a"));
        cores.give_back("a");
        assert!(cores.claim("a"));
    }
}
