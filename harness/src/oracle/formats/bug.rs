//! What says `BUG:` and is in no other group. The last row takes any.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &["BUG: Dentry {_} still in use"],
        title: "BUG: Dentry still in use in {guilty}",
        signature: "dentry|{guilty}",
        absorbs: &[Class::Warning, Class::KernelBug],
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: workqueue leaked lock or atomic: {process}/0x"],
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
        head: &["^BUG: {reason}"],
        // These announce what was left out, not something new.
        unless: &["messages suppressed"],
        stamped: true,
        title: "BUG: {reason}",
        alts: &["BUG: {reason} in {guilty}"],
        signature: "{reason}",
        ..Format::DEFAULT
    },
];
