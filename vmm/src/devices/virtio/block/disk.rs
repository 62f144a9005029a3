//! A disk's bytes: system calls on its file, straight into and out of guest memory.

use super::SECTOR;
use crate::log::log;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;

/// Bytes of a disk's identification.
const ID: usize = VIRTIO_BLK_ID_BYTES as usize;

pub(super) struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
    name: String,
    id: [u8; ID],
    errors: AtomicU64,
}

impl Disk {
    pub fn new(mut file: File, read_only: bool, name: &str) -> Result<Self> {
        // The length of a block device too, where the file's metadata says 0.
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR;
        let mut id = [0; ID];
        let len = name.len().min(ID);
        id[..len].copy_from_slice(&name.as_bytes()[..len]);
        Ok(Self { file, sectors, read_only, name: format!("disk-{name}"), id, errors: AtomicU64::new(0) })
    }

    /// A disk whose file does not have the length that it should.
    #[cfg(test)]
    pub fn with_sectors(file: File, sectors: u64) -> Self {
        Self { file, sectors, read_only: false, name: "disk-vda".to_owned(), id: [0; ID], errors: AtomicU64::new(0) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The name, padded with zeros.
    pub fn id(&self) -> &[u8; ID] {
        &self.id
    }

    /// Fills guest memory from the byte `at` on. Beyond the end of the file, which may have shrunk, there are zeros.
    pub fn read(&self, buffers: Vec<libc::iovec>, at: u64) -> Result<()> {
        transfer(buffers, at, |buffers, at| {
            // SAFETY: the buffers are guest memory, mapped for as long as the caller serves it; what the kernel writes
            // there is the guest's.
            match unsafe { libc::preadv(self.file.as_raw_fd(), buffers.as_ptr(), buffers.len() as i32, at) } {
                0 => {
                    for buffer in buffers {
                        // SAFETY: as above, and the guest's accesses at the same time see bytes, old or new.
                        unsafe { std::ptr::write_bytes(buffer.iov_base.cast::<u8>(), 0, buffer.iov_len) };
                    }
                    buffers.iter().map(|buffer| buffer.iov_len as isize).sum()
                }
                done => done,
            }
        })
    }

    /// Writes guest memory from the byte `at` on, for good if `durable`.
    pub fn write(&self, buffers: Vec<libc::iovec>, at: u64, durable: bool) -> Result<()> {
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        transfer(buffers, at, |buffers, at| {
            // SAFETY: the kernel reads guest memory, mapped for as long as the caller serves it.
            unsafe { libc::pwritev2(self.file.as_raw_fd(), buffers.as_ptr(), buffers.len() as i32, at, flags) }
        })
    }

    /// Makes what was written durable.
    pub fn flush(&self) -> Result<()> {
        match self.read_only {
            true => Ok(()),
            false => self.file.sync_data(),
        }
    }

    /// Gives the host the space of `range` back. A hint: a host that cannot has done its duty.
    pub fn discard(&self, range: Range<u64>) -> Result<()> {
        match self.allocate(libc::FALLOC_FL_PUNCH_HOLE, &range) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            outcome => outcome,
        }
    }

    /// Zeroes `range`; `unmap` allows to give its space back, which is done anyway where the file system has no other
    /// way to zero without writing.
    pub fn zero(&self, range: Range<u64>, unmap: bool) -> Result<()> {
        if !unmap {
            match self.allocate(libc::FALLOC_FL_ZERO_RANGE, &range) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                outcome => return outcome,
            }
        }
        self.allocate(libc::FALLOC_FL_PUNCH_HOLE, &range)
    }

    fn allocate(&self, mode: i32, range: &Range<u64>) -> Result<()> {
        let (offset, len) = (file_offset(range.start)?, file_offset(range.end - range.start)?);
        let mode = mode | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: no memory is involved.
        match unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, len) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    /// Logs a failure of the host's: each time that their number has doubled, as a full file system fails for ever.
    pub fn log(&self, error: &Error) {
        let count = self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if count.is_power_of_two() {
            log!("{}: {error} (failure {count})", self.name);
        }
    }
}

fn file_offset(at: u64) -> Result<i64> {
    i64::try_from(at).map_err(|_| Error::from(ErrorKind::InvalidInput))
}

/// Repeats a transfer until all of it is done: the kernel may stop early. `call` returns the bytes done, -1 for errno.
fn transfer(
    mut buffers: Vec<libc::iovec>,
    mut at: u64,
    mut call: impl FnMut(&[libc::iovec], i64) -> isize,
) -> Result<()> {
    let mut first = 0;
    while first < buffers.len() {
        let mut done = match usize::try_from(call(&buffers[first..], file_offset(at)?)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(done) => done,
            Err(_) => match Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => continue,
                error => return Err(error),
            },
        };
        at += done as u64;
        while let Some(buffer) = buffers.get_mut(first) {
            if done < buffer.iov_len {
                buffer.iov_base = buffer.iov_base.wrapping_byte_add(done);
                buffer.iov_len -= done;
                break;
            }
            done -= buffer.iov_len;
            first += 1;
        }
    }
    Ok(())
}
