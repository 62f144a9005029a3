//! What must hold for any bytes at all.

use proptest::prelude::*;

use super::vm_bug;
use crate::oracle::{scan, Finding, Notice, Oracle};

/// Lines that begin, continue and end reports, to be thrown together in any order.
const PIECES: &[&str] = &[
    "[    1.000000][   T1] ------------[ cut here ]------------\n",
    "[    1.000000][   T2] kernel BUG at mm/huge_memory.c:2613!\n",
    "kernel BUG at mm/rmap.c:1!\r\n",
    "invalid opcode: 0000 [#1] SMP\n",
    "[    1.000000][   C0] rcu: INFO: rcu_sched self-detected stall on CPU\n",
    "BUG: Bad page state in process a/b:c  pfn:1\n",
    "page dumped because: nonzero mapcount\n",
    "[    1.000000][   T1] page dumped because: VM_BUG_ON_PAGE(a)\n",
    "BUG: KASAN: slab-use-after-free in foo+0x1/0x2\n",
    "Read of size 8 at addr ffff888100000000 by task a/1\n",
    "Call Trace:\n",
    "[    1.000000][   T1]  ? migrate_pages+0x1/0x2 [m]\n",
    " rmap_walk+0x1/0x2\n",
    " </TASK>\n",
    "==================================================================\n",
    "---[ end trace 0 ]---\n",
    "[    0.000000] Linux version 6.1 (a) b\n",
    "Kernel panic - not syncing: x\n",
    "** 3 printk messages dropped **\n",
    "\x1b[1m\0\n",
    "[    1.000000] cc1 invoked oom-killer: gfp_mask=0x1, order=0\n",
    "[    1.000000] FAULT_INJECTION: forcing a failure.\n",
    "[    1.000000][   T2] a[1]: segfault at 0 ip 0 sp 0 error 4\n",
    "** 9 printk messages dropped ** [    1.000000] WARNING: CPU: 0 PID: 1 at mm/a.c:1 f+0x1/0x2\n",
    "login: [    1.000000][   T1] INFO: task a:1 blocked for more than 120 seconds.\n",
    "NMI backtrace for cpu 1\n",
    "RIP: 0010:rmap_walk+0x1/0x2\n",
    "[<80132060>] (rmap_walk) from [<80132061>] (migrate_pages+0x1/0x2)\n",
    "*** stack smashing detected ***: terminated\n",
    "Booting the kernel.\n",
    "text without a newline",
    "BUG: Bad rss-counter state mm:0 type:MM_FILEPAGES val:-1\n",
];

fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|s| s.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just(vm_bug().into_bytes()),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn in_chunks(log: &[u8], cuts: &[usize]) -> Vec<Notice> {
    let (mut oracle, mut notices, mut rest) = (Oracle::new(), Vec::new(), log);
    for &cut in cuts {
        let (head, tail) = rest.split_at(cut.min(rest.len()));
        notices.extend(oracle.feed(head));
        rest = tail;
    }
    notices.extend(oracle.feed(rest));
    notices.extend(oracle.finish());
    notices
}

proptest! {
    // A failure prints its input; files beside the sources would not be read by anyone.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_reads_the_same(log in any_log(), cuts in proptest::collection::vec(0_usize..300, 0..80)) {
        prop_assert_eq!(in_chunks(&log, &cuts), in_chunks(&log, &[]));
    }

    #[test]
    fn every_opening_is_completed_and_ranges_lie_in_the_log(log in any_log()) {
        let notices = in_chunks(&log, &[]);
        let opened = notices.iter().filter(|n| matches!(n, Notice::Opened { .. })).count();
        let lines = log.split(|&b| b == b'\n').count() as u64;
        let findings = super::completed(notices);
        prop_assert_eq!(opened, findings.len());
        for f in findings {
            prop_assert!(1 <= f.first_line && f.first_line <= f.last_line && f.last_line <= lines);
            prop_assert!(f.first_byte < f.end_byte && f.end_byte <= log.len() as u64);
        }
    }

    #[test]
    fn a_prefix_completes_nothing_that_the_whole_does_not(log in any_log(), cut in 0_usize..4000) {
        // Registers behind the end marker lengthen a report that was whole without them.
        let content = |f: Finding| (f.first_line, f.signature, f.title, f.frames, f.primary, f.process);
        let whole: Vec<_> = scan(&log).into_iter().map(content).collect();
        for finding in scan(&log[..cut.min(log.len())]) {
            prop_assert!(finding.corrupted || whole.contains(&content(finding.clone())), "{:?}", finding);
        }
    }

    #[test]
    fn random_bytes_do_no_harm(log in proptest::collection::vec(any::<u8>(), 0..5000)) {
        scan(&log);
    }
}

#[test]
fn floods_are_bounded() {
    let mut oracle = Oracle::new();
    let (mut opened, line) =
        (0, "[    1.000000] BUG: Bad rss-counter state mm:0 type:MM_FILEPAGES val:-1\n".repeat(100));
    for _ in 0..100 {
        opened += oracle.feed(line.as_bytes()).iter().filter(|n| matches!(n, Notice::Opened { .. })).count();
    }
    assert_eq!((opened, oracle.suppressed()), (256, 10_000 - 256));
}

#[test]
fn endless_reports_are_cut() {
    let log =
        format!("{}{}", "BUG: KASAN: use-after-free in foo+0x1/0x2\nCall Trace:\n", " foo+0x1/0x2\n".repeat(5000));
    let findings = scan(log.as_bytes());
    assert_eq!(findings.len(), 1);
    assert!(findings[0].frames.len() <= 384 && findings[0].last_line <= 1500);
}

#[test]
fn mutated_real_logs_do_no_harm() {
    // A linear congruential generator: the same mutations every time, without a dependency.
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for mut log in super::corpus::logs() {
        if log.is_empty() {
            continue;
        }
        for _ in 0..log.len() / 40 {
            let (from, to) = (random() % log.len(), random() % log.len());
            match random() % 3 {
                0 => log[to] = (random() & 0xff) as u8,
                1 => log[to] = b'\n',
                _ => log[to] = log[from],
            }
        }
        let cuts: Vec<usize> = (0..20).map(|_| random() % 2000).collect();
        assert_eq!(in_chunks(&log, &cuts), in_chunks(&log, &[]));
    }
}
