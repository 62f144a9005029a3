//! Tests of the oracle as a whole. The texts follow the kernel's format strings; names and numbers are made up.

mod corpus;
mod formats;
mod mm;
mod properties;
mod streams;

use super::{Finding, Notice, Oracle};

/// Findings of a log after which the console stays silent.
fn read(log: &str) -> Vec<Finding> {
    let mut oracle = Oracle::new();
    let mut notices = oracle.feed(log.as_bytes());
    notices.extend(oracle.quiet());
    notices.extend(oracle.finish());
    completed(notices)
}

fn completed(notices: Vec<Notice>) -> Vec<Finding> {
    notices.into_iter().filter_map(|n| if let Notice::Completed(finding) = n { Some(*finding) } else { None }).collect()
}

/// The one finding of a log.
fn only(log: &str) -> Finding {
    let mut findings = read(log);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

/// A page dump as 6.1 prints it.
const PAGE: &str = "\
[  101.000001][  T901] page:00000000c0ffee01 refcount:3 mapcount:1 mapping:00000000feedbeef index:0x7f0000400 pfn:0x12345
[  101.000002][  T901] head:00000000c0ffee01 order:9 compound_mapcount:1 compound_pincount:0
[  101.000003][  T901] memcg:ffff888101234000
[  101.000004][  T901] anon flags: 0x17ffffc0050018(uptodate|dirty|head|swapbacked|node=0|zone=2|lastcpupid=0x1fffff)
[  101.000005][  T901] raw: 0017ffffc0050018 0000000000000000 dead000000000122 ffff888104c0ffee
[  101.000006][  T901] raw: 00000007f0000400 0000000000000000 00000003ffffffff ffff888101234000
";

/// What x86 prints behind a head, from registers to the end marker and the registers once more.
const OOPS_BODY: &str = "\
[  101.000011][  T901] CPU: 2 PID: 901 Comm: cc1 Tainted: G        W          6.1.192 #3
[  101.000012][  T901] Hardware name: Some Machine, BIOS 1.0
[  101.000013][  T901] RIP: 0010:migrate_folio_unmap+0x51a/0x5c0
[  101.000014][  T901] Code: 0f 0b 48 c7 c6 <0f> 0b
[  101.000015][  T901] RSP: 0018:ffffc90000e3bb08 EFLAGS: 00010246
[  101.000016][  T901] RAX: 0000000000000000 RBX: ffffea0004000000 RCX: 0000000000000000
[  101.000017][  T901] Call Trace:
[  101.000018][  T901]  <TASK>
[  101.000019][  T901]  ? __die_body.cold+0x1a/0x1f
[  101.000020][  T901]  migrate_pages+0x3a1/0xc20
[  101.000021][  T901]  compact_zone+0x7cc/0xe00
[  101.000022][  T901]  do_syscall_64+0x38/0x90
[  101.000023][  T901] RIP: 0033:0x7f9e42b44c78
[  101.000024][  T901] RSP: 002b:00007f9e42b44c78 EFLAGS: 00000246 ORIG_RAX: 0000000000000010
[  101.000025][  T901]  </TASK>
[  101.000026][  T901] Modules linked in:
[  101.000027][  T901] ---[ end trace 0000000000000000 ]---
[  101.000028][  T901] RIP: 0010:migrate_folio_unmap+0x51a/0x5c0
[  101.000029][  T901] RSP: 0018:ffffc90000e3bb08 EFLAGS: 00010246
[  101.000030][  T901] RAX: 0000000000000000 RBX: ffffea0004000000 RCX: 0000000000000000
";

/// `BUG()` itself.
const BUG: &str = "\
[  101.000008][  T901] ------------[ cut here ]------------
[  101.000009][  T901] kernel BUG at mm/migrate.c:1160!
[  101.000010][  T901] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI
";

fn vm_bug() -> String {
    format!(
        "{PAGE}[  101.000007][  T901] page dumped because: VM_BUG_ON_FOLIO(!folio_test_locked(src))\n{BUG}{OOPS_BODY}"
    )
}
