//! The outer guest's kernel: Debian's stock one, out of its package, in the cache, never installed.
//!
//! ```text
//! $XDG_CACHE_HOME/mmtorture/testbed/PACKAGE_VERSION_ARCH/vmlinuz
//!                                                       /modules/*.ko    the bed's and a guest's, no others
//! ```
//!
//! Not the cloud flavour, which is smaller but has no 9p.

use crate::Error;
use mmtorture_bootkit::{debian, modules};
use std::path::{Path, PathBuf};

/// The package that depends on the current kernel's.
const META_PACKAGE: &str = "linux-image-amd64";

/// What the guest needs beyond what Debian builds in: the bus, the port, the host's files, room to write over them, KVM.
pub const WANTED: &[&str] = &["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "virtio_rng", "kvm_amd"];

/// Module parameters that are not the kernel's defaults.
///
/// Without nested paging KVM keeps shadow page tables. TCG's emulation of nested paging (QEMU 7.2, 10.0 and 11.1) loses
/// guests, ours and QEMU's alike: docs/testbed.md has the counts.
const PARAMETERS: &[(&str, &str)] = &[("kvm_amd", "npt=0")];

/// The parameters that the module called `name` is loaded with, as `insmod` takes them.
pub fn parameters(name: &str) -> &'static str {
    PARAMETERS.iter().find(|(module, _)| *module == name).map_or("", |(_, parameters)| parameters)
}

/// What a guest of mmtorture's needs to swap, where it runs this kernel.
const FOR_GUESTS: &[&str] = &["zram"];

/// A kernel with the modules that the bed needs.
#[derive(Debug, Clone)]
pub struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// The newest that the cache has.
    ///
    /// # Errors
    /// [`Error::Missing`]: there is none.
    pub fn find() -> Result<Self, Error> {
        let cache = cache()?;
        let mut found: Vec<_> = std::fs::read_dir(&cache)
            .map(|entries| entries.filter_map(|entry| Self::at(entry.ok()?.path())).collect())
            .unwrap_or_default();
        found.sort();
        let (_, newest) = found.pop().ok_or_else(|| {
            Error::missing(format!("no kernel for the testbed in {}; `testbed fetch` gets one", cache.display()))
        })?;
        Ok(Self { folder: newest })
    }

    /// The one in the cache, or else the one that apt-get downloads now. `say` is told what is going on.
    ///
    /// # Errors
    /// [`Error::Missing`]: this is no Debian, or offline. [`Error::Failed`]: the package is not as expected, or the
    /// cache cannot be written.
    pub fn fetch(mut say: impl FnMut(&str)) -> Result<Self, Error> {
        if let Ok(kernel) = Self::find() {
            return Ok(kernel);
        }
        let cache = cache()?;
        let failed = |e: std::io::Error| Error::failed(format!("cannot write {}: {e}", cache.display()));
        std::fs::create_dir_all(&cache).map_err(failed)?;
        let depends = debian::depends(META_PACKAGE)?;
        let package = package_of(&depends).ok_or_else(|| {
            Error::missing(format!(
                "apt-cache knows no kernel that {META_PACKAGE} depends on; `apt-get update` may help"
            ))
        })?;
        say(&format!("downloading {package} for the testbed (70 MB)"));
        // Beside its final place, so that the last step is a rename: a fetch that was interrupted leaves no half kernel.
        let work = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&cache).map_err(failed)?;
        let archive = debian::download(package, work.path())?;
        let tree = work.path().join("tree");
        debian::unpack(&archive, &tree)?;

        let new = work.path().join("new");
        std::fs::create_dir_all(new.join("modules")).map_err(failed)?;
        let kept = [WANTED, FOR_GUESTS].concat();
        for module in modules::load(&tree.join("lib/modules"), &kept).map_err(Error::Failed)? {
            let path = new.join("modules").join(format!("{}.ko", module.name));
            std::fs::write(path, module.object).map_err(failed)?;
        }
        std::fs::copy(only_entry(&tree.join("boot"), "vmlinuz-", "")?, new.join("vmlinuz")).map_err(failed)?;
        let folder = cache.join(archive.file_stem().unwrap_or_default());
        // Left over from a build that wanted fewer modules, or made by another fetch in the meantime.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&new, &folder).map_err(failed)?;
        Self::find()
    }

    /// The bzImage.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The folder of its modules.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }

    /// When it was fetched, and where it is; `None` if this is none, or lacks a module that is wanted by now.
    fn at(folder: PathBuf) -> Option<(std::time::SystemTime, PathBuf)> {
        let hidden = folder.file_name()?.to_string_lossy().starts_with('.');
        let whole =
            WANTED.iter().chain(FOR_GUESTS).all(|name| folder.join("modules").join(format!("{name}.ko")).is_file());
        let time = folder.join("vmlinuz").metadata().ok()?.modified().ok()?;
        (!hidden && whole).then_some((time, folder))
    }
}

fn cache() -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let base = base.ok_or_else(|| Error::missing("neither XDG_CACHE_HOME nor HOME is an absolute path"))?;
    Ok(base.join("mmtorture/testbed"))
}

/// The kernel's package among those that the other one depends on.
fn package_of(depends: &[String]) -> Option<&str> {
    depends.iter().map(String::as_str).find(|name| name.starts_with("linux-image-"))
}

fn only_entry(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf, Error> {
    let entries =
        std::fs::read_dir(folder).map_err(|e| Error::failed(format!("cannot read {}: {e}", folder.display())))?;
    let fits = |name: &str| name.starts_with(prefix) && name.ends_with(suffix);
    let mut paths = entries.filter_map(|e| e.ok().map(|e| e.path()));
    paths
        .find(|path| path.file_name().is_some_and(|name| fits(&name.to_string_lossy())))
        .ok_or_else(|| Error::failed(format!("{} has no {prefix}*{suffix}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_meta_package_depends_on() {
        let depends = ["linux-base", "linux-image-6.1.0-56-amd64"].map(str::to_owned);
        assert_eq!(package_of(&depends), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(package_of(&depends[..1]), None);
    }
}
