//! Checks of data structures: lists, reference counts, slabs, objects' life times, copies from and to user space.

use super::{End, Format};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &["list_add corruption", "list_add double add", "list_del corruption", "list_add: corruption"],
        class: Class::ListCorruption,
        title: "BUG: corrupted list in {guilty}",
        alts: &["bad-access in {guilty}"],
        absorbs: &[Class::KernelBug, Class::Warning, Class::InvalidOpcode],
        end: End::MarkerThenRegisters,
        ..Format::DEFAULT
    },
    Format {
        head: &["refcount_t: {kind}"],
        class: Class::Refcount,
        title: "WARNING: refcount bug in {guilty}",
        signature: "{kind}|{guilty}",
        absorbs: &[Class::Warning, Class::Refcount],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        // From 5.x on, refcount's own text may be lost while its WARNING remains.
        head: &[
            "WARNING: CPU: {cpu:d} PID: {pid:d} at lib/refcount.c:{_:d} {_:s}+",
            "WARNING: lib/refcount.c:{_:d} at ",
        ],
        class: Class::Refcount,
        title: "WARNING: refcount bug in {guilty}",
        body: &["refcount_t: {kind}"],
        absorbs: &[Class::Refcount],
        signature: "[{kind}|]{guilty}",
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &["ODEBUG: {kind:w} ", "ODEBUG: {kind} ("],
        unless: &["ODEBUG: Out of memory", "ODEBUG disabled", "selftest"],
        class: Class::ObjectDebug,
        severity: Severity::Warning,
        title: "WARNING: ODEBUG bug in {guilty}",
        signature: "{kind}|[{what}|]{guilty}",
        body: &["object type: {what:w}"],
        absorbs: &[Class::Warning],
        reporters: &["debug_", "__debug_", "kfree", "kmem_cache_free", "slab_free", "kvfree", "vfree", "__vunmap"],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG {what} (Not tainted): {reason}", "BUG {what} (Tainted: {_}): {reason}"],
        class: Class::Slub,
        title: "BUG: slab {what}: {reason}[ in {guilty}]",
        signature: "{what}|{reason}",
        reporters: &[
            "slab_",
            "object_err",
            "free_debug",
            "free_to_partial",
            "alloc_debug",
            "check_",
            "on_freelist",
            "__slab_",
            "___slab_",
            "slub_",
            "new_slab",
            "kmem_cache_",
            "kfree",
            "__kmalloc",
            "kmalloc",
            "__kmem_cache",
        ],
        ..Format::DEFAULT
    },
    Format {
        head: &["usercopy: {kind^Kernel memory}", "usercopy: {kind^kernel memory}"],
        class: Class::Usercopy,
        title: "BUG: bad usercopy in {guilty}",
        signature: "{guilty}",
        absorbs: &[Class::KernelBug, Class::InvalidOpcode, Class::Oops, Class::Usercopy],
        end: End::MarkerThenRegisters,
        ..Format::DEFAULT
    },
    Format {
        head: &["corrupted stack end detected inside scheduler"],
        unless: &["Kernel panic"],
        class: Class::StackOverflow,
        severity: Severity::Fatal,
        title: "kernel panic: corrupted stack end in {guilty}",
        alts: &["stack-overflow in {guilty}"],
        ..Format::DEFAULT
    },
];
