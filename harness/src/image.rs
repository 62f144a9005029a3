//! The guest's initramfs: a base archive with PID 1 and the workloads, kept in the cache, and after it a small archive
//! with the trial's request. The kernel unpacks concatenated archives in order.

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::Hasher;
use anyhow::Context;
use mmtorture_bootkit::cpio::Cpio;
use mmtorture_protocol::{Request, EXT4_PATH, REQUEST_PATH};
use std::path::{Path, PathBuf};

/// The folder of the cache that base archives are in.
pub const IMAGES: &str = "images";

/// The programs that are built beside this one: the guest's, and the machine.
#[derive(Debug, Clone)]
pub struct Programs {
    init: PathBuf,
    torture: PathBuf,
    vmm: PathBuf,
}

impl Programs {
    /// Looks for them beside the running program.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn find() -> Result<Self> {
        Self::beside(&std::env::current_exe().context("cannot tell where this program is")?)
    }

    /// Looks for them beside a program of ours.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn beside(program: &Path) -> Result<Self> {
        let here = program.parent().unwrap_or(Path::new("/"));
        let find = |name: &str| {
            let path = here.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Error::host(format!(
                "{} is missing: it stands beside mmtorture; `cargo build --release` makes them all",
                path.display()
            )))
        };
        Ok(Self { init: find("guest-init")?, torture: find("torture")?, vmm: find("mmtorture-vmm")? })
    }

    /// The workloads' program: it runs on the host as well.
    pub fn torture(&self) -> &Path {
        &self.torture
    }

    /// Our own virtual machine monitor.
    pub fn vmm(&self) -> &Path {
        &self.vmm
    }

    /// The base archive, in the cache.
    ///
    /// # Errors
    /// A program cannot be read or the archive cannot be written.
    pub fn base_archive(&self, cache: &Cache) -> Result<PathBuf> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let (init, torture) = (read(&self.init)?, read(&self.torture)?);
        let key = Hasher::new("image").field(&init).field(&torture).finish();
        let path = cache.path(IMAGES, &format!("{key}.cpio"));
        if !path.exists() {
            let mut cpio = Cpio::default();
            for folder in ["/dev", "/proc", "/sys", "/tmp", "/bin"] {
                cpio.directory(folder);
            }
            // The kernel opens /dev/console for PID 1 before anything is mounted, and devtmpfs does not mount itself
            // in an initramfs. The event port is there for the same reason: hello comes before the first mount.
            cpio.device("/dev/console", 5, 1);
            cpio.device("/dev/ttyS1", 4, 65);
            cpio.program("/init", &init);
            cpio.program("/bin/torture", &torture);
            files::create_dir(&cache.root().join(IMAGES))?;
            files::write(&path, &cpio.finish())?;
        }
        cache.used(IMAGES, &format!("{key}.cpio"));
        Ok(path)
    }
}

/// Writes the initramfs of one trial to `path`; `modules` is an archive with a kernel's, `ext4` a packed file system.
///
/// # Errors
/// An archive cannot be read, or `path` cannot be written.
pub fn write_initramfs(
    path: &Path,
    base: &Path,
    modules: Option<&Path>,
    request: &Request,
    ext4: Option<&[u8]>,
) -> Result<()> {
    let mut bytes = Vec::new();
    for archive in [Some(base), modules].into_iter().flatten() {
        bytes.extend(std::fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?);
    }
    let mut cpio = Cpio::default();
    let text = serde_json::to_vec(request).context("a request is JSON")?;
    cpio.file(REQUEST_PATH, &text);
    ext4.iter().for_each(|packed| cpio.file(EXT4_PATH, packed));
    bytes.extend_from_slice(&cpio.finish());
    Ok(files::write(path, &bytes)?)
}
