//! A row a format: what the kernel prints, what the oracle calls it. Texts follow the format strings of 6.1 and, where they changed,
//! of kernels up to 6.18.

use super::only;

const TRACE: &str = "\
CPU: 1 PID: 901 Comm: cc1 Not tainted 6.1.192 #3
Call Trace:
 <TASK>
 dump_stack_lvl+0x34/0x44
 shmem_undo_range+0x1a1/0x900
 do_syscall_64+0x38/0x90
 </TASK>
";

/// The lines of a report, as a task prints them.
fn printed(lines: &str) -> String {
    lines.lines().map(|line| format!("[   42.000001][  T901] {line}\n")).collect()
}

/// Head, title, signature; the trace above follows the head.
const TRACED: &[(&str, &str, &str)] = &[
    (
        "rust_kernel: panicked at mm/zpool.rs:12:34:\nindex out of bounds: the len is 64 but the index is 64\nkernel BUG at rust/helpers/bug.c:7!\n\
         Oops: invalid opcode: 0000 [#1] SMP\nRIP: 0010:_RNvCs2Ab_7___rustc17rust_begin_unwind+0x1/0x2\nCall Trace:\n \
         _RNvNtCs3Cd_4core9panicking9panic_fmt+0x1/0x2\n _RNvMNtCs4Ef_4pool4pageNtB2_4Page5clear+0x1/0x2",
        "index out of bounds: the len is NUM but the index is NUM in <pool::page::Page>::clear",
        "kernel-bug|index out of bounds: the len is NUM but the index is NUM|<pool::page::Page>::clear",
    ),
    (
        "cc1: Corrupted page table at address 7f0000000000\nPGD 12345067 P4D 12346067 PUD 12347067 PMD 80000000123480e7\n\
         Bad pagetable: 000d [#1] PREEMPT SMP NOPTI\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "BUG: corrupted page table in rmap_walk_anon",
        "bad-page-table|reserved bit|rmap_walk_anon",
    ),
    (
        "BUG: assuming non migratable context at mm/swap.c:1",
        "BUG: assuming non migratable context in shmem_undo_range",
        "atomic-sleep|non migratable|shmem_undo_range",
    ),
    (
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
        "kernel panic: Out of memory: compulsory panic_on_oom is enabled",
        "oom-deadlock|panic_on_oom",
    ),
    (
        "slab error in cache_free_debugcheck(): cache `anon_vma': double free detected within cache",
        "BUG: slab anon_vma: double free detected within cache in shmem_undo_range",
        "slub|anon_vma|double free detected within cache",
    ),
    ("BUG: Bad page map in process cc1  pmd:80000000123450e7", "BUG: Bad page map in shmem_undo_range", "bad-page-map|shmem_undo_range"),
    (
        "BUG: Bad page state in process cc1  pfn:12345\npage: refcount:0 mapcount:0 mapping:0000000000000000 index:0x1 pfn:0x12345\n\
         head: order:9 mapcount:0 entire_mapcount:0 nr_pages_mapped:0 pincount:0\npage dumped because: nonzero large_mapcount",
        "BUG: Bad page state (nonzero large_mapcount) in shmem_undo_range",
        "bad-page-state|nonzero large_mapcount|shmem_undo_range",
    ),
    (
        "BUG: Bad page cache in process cc1  pfn:12345\npage dumped because: still mapped when deleted",
        "BUG: Bad page cache (still mapped when deleted) in shmem_undo_range",
        "bad-page-cache|still mapped when deleted|shmem_undo_range",
    ),
    (
        "pagealloc: memory corruption",
        "BUG: pagealloc: memory corruption in shmem_undo_range",
        "page-poison|memory corruption|shmem_undo_range",
    ),
    (
        "pagealloc: single bit error",
        "BUG: pagealloc: single bit error in shmem_undo_range",
        "page-poison|single bit error|shmem_undo_range",
    ),
    ("list_add corruption. prev is NULL.\nkernel BUG at lib/list_debug.c:23!\ninvalid opcode: 0000 [#1] SMP", "BUG: corrupted list in shmem_undo_range", "list-corruption|shmem_undo_range"),
    (
        "list_add double add: new=ffff888104c0ffee, prev=ffff888104c0ff00, next=ffff888104c0ffee.\nkernel BUG at lib/list_debug.c:33!",
        "BUG: corrupted list in shmem_undo_range",
        "list-corruption|shmem_undo_range",
    ),
    (
        "list_del corruption, ffff888104c0ffee->next is LIST_POISON1 (dead000000000100)\nkernel BUG at lib/list_debug.c:47!\n\
         Oops: invalid opcode: 0000 [#1] SMP",
        "BUG: corrupted list in shmem_undo_range",
        "list-corruption|shmem_undo_range",
    ),
    (
        "refcount_t: underflow; use-after-free.\nWARNING: CPU: 1 PID: 901 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110",
        "WARNING: refcount bug in shmem_undo_range",
        "refcount|underflow; use-after-free.|shmem_undo_range",
    ),
    (
        "mem_cgroup_update_lru_size(00000000c0ffee01, 1, 512): lru_size -512\n\
         WARNING: CPU: 1 PID: 901 at mm/memcontrol.c:1384 mem_cgroup_update_lru_size+0x9c/0xb0",
        "WARNING: memcg lru_size bug in shmem_undo_range",
        "memcg-counter|shmem_undo_range",
    ),
    (
        "BUG kmalloc-64 (Not tainted): Poison overwritten",
        "BUG: slab kmalloc-64: Poison overwritten in shmem_undo_range",
        "slub|kmalloc-64|Poison overwritten",
    ),
    (
        "BUG anon_vma_chain (Tainted: G    B            ): Object already free",
        "BUG: slab anon_vma_chain: Object already free in shmem_undo_range",
        "slub|anon_vma_chain|Object already free",
    ),
    (
        "BUG: KASAN: slab-use-after-free in rmap_walk_anon+0x1a1/0x900\nRead of size 8 at addr ffff888104c0ffee by task cc1/901",
        "KASAN: slab-use-after-free Read in rmap_walk_anon",
        "kasan|slab-use-after-free|Read|rmap_walk_anon",
    ),
    (
        "BUG: KASAN: double-free in kmem_cache_free+0x1a1/0x900\nFree of addr ffff888104c0ffee by task cc1/901",
        "KASAN: double-free in shmem_undo_range",
        "kasan|double-free|shmem_undo_range",
    ),
    (
        "BUG: KFENCE: use-after-free read in rmap_walk_anon+0x1a1/0x900\n",
        "KFENCE: use-after-free read in rmap_walk_anon",
        "kfence|use-after-free read|rmap_walk_anon",
    ),
    (
        "BUG: KCSAN: data-race in folio_add_lru / lru_add_fn",
        "KCSAN: data-race in folio_add_lru / lru_add_fn",
        "kcsan|data-race|folio_add_lru|lru_add_fn",
    ),
    ("BUG: KMSAN: uninit-value in swap_writepage+0x1/0x2", "KMSAN: uninit-value in swap_writepage", "kmsan|uninit-value|swap_writepage"),
    ("UBSAN: shift-out-of-bounds in mm/vmscan.c:12:34", "UBSAN: shift-out-of-bounds in shmem_undo_range", "ubsan|shift-out-of-bounds|shmem_undo_range"),
    (
        "ODEBUG: free active (active state 0) object type: timer_list hint: delayed_work_timer_fn+0x0/0x10\n\
         WARNING: CPU: 1 PID: 901 at lib/debugobjects.c:505 debug_print_object+0x6e/0x90",
        "WARNING: ODEBUG bug in shmem_undo_range",
        "object-debug|free active|timer_list|shmem_undo_range",
    ),
    (
        "usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-64' (offset 0, size 128)!\n\
         kernel BUG at mm/usercopy.c:101!\ninvalid opcode: 0000 [#1] SMP",
        "BUG: bad usercopy in shmem_undo_range",
        "usercopy|shmem_undo_range",
    ),
    ("kernel BUG at mm/page_table_check.c:76!\ninvalid opcode: 0000 [#1] SMP", "kernel BUG in shmem_undo_range", "kernel-bug|shmem_undo_range"),
    ("kernel BUG at mm/rmap.c:1!\nOops: invalid opcode: 0000 [#1] SMP NOPTI", "kernel BUG in shmem_undo_range", "kernel-bug|shmem_undo_range"),
    (
        "WARNING: CPU: 1 PID: 901 at mm/memory.c:1 zap_pte_range+0x1/0x2",
        "WARNING in zap_pte_range",
        "warning|zap_pte_range",
    ),
    ("WARNING: mm/memory.c:1 at zap_pte_range+0x1/0x2, CPU#1: cc1/901", "WARNING in zap_pte_range", "warning|zap_pte_range"),
    (
        "BUG: kernel NULL pointer dereference, address: 0000000000000010\n#PF: supervisor read access in kernel mode\n\
         #PF: error_code(0x0000) - not-present page\nOops: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "BUG: unable to handle kernel NULL pointer dereference in rmap_walk_anon",
        "null-dereference|rmap_walk_anon",
    ),
    (
        "BUG: unable to handle page fault for address: ffffea0004000000\nOops: Oops: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "BUG: unable to handle kernel paging request in rmap_walk_anon",
        "page-fault|rmap_walk_anon",
    ),
    (
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "general protection fault in rmap_walk_anon",
        "general-protection|rmap_walk_anon",
    ),
    (
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "general protection fault in rmap_walk_anon",
        "general-protection|rmap_walk_anon",
    ),
    ("divide error: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2", "divide error in rmap_walk_anon", "divide-error|rmap_walk_anon"),
    ("stack segment: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2", "stack segment fault in rmap_walk_anon", "oops|rmap_walk_anon"),
    ("traps: PANIC: double fault, error_code: 0x0\nRIP: 0010:rmap_walk_anon+0x1/0x2", "PANIC: double fault in rmap_walk_anon", "double-fault|rmap_walk_anon"),
    (
        "BUG: TASK stack guard page was hit at ffffc90000e3bff8 (stack is ffffc90000e3c000..ffffc90000e40000)\n\
         stack guard page: 0000 [#1] SMP\nRIP: 0010:rmap_walk_anon+0x1/0x2",
        "BUG: stack guard page was hit in rmap_walk_anon",
        "stack-overflow|rmap_walk_anon",
    ),
    (
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010\nMem abort info:\n  ESR = 0x0000000096000004\n\
         Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP\npc : rmap_walk_anon+0x1/0x2\nlr : rmap_walk+0x1/0x2",
        "BUG: unable to handle kernel NULL pointer dereference in rmap_walk_anon",
        "null-dereference|rmap_walk_anon",
    ),
    (
        "Unable to handle kernel paging request at virtual address ffffffd804c0ffee\nOops [#1]\nepc : rmap_walk_anon+0x1/0x2",
        "BUG: unable to handle kernel paging request in rmap_walk_anon",
        "page-fault|rmap_walk_anon",
    ),
    (
        "Unable to handle kernel pointer dereference in virtual kernel address space\nFailing address: 0000000000000000 TEID: 0000000000000483\n\
         Oops: 0004 ilc:2 [#1] SMP\nKrnl PSW : 0704c00180000000 00000000001f9a3c (rmap_walk_anon+0x1c/0x40)",
        "BUG: unable to handle kernel paging request in rmap_walk_anon",
        "page-fault|rmap_walk_anon",
    ),
    (
        "BUG: sleeping function called from invalid context at mm/vmalloc.c:1\nin_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 901, name: cc1",
        "BUG: sleeping function called from invalid context in shmem_undo_range",
        "atomic-sleep|sleep|shmem_undo_range",
    ),
    ("BUG: scheduling while atomic: cc1/901/0x00000002", "BUG: scheduling while atomic in shmem_undo_range", "atomic-sleep|schedule|shmem_undo_range"),
    ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [cc1:901]", "BUG: soft lockup in shmem_undo_range", "soft-lockup|shmem_undo_range"),
    ("watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1", "BUG: hard lockup in shmem_undo_range", "hard-lockup|shmem_undo_range"),
    ("rcu: INFO: rcu_preempt self-detected stall on CPU", "INFO: rcu detected stall in shmem_undo_range", "rcu-stall|shmem_undo_range"),
    ("INFO: task cc1:901 blocked for more than 120 seconds.", "INFO: task hung in shmem_undo_range", "hung-task|shmem_undo_range"),
    (
        "WARNING: possible circular locking dependency detected\ncc1/901 is trying to acquire lock:\n\
         ffff888104c0ffee (&mm->mmap_lock){++++}-{3:3}, at: khugepaged_scan+0x1/0x2",
        "possible deadlock in khugepaged_scan",
        "lockdep|khugepaged_scan",
    ),
    ("WARNING: suspicious RCU usage\nmm/rmap.c:1 suspicious rcu_dereference_check() usage!", "WARNING: suspicious RCU usage in shmem_undo_range", "rcu-usage|shmem_undo_range"),
    (
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: rmap_walk_anon+0x1/0x2",
        "kernel panic: stack is corrupted in rmap_walk_anon",
        "stack-overflow|rmap_walk_anon",
    ),
    (
        "Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        "kernel panic: corrupted stack end in shmem_undo_range",
        "stack-overflow|shmem_undo_range",
    ),
    ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b", "kernel panic: Attempted to kill init!", "panic|Attempted to kill init!"),
];

/// Reports of one line.
const LINES: &[(&str, &str, &str)] = &[
    ("zram: Decompression failed! err=-22, page=77", "compressed page cannot be decompressed", "swap-io|decompression"),
    (
        "Page cache invalidation failure on direct I/O.  Possible data corruption due to collision with buffered I/O!",
        "page cache invalidation failure on direct I/O",
        "other-bug|stale page cache",
    ),
    (
        "BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_SWAPENTS val:2 Comm:cc1 Pid:901",
        "BUG: Bad rss-counter state MM_SWAPENTS",
        "bad-rss-counter|MM_SWAPENTS",
    ),
    (
        "BUG: Bad rss-counter state mm:00000000c0ffee01 type:MM_SHMEMPAGES val:-1",
        "BUG: Bad rss-counter state MM_SHMEMPAGES",
        "bad-rss-counter|MM_SHMEMPAGES",
    ),
    ("mm/pgtable-generic.c:50: bad pte 00000000c0ffee01(8000000012345067)", "BUG: bad pte", "bad-page-table|pte"),
    ("mm/memory.c:192: bad p4d 00000000c0ffee01(8000000012345067)", "BUG: bad p4d", "bad-page-table|p4d"),
    ("mm/memory.c:192: bad pud 00000000c0ffee01(8000000012345067)", "BUG: bad pud", "bad-page-table|pud"),
    ("mm/memory.c:192: bad pgd 00000000c0ffee01(8000000012345067)", "BUG: bad pgd", "bad-page-table|pgd"),
    (
        "_swap_info_get: Bad swap offset entry 3ffffffffffff",
        "BUG: Bad swap offset entry in _swap_info_get",
        "swap-entry|bad offset|_swap_info_get",
    ),
    ("Read-error on swap-device (254:0:8192)", "I/O error on a swap device", "swap-io|io"),
    ("Write-error on swap-device (254:0:8192)", "I/O error on a swap device", "swap-io|io"),
    ("kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "memory leak", "memory-leak|suspected"),
    ("Out of memory and no killable processes...", "BUG: out of memory with nothing to kill", "oom-deadlock|no-victim"),
    (
        "Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF",
        "VM_FAULT_OOM leaked out to the #PF handler",
        "oom-deadlock|leaked",
    ),
    (
        "cc1: internal compiler error: Segmentation fault",
        "internal compiler error: Segmentation fault",
        "violation|compiler|Segmentation fault",
    ),
];

#[test]
fn every_format_has_its_name() {
    let mut wrong = Vec::new();
    let logs = TRACED
        .iter()
        .map(|(head, ..)| printed(&format!("{head}\n{TRACE}")))
        .chain(LINES.iter().map(|(line, ..)| printed(line)));
    for (log, (head, title, signature)) in logs.zip(TRACED.iter().chain(LINES)) {
        let findings = super::read(&log);
        let names: Vec<_> = findings.iter().map(|f| (f.title.as_str(), f.signature.as_str(), f.corrupted)).collect();
        if names != [(*title, *signature, false)] {
            wrong.push(format!("{head}\n    {names:?}\n    expected {title:?}, {signature:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_name_is_the_same_behind_any_prefix() {
    let log = printed(&format!("BUG: Bad page map in process cc1  pte:1 pmd:2\n{TRACE}"));
    let plain = only(&log);
    for prefix in [
        "<1>",
        "Nov  6 12:00:00 host kernel: ",
        "2022-11-06T12:00:00.123456+01:00 host kernel: ",
        "[Sun Nov  6 12:00:00 2022] ",
        "[2022-11-06 12:00:00] ",
        "kern  :alert : ",
        "1,339,5140900,-,caller=T901;",
        "\u{1b}[0m",
        "\0\0",
    ] {
        let prefixed: String = log.lines().map(|line| format!("{prefix}{line}\r\n")).collect();
        let finding = only(&prefixed);
        assert_eq!((finding.title, finding.frames), (plain.title.clone(), plain.frames.clone()), "{prefix:?}");
    }
}

#[test]
fn a_program_without_a_newline_does_not_hide_a_report() {
    let log = printed(&format!("BUG: Bad page map in process cc1  pte:1 pmd:2\n{TRACE}"));
    assert_eq!(only(&format!("host login: {log}")).first_line, 1);
    assert_eq!(only(&format!("** 12 printk messages dropped ** {log}")).title, "BUG: Bad page map in shmem_undo_range");
}

#[test]
fn noise_is_told_apart_and_does_not_take_a_report_over() {
    let noise =
        "[   42.000001] cc1[44]: segfault at 0 ip 0000000000401000 sp 00007ffc00000000 error 4 in cc1[401000+1000]\n";
    let report = format!("BUG: Bad page map in process cc1  pte:1 pmd:2\n{TRACE}").replace('\n', "\n[   42.000001] ");
    let log = format!(
        "{noise}[   42.000001] {}\n",
        report.replacen("Call Trace", &format!("x\n{noise}[   42.000001] Call Trace"), 1)
    );
    assert_eq!(only(&log).guilty.as_deref(), Some("shmem_undo_range"));
    let mut oracle = crate::oracle::Oracle::with_noise();
    let mut notices = oracle.feed(log.as_bytes());
    notices.extend(oracle.quiet());
    let classes: Vec<_> = super::completed(notices).iter().map(|f| f.class.to_string()).collect();
    assert_eq!(classes, ["user-fault", "user-fault", "bad-page-map"]);
}
