//! Memory management's own formats.

use super::{only, read, vm_bug, BUG, OOPS_BODY, PAGE};
use crate::oracle::{Class, Severity};

fn named(log: &str) -> (String, String) {
    let finding = only(log);
    (finding.title, finding.signature)
}

#[test]
fn a_page_dump_and_its_bug_are_one_finding() {
    let log = vm_bug();
    let finding = only(&log);
    assert_eq!(finding.title, "kernel BUG in migrate_folio_unmap");
    assert_eq!(finding.signature, "kernel-bug|migrate_folio_unmap|VM_BUG_ON_FOLIO(!folio_test_locked(src))");
    assert_eq!(finding.condition.as_deref(), Some("VM_BUG_ON_FOLIO(!folio_test_locked(src))"));
    assert_eq!(finding.location.as_deref(), Some("mm/migrate.c:1160"));
    assert_eq!((finding.process.as_deref(), finding.pid, finding.cpu), (Some("cc1"), Some(901), Some(2)));
    assert_eq!(finding.taint.as_deref(), Some("GW"));
    assert_eq!((finding.severity, finding.primary, finding.corrupted), (Severity::Fatal, true, false));
    assert_eq!(
        (finding.first_line, finding.last_line),
        (1, log.lines().count() as u64),
        "registers behind the end marker included"
    );
    assert_eq!((finding.first_byte, finding.end_byte), (0, log.len() as u64));
    let functions: Vec<&str> = finding.frames.iter().map(|f| f.function.as_str()).collect();
    assert_eq!(functions, ["migrate_folio_unmap", "__die_body.cold", "migrate_pages", "compact_zone", "do_syscall_64"]);
    assert!(finding.frames[0].ip && finding.frames[1].unreliable);
}

#[test]
fn a_condition_without_its_bug_line_is_still_found() {
    let finding = only(&format!("{PAGE}[  101.000007][  T901] page dumped because: VM_BUG_ON_PAGE(PageTail(page))\n"));
    assert_eq!((finding.class, finding.corrupted), (Class::KernelBug, true));
    assert_eq!(finding.corrupted_why.as_deref(), Some("no stack trace"));
    assert_eq!(finding.signature, "kernel-bug|corrupted|VM_BUG_ON_PAGE(PageTail(page))");
}

#[test]
fn page_owner_between_dump_and_bug_is_not_the_trace() {
    let owner = "\
[  101.000007][  T901] page_owner tracks the page as allocated
[  101.000007][  T901] page last allocated via order 9, migratetype Movable, gfp_mask 0x1, pid 9, tgid 9 (a), ts 1, free_ts 2
[  101.000007][  T901]  prep_new_page+0x1/0x2
[  101.000007][  T901]  shmem_alloc_hugefolio+0x1/0x2
[  101.000007][  T901] page last free stack trace:
[  101.000007][  T901]  free_unref_page+0x1/0x2
";
    let cond = "[  101.000007][  T901] page dumped because: VM_BUG_ON_FOLIO(folio_test_lru(folio), folio)\n";
    assert_eq!(only(&format!("{PAGE}{cond}{owner}{BUG}{OOPS_BODY}")).guilty.as_deref(), Some("migrate_folio_unmap"));
}

#[test]
fn vma_and_mm_dumps_tell_the_macro() {
    let vma =
        "[  101.0000][  T901] vma ffff888104c0ffee start 00007f0000000000 end 00007f0000200000 mm ffff888104c0ffee\n";
    assert_eq!(only(&format!("{vma}{BUG}{OOPS_BODY}")).signature, "kernel-bug|migrate_folio_unmap|VM_BUG_ON_VMA");
    let mm = "[  101.0000][  T901] mm ffff888104c0ffee task_size 140737488351232\n";
    assert_eq!(only(&format!("{mm}{BUG}{OOPS_BODY}")).signature, "kernel-bug|migrate_folio_unmap|VM_BUG_ON_MM");
    assert_eq!(only(&format!("{BUG}{OOPS_BODY}")).signature, "kernel-bug|migrate_folio_unmap");
}

#[test]
fn vm_warn_on_is_a_warning_with_its_condition() {
    let warning = "\
[  101.000007][  T901] page dumped because: VM_WARN_ON_ONCE_FOLIO(folio_test_large(folio))
[  101.000008][  T901] ------------[ cut here ]------------
[  101.000009][  T901] WARNING: CPU: 2 PID: 901 at mm/rmap.c:1301 page_add_anon_rmap+0x1a1/0x200
[  101.000010][  T901] RIP: 0010:page_add_anon_rmap+0x1a1/0x200
[  101.000011][  T901] Call Trace:
[  101.000012][  T901]  <TASK>
[  101.000013][  T901]  do_swap_page+0x5a1/0xb00
[  101.000014][  T901]  </TASK>
[  101.000015][  T901] ---[ end trace 0000000000000000 ]---
";
    let finding = only(&format!("{PAGE}{warning}"));
    assert_eq!((finding.class, finding.severity, finding.corrupted), (Class::Warning, Severity::Warning, false));
    assert_eq!(finding.title, "WARNING in page_add_anon_rmap");
    assert_eq!(finding.signature, "warning|page_add_anon_rmap|VM_WARN_ON_ONCE_FOLIO(folio_test_large(folio))");
}

#[test]
fn a_page_dumped_for_information_is_not_a_finding() {
    assert!(read(&format!("{PAGE}[  101.000007][  T901] page dumped because: migration failure\n")).is_empty());
}

fn bad_page(dump: &str, reason: &str) -> String {
    format!(
        "BUG: Bad page state in process kworker/u4:1  pfn:12345\n{dump}page dumped because: {reason}\nModules linked in:\n\
         CPU: 0 PID: 77 Comm: kworker/u4:1 Not tainted 6.1.192 #3\nCall Trace:\n <TASK>\n dump_stack_lvl+0x34/0x44\n \
         bad_page.cold+0x63/0x8f\n free_pcp_prepare+0x1a1/0x200\n free_unref_page_list+0x6f/0x2c0\n release_pages+0x13f/0x4a0\n \
         free_pages_and_swap_cache+0x3b/0x50\n </TASK>\nDisabling lock debugging due to kernel taint\n"
    )
}

#[test]
fn bad_page_state_tells_the_reason_and_who_freed() {
    let old =
        bad_page("page:00000000c0ffee01 refcount:0 mapcount:1 mapping:0 index:0x1 pfn:0x12345\n", "nonzero mapcount");
    let finding = only(&old);
    assert_eq!(finding.title, "BUG: Bad page state (nonzero mapcount) in release_pages");
    assert_eq!(finding.alt_titles, ["BUG: Bad page state in release_pages"]);
    assert_eq!(finding.signature, "bad-page-state|nonzero mapcount|release_pages");
    assert_eq!(
        (finding.process.as_deref(), finding.pid, finding.severity),
        (Some("kworker/u4:1"), Some(77), Severity::Error)
    );
    assert_eq!((finding.last_line, finding.corrupted), (14, false), "ends with its trace");
    // Later kernels print no pointer, and other reasons.
    let new = bad_page(
        "page: refcount:0 mapcount:0 mapping:0000000000000000 index:0x1 pfn:0x12345\n",
        "nonzero entire_mapcount",
    );
    assert_eq!(only(&new).signature, "bad-page-state|nonzero entire_mapcount|release_pages");
}

#[test]
fn suppressed_bad_pages_are_no_news() {
    assert!(read("[    1.000000] BUG: Bad page state: 12 messages suppressed\n[    1.000000] BUG: Bad page map: 3 messages suppressed\n").is_empty());
}

#[test]
fn bad_page_map_and_cache() {
    let tail = "addr:00007f0000000000 vm_flags:00100073 anon_vma:ffff888104c0ffee mapping:0000000000000000 index:7f0000000\n\
                file:(null) fault:0x0 mmap:0x0 read_folio:0x0\nCPU: 0 PID: 7 Comm: cc1 Not tainted 6.1.192 #3\nCall Trace:\n <TASK>\n \
                dump_stack_lvl+0x34/0x44\n print_bad_pte.cold+0x6a/0xc5\n zap_pte_range+0x5a1/0xb00\n </TASK>\n";
    let map = format!("BUG: Bad page map in process cc1  pte:8000000012345067 pmd:12346067\n{tail}");
    assert_eq!(named(&map), ("BUG: Bad page map in zap_pte_range".into(), "bad-page-map|zap_pte_range".into()));
    let cache =
        format!("BUG: Bad page cache in process rm  pfn:12345\npage dumped because: still mapped when deleted\n{tail}");
    assert_eq!(
        named(&cache),
        (
            "BUG: Bad page cache (still mapped when deleted) in zap_pte_range".into(),
            "bad-page-cache|still mapped when deleted|zap_pte_range".into()
        )
    );
}

#[test]
fn one_line_reports() {
    for (line, title, signature) in [
        (
            "BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_ANONPAGES val:512",
            "BUG: Bad rss-counter state MM_ANONPAGES",
            "bad-rss-counter|MM_ANONPAGES",
        ),
        (
            "BUG: non-zero pgtables_bytes on freeing mm: 4096",
            "BUG: non-zero pgtables_bytes on freeing mm",
            "pgtables-leak|pgtables_bytes",
        ),
        ("mm/pgtable-generic.c:50: bad pmd 00000000c0ffee01(8000000012345067)", "BUG: bad pmd", "bad-page-table|pmd"),
        (
            "get_swap_device: Bad swap file entry 3ffffffffffff",
            "BUG: Bad swap file entry in get_swap_device",
            "swap-entry|bad file|get_swap_device",
        ),
        (
            "_swap_info_get: Unused swap offset entry 0000000f",
            "BUG: Unused swap offset entry in _swap_info_get",
            "swap-entry|unused offset|_swap_info_get",
        ),
    ] {
        let log = format!("[   12.345678][   T99] {line}\n");
        assert_eq!(named(&log), (title.into(), signature.into()));
        let finding = only(&log);
        assert!(finding.severity.stops_trial() && !finding.corrupted, "{line}");
    }
}

#[test]
fn list_corruption_takes_its_bug_along() {
    let log = "\
[   12.000000] list_del corruption. prev->next should be ffff888104c0ffee, but was dead000000000122. (prev=ffff888104c0ff00)
[   12.000000] ------------[ cut here ]------------
[   12.000000] kernel BUG at lib/list_debug.c:59!
[   12.000000] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI
[   12.000000] CPU: 0 PID: 44 Comm: kswapd0 Not tainted 6.1.192 #3
[   12.000000] RIP: 0010:__list_del_entry_valid.cold+0x1d/0x69
[   12.000000] Call Trace:
[   12.000000]  <TASK>
[   12.000000]  deferred_split_scan+0x11c/0x2c0
[   12.000000]  </TASK>
[   12.000000] ---[ end trace 0000000000000000 ]---
";
    let finding = only(log);
    assert_eq!(finding.title, "BUG: corrupted list in deferred_split_scan");
    assert_eq!(finding.signature, "list-corruption|deferred_split_scan");
    assert_eq!((finding.class, finding.corrupted), (Class::ListCorruption, false));
}

#[test]
fn page_counter_underflow_is_not_just_a_warning() {
    let log = "\
[   12.000000] ------------[ cut here ]------------
[   12.000000] page_counter underflow: -512 nr_pages=512
[   12.000000] WARNING: CPU: 0 PID: 44 at mm/page_counter.c:56 page_counter_cancel+0x4a/0x60
[   12.000000] RIP: 0010:page_counter_cancel+0x4a/0x60
[   12.000000] Call Trace:
[   12.000000]  <TASK>
[   12.000000]  page_counter_uncharge+0x1d/0x30
[   12.000000]  uncharge_batch+0x4a/0xe0
[   12.000000]  </TASK>
[   12.000000] ---[ end trace 0000000000000000 ]---
";
    assert_eq!(
        named(log),
        ("WARNING: page_counter underflow in uncharge_batch".into(), "memcg-counter|uncharge_batch".into())
    );
}

#[test]
fn oom_and_allocation_failures_are_expected() {
    let log = "\
[   12.000000] cc1 invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0
[   12.000000] CPU: 0 PID: 44 Comm: cc1 Not tainted 6.1.192 #3
[   12.000000] Call Trace:
[   12.000000]  <TASK>
[   12.000000]  dump_header+0x4a/0x1f0
[   12.000000]  </TASK>
[   12.000000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,task=cc1,pid=44,uid=0
[   12.000000] Memory cgroup out of memory: Killed process 44 (cc1) total-vm:1kB, anon-rss:1kB, file-rss:1kB, shmem-rss:1kB
[   12.000000] oom_reaper: reaped process 44 (cc1), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
[   12.000000] kworker/0:1: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), nodemask=(null)
[   12.000000] SLUB: Unable to allocate memory on node -1, gfp=0xcc0(GFP_KERNEL)
[   12.000000] cc1[44]: segfault at 0 ip 0000000000401000 sp 00007ffc00000000 error 4 in cc1[401000+1000]
[   12.000000] traps: cc1[44] general protection fault ip:401000 sp:7ffc00000000 error:0 in cc1[401000+1000]
";
    assert!(read(log).is_empty());
}

/// A 6.1.192 kernel's own console, cut: migrate_folio_unmap() (inlined into migrate_pages_batch()) made to run without its
/// `anon_vma`, with `oops=panic` and `panic=-1`, so that nothing follows the panic.
#[test]
fn a_real_console_with_vm_bug_on_folio() {
    let findings = read(include_str!("consoles/6.1-vm_bug_on_folio.txt"));
    let seen: Vec<_> =
        findings.iter().map(|f| (f.title.as_str(), f.primary, f.corrupted, f.first_line, f.last_line)).collect();
    assert_eq!(
        seen,
        [
            ("kernel BUG in migrate_pages_batch", true, false, 10, 68),
            ("kernel panic: Fatal exception", false, false, 69, 69)
        ]
    );
    let bug = &findings[0];
    assert_eq!(
        bug.signature,
        "kernel-bug|migrate_pages_batch|VM_BUG_ON_FOLIO(folio_test_anon(src) && !folio_test_ksm(src) && !anon_vma)"
    );
    assert_eq!(
        (bug.location.as_deref(), bug.pid, bug.cpu, bug.taint.as_deref()),
        (Some("mm/migrate.c:1160"), Some(39), Some(1), None)
    );
    let reliable: Vec<_> = bug.frames.iter().filter(|f| !f.unreliable).map(|f| f.function.as_str()).collect();
    assert_eq!(reliable[..4], ["migrate_pages_batch", "migrate_pages", "compact_zone", "compact_node.constprop.0"]);
}
