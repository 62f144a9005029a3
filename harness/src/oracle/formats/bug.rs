//! What says `BUG:` and is in no other group. The last row takes any.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &["BUG: Dentry {_} still in use ({_:d}) {what^[unmount of}", "BUG: Dentry {_} still in use"],
        title: "BUG: Dentry still in use in {guilty}",
        alts: &["BUG: Dentry still in use {what}"],
        signature: "dentry|{guilty}",
        absorbs: &[Class::Warning, Class::KernelBug],
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: workqueue leaked lock or atomic: {process}/0x"],
        body: &["last function: {function:s}"],
        title: "BUG: workqueue leaked lock or atomic in {guilty}",
        signature: "workqueue|{guilty}",
        ..Format::DEFAULT
    },
    Format {
        head: &["VFS: Busy inodes after unmount of"],
        severity: Severity::Warning,
        title: "VFS: Busy inodes after unmount (use-after-free)",
        signature: "busy inodes",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["unregister_netdevice: waiting for {_} to become free"],
        severity: Severity::Warning,
        title: "unregister_netdevice: waiting for DEV to become free",
        signature: "unregister_netdevice",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        // The secure world's kernel on the same console.
        head: &[
            "trusty: panic {_}: DEBUG ASSERT FAILED at {_}: {reason}",
            "trusty: panic {_}: ASSERT FAILED at {_}: {reason}",
            "trusty: panic {_}ASSERT FAILED{_}:",
        ],
        class: Class::Panic,
        severity: Severity::Fatal,
        title: "trusty: ASSERT FAILED:[ {reason}]",
        signature: "trusty|[{reason}]",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["trusty: panic {_}: {reason}"],
        class: Class::Panic,
        severity: Severity::Fatal,
        title: "trusty: panic: {reason}",
        signature: "trusty|{reason}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["^BUG: {reason}"],
        // These announce what was left out, not something new.
        unless: &["messages suppressed"],
        stamped: true,
        title: "BUG: {reason}",
        alts: &["BUG: {reason} in {guilty}"],
        signature: "{reason}",
        ..Format::DEFAULT
    },
    Format {
        // The rest was lost.
        head: &["^BUG:$"],
        stamped: true,
        title: "BUG: corrupted",
        signature: "lost",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
];
