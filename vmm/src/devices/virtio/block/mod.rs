//! A disk (section 5.2 of the specification): a file or a block device of the host.

mod disk;
mod request;
#[cfg(test)]
mod tests;

use super::{Handler, VirtioDevice};
use crate::error::{Error, Result};
use disk::Disk;
use request::Requests;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

/// What sectors are counted in, always (section 5.2.4).
const SECTOR: u64 = 512;
/// Requests at once.
const QUEUE_SIZE: u16 = 256;
/// The most buffers of a request: a queue's descriptors without those of header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// The most bytes of one buffer.
const SIZE_MAX: u32 = 256 << 10;
/// The most bytes of a request that reads or writes; all buffers at their largest.
const DATA_MAX: u64 = SEG_MAX as u64 * SIZE_MAX as u64;
/// The most sectors of one range to discard or zero: 1 GiB.
const RANGE_MAX: u32 = (1 << 30) / SECTOR as u32;
/// The most ranges of one request to discard or zero.
const RANGES: u32 = 16;
/// What a discard should be aligned to, in sectors: what the host's file systems can free, a page.
const DISCARD_ALIGNMENT: u32 = 8;

/// A disk's device.
pub struct Block {
    disk: Arc<Disk>,
    config: [u8; size_of::<virtio_blk_config>()],
}

impl Block {
    /// Opens the file or block device at `path` as a disk named `name` (`vda`).
    ///
    /// # Errors
    /// A wrong request, if it is not there or must not be opened; else see [`Block::new`].
    pub fn open(path: &Path, read_only: bool, name: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(!read_only).open(path);
        Self::new(file.map_err(|why| Error::request(format!("{}: {why}", path.display())))?, read_only, name)
    }

    /// A disk of an open file or block device. It has as many whole sectors of 512 bytes as the file has.
    ///
    /// # Errors
    /// The file's length cannot be told: it is a pipe or the like.
    pub fn new(file: File, read_only: bool, name: &str) -> Result<Self> {
        let disk = Disk::new(file, read_only, name).map_err(|why| Error::request(format!("disk {name}: {why}")))?;
        let config = virtio_blk_config {
            capacity: disk.sectors().to_le(),
            size_max: SIZE_MAX.to_le(),
            seg_max: SEG_MAX.to_le(),
            max_discard_sectors: RANGE_MAX.to_le(),
            max_discard_seg: RANGES.to_le(),
            discard_sector_alignment: DISCARD_ALIGNMENT.to_le(),
            max_write_zeroes_sectors: RANGE_MAX.to_le(),
            max_write_zeroes_seg: RANGES.to_le(),
            write_zeroes_may_unmap: 1,
            ..Default::default()
        };
        // SAFETY: it is packed and made of integers only, so that all its bytes are initialized.
        let config = unsafe { std::mem::transmute::<virtio_blk_config, [u8; size_of::<virtio_blk_config>()]>(config) };
        Ok(Self { disk: Arc::new(disk), config })
    }
}

impl VirtioDevice for Block {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let always = 1 << VIRTIO_BLK_F_SIZE_MAX | 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_FLUSH;
        always
            | match self.disk.read_only() {
                true => 1 << VIRTIO_BLK_F_RO,
                false => 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES,
            }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn handler(&self, _: usize) -> Box<dyn Handler> {
        Box::new(Requests::new(self.disk.clone()))
    }
}
