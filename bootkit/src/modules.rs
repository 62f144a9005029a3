//! Kernel modules and the order in which they load.
//!
//! depmod(8) makes that order when a kernel package is installed; ours never is, so it is read off the modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a distribution may pack its modules, and what unpacks them to stdout.
const PACKED: &[(&str, &[&str])] =
    &[(".ko", &[]), (".ko.xz", &["xz", "-dc"]), (".ko.zst", &["zstd", "-dqc"]), (".ko.gz", &["gzip", "-dc"])];

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
/// One of them is not there, or cannot be read; the text says which.
pub fn load(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>, String> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut modules = Vec::new();
    for name in wanted {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

/// [`load`] of those of `wanted` that are there: what is not may be built in.
///
/// # Errors
/// One that is there, or one that it depends on, cannot be read.
pub fn load_any(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>, String> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut modules = Vec::new();
    for name in wanted.iter().filter(|name| files.contains_key(**name)) {
        add(name, &files, &mut modules)?;
    }
    Ok(modules)
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), String> {
    let failed = |e| format!("cannot read {}: {e}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Not through links: /lib/modules/VERSION/source leads to a whole kernel tree.
        if entry.file_type().map_err(failed)?.is_dir() {
            find(&path, files)?;
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = PACKED.iter().find_map(|(suffix, _)| name.strip_suffix(suffix)) {
            files.insert(kernel_name(name), path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.to_string_lossy();
    let unpack = PACKED.iter().rev().find(|(suffix, _)| name.ends_with(suffix)).map_or(&[][..], |(_, unpack)| *unpack);
    let failed = |e: &dyn std::fmt::Display| format!("cannot read {}: {e}", path.display());
    let [tool, options @ ..] = unpack else { return std::fs::read(path).map_err(|e| failed(&e)) };
    let output = Command::new(tool).args(options).arg(path).stdin(Stdio::null()).output();
    let output = output.map_err(|e| failed(&format!("{tool}: {e}")))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Depth first. The build refuses circular dependencies (depmod would, too), so this ends.
fn add(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<(), String> {
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let path = files.get(name).ok_or_else(|| format!("there is no module {name}"))?;
    let object = read(path)?;
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
        let there = load_any(dir.path(), &["kvm_intel", "other"]).unwrap();
        assert_eq!(there.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["other"]);
        assert!(names(&["kvm_intel"]).unwrap_err().contains("no module kvm_intel"));
    }
}
