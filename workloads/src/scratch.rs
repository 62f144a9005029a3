//! Where the files of workloads are.
//!
//! The folder that the user names; else, on a machine that exists to be tortured, a tmpfs of this process's own with
//! huge pages as the machine's THP setting has them; else no folder, and files are memfds.

use crate::region::PAGE;
use rustix::fs::{self, FallocateFlags, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What statfs(2) says of a tmpfs (linux/magic.h).
const TMPFS_MAGIC: fs::FsWord = 0x0102_1994;

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scratch {
    folder: Option<PathBuf>,
    /// Whether that is on a file system with a disk below it.
    on_disk: bool,
}

impl Scratch {
    /// The folder that the user named.
    ///
    /// # Errors
    /// One line, if it is no folder that can be written to.
    pub fn given(folder: &Path) -> Result<Self, String> {
        let refused = |error: Errno| format!("--scratch {}: {error}; expected a folder to write to", folder.display());
        let opened = fs::open(folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(refused)?;
        fs::accessat(&opened, ".", fs::Access::WRITE_OK, fs::AtFlags::empty()).map_err(refused)?;
        let on_disk = fs::fstatfs(&opened).is_ok_and(|system| system.f_type != TMPFS_MAGIC);
        Ok(Self { folder: Some(folder.to_owned()), on_disk })
    }

    /// A tmpfs of `bytes` in a mount namespace of this process's own; no folder where that is not permitted.
    pub fn own(bytes: u64) -> Self {
        Self { folder: mount_own(bytes), on_disk: false }
    }

    /// Mounts a tmpfs of `bytes` on a folder, with huge pages as the machine's THP setting has them; `None` where that is
    /// not permitted.
    pub fn mount(at: &Path, bytes: u64) -> Option<()> {
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let huge = match mmtorture_protocol::Shows::Bracketed.current(&enabled) {
            Some("always") => ",huge=always",
            Some("madvise") => ",huge=advise",
            _ => "",
        };
        let options = CString::new(format!("size={bytes}{huge}")).ok()?;
        rustix::mount::mount("torture", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).ok()
    }

    /// The folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// A folder for files with names, which nobody has made yet; of this process and those that it forks. Without a folder of
    /// our own it is one in the system's for temporary files.
    pub fn tree(&self) -> PathBuf {
        let below = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        below.join(format!("torture-tree-{}", std::process::id()))
    }

    /// Removes what is left of [`Self::tree`].
    pub fn fell(&self) {
        let _ = std::fs::remove_dir_all(self.tree());
    }

    /// Removes what is left of [`Self::tree`], and the mount point of [`Self::own`].
    pub fn clean(&self) {
        self.fell();
        if let Some(folder) = self.folder.as_ref().filter(|folder| **folder == own_folder()) {
            let _ = rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH);
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// What it is, for people.
    pub fn says(&self) -> String {
        match &self.folder {
            Some(folder) if self.on_disk => format!("files are in {} and, every other one, memfds", folder.display()),
            Some(folder) => format!("files are in {}", folder.display()),
            None => "files are memfds".to_owned(),
        }
    }

    /// Whether it is the root of a tmpfs whose files are to have huge pages.
    pub fn huge(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        self.folder.as_ref().and_then(|folder| folder.to_str()).is_some_and(|folder| huge(&mounts, folder))
    }

    /// Whether it is on a file system with a disk below it, where nobody meets shmem.
    pub fn on_disk(&self) -> bool {
        self.on_disk
    }

    /// A new file of `pages` pages without a name, in the folder unless it is to be a memfd.
    ///
    /// # Errors
    /// Those of open(2), memfd_create(2) and ftruncate(2).
    pub fn file(&self, pages: usize, memfd: bool) -> Result<OwnedFd, Errno> {
        let file = match self.folder.as_ref().filter(|_| !memfd) {
            None => fs::memfd_create("torture", MemfdFlags::CLOEXEC)?,
            Some(folder) => {
                let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
                match fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
                    // Not every file system has files without names.
                    Err(Errno::OPNOTSUPP | Errno::ISDIR) => named_and_unlinked(folder)?,
                    result => result?,
                }
            }
        };
        fs::ftruncate(&file, (pages * PAGE) as u64)?;
        Ok(file)
    }
}

fn named_and_unlinked(folder: &Path) -> Result<OwnedFd, Errno> {
    let path = folder.join(format!("torture-file-{}", std::process::id()));
    let file =
        fs::open(&path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    fs::unlink(&path)?;
    Ok(file)
}

/// Whether what was mounted last on `folder` is a tmpfs with huge pages, by /proc/mounts.
fn huge(mounts: &str, folder: &str) -> bool {
    let last =
        mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<_>>()).find(|line| line.get(1) == Some(&folder));
    let option =
        |line: &[&str]| line.get(3)?.split(',').find_map(|option| option.strip_prefix("huge=")).map(str::to_owned);
    last.is_some_and(|line| line.get(2) == Some(&"tmpfs") && option(&line).is_some_and(|huge| huge != "never"))
}

/// Punches a hole into `file`, whose size stays as it is.
///
/// # Errors
/// EOPNOTSUPP where the file system cannot.
pub fn punch(file: impl AsFd, pages: Range<usize>) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fs::fallocate(file, flags, (pages.start * PAGE) as u64, (pages.len() * PAGE) as u64)
}

fn own_folder() -> PathBuf {
    std::env::temp_dir().join(format!("torture-{}", std::process::id()))
}

fn mount_own(bytes: u64) -> Option<PathBuf> {
    let at = own_folder();
    // SAFETY: only the mount namespace is unshared, which changes nothing that Rust relies on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.ok()?;
    // Or the host would see the mount all the same.
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).ok()?;
    std::fs::create_dir_all(&at).ok()?;
    Scratch::mount(&at, bytes)?;
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_size_wherever_it_is() {
        let folder = Scratch::given(&std::env::temp_dir()).unwrap();
        for (scratch, memfd) in [(Scratch::default(), false), (folder.clone(), false), (folder, true)] {
            let file = scratch.file(3, memfd).unwrap();
            assert_eq!(fs::fstat(&file).unwrap().st_size, 3 * PAGE as i64, "{}", scratch.says());
        }
    }

    #[test]
    fn huge_pages_are_what_the_last_mount_says() {
        let mounts = "tmpfs /tmp tmpfs rw,huge=always 0 0\ntmpfs /a tmpfs rw,size=4k,huge=within_size 0 0\n\
                      tmpfs /b tmpfs rw,huge=never 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vda /c ext4 rw 0 0\n";
        let found = ["/tmp", "/a", "/b", "/c", "/d"].map(|folder| huge(mounts, folder));
        assert_eq!(found, [false, true, false, false, false]);
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let error = Scratch::given(Path::new("/nowhere")).unwrap_err();
        assert!(error.contains("/nowhere: ") && error.contains("expected a folder"), "{error}");
        assert!(Scratch::given(Path::new("/proc/self/exe")).is_err());
    }
}
