//! Reports that follow, interrupt and resemble each other.

use super::{completed, only, read, vm_bug, BUG, OOPS_BODY};
use crate::oracle::{Class, Notice, Oracle, Severity};

#[test]
fn a_report_is_announced_at_its_first_line_and_handed_out_when_quiet() {
    let mut oracle = Oracle::new();
    let log = vm_bug();
    let cut = log.find("VM_BUG_ON").unwrap();
    let line_end = cut + log[cut..].find('\n').unwrap() + 1;
    assert!(oracle.feed(&log.as_bytes()[..cut]).is_empty());
    assert_eq!(
        oracle.feed(&log.as_bytes()[cut..line_end]),
        [Notice::Opened {
            class: Class::KernelBug,
            severity: Severity::Fatal,
            headline: "page dumped because: VM_BUG_ON_FOLIO(!folio_test_locked(src))".into()
        }]
    );
    assert!(oracle.feed(&log.as_bytes()[line_end..]).is_empty(), "registers may still follow the end marker");
    let findings = completed(oracle.quiet());
    assert_eq!(findings.len(), 1);
    assert!(!findings[0].corrupted);
    assert!(oracle.finish().is_empty());
}

#[test]
fn a_panic_after_an_oops_is_its_consequence() {
    let panic = "\
[  101.000040][  T901] Kernel panic - not syncing: Fatal exception
[  101.000041][  T901] Kernel Offset: disabled
[  101.000042][  T901] ---[ end Kernel panic - not syncing: Fatal exception ]---
";
    let findings = read(&format!("{}{panic}", vm_bug()));
    let seen: Vec<_> = findings.iter().map(|f| (f.title.as_str(), f.primary, f.corrupted)).collect();
    assert_eq!(
        seen,
        [("kernel BUG in migrate_folio_unmap", true, false), ("kernel panic: Fatal exception", false, false)]
    );
    assert!(only(panic).primary);
}

#[test]
fn a_panic_before_the_trace_leaves_it_to_the_warning() {
    let findings = read(
        "\
[   50.000000][  T901] WARNING: CPU: 0 PID: 901 at mm/gup.c:600 try_grab_page+0x1/0x2
[   50.000000][  T901] Kernel panic - not syncing: panic_on_warn set ...
[   50.000000][  T901] CPU: 0 PID: 901 Comm: gup_test Not tainted 5.4.0 #1
[   50.000000][  T901] Call Trace:
[   50.000000][  T901]  dump_stack+0x1/0x2
[   50.000000][  T901]  panic+0x1/0x2
[   50.000000][  T901]  __warn.cold+0x1/0x2
[   50.000000][  T901]  follow_page_pte+0x1/0x2
[   50.000000][  T901] ---[ end Kernel panic - not syncing: panic_on_warn set ... ]---
",
    );
    let seen: Vec<_> = findings.iter().map(|f| (f.title.as_str(), f.frames.len(), f.corrupted)).collect();
    assert_eq!(seen, [("WARNING in try_grab_page", 4, false), ("kernel panic: panic_on_warn set ...", 4, false)]);
    assert_eq!(findings[0].process.as_deref(), Some("gup_test"));
}

#[test]
fn a_warning_does_not_make_what_follows_a_consequence() {
    let warning = "\
[   50.000000][  T901] WARNING: CPU: 0 PID: 901 at mm/util.c:600 kvmalloc_node+0x1/0x2
[   50.000000][  T901] RIP: 0010:kvmalloc_node+0x1/0x2
[   50.000000][  T901] ---[ end trace 0000000000000000 ]---
";
    let findings = read(&format!("{warning}{BUG}{OOPS_BODY}"));
    assert_eq!(findings.iter().map(|f| f.primary).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn lines_of_other_tasks_do_not_break_a_report() {
    let mut mixed = String::new();
    for (i, line) in vm_bug().lines().enumerate() {
        mixed.push_str(line);
        mixed.push_str(&format!("\n[  101.5][  T33] usb 1-1: message {i}\nplain text of a program\n[  101.500000][  T33]  not_ours+0x1/0x2\n"));
    }
    let (mixed, plain) = (only(&mixed), only(&vm_bug()));
    assert_eq!((&mixed.frames, &mixed.signature, mixed.corrupted), (&plain.frames, &plain.signature, false));
}

#[test]
fn two_cpus_reporting_at_once_are_two_findings() {
    let (a, b) = (vm_bug(), vm_bug().replace("T901", "T902").replace("migrate_folio_unmap", "rmap_walk_anon"));
    let woven: String = a.lines().zip(b.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
    let mut titles: Vec<_> = read(&woven).into_iter().map(|f| (f.title, f.corrupted)).collect();
    titles.sort();
    assert_eq!(
        titles,
        [("kernel BUG in migrate_folio_unmap".into(), false), ("kernel BUG in rmap_walk_anon".into(), false)]
    );
}

#[test]
fn a_second_banner_is_a_reboot_and_the_first_is_not() {
    let banner = "[    0.000000] Linux version 6.1.192 (me@here) (gcc 12) #3 SMP PREEMPT\n";
    let boot = format!(
        "SeaBIOS (version 1.16)\nBooting from ROM..\n{banner}[    0.000000] Command line: panic_on_warn=1 oops=panic\n"
    );
    assert!(read(&boot).is_empty());
    let findings = read(&format!("{boot}{}{boot}{}", vm_bug(), vm_bug()));
    let seen: Vec<_> = findings.iter().map(|f| (f.class, f.primary)).collect();
    assert_eq!(seen, [(Class::KernelBug, true), (Class::Reboot, false), (Class::KernelBug, true)]);
    assert!(read(&format!("{boot}{boot}"))[0].primary);
}

#[test]
fn ordinary_text_is_not_a_finding() {
    let log = "\
[    0.000000] Kernel command line: oops=panic panic_on_warn=1 hung_task_panic=1 softlockup_panic=1
[    1.000000] WARNING: the mand mount option is being deprecated
[    1.000000] foo: this is not a BUG: really
BUG: the build system says so
WARNING: apt does not have a stable CLI interface
[    1.000000] INFO: lockdep is turned off.
[    1.000000] ODEBUG: Out of memory. ODEBUG disabled
[    1.000000] mm/page_alloc.c: bad parameter 12
[    1.000000] init: panic if this fails
[    1.000000] watchdog: softlockup_panic is set
";
    assert!(read(log).is_empty(), "{:?}", read(log));
}

#[test]
fn a_cut_log_says_so() {
    let log = vm_bug();
    for cut in 1..log.len() {
        let findings = crate::oracle::scan(&log.as_bytes()[..cut]);
        assert!(findings.len() <= 1);
        // The end marker stands in the third but last line; from its end on the report is whole.
        let whole = log[..cut].contains("end trace 0000000000000000 ]---\n");
        for finding in findings {
            assert!(finding.corrupted || whole, "cut at {cut}: {finding:?}");
        }
    }
}

#[test]
fn dropped_messages_corrupt_the_report() {
    let log = vm_bug().replace("Call Trace:\n", "Call Trace:\n** 7 printk messages dropped **\n");
    let without_ids = log.replace("[  T901]", "");
    assert_eq!(only(&without_ids).corrupted_why.as_deref(), Some("printk messages were dropped"));
}

#[test]
fn lockups_hangs_and_stalls() {
    let trace = "\
[  200.000002] CPU: 1 PID: 55 Comm: kcompactd0 Not tainted 6.1.192 #3
[  200.000003] RIP: 0010:isolate_migratepages_block+0x1a1/0xd00
[  200.000004] Call Trace:
[  200.000005]  <TASK>
[  200.000006]  compact_zone+0x7cc/0xe00
[  200.000007]  </TASK>
";
    for (head, title, signature) in [
        (
            "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [kcompactd0:55]",
            "BUG: soft lockup in isolate_migratepages_block",
            "soft-lockup|isolate_migratepages_block",
        ),
        (
            "watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "BUG: hard lockup in isolate_migratepages_block",
            "hard-lockup|isolate_migratepages_block",
        ),
        (
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "INFO: rcu detected stall in isolate_migratepages_block",
            "rcu-stall|isolate_migratepages_block",
        ),
        (
            "INFO: task khugepaged:55 blocked for more than 143 seconds.",
            "INFO: task hung in isolate_migratepages_block",
            "hung-task|isolate_migratepages_block",
        ),
        (
            "BUG: sleeping function called from invalid context at mm/vmalloc.c:2800",
            "BUG: sleeping function called from invalid context in isolate_migratepages_block",
            "atomic-sleep|sleep|isolate_migratepages_block",
        ),
    ] {
        let finding = only(&format!("[  200.000001] {head}\n{trace}"));
        assert_eq!((finding.title.as_str(), finding.signature.as_str(), finding.corrupted), (title, signature, false));
    }
}

#[test]
fn findings_survive_json() {
    let finding = only(&vm_bug());
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["class"], "kernel-bug");
    assert_eq!(json["severity"], "fatal");
    assert_eq!(json["frames"][0]["function"], "migrate_folio_unmap");
    assert_eq!(serde_json::from_value::<crate::oracle::Finding>(json).unwrap(), finding);
}
