//! A source that comes as an archive: unpacked once.

use super::{check_kernel, hash_of_file, name_of, Setting, Source};
use crate::build::Step;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::short;
use crate::process;
use anyhow::Context;
use std::path::Path;
use std::process::Command;

/// Where Debian's source packages put their tarballs.
const DEBIAN_SOURCES: &str = "/usr/src";

/// What tar(1) tells apart by itself.
const SUFFIXES: [&str; 4] = [".tar", ".tar.xz", ".tar.gz", ".tar.zst"];

/// The tarball of an installed source package.
///
/// # Errors
/// It is not installed, or cannot be unpacked.
pub fn debian(package: &str, with: &Setting<'_>) -> Result<Source> {
    let tarball = Path::new(DEBIAN_SOURCES).join(format!("{package}.tar.xz"));
    if !tarball.exists() {
        return Err(Error::host(format!(
            "kernel source debian:{package}: {} is missing; install it with `apt-get install {package}`",
            tarball.display()
        )));
    }
    unpacked(&tarball, &format!("{package}.json"), with)
}

/// The tarball at `path`.
///
/// # Errors
/// There is none, it is none, or it holds no kernel.
pub fn get(path: &Path, with: &Setting<'_>) -> Result<Source> {
    let shown = path.display();
    if !path.is_file() {
        return Err(Error::request(format!("kernel source tarball:{shown}: no such file")));
    }
    if !SUFFIXES.iter().any(|suffix| path.to_string_lossy().ends_with(suffix)) {
        let suffixes = SUFFIXES.join(", ");
        return Err(Error::request(format!(
            "kernel source tarball:{shown}: expected a file whose name ends in one of {suffixes}"
        )));
    }
    unpacked(path, &format!("tarball-{}.json", name_of(path)), with)
}

fn unpacked(tarball: &Path, memo: &str, with: &Setting<'_>) -> Result<Source> {
    let id = hash_of_file(tarball, memo, with.cache)?;
    let held = with.cache.hold("sources", short(&id), with.interrupt, |half| {
        (with.watch)(Step::Unpack(tarball.display().to_string()));
        unpack(tarball, half, with)
    })?;
    let tree = with.cache.path("sources", short(&id)).join("tree");
    Ok(Source { lineage: id.clone(), id, tree, manifest: None, _held: Some(held) })
}

/// Unpacks to `dir/tree`, without the tarball's own top folder if it has one.
fn unpack(tarball: &Path, dir: &Path, with: &Setting<'_>) -> Result<()> {
    let unpacked = dir.join("unpacked");
    files::create_dir(&unpacked)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(tarball).arg("--directory").arg(&unpacked).arg("--no-same-owner");
    let mut said = String::new();
    let status = process::run(tar, &dir.join("unpack.log"), with.interrupt, |line| {
        if said.is_empty() {
            line.clone_into(&mut said);
        }
    })?;
    if !status.success() {
        return Err(Error::host(format!("cannot unpack {}: {said} ({status})", tarball.display())));
    }
    let context = || format!("cannot read {}", unpacked.display());
    let entries = std::fs::read_dir(&unpacked).with_context(context)?;
    let entries: Vec<_> = entries.collect::<std::io::Result<_>>().with_context(context)?;
    let top = match &entries[..] {
        [only] if only.path().is_dir() => only.path(),
        _ => unpacked.clone(),
    };
    check_kernel(&top, &tarball.display().to_string())?;
    let tree = dir.join("tree");
    std::fs::rename(&top, &tree).with_context(|| format!("cannot rename to {}", tree.display()))?;
    // Empty by now, or the tree itself.
    let _ = std::fs::remove_dir(&unpacked);
    Ok(())
}
