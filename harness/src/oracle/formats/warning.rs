//! `WARN()`, in the forms of all kernels, architectures and years.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

const ROW: Format = Format {
    class: Class::Warning,
    severity: Severity::Warning,
    title: "WARNING in {guilty}",
    alts: &["WARNING in {outer}"],
    signature: "{guilty}[|{condition}]",
    head_is_reporter: true,
    end: End::Marker,
    ..Format::DEFAULT
};

/// Heads of a `WARN()` in files and functions that begin so. The head of 6.18 has the place first and the task last.
macro_rules! warn_at {
    ($file:literal, $function:literal) => {
        &[
            concat!("WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w^", $file, "} {function:s^", $function, "}+"),
            concat!(
                "WARNING: {location:w^",
                $file,
                "} at {function:s^",
                $function,
                "}+{_:w}, CPU#{cpu:d}: {process}/{pid:d}"
            ),
            concat!("WARNING: at {location:w^", $file, "} {function:s^", $function, "}+"),
        ]
    };
}

/// Rows. The first ones are checks of a service that its user broke: other names for the same bug follow the user.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: warn_at!("lib/kobject.c:", "kobject_"),
        alts: &["WARNING: kobject bug in {guilty}"],
        skip: &["kobject_"],
        ..ROW
    },
    Format {
        head: warn_at!("fs/proc/generic.c:", "proc_"),
        alts: &["WARNING: proc registration bug in {guilty}"],
        skip: &["proc_"],
        ..ROW
    },
    Format {
        head: warn_at!("mm/usercopy.c:", ""),
        alts: &["WARNING: bad usercopy in {guilty}"],
        skip: &["usercopy", "__check"],
        ..ROW
    },
    Format {
        head: warn_at!("kernel/locking/lockdep.c:", ""),
        alts: &["WARNING: locking bug in {guilty}"],
        skip: &["lock_sock", "release_sock"],
        ..ROW
    },
    Format {
        head: warn_at!("drivers/usb/core/urb.c:", "usb_submit_urb"),
        alts: &["WARNING in {guilty}/usb_submit_urb"],
        ..ROW
    },
    Format {
        head: warn_at!("mm/vmalloc.c:", "__vmalloc"),
        alts: &["WARNING: zero-size vmalloc in {guilty}", "WARNING: kmalloc bug in {guilty}"],
        ..ROW
    },
    Format { head: warn_at!("mm/", "kmalloc"), alts: &["WARNING: kmalloc bug in {guilty}"], ..ROW },
    Format { head: warn_at!("mm/", "kvmalloc"), alts: &["WARNING: kmalloc bug in {guilty}"], ..ROW },
    Format {
        head: &[
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w} {function:s}+",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w} ",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {function:s}+",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at {location:w}",
            "WARNING: {location:w} at {function:s}+{_:w}, CPU#{cpu:d}: {process}/{pid:d}",
            "WARNING: {location:w} at {_:w}, CPU#{cpu:d}: {process}/{pid:d}",
            "WARNING: at {location:w} {function:s}+",
            "WARNING: at {location:w} {function:s}(",
        ],
        ..ROW
    },
    Format {
        // unwind_next_frame() of the frame pointer unwinder: `kernel stack regs at ... in cc1:12 has bad 'bp' value ...`.
        head: &["WARNING: kernel stack {what} at {_} has bad {kind:w} value"],
        severity: Severity::Info,
        title: "WARNING: kernel stack {what} has bad {kind} value",
        alts: &["WARNING: kernel stack {what} has bad value"],
        signature: "stack {what} {kind}",
        guilt: Guilt::Nobody,
        ..ROW
    },
    Format {
        head: &["WARNING: kernel stack {what} at {_} has bad value"],
        severity: Severity::Info,
        title: "WARNING: kernel stack {what} has bad value",
        alts: &["WARNING: kernel stack regs has bad value"],
        signature: "stack {what}",
        guilt: Guilt::Nobody,
        ..ROW
    },
    Format {
        // unwind_next_frame() of the ORC unwinder.
        head: &[
            "WARNING: can't access registers at {function:s}+",
            "WARNING: can't dereference registers at {_:w} for ip {function:s}+",
        ],
        severity: Severity::Info,
        title: "WARNING: can't access registers at {function}",
        signature: "registers|{function}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
    Format {
        // One word is all that is left of a head. Sentences are not taken: the kernel tells administrators many things in this form.
        head: &["^WARNING: {reason:w}$"],
        stamped: true,
        orphan: true,
        severity: Severity::Info,
        title: "WARNING: {reason}",
        signature: "{reason}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
];
