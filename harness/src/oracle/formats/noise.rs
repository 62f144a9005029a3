//! What a kernel under pressure says although nothing is wrong with it. None of it is a failure unless somebody says so; it is read
//! all the same, so that its traces are not taken for another report's.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

const ROW: Format = Format { severity: Severity::Info, ..Format::DEFAULT };

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        // dump_header()
        head: &["{process} invoked oom-killer: gfp_mask="],
        class: Class::OomKill,
        title: "OOM killer invoked by {process}",
        signature: "invoked",
        absorbs: &[Class::OomKill],
        ..ROW
    },
    Format {
        head: &[
            "Memory cgroup out of memory: Killed process {pid:d} ({process})",
            "Memory cgroup out of memory: Kill process {pid:d} ({process})",
            "Out of memory: Killed process {pid:d} ({process})",
            "Out of memory: Kill process {pid:d} ({process})",
            "Out of memory (oom_kill_allocating_task): Killed process {pid:d} ({process})",
            "oom_reaper: reaped process {pid:d} ({process})",
            "Tasks in {_} are going to be killed due to memory.oom.group set",
        ],
        class: Class::OomKill,
        title: "OOM kill of {process}",
        signature: "killed",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
    Format {
        // warn_alloc()
        head: &[
            "{process}: page allocation failure: order:{_:d}, mode:",
            "{process}: vmalloc: allocation failure",
            "{process}: vmalloc error: ",
            "{process}: vmalloc size {_:d}",
            "SLUB: Unable to allocate memory on node",
            "SLUB: Unable to allocate memory on CPU",
            "warn_alloc: {_:d} callbacks suppressed",
        ],
        class: Class::AllocationFailure,
        title: "allocation failure in {guilty}",
        reporters: &["warn_alloc", "__alloc_pages", "__vmalloc"],
        ..ROW
    },
    Format {
        head: &["FAULT_INJECTION: forcing a failure"],
        class: Class::FaultInjection,
        title: "fault injected in {guilty}",
        reporters: &["should_fail", "__should_fail", "fail_dump"],
        ..ROW
    },
    Format {
        head: &[
            "]: segfault at ",
            "]: unhandled signal {_:d}",
            "]: unhandled exception",
            "traps: {process}[{pid:d}] {kind} ip:",
            "traps: {process}[{pid:d}] trap {kind} ip:",
            "User process fault: ",
        ],
        class: Class::UserFault,
        title: "user fault[ in {process}]",
        signature: "fault",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
];
