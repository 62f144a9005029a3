//! The root that is made from Debian's packages.

use super::{kbuild, Meta, Root, ROOTS};
use crate::build::Builder;
use crate::error::{Error, Result};
use crate::hash::{short, Hasher};
use crate::progress::Progress;
use mmtorture_bootkit::debian;
use std::path::Path;

/// Changes when what is made of the same packages does.
const RECIPE: &str = "1";

/// What is in it, with all that it depends on.
const PACKAGES: &[&str] = &["stress-ng", "gcc", "make", "dash"];

/// Folders that no program reads: a seventh of all.
const UNREAD: &[&str] = &["usr/share", "var"];

/// What the names of these roots begin with.
const PREFIX: &str = "debian-";

/// The root of the packages as the archive has them now; where it cannot be asked, the one that was used last.
pub fn get(builder: &Builder<'_>, progress: &Progress) -> Result<Root> {
    let load = kbuild::variant();
    let source = builder.identity(&load, |_| true)?;
    let packages = match debian::closure(PACKAGES) {
        Ok(packages) => packages,
        Err(error) => {
            let Some(name) = newest(builder) else { return Err(failed(error)) };
            progress.note(&format!("the suites' root is the one in the cache, {name}: {}", failed(error)));
            return Root::hold(name, builder, |_, _| Err(Error::host("the suites' root was pruned")));
        }
    };
    let hash = Hasher::new("debian root").field(RECIPE).field(kbuild::RECIPE).field(source);
    let key = packages.iter().fold(hash, Hasher::field).finish();
    Root::hold(format!("{PREFIX}{}", short(&key)), builder, |tree, work| {
        let task = progress.task("the suites' root");
        task.at(0, None, &format!("download {} packages (65 MB)", packages.len()));
        let archives = debian::download_all(PACKAGES, work).map_err(failed)?;
        for (done, archive) in archives.iter().enumerate() {
            builder.interrupt.check()?;
            task.at(done as u64, Some(archives.len() as u64), "unpack");
            debian::unpack(archive, tree).map_err(failed)?;
        }
        for folder in UNREAD {
            let _ = std::fs::remove_dir_all(tree.join(folder));
        }
        let objects = kbuild::make(&load, tree, work, builder, &task)?;
        task.finish(&format!("made, {} packages and {objects} objects", packages.len()));
        Ok(Meta { contents: packages.clone(), left_out: Vec::new() })
    })
}

fn newest(builder: &Builder<'_>) -> Option<String> {
    let entries = std::fs::read_dir(builder.cache.root().join(ROOTS)).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let whole = |name: &String| name.starts_with(PREFIX) && Path::new(&builder.cache.path(ROOTS, name)).is_dir();
    names.filter(whole).max_by_key(|name| builder.cache.last_used(ROOTS, name))
}

fn failed(error: debian::Error) -> Error {
    match error {
        debian::Error::Missing(why) => Error::host(format!(
            "the suites' root is made from Debian's packages, and they cannot be had: {why}; `apt-get update` may help"
        )),
        debian::Error::Failed(why) => Error::host(why),
    }
}
