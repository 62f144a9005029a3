//! Memory management's own reports: the page, its mapping, its page tables, its counters.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// Functions of the page allocator that only run the checks.
const CHECKERS: &[&str] = &[
    "bad_page",
    "free_page_is_bad",
    "free_tail_page_prepare",
    "free_tail_pages_check",
    "check_free_page",
    "check_new_page",
    "free_pcp_prepare",
    "free_pages_prepare",
    "__free_pages_prepare",
    "bulkfree_pcp_prepare",
    "free_pcppages_bulk",
    "free_unref_page",
    "free_unref_folios",
    "free_frozen_page",
    "__free_frozen_pages",
    "free_the_page",
    "free_compound_page",
    "destroy_large_folio",
    "__folio_put",
    "__put_page",
    "free_pages_check",
    "__free_pages",
    "free_hot_cold_page",
    "prep_new_page",
    "post_alloc_hook",
    "get_page_from_freelist",
    "rmqueue",
    "unaccount_page_cache_page",
    "filemap_unaccount_folio",
    "print_bad_pte",
    "print_bad_page_map",
];

const NO_VICTIM: Format = Format {
    class: Class::OomDeadlock,
    severity: Severity::Fatal,
    title: "BUG: out of memory with nothing to kill",
    signature: "no-victim",
    guilt: Guilt::Nobody,
    end: End::Line,
    ..Format::DEFAULT
};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        // dump_page() prints the condition before BUG() prints the place: one event.
        head: &["dumped because: {condition^VM_BUG_ON}"],
        class: Class::KernelBug,
        severity: Severity::Fatal,
        title: "kernel BUG in {guilty}",
        alts: &["kernel BUG in {outer}"],
        signature: "{guilty}[|{condition}]",
        body: &["kernel BUG at {location:w}!"],
        absorbs: &[Class::KernelBug, Class::InvalidOpcode, Class::Oops],
        end: End::MarkerThenRegisters,
        ..Format::DEFAULT
    },
    Format {
        head: &["dumped because: {condition^VM_WARN_ON}"],
        class: Class::Warning,
        severity: Severity::Warning,
        title: "WARNING in {guilty}",
        alts: &["WARNING in {outer}"],
        signature: "{guilty}[|{condition}]",
        absorbs: &[Class::Warning],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "BUG: Bad page state in process {process}  pfn:{_:x}",
            "BUG: Bad page state in process {process} pfn:{_:x}",
        ],
        class: Class::BadPageState,
        title: "BUG: Bad page state[ ({reason})] in {guilty}",
        alts: &["BUG: Bad page state in {guilty}", "BUG: Bad page state in {owner}", "BUG: Bad page state in {keeper}"],
        signature: "[{reason}|]{guilty}",
        body: &["dumped because: {reason}"],
        reporters: CHECKERS,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "BUG: Bad page map in process {process}  pte:",
            "BUG: Bad page map in process {process} pte:",
            // 6.18 says which level of the tables it is.
            "BUG: Bad page map in process {process}  {what:s}:",
        ],
        class: Class::BadPageMap,
        title: "BUG: Bad page map in {guilty}",
        alts: &["BUG: Bad page map"],
        body: &["dumped because: {reason}"],
        reporters: CHECKERS,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: Bad page cache in process {process}  pfn:", "BUG: Bad page cache in process {process} pfn:"],
        class: Class::BadPageCache,
        title: "BUG: Bad page cache[ ({reason})] in {guilty}",
        alts: &["BUG: Bad page cache in {guilty}", "BUG: Bad page cache in {owner}", "BUG: Bad page cache in {keeper}"],
        signature: "[{reason}|]{guilty}",
        body: &["dumped because: {reason}"],
        reporters: CHECKERS,
        ..Format::DEFAULT
    },
    Format {
        head: &["Read-error on swap-device ({_}", "Write-error on swap-device ({_}"],
        class: Class::SwapIo,
        severity: Severity::Warning,
        title: "I/O error on a swap device",
        signature: "io",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        // zram, zswap: what was swapped out cannot be read back.
        head: &["Decompression failed! err={_:w}"],
        class: Class::SwapIo,
        title: "compressed page cannot be decompressed",
        signature: "decompression",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        // dio_warn_stale_pagecache()
        head: &["Page cache invalidation failure on direct I/O"],
        title: "page cache invalidation failure on direct I/O",
        signature: "stale page cache",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        // The value is the leak's size in pages; its type is what tells anonymous from shmem, file and swap accounting.
        head: &[
            // 6.16 names the task.
            "BUG: Bad rss-counter state mm:{_:w} type:{what:w} val:{_:w} Comm:{process} Pid:{pid:d}",
            "BUG: Bad rss-counter state mm:{_:w} type:{what:w} val:",
            "BUG: Bad rss-counter state mm:{_:w} idx:{what:w} val:",
        ],
        class: Class::BadRssCounter,
        title: "BUG: Bad rss-counter state {what}",
        alts: &["BUG: Bad rss-counter state"],
        signature: "{what}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: non-zero {what:w} on freeing mm"],
        class: Class::PgtablesLeak,
        title: "BUG: non-zero {what} on freeing mm",
        alts: &["BUG: non-zero {what} on freeing mm: NUM"],
        signature: "{what}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["{location:w}: bad {what:s^p} {_:x}({_:x})"],
        class: Class::BadPageTable,
        title: "BUG: bad {what}",
        signature: "{what}",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["{function:s}: Bad swap {what:s} entry"],
        class: Class::SwapEntry,
        title: "BUG: Bad swap {what} entry in {guilty}",
        signature: "bad {what}|{guilty}",
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["{function:s}: Unused swap {what:s} entry"],
        class: Class::SwapEntry,
        title: "BUG: Unused swap {what} entry in {guilty}",
        signature: "unused {what}|{guilty}",
        end: End::Line,
        ..Format::DEFAULT
    },
    Format {
        head: &["pagealloc: {what^memory corruption}", "pagealloc: {what^single bit error}"],
        class: Class::PagePoison,
        title: "BUG: pagealloc: {what} in {guilty}",
        signature: "{what}|{guilty}",
        reporters: &[
            "__kernel_unpoison_pages",
            "kernel_unpoison_pages",
            "check_poison_mem",
            "unpoison_page",
            "post_alloc_hook",
            "prep_new_page",
            "get_page_from_freelist",
        ],
        ..Format::DEFAULT
    },
    Format {
        head: &["page_counter underflow: "],
        class: Class::MemcgCounter,
        title: "WARNING: page_counter underflow in {guilty}",
        absorbs: &[Class::Warning],
        reporters: &["page_counter_"],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &["mem_cgroup_update_lru_size({_}): lru_size "],
        class: Class::MemcgCounter,
        title: "WARNING: memcg lru_size bug in {guilty}",
        absorbs: &[Class::Warning],
        reporters: &["mem_cgroup_update_lru_size"],
        end: End::Marker,
        ..Format::DEFAULT
    },
    Format {
        head: &["Out of memory and no killable processes"],
        alts: &["kernel panic: Out of memory and no killable processes..."],
        ..NO_VICTIM
    },
    Format {
        head: &["System is deadlocked on memory"],
        alts: &["kernel panic: System is deadlocked on memory"],
        ..NO_VICTIM
    },
    Format {
        head: &["Huh VM_FAULT_OOM leaked out to the #PF handler"],
        class: Class::OomDeadlock,
        severity: Severity::Warning,
        title: "VM_FAULT_OOM leaked out to the #PF handler",
        signature: "leaked",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..Format::DEFAULT
    },
];
