//! Compressed files: written whole or not at all, read whether they are compressed or not.

use crate::interrupt::Interrupt;
use anyhow::{ensure, Result};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{compress, CompressionLevel};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Chain, Cursor, Read, Write};
use std::path::Path;

/// How a frame begins (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// A frame of nothing: a header without checksum and content size, the smallest window, one empty raw block, the last.
const EMPTY: [u8; 9] = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], 0, 0, 1, 0, 0];

/// Compresses `source` to `path`; the bytes that it has, and those that `path` has then. They are on the disk when this
/// comes back, so that the source may be removed.
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
    let file = drain.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok((source.count, drain.count))
}

/// A stream as it is, or what it was before it was compressed: frame after frame, as `zstd` and `pzstd` write them.
pub struct Reader<R: Read> {
    source: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    /// `None` where it is not compressed.
    decoder: Option<Box<FrameDecoder>>,
}

impl<R: Read> Reader<R> {
    /// Which of them `source` is its first bytes tell.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut head = Vec::new();
        source.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head)?;
        let decoder = if head == MAGIC { Some(Box::new(decoder()?)) } else { None };
        Ok(Self { source: BufReader::with_capacity(1 << 16, Cursor::new(head).chain(source)), decoder })
    }
}

/// The library bounds the window, and so its memory, of every frame but the first that a decoder sees.
fn decoder() -> io::Result<FrameDecoder> {
    let mut decoder = FrameDecoder::new();
    let mut empty = &EMPTY[..];
    decoder.init(&mut empty).map_err(|e| damaged(&e))?;
    decoder.decode_blocks(&mut empty, BlockDecodingStrategy::All).map_err(|e| damaged(&e))?;
    Ok(decoder)
}

fn damaged(e: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged zstd data: {e}"))
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return self.source.read(buffer) };
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if decoder.can_collect() > 0 {
                return decoder.read(buffer);
            }
            if !decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                decoder.decode_blocks(&mut self.source, some).map_err(|e| damaged(&e))?;
                continue;
            }
            let sum = decoder.get_checksum_from_data();
            if sum.is_some() && sum != decoder.get_calculated_checksum() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged zstd data: wrong checksum"));
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match decoder.reset(&mut self.source) {
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                reset => reset.map_err(|e| damaged(&e))?,
            }
        }
    }
}

/// A stream for the compressor, which panics where one fails: this one notes the failure, and goes on as if at its end.
struct Latch<'a, T> {
    inner: T,
    interrupt: &'a Interrupt,
    /// Bytes that went through.
    count: u64,
    failed: Option<io::Error>,
}

impl<'a, T> Latch<'a, T> {
    fn new(inner: T, interrupt: &'a Interrupt) -> Self {
        Self { inner, interrupt, count: 0, failed: None }
    }

    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn note(&mut self, result: io::Result<usize>) -> Option<usize> {
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
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_set() {
            self.failed.get_or_insert_with(|| io::Error::other("interrupted"));
        }
        if self.failed.is_some() {
            return Ok(0);
        }
        let result = loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        Ok(self.note(result).unwrap_or(0))
    }
}

impl<T: Write> Write for Latch<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Ok(bytes.len());
        }
        let result = self.inner.write_all(bytes).map(|()| bytes.len());
        Ok(self.note(result).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Reader::new(bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_what_was_written(bytes: Vec<u8>, times in 0..9usize, more: Vec<u8>) {
            let long = bytes.repeat(1 + times * 999);
            let both = [long.clone(), more.clone()].concat();
            assert_eq!(read(&packed(&long)).unwrap(), long);
            let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
            assert_eq!(read(&[packed(&long), skipped, packed(&more)].concat()).unwrap(), both, "frame after frame");
            // Nobody's log begins like a frame.
            if !more.starts_with(&MAGIC) {
                assert_eq!(read(&more).unwrap(), more, "not compressed");
            }
        }

        #[test]
        fn what_is_torn_is_an_error_and_what_is_hostile_no_panic(at: proptest::sample::Index, with: u8) {
            let whole = packed(&b"a console that goes on for a while ".repeat(99));
            let at = at.index(whole.len() - MAGIC.len()) + MAGIC.len();
            assert!(read(&whole[..at]).is_err(), "torn at {at}");
            let mut other = whole.clone();
            other[at] = with;
            if let Ok(bytes) = read(&other) {
                assert!(other == whole || bytes == read(&whole).unwrap(), "the checksum tells");
            }
            assert!(read(&[&whole[..], b"and more"].concat()).is_err());
        }
    }

    #[test]
    fn a_window_that_takes_much_memory_is_refused() {
        // Window descriptors of 128 MiB, which the library does not refuse of a decoder's first frame, and of terabytes;
        // then a block that is repeated for as long.
        for window in [0x88, 0xff] {
            let bomb = [&MAGIC[..], &[0, window, 0x02, 0x00, 0x10, 0]].concat();
            let e = read(&bomb).unwrap_err();
            assert!(e.kind() == io::ErrorKind::InvalidData && e.to_string().to_lowercase().contains("window"), "{e}");
        }
    }

    #[test]
    fn a_disk_that_runs_full_is_an_error_and_no_panic() {
        let interrupt = Interrupt::default();
        let mut full = Latch::new(File::options().write(true).open("/dev/full").unwrap(), &interrupt);
        compress(&[7_u8; 1 << 20][..], &mut full, CompressionLevel::Fastest);
        assert_eq!(full.check().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
