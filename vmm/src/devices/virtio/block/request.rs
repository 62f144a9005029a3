//! Requests of a disk (section 5.2.6): a header of 16 bytes, data in one direction, a status byte.

use super::disk::Disk;
use super::{DATA_MAX, RANGES, RANGE_MAX, SECTOR};
use crate::devices::virtio::{Broken, Chain, Handler};
use std::ops::Range;
use std::sync::Arc;
use virtio_bindings::virtio_blk::*;

/// Type, a reserved word, sector.
const HEADER: usize = 16;
/// Sector, number of sectors, flags: one range to discard or zero.
const RANGE: usize = 16;

/// Why a request is refused.
#[derive(Debug)]
enum Refusal {
    /// It makes no sense.
    Invalid,
    /// It makes sense, but not here.
    Unsupported,
    /// The host could not do it.
    Host(std::io::Error),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Host(error)
    }
}

/// What answers a disk's requests.
pub(super) struct Requests {
    disk: Arc<Disk>,
}

impl Requests {
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }

    fn answer(&self, chain: &Chain<'_>, status_at: usize, features: u64) -> Result<(), Refusal> {
        let mut header = [0; HEADER];
        if !chain.readable.read(0, &mut header) {
            return Err(Refusal::Invalid);
        }
        let sector = le64(&header[8..]);
        let out = HEADER..chain.readable.len();
        match le32(&header) {
            VIRTIO_BLK_T_IN if out.is_empty() => {
                let at = self.extent(sector, status_at as u64)?;
                Ok(self.disk.read(chain.writable.iovecs(0..status_at), at)?)
            }
            VIRTIO_BLK_T_OUT if status_at == 0 => {
                self.writable()?;
                let at = self.extent(sector, out.len() as u64)?;
                // Without a way to flush, what is written must be there for good (section 5.2.6.2).
                let durable = features & 1 << VIRTIO_BLK_F_FLUSH == 0;
                Ok(self.disk.write(chain.readable.iovecs(out), at, durable)?)
            }
            VIRTIO_BLK_T_FLUSH if out.is_empty() && status_at == 0 => Ok(self.disk.flush()?),
            VIRTIO_BLK_T_GET_ID if out.is_empty() => {
                let id = self.disk.id();
                match chain.writable.write(0, &id[..status_at.min(id.len())]) {
                    true => Ok(()),
                    false => Err(Refusal::Invalid),
                }
            }
            VIRTIO_BLK_T_DISCARD if status_at == 0 => self.ranges(chain, out, false),
            VIRTIO_BLK_T_WRITE_ZEROES if status_at == 0 => self.ranges(chain, out, true),
            // Data in the wrong direction.
            VIRTIO_BLK_T_IN | VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_GET_ID => Err(Refusal::Invalid),
            VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => Err(Refusal::Invalid),
            _ => Err(Refusal::Unsupported),
        }
    }

    fn writable(&self) -> Result<(), Refusal> {
        match self.disk.read_only() {
            true => Err(Refusal::Invalid),
            false => Ok(()),
        }
    }

    /// The byte where `bytes` from `sector` on begin. They are whole sectors, and all of them on the disk.
    fn extent(&self, sector: u64, bytes: u64) -> Result<u64, Refusal> {
        let sectors = bytes / SECTOR;
        let end = sector.checked_add(sectors).ok_or(Refusal::Invalid)?;
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) || bytes > DATA_MAX || end > self.disk.sectors() {
            return Err(Refusal::Invalid);
        }
        Ok(sector * SECTOR)
    }

    /// Discards or zeroes ranges. All of them are looked at before anything is done.
    fn ranges(&self, chain: &Chain<'_>, data: Range<usize>, zero: bool) -> Result<(), Refusal> {
        self.writable()?;
        if data.is_empty() || !data.len().is_multiple_of(RANGE) || data.len() / RANGE > RANGES as usize {
            return Err(Refusal::Invalid);
        }
        let mut bytes = [0; RANGE * RANGES as usize];
        let bytes = &mut bytes[..data.len()];
        if !chain.readable.read(data.start, bytes) {
            return Err(Refusal::Invalid);
        }
        let mut ranges = vec![];
        for range in bytes.chunks_exact(RANGE) {
            let (sector, sectors, flags) = (le64(range), le32(&range[8..]), le32(&range[12..]));
            let unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
            // Section 5.2.6.2: flags that are not known, or unmap in a discard, are unsupported.
            if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 || (unmap && !zero) {
                return Err(Refusal::Unsupported);
            }
            let end = sector.checked_add(sectors.into()).ok_or(Refusal::Invalid)?;
            if sectors > RANGE_MAX || end > self.disk.sectors() {
                return Err(Refusal::Invalid);
            }
            ranges.push((sector * SECTOR..end * SECTOR, unmap));
        }
        for (range, unmap) in ranges.into_iter().filter(|(range, _)| !range.is_empty()) {
            match zero {
                true => self.disk.zero(range, unmap)?,
                false => self.disk.discard(range)?,
            }
        }
        Ok(())
    }
}

impl Handler for Requests {
    fn handle(&mut self, chain: &Chain<'_>, features: u64) -> Result<u32, Broken> {
        // The status is the last byte of the writable part, whatever else is wrong.
        let status_at = chain.writable.len().checked_sub(1).ok_or(Broken("a request without a status byte"))?;
        let status = match self.answer(chain, status_at, features) {
            Ok(()) => VIRTIO_BLK_S_OK,
            Err(Refusal::Invalid) => VIRTIO_BLK_S_IOERR,
            Err(Refusal::Unsupported) => VIRTIO_BLK_S_UNSUPP,
            Err(Refusal::Host(error)) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => VIRTIO_BLK_S_UNSUPP,
            Err(Refusal::Host(error)) => {
                self.disk.log(&error);
                VIRTIO_BLK_S_IOERR
            }
        };
        chain.writable.write(status_at, &[status as u8]);
        // A chain has less than 2^32 bytes.
        Ok(chain.writable.len() as u32)
    }
}

/// The first four bytes.
fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The first eight bytes.
fn le64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
