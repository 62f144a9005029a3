//! Files and lines for a run's findings, where the kernel that they are of is in the cache with its debug information.

use crate::build::{KERNELS, VMLINUX};
use crate::cache::Cache;
use crate::decoded::{Symbolized, Symbols};
use crate::oracle::Finding;
use crate::symbolize::{Verdict, Vmlinux};
use std::collections::BTreeMap;

/// Kernels that are looked into at most: the first time, each takes up to some seconds.
const MAX_KERNELS: usize = 32;

/// Decodes findings by the key of the kernel that each is of; `None` for those that nothing can be said of. A report
/// must not fail over it.
pub fn decode(findings: &[(&str, &Finding)]) -> Vec<Option<Symbolized>> {
    let mut decoded = vec![None; findings.len()];
    let Ok(cache) = Cache::open() else { return decoded };
    let mut by_kernel: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, (kernel, _)) in findings.iter().enumerate().filter(|(_, (key, _))| is_key(key)) {
        by_kernel.entry(kernel).or_default().push(n);
    }
    for (kernel, of_it) in by_kernel.into_iter().take(MAX_KERNELS) {
        let path = cache.path(KERNELS, kernel).join(VMLINUX);
        let Some(file) = path.exists().then(|| Vmlinux::open(&path).ok()).flatten() else { continue };
        let mut symbols = Symbols::new(&file, Some(&cache), None);
        for n in of_it {
            // The cache is addressed by content: what has this key is what the guest ran.
            let found = symbols.apply(findings[n].1, Verdict::Same("kernel key"));
            decoded[n] = found.is_of_use().then_some(found);
        }
        symbols.save();
    }
    decoded
}

/// A run's record may come from another machine: what is no key must not name a file.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 64 && key.bytes().all(|b| b.is_ascii_hexdigit())
}
