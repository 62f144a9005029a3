//! The root file system of a suite, and what is mounted on it.

use crate::job::Ask;
use crate::scratch::Scratch;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Where programs of the suite have their files, as they see it.
pub const TMP: &str = "/tmp";

/// A root, in a mount namespace of this process's own.
#[derive(Debug, Clone)]
pub struct Root {
    /// Where it is; `None` for the machine's own.
    at: Option<PathBuf>,
    /// The folder that is [`TMP`] in it.
    tmp: PathBuf,
}

impl Root {
    /// The root that is asked for, with the machine's file systems on it; or else the machine's own root.
    ///
    /// # Errors
    /// One line: there is none, or nothing may be mounted on it.
    pub fn enter(ask: &Ask) -> Result<Self, String> {
        let tmp = ask.scratch.folder().map_or_else(std::env::temp_dir, Path::to_owned);
        let Some(at) = &ask.root else { return Ok(Self { at: None, tmp }) };
        let refused = |what: &str, error: rustix::io::Errno| format!("--root {}: {what}: {error}", at.display());
        // SAFETY: only the mount namespace is unshared, which changes nothing that Rust relies on.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(|e| refused("cannot mount", e))?;
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|e| refused("cannot mount", e))?;
        for folder in ["dev", "proc", "sys"] {
            rustix::mount::mount_bind_recursive(Path::new("/").join(folder), at.join(folder))
                .map_err(|e| refused(folder, e))?;
        }
        rustix::mount::mount_bind(&tmp, at.join("tmp")).map_err(|e| refused("tmp", e))?;
        // POSIX shared memory. A guest's /dev has none.
        if !Path::new("/dev/shm").exists() && std::fs::create_dir("/dev/shm").is_ok() {
            let options = CString::new("mode=1777").map_err(|e| e.to_string())?;
            rustix::mount::mount("shm", at.join("dev/shm"), "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
                .map_err(|e| refused("dev/shm", e))?;
        }
        Ok(Self { at: Some(at.clone()), tmp })
    }

    /// Where it is, unless it is the machine's own.
    pub fn at(&self) -> Option<&Path> {
        self.at.as_deref()
    }

    /// The folder that is [`TMP`] in it.
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// A path of the root's, as this process sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        match &self.at {
            Some(at) => at.join(inside.trim_start_matches('/')),
            None => PathBuf::from(inside),
        }
    }

    /// A tmpfs on a new folder of [`TMP`], with huge pages as the machine's setting has them; the folder, as this process
    /// sees it.
    pub fn tmpfs(&self, name: &str, bytes: u64) -> Option<PathBuf> {
        let at = self.path(&format!("{TMP}/{name}"));
        std::fs::create_dir_all(&at).ok()?;
        Scratch::mount(&at, bytes)?;
        Some(at)
    }
}
