//! Reports that a real kernel prints: a patch makes it commit what the report is about, one a boot, and the console goes
//! through `mmtorture scan`. Under QEMU's TCG, which every host has; a boot takes a second or two.

mod common;

use common::{test_series, Bench};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// By the name that the patch knows: the title and the signature of the first primary finding.
const REPORTS: &[(&str, &str, &str)] = &[
    ("bug", "kernel BUG in mmtorture_bug", "kernel-bug|mmtorture_bug"),
    ("warn", "WARNING in mmtorture_warn", "warning|mmtorture_warn"),
    ("vm-bug", "kernel BUG in mmtorture_vm_bug", "kernel-bug|mmtorture_vm_bug|VM_BUG_ON_PAGE(page_count(page) == 1)"),
    (
        "vm-warn",
        "WARNING in mmtorture_vm_warn",
        "warning|mmtorture_vm_warn|VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio))",
    ),
    (
        "null",
        "BUG: unable to handle kernel NULL pointer dereference in mmtorture_null",
        "null-dereference|mmtorture_null",
    ),
    ("wild", "BUG: unable to handle kernel paging request in mmtorture_wild", "page-fault|mmtorture_wild"),
    ("gpf", "general protection fault in mmtorture_gpf", "general-protection|mmtorture_gpf"),
    ("recurse", "BUG: stack guard page was hit in mmtorture_recurse", "stack-overflow|mmtorture_recurse"),
    (
        "bad-page",
        "BUG: Bad page state (non-NULL mapping) in mmtorture_report",
        "bad-page-state|non-NULL mapping|mmtorture_report",
    ),
    (
        "bad-mapcount",
        "BUG: Bad page state (nonzero mapcount) in mmtorture_report",
        "bad-page-state|nonzero mapcount|mmtorture_report",
    ),
    ("bad-rss", "BUG: Bad rss-counter state MM_ANONPAGES", "bad-rss-counter|MM_ANONPAGES"),
    ("bad-pgtables", "BUG: non-zero pgtables_bytes on freeing mm", "pgtables-leak|pgtables_bytes"),
    ("bad-pmd", "BUG: bad pmd", "bad-page-table|pmd"),
    ("bad-swap", "BUG: Bad swap file entry in _swap_info_get", "swap-entry|bad file|_swap_info_get"),
    ("list", "BUG: corrupted list in mmtorture_list", "list-corruption|mmtorture_list"),
    (
        "refcount",
        "WARNING: refcount bug in mmtorture_refcount",
        "refcount|addition on 0; use-after-free.|mmtorture_refcount",
    ),
    (
        "double-free",
        "BUG: slab kmalloc-192: Object already free in mmtorture_report",
        "slub|kmalloc-192|Object already free",
    ),
    ("poison", "BUG: slab mmtorture: Poison overwritten in __free_slab", "slub|mmtorture|Poison overwritten"),
    ("panic", "kernel panic: mmtorture: a panic of its own", "panic|mmtorture: a panic of its own"),
];

/// What a boot of the kernel in `folder` prints that is asked for `report`.
fn boot(folder: &Path, report: &str, console: &Path) {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]);
    qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256M"]);
    qemu.arg("-kernel").arg(folder.join("bzImage"));
    // Without an init it panics after the report at the latest, and the reset ends QEMU.
    let cmdline = "console=ttyS0 panic=-1 lpj=10000000 slub_debug=FZ mmtorture_report=";
    qemu.args(["-append", &format!("{cmdline}{report}"), "-serial", &format!("file:{}", console.display())]);
    let status = qemu.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{report}: {status}");
}

#[test]
fn each_report_is_named_as_what_it_is() {
    let bench = Bench::new();
    let matrix = bench.matrix(&format!("series: ['{}']\nvariants: [all]", test_series("reports")));
    let said = bench.run(&["build", &matrix.display().to_string()]).expect(0, &[]);
    let folder = said.stdout.lines().last().and_then(|line| line.split_whitespace().last()).unwrap();
    let (folder, console) = (PathBuf::from(folder), bench.path("console.log"));
    let mut wrong = Vec::new();
    for &(report, title, signature) in REPORTS {
        boot(&folder, report, &console);
        let scanned = bench.run(&["scan", &console.display().to_string(), "--format", "json"]).expect(1, &[]);
        let findings: Vec<serde_json::Value> =
            scanned.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = findings.iter().find(|finding| finding["primary"] == true).unwrap();
        let whole = first["corrupted"] == false;
        if (&first["title"], &first["signature"], whole) != (&title.into(), &signature.into(), true) {
            wrong.push(format!("{report}: {first}\n{}", std::fs::read_to_string(&console).unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
