//! Checks of data structures: lists, reference counts, slabs, objects' life times, copies from and to user space.

use super::{Alias, End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &[
            "list_add corruption",
            "list_add double add",
            "list_del corruption",
            "list_add: corruption",
            "kernel BUG at lib/list_debug.c",
            "at lib/list_debug.c:{_:d} __list_",
        ],
        class: Class::ListCorruption,
        title: "BUG: corrupted list in {guilty}",
        alts: &["bad-access in {guilty}"],
        absorbs: &[Class::KernelBug, Class::Warning, Class::InvalidOpcode, Class::Oops, Class::ListCorruption],
        end: End::MarkerThenRegisters,
        ..Format::DEFAULT
    },
    Format {
        head: &["refcount_t: {kind}"],
        class: Class::Refcount,
        title: "WARNING: refcount bug in {guilty}",
        signature: "{kind}|{guilty}",
        skip: &["refcount", "kobject_"],
        head_is_reporter: true,
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
        skip: &["refcount", "kobject_"],
        head_is_reporter: true,
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "ODEBUG: {kind} ({_} object type: {what:w}",
            "ODEBUG: {kind} (",
            "ODEBUG: {kind:w} ",
            "WARNING: CPU: {cpu:d} PID: {pid:d} at lib/debugobjects.c:{_:d} {_:s}+",
            "WARNING: lib/debugobjects.c:{_:d} at ",
        ],
        unless: &["ODEBUG: Out of memory", "ODEBUG disabled", "selftest"],
        class: Class::ObjectDebug,
        severity: Severity::Warning,
        title: "WARNING: ODEBUG bug in {guilty}",
        signature: "[{kind}|][{what}|]{guilty}",
        body: &["ODEBUG: {kind} ({_} object type: {what:w}", "ODEBUG: {kind:w} "],
        absorbs: &[Class::Warning, Class::ObjectDebug],
        // Whoever frees or reuses the object through these is meant.
        skip: &[
            "debug_", "rcu", "hrtimer_", "timer_", "work_", "percpu_", "kmem_", "slab_", "kfree", "vunmap", "vfree",
            "__free_", "kobject_", "kvfree",
        ],
        head_is_reporter: true,
        reporters: &["debug_", "__debug_", "kfree", "kmem_cache_free", "slab_free", "kvfree", "vfree", "__vunmap"],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "BUG {what} (Not tainted): {reason}",
            "BUG {what} (Tainted: {_}): {reason}",
            "slab error in {_:s}(): cache `{what}': {reason}",
        ],
        class: Class::Slub,
        title: "BUG: slab {what}: {reason}[ in {guilty}]",
        alts: &["BUG: {reason}", "BUG: {reason} in {guilty}"],
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
        head: &["usercopy: {kind^Kernel memory}", "usercopy: {kind^kernel memory}", "kernel BUG at mm/usercopy.c"],
        class: Class::Usercopy,
        title: "BUG: bad usercopy in {guilty}",
        skip: &["usercopy", "__check"],
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
        guilt: Guilt::Waiter,
        alias: Alias::Dispatched,
        ..Format::DEFAULT
    },
    Format {
        // A line of SLUB's or KASAN's report whose head was lost.
        head: &["INFO: Allocated in {function:s}+"],
        orphan: true,
        class: Class::Slub,
        title: "INFO: Allocated in {function} age=NUM cpu=NUM pid=NUM",
        signature: "allocated|{function}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["INFO: Freed in {function:s}+"],
        orphan: true,
        class: Class::Slub,
        title: "INFO: Freed in {function} age=NUM cpu=NUM pid=NUM",
        signature: "freed|{function}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
];
