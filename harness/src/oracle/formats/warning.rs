//! `WARN()`, in the forms of all kernels, architectures and years.

use super::{End, Format};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &[
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w} {function:s}+",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w} ",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {function:s}+",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w}",
            // 6.18: the place first, the task at the end.
            "WARNING: {location:w} at {function:s}+{_:w}, CPU#{cpu:d}: {process}/{pid:d}",
            "WARNING: {location:w} at {_:w}, CPU#{cpu:d}: {process}/{pid:d}",
            "WARNING: at {location:w} {function:s}+",
            "WARNING: at {location:w} {function:s}(",
        ],
        class: Class::Warning,
        severity: Severity::Warning,
        title: "WARNING in {guilty}",
        alts: &["WARNING in {outer}"],
        signature: "{guilty}[|{condition}]",
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        // unwind_next_frame() of the frame pointer unwinder: `kernel stack regs at ... in cc1:12 has bad 'bp' value ...`.
        head: &["WARNING: kernel stack {what:w} {_} has bad {kind} value"],
        class: Class::Warning,
        severity: Severity::Info,
        title: "WARNING: kernel stack {what} has bad {kind} value",
        signature: "stack {what} {kind}",
        guilt: super::Guilt::Nobody,
        ..Format::DEFAULT
    },
];
