//! A trial's disks and file systems: sparse files that are gone with it.

use crate::error::Result;
use crate::ext4::{ext4, sparse};
use crate::machine::Disk;
use crate::matrix::dimension::Shape;
use anyhow::Context;
use mmtorture_protocol::{extents, Backing, Scratch, Swap};
use rustix::fs::{seek, SeekFrom};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What ext4 has for a swap file of that many MiB: a journal of up to 64, inode tables of a sixtieth, and some to spare.
fn around(mib: u64) -> u64 {
    mib + 64 + mib / 16
}

/// What a trial has to store things on.
#[derive(Debug)]
pub(super) struct Storage {
    /// In the machine's order. What is swapped to is the first one.
    disks: Vec<NamedTempFile>,
    /// A file system for the guest to unpack.
    pub packed: Option<Vec<u8>>,
    /// The root of the workload's suite, which the guest only reads.
    root: Option<PathBuf>,
}

impl Storage {
    /// Makes what `shape` asks for in `dir`; `root` is an image that is there already.
    ///
    /// # Errors
    /// The disk is full, or mke2fs is missing.
    pub fn make(shape: &Shape, root: Option<&Path>, dir: &Path) -> Result<Self> {
        let mut disks = Vec::new();
        match shape.swap {
            Swap::None | Swap::Zram { .. } => {}
            Swap::Disk { mib } => disks.push(sparse(dir, "swap-", mib)?),
            Swap::File { mib } => disks.push(ext4(dir, "swap-", around(mib))?),
        }
        let mut packed = None;
        match shape.scratch.backing {
            Backing::Tmpfs => {}
            Backing::Ext4Loop { mib } => packed = Some(pack(ext4(dir, "scratch-", mib)?.as_file())?),
            Backing::Ext4Disk { mib, .. } => disks.push(ext4(dir, "scratch-", mib)?),
        }
        Ok(Self { disks, packed, root: root.map(Path::to_owned) })
    }

    /// The machine's disks.
    pub fn disks(&self) -> Vec<Disk> {
        let own = self.disks.iter().map(|file| Disk { path: file.path().to_owned(), read_only: false });
        own.chain(self.root.iter().map(|path| Disk { path: path.clone(), read_only: true })).collect()
    }

    /// Which disk is the root, the last one of the machine's.
    pub fn root(&self) -> Option<u8> {
        self.root.as_ref().map(|_| u8::try_from(self.disks.len()).unwrap_or(u8::MAX))
    }

    /// What the guest is to do with them: the workload's is the last one of these.
    pub fn scratch(&self, shape: &Shape) -> Scratch {
        let mut scratch = shape.scratch.clone();
        if let Backing::Ext4Disk { disk, .. } = &mut scratch.backing {
            *disk = u8::try_from(self.disks.len().saturating_sub(1)).unwrap_or(0);
        }
        scratch
    }
}

/// What is in a sparse file.
fn pack(file: &File) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    let mut at = 0;
    // ENXIO: nothing but a hole is left (lseek(2)).
    while let Ok(start) = seek(file, SeekFrom::Data(at)) {
        let end = seek(file, SeekFrom::Hole(start)).context("cannot find the holes of a file system")?;
        let length = usize::try_from(end - start).context("a file system that is too large")?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, start).context("cannot read a file system")?;
        extents::push(&mut packed, start, &bytes);
        at = end;
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_is_packed_without_its_holes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"last", 33 << 20).unwrap();
        let packed = pack(&file).unwrap();
        assert!(packed.len() < 1 << 20, "{}", packed.len());
        let mut rest = &packed[..];
        let copy = tempfile::tempfile().unwrap();
        copy.set_len(64 << 20).unwrap();
        while let Some((offset, bytes)) = extents::next(&mut rest) {
            copy.write_all_at(bytes, offset).unwrap();
        }
        for (offset, text) in [(0, "first"), (33 << 20, "last\0")] {
            let mut read = vec![0; 5];
            copy.read_exact_at(&mut read, offset).unwrap();
            assert_eq!(read, text.as_bytes());
        }
    }

    #[test]
    fn the_workloads_disk_comes_after_the_one_to_swap_to() {
        if crate::ext4::mke2fs().is_err() {
            eprintln!("skipped: mke2fs is not installed (`make setup` installs it)");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch { backing: Backing::Ext4Disk { mib: 16, disk: 0 }, options: Vec::new() };
        let shape = Shape { swap: Swap::File { mib: 16 }, scratch, ..Shape::default() };
        let storage = Storage::make(&shape, Some(Path::new("root.img")), dir.path()).unwrap();
        let read_only: Vec<_> = storage.disks().iter().map(|disk| disk.read_only).collect();
        assert_eq!((read_only, storage.root()), (vec![false, false, true], Some(2)));
        assert_eq!(storage.scratch(&shape).backing, Backing::Ext4Disk { mib: 16, disk: 1 });
        let mut magic = [0; 2];
        storage.disks[1].as_file().read_exact_at(&mut magic, 1024 + 56).unwrap();
        // EXT4_SUPER_MAGIC (fs/ext4/ext4.h).
        assert_eq!(u16::from_le_bytes(magic), 0xEF53);
    }
}
