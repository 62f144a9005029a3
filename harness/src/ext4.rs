//! ext4 file systems in sparse files, made without a mount or a privilege.

use crate::error::{Error, Result};
use crate::process;
use anyhow::Context;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// How the name of a disk ends.
pub const DISK: &str = ".img";

/// Every file system's name and its hash's seed, so that the same trial has the same.
const ID: &str = "6d6d746f-7274-7572-652d-657874342d31";

/// An empty sparse file in `dir`.
///
/// # Errors
/// It cannot be made.
pub fn sparse(dir: &Path, prefix: &str, mib: u64) -> Result<NamedTempFile> {
    let context = || format!("cannot make a disk of {mib} MiB in {}", dir.display());
    let file = tempfile::Builder::new().prefix(prefix).suffix(DISK).tempfile_in(dir).with_context(context)?;
    file.as_file().set_len(mib << 20).with_context(context)?;
    Ok(file)
}

/// An ext4 file system in a sparse file in `dir`.
///
/// # Errors
/// It cannot be made, or mke2fs is missing.
pub fn ext4(dir: &Path, prefix: &str, mib: u64) -> Result<NamedTempFile> {
    let file = sparse(dir, prefix, mib)?;
    process::output(command(file.path(), &[])?)?;
    Ok(file)
}

/// An ext4 file system at `image` with all that is in `folder`, for reading only: without a journal, and hardly larger than
/// what is in it.
///
/// # Errors
/// As [`ext4()`].
pub fn from_folder(folder: &Path, image: &Path) -> Result<()> {
    let (bytes, files) = measure(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    // A block for each file's last part and an inode each; and what the file system takes for itself.
    let mib = (bytes + files * (4096 + 256)) / (1 << 20) * 11 / 10 + 16;
    let context = || format!("cannot make {} of {mib} MiB", image.display());
    let file = std::fs::File::create(image).with_context(context)?;
    file.set_len(mib << 20).with_context(context)?;
    let inodes = (files + files / 10 + 64).to_string();
    let folder = folder.to_string_lossy();
    process::output(command(image, &["-O", "^has_journal", "-N", &inodes, "-d", &folder])?)?;
    Ok(())
}

fn command(image: &Path, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(mke2fs()?);
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-U", ID, "-E"]);
    command.arg(format!("hash_seed={ID},nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"));
    command.args(more).arg(image);
    Ok(command)
}

/// mke2fs stands where an ordinary user's PATH does not lead.
///
/// # Errors
/// There is none.
pub fn mke2fs() -> Result<&'static Path> {
    let places = ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs", "/usr/local/sbin/mke2fs"];
    places.into_iter().map(Path::new).find(|path| path.is_file()).ok_or_else(|| {
        Error::host(
            "mke2fs is missing, which makes ext4 file systems: install e2fsprogs (`make setup` does)".to_owned(),
        )
    })
}

/// Bytes and files below `folder`, folders and links included.
fn measure(folder: &Path) -> std::io::Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 1);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            let (b, f) = measure(&entry.path())?;
            (bytes, files) = (bytes + b, files + f);
        } else {
            (bytes, files) = (bytes + meta.len(), files + 1);
        }
    }
    Ok((bytes, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_an_image_that_has_its_files() {
        if mke2fs().is_err() {
            eprintln!("skipped: mke2fs is not installed (`make setup` installs it)");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("root");
        std::fs::create_dir_all(folder.join("usr/bin")).unwrap();
        std::fs::write(folder.join("usr/bin/tool"), vec![b'x'; 3 << 20]).unwrap();
        (0..500).for_each(|n| std::fs::write(folder.join(format!("header-{n}")), "small").unwrap());
        let image = dir.path().join("root.img");
        from_folder(&folder, &image).unwrap();
        let debugfs = Path::new("/usr/sbin/debugfs");
        if debugfs.exists() {
            let mut command = Command::new(debugfs);
            command.args(["-R", "cat header-499"]).arg(&image);
            assert_eq!(process::output(command).unwrap(), "small");
        }
        assert!(std::fs::metadata(&image).unwrap().len() < 32 << 20);
    }
}
