//! Sleeping, scheduling, or touching per-CPU data where that is forbidden.

use super::Format;
use crate::oracle::finding::{Class, Severity};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &[
            "BUG: sleeping function called from invalid context at {location:w}",
            "BUG: sleeping function called from invalid context",
        ],
        class: Class::AtomicSleep,
        severity: Severity::Warning,
        title: "BUG: sleeping function called from invalid context in {guilty}",
        alts: &["BUG: sleeping function called from invalid context in {outer}"],
        signature: "sleep|{guilty}",
        body: &["pid: {pid:d}, name: {process}"],
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "BUG: scheduling while atomic: {process}/{pid:d}/0x",
            "BUG: scheduling in a non-blocking section: {process}/{pid:d}/{_:d}",
            "BUG: scheduling while atomic",
        ],
        class: Class::AtomicSleep,
        severity: Severity::Warning,
        title: "BUG: scheduling while atomic in {guilty}",
        signature: "schedule|{guilty}",
        guilt: super::Guilt::Waiter,
        skip: &["schedule"],
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: using {what} in preemptible [{_:x}] code: {process}/{pid:d}", "BUG: using {what} in preemptible"],
        class: Class::AtomicSleep,
        severity: Severity::Warning,
        title: "BUG: using {what} in preemptible code in {guilty}",
        signature: "{what}|{guilty}",
        skip: &["dump_stack", "preemption", "preempt", "get_cpu_", "this_cpu_", "smp_processor_id"],
        ..Format::DEFAULT
    },
    Format {
        // cant_sleep(), cant_migrate()
        head: &["BUG: assuming {what^atomic} context at ", "BUG: assuming {what^non migratable} context at "],
        class: Class::AtomicSleep,
        severity: Severity::Warning,
        title: "BUG: assuming {what} context in {guilty}",
        signature: "{what}|{guilty}",
        body: &["pid: {pid:d}, name: {process}"],
        ..Format::DEFAULT
    },
];
