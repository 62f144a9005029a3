//! A kernel tree in a folder, as it is now. It is only read.
//!
//! Its identity is a hash of what all its files hold. Hashing a gigabyte takes seconds, so what stat(2) says of every
//! file is remembered with the hashes, as git's index does; a file changed in the moment that it was hashed in, which
//! might look the same ever after, is not.

use super::snapshot::{self, Entry, Manifest, EXECUTABLE, LINK, PLAIN};
use super::{name_of, Setting, Source};
use crate::error::{Error, Result};
use crate::files;
use crate::git::git;
use crate::hash::Hasher;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What make leaves in a tree that was built in place (the test in the kernel's own Makefile, `outputmakefile`).
const BUILT: [&str; 3] = [".config", "include/config", "arch/x86/include/generated"];

/// A file system's clock may be this much coarser than ours, in nanoseconds.
const COARSE_NS: i128 = 1_000_000_000;

/// What stat(2) says of a file, as far as it changes with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Looks {
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
    mode: u32,
}

impl Looks {
    fn new(meta: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        let mode = match meta.mode() {
            _ if meta.is_symlink() => LINK,
            mode if mode & 0o100 != 0 => EXECUTABLE,
            _ => PLAIN,
        };
        Self {
            size: meta.size(),
            modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
            changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            mode,
        }
    }
}

/// All files of a tree by how they look; its hash tells at once that nothing changed.
type Scan = BTreeMap<String, Looks>;

/// What is known of a tree as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    looks: String,
    id: String,
}

/// What is known of its files.
type Files = BTreeMap<String, (Looks, String)>;

/// The tree at `path`.
///
/// # Errors
/// There is none, it is no kernel's, or it was built in place.
pub fn get(path: &Path, with: &Setting<'_>) -> Result<Source> {
    let what = format!("tree:{}", path.display());
    let wrong = |why: &str| Error::request(format!("kernel source {what}: {why}"));
    if !path.is_dir() {
        return Err(wrong("no such folder"));
    }
    super::check_kernel(path, &what)?;
    let began = now_ns();
    let scan = scan(path, &what)?;
    let name = name_of(path);
    let whole_file = with.cache.path("sources", &format!("tree-{name}.json"));
    let files_file = with.cache.path("sources", &format!("tree-{name}.files.json"));
    let looks = hash_of(&scan);
    let known = files::read_json::<Whole>(&whole_file).ok().filter(|whole| whole.looks == looks);
    let mut hashed = None;
    let id = match known {
        Some(whole) => whole.id,
        None => {
            let mut known: Files = files::read_json(&files_file).unwrap_or_default();
            let mut manifest = Manifest::default();
            for (file, looks) in &scan {
                with.interrupt.check()?;
                let hash = match known.get(file) {
                    Some((before, hash)) if before == looks => hash.clone(),
                    _ => content_hash(&read(path, file, looks.mode)?),
                };
                manifest.0.insert(file.clone(), Entry { mode: looks.mode, hash });
            }
            let id = id_of(&manifest);
            let settled = |looks: &Looks| looks.changed_ns + COARSE_NS < began;
            known.clear();
            known.extend(manifest.0.iter().filter_map(|(file, entry)| {
                let looks = scan.get(file).filter(|looks| settled(looks))?;
                Some((file.clone(), (looks.clone(), entry.hash.clone())))
            }));
            files::create_dir(&with.cache.root().join("sources"))?;
            files::write_compact_json(&files_file, &known)?;
            if known.len() == scan.len() {
                files::write_json(&whole_file, &Whole { looks, id: id.clone() })?;
            }
            hashed = Some(manifest);
            id
        }
    };
    snapshot::get(
        (id, name),
        &what,
        with,
        || match hashed {
            Some(manifest) => Ok(manifest),
            // Known as a whole, and pruned since.
            None => {
                let files: Files = files::read_json(&files_file)?;
                let entry = |(file, (looks, hash)): (String, (Looks, String))| (file, Entry { mode: looks.mode, hash });
                Ok(Manifest(files.into_iter().map(entry).collect()))
            }
        },
        |file, entry| {
            let content = read(path, file, entry.mode)?;
            match content_hash(&content) == entry.hash {
                true => Ok(content),
                false => Err(Error::host(format!("{what}: {file} changed while the tree was copied; run it again"))),
            }
        },
    )
}

/// The tree's files. In one that was built in place, those that git would not ignore.
fn scan(root: &Path, what: &str) -> Result<Scan> {
    let Some(built) = BUILT.iter().find(|path| root.join(path).exists()) else {
        return walk(root);
    };
    if !root.join(".git").exists() {
        return Err(Error::request(format!(
            "kernel source {what} was built in place (it has {built}), and without git its own files are not told from \
             make's; run `make mrproper` there, or build with O="
        )));
    }
    let mut list = git(root);
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut found = Scan::new();
    for file in crate::process::output(list)?.split('\0').filter(|file| !file.is_empty()) {
        match std::fs::symlink_metadata(root.join(file)) {
            Ok(meta) if !meta.is_dir() => drop(found.insert(file.to_owned(), Looks::new(&meta))),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::host(format!("cannot read {}: {e}", root.join(file).display()))),
        }
    }
    Ok(found)
}

/// All files below `root`. By as many threads as there are cores: 80,000 times stat(2) take a third of a second.
fn walk(root: &Path) -> Result<Scan> {
    let mut found = Scan::new();
    let mut folders = vec![String::new()];
    // Two levels down there are some hundred folders to share out.
    for _ in 0..2 {
        let mut below = Vec::new();
        for folder in &folders {
            below.extend(list(root, folder, &mut found)?);
        }
        folders = below;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Scan::new();
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut waiting = vec![folder.clone()];
            while let Some(folder) = waiting.pop() {
                waiting.extend(list(root, &folder, &mut found)?);
            }
        }
        Ok(found)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Result<Scan>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let died = |_| Err(Error::host(format!("reading {} failed", root.display())));
        started.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
    });
    for part in parts {
        found.extend(part?);
    }
    Ok(found)
}

/// Adds the files in one folder; yields the folders in it.
fn list(root: &Path, below: &str, found: &mut Scan) -> Result<Vec<String>> {
    let folder = root.join(below);
    let context = || format!("cannot read {}", folder.display());
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::request(format!("{}: a name that is not UTF-8: {}", folder.display(), name.display())));
        };
        // A work tree's own is a folder, a linked one's a file.
        if below.is_empty() && name == ".git" {
            continue;
        }
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            folders.push(path);
        } else if kind.is_file() || kind.is_symlink() {
            let meta = entry.metadata().with_context(context)?;
            found.insert(path, Looks::new(&meta));
        } else {
            let path = root.join(path);
            return Err(Error::request(format!("{}: neither a file nor a folder nor a link", path.display())));
        }
    }
    Ok(folders)
}

fn read(root: &Path, file: &str, mode: u32) -> Result<Vec<u8>> {
    let path = root.join(file);
    let content = match mode {
        LINK => std::fs::read_link(&path).map(|to| to.as_os_str().as_bytes().to_vec()),
        _ => std::fs::read(&path),
    };
    Ok(content.with_context(|| format!("cannot read {}", path.display()))?)
}

fn content_hash(content: &[u8]) -> String {
    Hasher::new("file").field(content).finish()
}

fn id_of(manifest: &Manifest) -> String {
    let add = |hash: Hasher, (path, entry): (&String, &Entry)| {
        hash.field(path).field(entry.mode.to_le_bytes()).field(&entry.hash)
    };
    manifest.0.iter().fold(Hasher::new("tree"), add).finish()
}

fn hash_of(scan: &Scan) -> String {
    let mut hash = Hasher::new("looks");
    for (path, l) in scan {
        hash = hash.field(path).field(l.size.to_le_bytes()).field(l.modified_ns.to_le_bytes());
        hash = hash.field(l.changed_ns.to_le_bytes()).field(l.inode.to_le_bytes()).field(l.mode.to_le_bytes());
    }
    hash.finish()
}

fn now_ns() -> i128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}
