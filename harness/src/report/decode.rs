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
    match Cache::open() {
        Ok(cache) => decode_by(&cache, findings),
        Err(_) => vec![None; findings.len()],
    }
}

fn decode_by(cache: &Cache, findings: &[(&str, &Finding)]) -> Vec<Option<Symbolized>> {
    let mut decoded = vec![None; findings.len()];
    let mut by_kernel: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, (kernel, _)) in findings.iter().enumerate().filter(|(_, (key, _))| is_key(key)) {
        by_kernel.entry(kernel).or_default().push(n);
    }
    for (kernel, of_it) in by_kernel.into_iter().take(MAX_KERNELS) {
        let path = cache.path(KERNELS, kernel).join(VMLINUX);
        let Some(file) = path.exists().then(|| Vmlinux::open(&path).ok()).flatten() else { continue };
        let mut symbols = Symbols::new(&file, Some(cache), None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;
    use crate::symbolize::small_kernel::{in_work, kernel};

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn what_the_cache_has_the_kernel_of_is_decoded_and_nothing_else() {
        let Some((_built, vmlinux)) = kernel(&[]) else { return };
        let (rip, size) = in_work(&Vmlinux::open(&vmlinux).unwrap(), "mark_rip");
        let log = format!(
            "------------[ cut here ]------------\nkernel BUG at mm/work.c:9!\ninvalid opcode: 0000 [#1] SMP NOPTI\n\
             CPU: 1 PID: 100 Comm: torture Not tainted 6.1.0-other #9\nRIP: 0010:work+{rip:#x}/{size:#x}\n\
             ---[ end trace 0000000000000000 ]---\n"
        );
        let finding = oracle::scan(log.as_bytes()).swap_remove(0);
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let folder = cache.path(KERNELS, KEY);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&vmlinux, folder.join(VMLINUX)).unwrap();
        // The same file where a key that is none would lead.
        std::fs::copy(&vmlinux, dir.path().join(VMLINUX)).unwrap();
        let asked = ["", "../..", "fedcba9876543210", KEY].map(|key| (key, &finding));
        let decoded = decode_by(&cache, &asked);
        assert_eq!(decoded.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, false, true]);
        let text = decoded[3].as_ref().unwrap().text();
        assert!(text.contains("mm/work.c:21 (inlined: inner mm/work.c:9)"), "the key tells which kernel it is: {text}");
        // A kernel without debug information: what is said of it is the console's alone.
        std::fs::write(folder.join(VMLINUX), "no ELF file").unwrap();
        assert!(decode_by(&cache, &asked).iter().all(Option::is_none));
    }
}
