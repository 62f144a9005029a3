//! Kernel modules and the order in which they load.
//!
//! depmod(8) makes that order when a kernel package is installed; ours never is, so it is read off the modules.

use crate::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// A module, read.
#[derive(Debug)]
pub struct Module {
    /// Its name as the kernel has it.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
}

/// The modules below `folder` that `wanted` come to with all that they depend on, dependencies first.
///
/// # Errors
/// One of them is not there, or cannot be read.
pub fn load(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>, Error> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut modules = Vec::new();
    for name in wanted {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    let failed = |e| Error::failed(format!("cannot read {}: {e}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            files.insert(kernel_name(&name), path);
        }
    }
    Ok(())
}

/// Depth first. The build refuses circular dependencies (depmod would, too), so this ends.
fn add(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<(), Error> {
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let path = files.get(name).ok_or_else(|| Error::failed(format!("the kernel package has no module {name}")))?;
    let object = std::fs::read(path).map_err(|e| Error::failed(format!("cannot read {}: {e}", path.display())))?;
    for dependency in depends(&object) {
        add(&dependency, files, modules)?;
    }
    modules.push(Module { name: name.to_owned(), object });
    Ok(())
}

/// The entry `depends=` of a module's `.modinfo` section, which is a row of NUL-terminated `key=value` strings. modpost
/// writes one into every module.
fn depends(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = object.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = object[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(kernel_name).collect()
}

/// File names may have dashes where the kernel's names have underscores (`kvm-amd.ko` is `kvm_amd`).
fn kernel_name(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        for (file, info) in [
            ("deep/kvm-amd.ko", "ELF\0license=GPL\0depends=kvm,crypto-ccp\0name=kvm_amd\0"),
            ("kvm.ko", "ELF\0depends=irqbypass\0"),
            ("crypto-ccp.ko", "ELF\0depends=\0"),
            ("irqbypass.ko", "no such entry"),
            ("other.ko", "ELF\0depends=\0"),
        ] {
            std::fs::write(dir.path().join(file), info).unwrap();
        }
        let names =
            |wanted| load(dir.path(), wanted).map(|modules| modules.into_iter().map(|m| m.name).collect::<Vec<_>>());
        assert_eq!(names(&["kvm", "kvm_amd"]).unwrap(), ["irqbypass", "kvm", "crypto_ccp", "kvm_amd"]);
        assert!(names(&["kvm_intel"]).unwrap_err().to_string().contains("no module kvm_intel"));
    }
}
