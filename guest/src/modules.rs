//! Kernel modules that the host sent along: a distribution's kernel has as modules what ours have built in.

use anyhow::Context as _;
use mmtorture_protocol::MODULES_PATH;
use rustix::io::Errno;
use std::fs::{self, File};

/// Loads them in the order of their names, which is that of their dependencies. None is fine.
///
/// # Errors
/// The kernel refuses one.
pub fn load() -> anyhow::Result<()> {
    let Ok(folder) = fs::read_dir(MODULES_PATH) else { return Ok(()) };
    let mut paths = folder.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::system::finit_module(&file, c"", 0) {
            // Built in under another name, or loaded by the kernel itself meanwhile.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load {}", path.display())),
        }
    }
    Ok(())
}
