//! Lock debugging: lockdep, spinlock debugging, RCU's rules. Lockdep turns itself off after its first report.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

const ROW: Format = Format { class: Class::Lockdep, severity: Severity::Warning, ..Format::DEFAULT };

/// Where lockdep names the function that did it, before any trace: `..., at: foo+0x1/0x2`.
const AT: &[&str] = &["at: [<{_:x}>] {function:s}+", "at: {function:s}+"];

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &[
            "WARNING: possible circular locking dependency detected",
            "possible circular locking dependency detected",
            "WARNING: possible recursive locking detected",
            "possible recursive locking detected",
            "possible irq lock inversion dependency detected",
            "-safe -> {_:w} lock order detected",
            "WARNING: possible irq lock inversion",
        ],
        title: "possible deadlock in {guilty}",
        // `SOFTIRQ-safe -> SOFTIRQ-unsafe`: who takes the safe lock in the interrupt.
        alts: &["possible deadlock in {owner}", "possible deadlock in {keeper}"],
        body: AT,
        ..ROW
    },
    Format {
        head: &["Nested lock was not taken"],
        title: "WARNING: nested lock was not taken in {guilty}",
        signature: "nested|{guilty}",
        ..ROW
    },
    Format {
        head: &["inconsistent lock state"],
        title: "inconsistent lock state in {guilty}",
        signature: "inconsistent|{guilty}",
        body: AT,
        ..ROW
    },
    Format {
        head: &["bad unlock balance detected!"],
        title: "WARNING: bad unlock balance in {guilty}",
        alts: &["BUG: bad unlock balance in {guilty}"],
        signature: "unlock|{guilty}",
        body: AT,
        ..ROW
    },
    Format {
        head: &["held lock freed!"],
        title: "WARNING: held lock freed in {guilty}",
        alts: &["BUG: held lock freed in {guilty}"],
        signature: "freed|{guilty}",
        body: AT,
        reporters: &["kfree", "kmem_cache_free", "slab_free", "debug_check_no_locks"],
        ..ROW
    },
    Format {
        head: &["still has locks held!"],
        title: "WARNING: still has locks held in {guilty}",
        alts: &["BUG: still has locks held in {guilty}"],
        signature: "held|{guilty}",
        body: AT,
        ..ROW
    },
    Format {
        head: &["lock held when returning to user space!"],
        title: "WARNING: lock held when returning to user space in {guilty}",
        alts: &["BUG: lock held when returning to user space in {guilty}"],
        signature: "user|{guilty}",
        body: AT,
        ..ROW
    },
    Format {
        head: &["[ BUG: Invalid wait context ]"],
        title: "BUG: Invalid wait context in {guilty}",
        alts: &["WARNING: locking bug in {guilty}"],
        signature: "wait|{guilty}",
        body: AT,
        ..ROW
    },
    Format {
        head: &["INFO: trying to register non-static key"],
        title: "INFO: trying to register non-static key in {guilty}",
        signature: "key|{guilty}",
        reporters: &["register_lock_class", "assign_lock_key"],
        skip: &["stack", "lock", "IRQ"],
        ..ROW
    },
    Format {
        head: &["BUG: {what^MAX_} too low!", "BUG: {what} too low!"],
        severity: Severity::Info,
        title: "BUG: {what} too low!",
        signature: "{what}",
        guilt: Guilt::Nobody,
        ..ROW
    },
    Format {
        head: &["suspicious RCU usage", "suspicious rcu_dereference_check() usage"],
        class: Class::RcuUsage,
        title: "WARNING: suspicious RCU usage in {guilty}",
        alts: &["INFO: suspicious RCU usage in {guilty}", "WARNING: suspicious RCU usage in {outer}"],
        body: &["{location:w} suspicious rcu_dereference", "{location:w} RCU-list traversed"],
        absorbs: &[Class::RcuUsage],
        skip: &["rcu", "kmem", "slab"],
        ..ROW
    },
    Format {
        head: &[
            "BUG: spinlock {kind} on CPU#{cpu:d}, {process}/{pid:d}",
            "BUG: spinlock {kind} on CPU#{cpu:d}",
            "BUG: rwlock {kind} on CPU#{cpu:d}",
        ],
        severity: Severity::Error,
        title: "BUG: spinlock {kind} in {guilty}",
        signature: "spinlock {kind}|{guilty}",
        skip: &["spin_", "rq_lock"],
        end: End::Trace,
        ..ROW
    },
];
