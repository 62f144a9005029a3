//! The outer guest's initramfs: our PID 1, the modules, and what it is to do with them.

use crate::package::{self, Kernel, WANTED};
use crate::wire::{Module, Setup, SETUP_PATH, VERSION};
use crate::Error;
use mmtorture_bootkit::cpio::Cpio;
use mmtorture_bootkit::modules;
use std::path::{Path, PathBuf};

/// 9p mount tag of the host's root.
pub const ROOT_TAG: &str = "root";

/// 9p mount tag of a read-write folder.
pub fn share_tag(index: usize) -> String {
    format!("share{index}")
}

/// The archive.
///
/// # Errors
/// PID 1 or a module cannot be read, or a share's path is not UTF-8.
pub fn initramfs(kernel: &Kernel, init: &Path, shares: &[PathBuf]) -> Result<Vec<u8>, Error> {
    let init = std::fs::read(init).map_err(|e| Error::failed(format!("cannot read {}: {e}", init.display())))?;
    let modules = modules::load(&kernel.modules(), WANTED).map_err(Error::Failed)?;
    let mut cpio = Cpio::default();
    for folder in ["/dev", "/host", "/upper", "/root", "/modules"] {
        cpio.directory(folder);
    }
    // The kernel opens it for PID 1 before devtmpfs is mounted.
    cpio.device("/dev/console", 5, 1);
    cpio.program("/init", &init);
    let mut setup = Setup { version: VERSION, modules: Vec::new(), root: ROOT_TAG.to_owned(), shares: Vec::new() };
    for module in modules {
        let path = format!("/modules/{}.ko", module.name);
        cpio.file(&path, &module.object);
        let parameters = package::parameters(&module.name).to_owned();
        setup.modules.push(Module { path, parameters });
    }
    for (index, share) in shares.iter().enumerate() {
        let path = share.to_str().ok_or_else(|| Error::failed(format!("{} is not UTF-8", share.display())))?;
        setup.shares.push((share_tag(index), path.to_owned()));
    }
    let setup = serde_json::to_vec(&setup).map_err(|e| Error::failed(e.to_string()))?;
    cpio.file(SETUP_PATH, &setup);
    Ok(cpio.finish())
}
