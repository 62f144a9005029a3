//! What was resolved before, in the cache folder: one file for each vmlinux, whole or not at all.

use super::elf::Vmlinux;
use super::Site;
use crate::cache::Cache;
use crate::files;
use crate::hash::{self, Hasher};
use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Addresses kept for one vmlinux, some 10 MB; a file that would get larger is begun anew.
const MAX_ADDRESSES: usize = 50_000;
/// A cache file larger than this, in bytes, is not ours.
const MAX_FILE: u64 = 64 << 20;
/// First word of a file; its number changes with what the rest means.
const MAGIC: &str = "mmtorture-symbols-1";

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// See [`super::path::root`]; none where it was not looked for yet.
    root: Option<String>,
    /// What stands at an address.
    chains: BTreeMap<u64, Vec<Site>>,
}

/// The results for one vmlinux.
#[derive(Debug, Default)]
pub(super) struct Store {
    path: Option<PathBuf>,
    content: Content,
    changed: bool,
}

impl Store {
    /// One that forgets.
    pub fn volatile() -> Self {
        Self::default()
    }

    /// What the cache knows of `file`. A damaged file is as good as none.
    pub fn open(cache: &Cache, file: &Vmlinux) -> Self {
        let path = cache.path("symbols", &key(file));
        let content = match read(&path) {
            Ok(content) => content,
            Err(e) => {
                tracing::warn!("{e:#}: resolving anew");
                Content::default()
            }
        };
        Self { path: Some(path), content, changed: false }
    }

    /// The tree's root.
    pub fn root(&self) -> Option<&str> {
        self.content.root.as_deref()
    }

    /// Remembers the tree's root.
    pub fn set_root(&mut self, root: &str) {
        self.content.root = Some(root.to_owned());
        self.changed = true;
    }

    /// What stands at an address.
    pub fn get(&self, address: u64) -> Option<&[Site]> {
        self.content.chains.get(&address).map(Vec::as_slice)
    }

    /// Remembers what stands at an address.
    pub fn set(&mut self, address: u64, chain: &[Site]) {
        if self.content.chains.len() >= MAX_ADDRESSES {
            self.content.chains.clear();
        }
        self.content.chains.insert(address, chain.to_vec());
        self.changed = true;
    }

    /// Writes what is new. Of two at once the later wins; what the other found is merely resolved again.
    ///
    /// # Errors
    /// The cache folder cannot be written.
    pub fn save(&mut self) -> Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return Ok(()) };
        let json = serde_json::to_string(&self.content).context("cannot make JSON of it")?;
        if let Some(parent) = path.parent() {
            files::create_dir(parent)?;
        }
        files::write(path, format!("{MAGIC} {}\n{json}\n", Hasher::new(MAGIC).field(&json).finish()).as_bytes())?;
        self.changed = false;
        Ok(())
    }
}

/// Names a vmlinux by content as far as that is cheap: the build id survives stripping, which size and time do not.
fn key(file: &Vmlinux) -> String {
    let modified = file.modified().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let name = file.build_id().unwrap_or_else(|| file.path().display().to_string());
    let key = Hasher::new(MAGIC).field(name).field(file.size().to_le_bytes()).field(modified.to_le_bytes()).finish();
    format!("{}.json", hash::short(&key))
}

fn read(path: &Path) -> Result<Content> {
    let mut text = String::new();
    match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Content::default()),
        file => file.and_then(|f| f.take(MAX_FILE).read_to_string(&mut text)),
    }
    .with_context(|| format!("cannot read {}", path.display()))?;
    let parse = || {
        let (head, json) = text.split_once('\n').context("no first line")?;
        let json = json.strip_suffix('\n').context("cut short")?;
        if head != format!("{MAGIC} {}", Hasher::new(MAGIC).field(json).finish()) {
            bail!("its checksum is wrong");
        }
        Ok(serde_json::from_str(json)?)
    };
    parse().with_context(|| format!("{} is damaged or of another version", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("symbols/x.json");
        let store = || {
            let (content, failed) = read(&path).map_or_else(|_| (Content::default(), true), |c| (c, false));
            (Store { path: Some(path.clone()), content, changed: false }, failed)
        };
        let chain = [Site { function: "f".into(), file: Some("mm/f.c".into()), line: Some(3) }];
        let (mut first, _) = store();
        first.set(0xffff_ffff_8100_0000, &chain);
        first.set_root("/src/");
        first.save().unwrap();
        let (second, failed) = store();
        assert_eq!((second.get(0xffff_ffff_8100_0000), second.root()), (Some(&chain[..]), Some("/src/")));
        assert!(!failed && !second.changed);

        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            assert!(read(&path).is_err(), "a flip at {at} is noticed");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path).is_err(), "a cut at {at} is noticed");
        }
        assert_eq!(store().0.content, Content::default());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut store = Store::volatile();
        for address in 0..=MAX_ADDRESSES as u64 {
            store.set(address, &[]);
        }
        assert_eq!(store.content.chains.len(), 1);
        store.save().unwrap();
    }
}
