//! Files every page of which says which file and which page it is.

use crate::region::{PAGE, WORDS};
use crate::rng::mix;
use crate::window::Window;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;

/// What is wrong with a file.
#[derive(Debug)]
pub enum Wrong {
    /// It cannot be read.
    Errno(Errno),
    /// It is not what was written.
    Contents(String),
}

impl From<Errno> for Wrong {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Pages that are written or read in one call.
const CHUNK: usize = 16;

fn value(key: u64, page: usize) -> u64 {
    mix(key, page as u64) | 1
}

fn create(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(path, OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
}

/// Writes a file by write(2).
///
/// # Errors
/// Those of open(2) and write(2).
pub fn write(path: &Path, key: u64, pages: usize) -> Result<(), Errno> {
    let file = create(path)?;
    let mut chunk = vec![0u8; CHUNK * PAGE];
    for start in (0..pages).step_by(CHUNK) {
        let count = CHUNK.min(pages - start);
        for page in 0..count {
            let bytes = value(key, start + page).to_ne_bytes();
            chunk[page * PAGE..][..8].copy_from_slice(&bytes);
            chunk[(page + 1) * PAGE - 8..][..8].copy_from_slice(&bytes);
        }
        let mut rest = &chunk[..count * PAGE];
        while !rest.is_empty() {
            match rustix::io::write(&file, rest) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Writes a file through a shared mapping.
///
/// # Errors
/// Those of open(2), fallocate(2) and mmap(2). Its pages are allocated first: a file system without room says so, and
/// sends no SIGBUS.
pub fn write_mapped(path: &Path, key: u64, pages: usize) -> Result<(), Errno> {
    if pages == 0 {
        return create(path).map(|_| ());
    }
    let file = create(path)?;
    fs::fallocate(&file, fs::FallocateFlags::empty(), 0, (pages * PAGE) as u64)?;
    let window = Window::file(&file, 0, pages, 1)?;
    for page in 0..pages {
        [0, WORDS - 1].iter().for_each(|&word| window.word(page, word).store(value(key, page), Ordering::Relaxed));
    }
    Ok(())
}

/// Checks a file, every other page of it by read(2) and through a mapping.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, key: u64, pages: usize) -> Result<(), Wrong> {
    let file = fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let wrong = |page: usize, how: &str, found: [u64; 2]| {
        let wanted = value(key, page);
        if found == [wanted; 2] {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Err(Wrong::Contents(format!(
            "{name}, page {page} of {pages}, {how}: expected {wanted:#018x}, found {found:#018x?}"
        )))
    };
    let size = fs::fstat(&file)?.st_size;
    if size != (pages * PAGE) as i64 {
        return Err(Wrong::Contents(format!("{}: {size} bytes, not {}", path.display(), pages * PAGE)));
    }
    let window = if pages > 0 { Some(Window::file(&file, 0, pages, 1)?) } else { None };
    let mut bytes = [0u8; PAGE];
    for (page, window) in (0..pages).zip(window.iter().cycle()) {
        if page % 2 == 0 {
            wrong(page, "mapped", [0, WORDS - 1].map(|word| window.word(page, word).load(Ordering::Relaxed)))?;
        } else {
            let n = rustix::io::pread(&file, &mut bytes[..], (page * PAGE) as u64)?;
            let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
            wrong(page, "read", if n == PAGE { [word(0), word(PAGE - 8)] } else { [0, 0] })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_was_written_however_it_was() {
        let path = std::env::temp_dir().join(format!("torture-test-stamp-{}", std::process::id()));
        write(&path, 5, 37).unwrap();
        assert!(check(&path, 5, 37).is_ok());
        assert!(matches!(check(&path, 6, 37), Err(Wrong::Contents(detail)) if detail.contains("page 0 of 37, mapped")));
        assert!(matches!(check(&path, 5, 36), Err(Wrong::Contents(_))), "longer than it should be");
        write_mapped(&path, 7, 9).unwrap();
        assert!(check(&path, 7, 9).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(check(&path, 7, 9), Err(Wrong::Errno(Errno::NOENT))));
    }
}
