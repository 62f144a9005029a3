//! Compressed files, there whole or not at all.

use crate::interrupt::Interrupt;
use anyhow::{ensure, Result};
use ruzstd::encoding::{compress, CompressionLevel};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Compresses `source` to `path`; the bytes that it has, and those that `path` has then.
///
/// # Errors
/// Either fails, the source changes meanwhile, or a signal came; `path` is then as it was.
pub fn write(source: &File, path: &Path, interrupt: &Interrupt) -> Result<(u64, u64)> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let size = source.metadata()?.len();
    let mut source = Latch::new(BufReader::with_capacity(1 << 20, source), interrupt);
    let file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    let mut drain = Latch::new(BufWriter::with_capacity(1 << 20, file), interrupt);
    compress(&mut source, &mut drain, CompressionLevel::Fastest);
    source.check()?;
    drain.check()?;
    ensure!(source.count == size, "it changed while it was read");
    let file = drain.inner.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.persist(path)?;
    Ok((source.count, drain.count))
}

/// A stream for the compressor, which panics where one fails: this one notes the failure, and goes on as if at its end.
struct Latch<'a, T> {
    inner: T,
    interrupt: &'a Interrupt,
    /// Bytes that went through.
    count: u64,
    failed: Option<std::io::Error>,
}

impl<'a, T> Latch<'a, T> {
    fn new(inner: T, interrupt: &'a Interrupt) -> Self {
        Self { inner, interrupt, count: 0, failed: None }
    }

    fn check(&mut self) -> std::io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn note(&mut self, result: std::io::Result<usize>) -> Option<usize> {
        match result {
            Ok(n) => {
                self.count += n as u64;
                Some(n)
            }
            Err(e) => {
                self.failed.get_or_insert(e);
                None
            }
        }
    }
}

impl<T: Read> Read for Latch<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.interrupt.is_set() {
            self.failed.get_or_insert_with(|| std::io::Error::other("interrupted"));
        }
        if self.failed.is_some() {
            return Ok(0);
        }
        let result = loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        Ok(self.note(result).unwrap_or(0))
    }
}

impl<T: Write> Write for Latch<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.failed.is_some() {
            return Ok(bytes.len());
        }
        let result = self.inner.write_all(bytes).map(|()| bytes.len());
        Ok(self.note(result).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_runs_full_is_an_error_and_no_panic() {
        let interrupt = Interrupt::default();
        let mut full = Latch::new(File::options().write(true).open("/dev/full").unwrap(), &interrupt);
        compress(&[7_u8; 1 << 20][..], &mut full, CompressionLevel::Fastest);
        assert_eq!(full.check().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}
