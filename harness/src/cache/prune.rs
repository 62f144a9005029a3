//! Making room: what was not used for the longest goes first, whole or not at all, and never while it is in use.

use super::usage::{measure, Item, PRUNABLE};
use super::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::size::Size;
use anyhow::Context;
use std::time::{Duration, SystemTime};

/// The variable that says how large the cache may be.
pub const LIMIT: &str = "MMTORTURE_CACHE_SIZE";

/// How large it may be without it: a dozen configurations with their work trees and some hundred kernels.
const DEFAULT_LIMIT: Size = Size(40 << 30);

/// Guests' base archives have no locks; runs do not last as long as this.
const ARCHIVE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The cache is measured at most so often, which takes a second for each ten gigabytes.
const MEASURE_INTERVAL: Duration = Duration::from_secs(600);

/// What pruning did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What went.
    pub gone: Vec<Item>,
    /// What was to go, and is in use.
    pub in_use: Vec<Item>,
    /// What is left in the cache, in bytes.
    pub left: u64,
}

/// How large the cache may be.
///
/// # Errors
/// The variable's value is no size.
pub fn limit() -> Result<Size> {
    match std::env::var(LIMIT) {
        Err(_) => Ok(DEFAULT_LIMIT),
        Ok(text) => text.parse().map_err(|e| Error::request(format!("{LIMIT}: {e}"))),
    }
}

impl Cache {
    /// Prunes what is over the limit. Does nothing if that was looked at a moment ago.
    ///
    /// # Errors
    /// The limit is none, or the cache cannot be read or written.
    pub fn make_room(&self) -> Result<()> {
        let limit = limit()?;
        let Some(_lock) = self.try_lock("cache", "measure")? else { return Ok(()) };
        let stamp = self.root().join(".measured");
        let last = std::fs::metadata(&stamp).and_then(|meta| meta.modified());
        if last.is_ok_and(|last| last.elapsed().is_ok_and(|age| age < MEASURE_INTERVAL)) {
            return Ok(());
        }
        files::write(&stamp, b"")?;
        let pruned = self.prune(limit)?;
        if !pruned.gone.is_empty() {
            let freed: u64 = pruned.gone.iter().map(|item| item.bytes).sum();
            tracing::info!("the cache was over {limit}: removed {} entries, {}", pruned.gone.len(), Size(freed));
        }
        Ok(())
    }

    /// Prunes the cache to `target`, as far as what is not in use allows.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn prune(&self, target: Size) -> Result<Pruned> {
        self.sweep()?;
        let mut pruned = Pruned::default();
        loop {
            let items = measure(self)?;
            pruned.left = items.iter().map(|item| item.bytes).sum();
            let candidates = items.iter().filter(|item| !pruned.in_use.contains(item)).cloned().collect();
            let mut removed = false;
            for item in choose(candidates, pruned.left, target.0, SystemTime::now()) {
                if self.remove(&item)? {
                    pruned.gone.push(item);
                    removed = true;
                } else {
                    pruned.in_use.push(item);
                }
            }
            // Measured again: a source's files live on in the work trees that are linked to them.
            if !removed {
                return Ok(pruned);
            }
        }
    }

    /// Removes an entry unless it is in use.
    fn remove(&self, item: &Item) -> Result<bool> {
        let Some(_lock) = self.try_lock(&item.kind, &item.name)? else { return Ok(false) };
        let path = self.path(&item.kind, &item.name);
        let trash = tempfile::Builder::new().prefix(TRASH).tempdir_in(self.root().join(&item.kind));
        let trash = trash.with_context(|| format!("cannot make room in {}", self.root().display()))?;
        // Renamed first: whoever looks sees it whole or not at all, though we be killed.
        std::fs::rename(&path, trash.path().join("x")).with_context(|| format!("cannot remove {}", path.display()))?;
        trash.close().with_context(|| format!("cannot remove what was {}", path.display()))?;
        Ok(true)
    }

    /// Removes what killed processes left.
    fn sweep(&self) -> Result<()> {
        for kind in PRUNABLE {
            let Ok(entries) = std::fs::read_dir(self.root().join(kind)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
                // What is being made looks just as what was left half made; nothing takes a day to make.
                let stale = name.starts_with(HALF) && age.is_some_and(|age| age > Duration::from_secs(24 * 3600));
                if stale || name.starts_with(TRASH) {
                    let path = entry.path();
                    let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                }
            }
        }
        Ok(())
    }
}

/// What is going.
const TRASH: &str = ".trash-";

/// What is being made ([`files::publish_dir`]).
const HALF: &str = ".new-";

/// What has to go for `total` bytes to become `target`.
fn choose(mut items: Vec<Item>, total: u64, target: u64, now: SystemTime) -> Vec<Item> {
    items.retain(|item| {
        let age = now.duration_since(item.used).unwrap_or_default();
        PRUNABLE.contains(&item.kind.as_str()) && (item.kind != "images" || age > ARCHIVE_AGE)
    });
    items.sort_by(|a, b| (a.used, &a.kind, &a.name).cmp(&(b.used, &b.kind, &b.name)));
    let mut left = total;
    items.retain(|item| {
        let goes = left > target;
        if goes {
            left = left.saturating_sub(item.bytes);
        }
        goes
    });
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupt;

    #[test]
    fn the_least_recently_used_goes_first_and_no_more_than_must() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        let item = |kind: &str, name: &str, bytes, age| Item {
            kind: kind.to_owned(),
            name: name.to_owned(),
            bytes,
            used: now - Duration::from_secs(age),
        };
        let items = || {
            vec![
                item("kernels", "new", 10, 1),
                item("kernels", "old", 10, 100),
                item("trees", "older", 50, 200),
                item("ccache", "", 1000, 900),
                item("images", "recent", 5, 300),
            ]
        };
        let gone = |total, target| -> Vec<String> {
            choose(items(), total, target, now).into_iter().map(|item| item.name).collect()
        };
        assert_eq!(gone(1075, 1075), [""; 0]);
        assert_eq!(gone(1075, 1074), ["older"]);
        assert_eq!(gone(1075, 1024), ["older", "old"]);
        assert_eq!(gone(1075, 0), ["older", "old", "new"]);
    }

    #[test]
    fn what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let interrupt = Interrupt::default();
        let make = |name: &str| {
            cache.hold("kernels", name, &interrupt, |half| {
                std::fs::write(half.join("bzImage"), vec![1; 100_000]).unwrap();
                Ok(())
            })
        };
        let held = make("held").unwrap();
        drop(make("free").unwrap());
        std::fs::create_dir(cache.path("kernels", ".trash-x")).unwrap();
        let pruned = cache.prune(Size(0)).unwrap();
        let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&pruned.gone), names(&pruned.in_use)), (vec!["free".to_owned()], vec!["held".to_owned()]));
        assert!(cache.path("kernels", "held").join("bzImage").exists());
        assert!(!cache.path("kernels", "free").exists() && !cache.path("kernels", ".trash-x").exists());
        assert!(pruned.left >= 100_000);
        drop(held);
        assert_eq!(names(&cache.prune(Size(0)).unwrap().gone), ["held"]);
    }
}
