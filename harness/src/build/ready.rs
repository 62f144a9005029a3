//! A kernel that somebody else built: an image, maybe with its vmlinux, maybe with its modules. Nothing is built.
//!
//! All of it is copied, so that a run can be looked at, and replayed, when the distribution has moved on.

use super::kernel::{Kernel, Meta, IMAGE, META, MODULES, VMLINUX};
use super::{copy, header, source};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::Hasher;
use crate::interrupt::Interrupt;
use crate::matrix::source::SourceSpec;
use crate::plan::Recipe;
use memchr::memmem;
use mmtorture_bootkit::cpio::Cpio;
use mmtorture_bootkit::modules;
use mmtorture_protocol::MODULES_PATH;
use std::path::{Path, PathBuf};

/// What guests use that a distribution may build as modules: swap on zram and its usual compressor, which the kernel
/// asks for by name and so is no dependency of zram's; disks; file systems on them.
const WANTED: &[&str] =
    &["lzo_rle", "zram", "virtio_pci", "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "loop"];

/// What a recipe for an image names, where it is.
struct Paths {
    image: PathBuf,
    vmlinux: Option<PathBuf>,
    modules: Option<PathBuf>,
}

impl Paths {
    fn new(recipe: &Recipe) -> Result<Self> {
        let SourceSpec::Image(image) = &recipe.kernel.source else {
            return Err(Error::request(format!("{} is no image", recipe.kernel.source)));
        };
        let at = |path: &PathBuf| files::resolve(&recipe.here, path);
        let this = Self {
            image: at(image),
            vmlinux: recipe.kernel.vmlinux.as_ref().map(at),
            modules: recipe.kernel.modules.as_ref().map(at),
        };
        let there = |key, path: &Option<PathBuf>, is: fn(&Path) -> bool, what| match path {
            Some(path) if !is(path) => Err(Error::request(format!("kernel.{key}: {}: no such {what}", path.display()))),
            _ => Ok(()),
        };
        there("vmlinux", &this.vmlinux, Path::is_file, "file")?;
        there("modules", &this.modules, Path::is_dir, "folder")?;
        Ok(this)
    }
}

/// Checks that all is there and what it should be, as far as that is quick.
///
/// # Errors
/// Which is not.
pub fn check(recipe: &Recipe) -> Result<()> {
    header::read(&Paths::new(recipe)?.image).map(drop)
}

/// The image in the cache.
///
/// # Errors
/// A file is missing, or not what it should be.
pub fn get(recipe: &Recipe, cache: &Cache, interrupt: &Interrupt) -> Result<Kernel> {
    let paths = Paths::new(recipe)?;
    let identity = header::read(&paths.image)?;
    let hash_of = |path: &Path| source::hash_of_file(path, &format!("file-{}.json", source::name_of(path)), cache);
    let mut key = Hasher::new("ready kernel").field(hash_of(&paths.image)?);
    if let Some(vmlinux) = &paths.vmlinux {
        key = key.field("vmlinux").field(hash_of(vmlinux)?);
    }
    let modules = match &paths.modules {
        Some(folder) => archive(folder, &identity.release)?,
        None => None,
    };
    if let Some(archive) = &modules {
        key = key.field("modules").field(archive);
    }
    Kernel::hold(cache, key.finish(), interrupt, |half| {
        copy(&paths.image, &half.join(IMAGE))?;
        if let Some(vmlinux) = &paths.vmlinux {
            copy(vmlinux, &half.join(VMLINUX))?;
            check_same(&half.join(VMLINUX), vmlinux, &identity)?;
        }
        if let Some(archive) = &modules {
            files::write(&half.join(MODULES), archive)?;
        }
        let meta = Meta {
            variant: "base".to_owned(),
            source: recipe.kernel.source.to_string(),
            source_id: hash_of(&paths.image)?,
            toolchain: String::new(),
            patched: Vec::new(),
            seconds: 0.0,
            cpu_seconds: 0.0,
            objects: 0,
        };
        Ok(files::write_json(&half.join(META), &meta)?)
    })
}

/// The modules as an archive, in the order in which they load. `None`: all that is wanted is built in.
fn archive(folder: &Path, release: &str) -> Result<Option<Vec<u8>>> {
    let wrong = |why: &str| Error::request(format!("kernel.modules: {}: {why}", folder.display()));
    let modules = modules::load_any(folder, WANTED).map_err(|e| wrong(&e))?;
    let mut cpio = Cpio::default();
    cpio.directory(MODULES_PATH);
    for (i, module) in modules.iter().enumerate() {
        // modpost writes it into every module, and the kernel refuses a module of another one.
        let vermagic = format!("vermagic={release} ");
        if memmem::find(&module.object, vermagic.as_bytes()).is_none() {
            return Err(wrong(&format!("{} is no module of the image's kernel, {release}", module.name)));
        }
        cpio.file(&format!("{MODULES_PATH}/{i:02}-{}.ko", module.name), &module.object);
    }
    Ok((!modules.is_empty()).then(|| cpio.finish()))
}

/// Refuses the vmlinux of another kernel: its symbols would be lies.
fn check_same(copied: &Path, vmlinux: &Path, identity: &header::Identity) -> Result<()> {
    let bytes = std::fs::read(copied).map_err(|e| Error::host(format!("cannot read {}: {e}", copied.display())))?;
    let header::Identity { release, version } = identity;
    let ours = |text: &str| memmem::find(&bytes, text.as_bytes()).is_some();
    if bytes.starts_with(b"\x7fELF") && ours(&format!("Linux version {release} (")) && ours(version) {
        return Ok(());
    }
    Err(Error::request(format!(
        "kernel.vmlinux: {} is not the vmlinux of the image, {release} {version}",
        vmlinux.display()
    )))
}
