//! The sanitizers: KASAN, KFENCE, KCSAN, KMSAN, UBSAN, kmemleak.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &[
            "BUG: KASAN: {kind^double-free} in {function:s}+",
            "BUG: KASAN: {kind^invalid-free} in {function:s}+",
            "BUG: KASAN: {kind^double-free or invalid-free}",
        ],
        class: Class::Kasan,
        title: "KASAN: {kind} in {guilty}",
        alts: &["KASAN: invalid-free in {guilty}", "KASAN: invalid-free in {outer}", "invalid-free in {outer}"],
        signature: "{kind}|{guilty}",
        body: &["by task {process}/{pid:d}"],
        reporters: FREEING,
        skip: &["kmem_", "slab_", "kfree", "vunmap", "vfree"],
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: KASAN: {kind} on address"],
        class: Class::Kasan,
        title: "KASAN: {kind}[ {access}]",
        signature: "{kind}|[{access}]",
        body: &["{access^Read} of size ", "{access^Write} of size "],
        guilt: Guilt::Nobody,
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "BUG: KASAN: {kind} in {function:s}+",
            "BUG: KASAN: {kind} in {function:s} at addr ",
            "BUG: KASAN: {kind:w}",
        ],
        class: Class::Kasan,
        title: "KASAN: {kind}[ {access}] in {guilty}",
        alts: &["bad-access in {guilty}", "KASAN: {kind}[ {access}] in {outer}", "bad-access in {outer}"],
        signature: "{kind}|[{access}|]{guilty}",
        body: &[
            "{access^Read} of size ",
            "{access^Write} of size ",
            "{access:w} of size {_:d} ",
            "by task {process}/{pid:d}",
        ],
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: KFENCE: {kind} in {function:s}+"],
        class: Class::Kfence,
        title: "KFENCE: {kind} in {guilty}",
        alts: &["bad-access in {guilty}", "KFENCE: {kind} in {outer}", "bad-access in {outer}"],
        signature: "{kind}|{guilty}",
        reporters: FREEING,
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: KCSAN: {kind} in {function:s} / {what:s}"],
        class: Class::Kcsan,
        severity: Severity::Warning,
        title: "KCSAN: {kind} in {function} / {what}",
        signature: "{kind}|{function}|{what}",
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: KCSAN: {kind} in {function:s}"],
        class: Class::Kcsan,
        severity: Severity::Warning,
        title: "KCSAN: {kind} in {guilty}",
        signature: "{kind}|{guilty}",
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: KMSAN: {kind} in {function:s}", "BUG: KMSAN: {kind}"],
        class: Class::Kmsan,
        title: "KMSAN: {kind} in {guilty}",
        alts: &["bad-access in {guilty}", "KMSAN: {kind} in {outer}"],
        signature: "{kind}|{guilty}",
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        // Until 5.x all kinds had one head; the kind stood on the next line.
        head: &["UBSAN: Undefined behaviour in {location:w}", "UBSAN: Undefined behaviour in"],
        class: Class::Ubsan,
        severity: Severity::Warning,
        title: "UBSAN: undefined-behaviour in {guilty}",
        reporters: &["handle_", "__ubsan", "ubsan_", "val_to_string"],
        skip: &["ubsan", "overflow"],
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["UBSAN: {kind:w} in {location:w}", "UBSAN: {kind} in {location:w}"],
        class: Class::Ubsan,
        severity: Severity::Warning,
        title: "UBSAN: {kind} in {guilty}",
        signature: "{kind}|{guilty}",
        reporters: &["handle_", "__ubsan", "ubsan_", "val_to_string"],
        skip: &["ubsan", "overflow"],
        end: End::Separator,
        ..Format::DEFAULT
    },
    Format {
        head: &["kmemleak: {_:d} new suspected memory leaks"],
        class: Class::MemoryLeak,
        severity: Severity::Warning,
        title: "memory leak",
        signature: "suspected",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        // /sys/kernel/debug/kmemleak, where a program copies it to the console.
        head: &["BUG: memory leak"],
        class: Class::MemoryLeak,
        severity: Severity::Warning,
        title: "memory leak in {guilty}",
        reporters: &["kmemleak_", "create_object"],
        // Whoever asked for the memory through these leaked it.
        skip: &[
            "kmemleak",
            "alloc",
            "mmap",
            "kmem",
            "slab",
            "create_object",
            "idr_get",
            "list_lru_init",
            "asprintf",
            "pcpu_create",
            "strdup",
            "strndup",
            "memdup",
            "__vmalloc",
            "radix_tree",
            "xas_",
            "xa_",
        ],
        ..Format::DEFAULT
    },
];

/// Entry points of the free path: whoever called them freed wrongly.
const FREEING: &[&str] = &[
    "kfree",
    "__kfree",
    "kmem_cache_free",
    "slab_free",
    "__slab_free",
    "___cache_free",
    "__cache_free",
    "do_slab_free",
    "cache_free",
    "kvfree",
    "vfree",
    "kmem_cache_destroy",
];
