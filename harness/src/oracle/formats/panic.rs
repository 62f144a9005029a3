//! Panics and reboots. After an oops they are its consequence; alone they are the finding.

use super::{Alias, End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

const ROW: Format = Format {
    // The end marker repeats the head's words.
    unless: &["end Kernel panic"],
    class: Class::Panic,
    severity: Severity::Fatal,
    guilt: Guilt::Trace,
    end: End::Panic,
    ..Format::DEFAULT
};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &["Kernel panic - not syncing: corrupted stack end detected inside scheduler"],
        class: Class::StackOverflow,
        title: "kernel panic: corrupted stack end in {guilty}",
        alts: &["stack-overflow in {guilty}"],
        guilt: Guilt::Waiter,
        alias: Alias::Dispatched,
        skip: &["schedule", "retint_kernel"],
        ..ROW
    },
    Format {
        head: &[
            "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: {function:s}+",
            "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in",
        ],
        class: Class::StackOverflow,
        title: "kernel panic: stack is corrupted in {guilty}",
        skip: &["stack_chk"],
        ..ROW
    },
    Format {
        head: &["Kernel panic - not syncing: Couldn't open N_TTY ldisc for "],
        title: "kernel panic: Couldn't open N_TTY ldisc",
        signature: "n_tty",
        ..ROW
    },
    Format {
        head: &["Kernel panic - not syncing: {reason^Out of memory}"],
        class: Class::OomDeadlock,
        title: "kernel panic: {reason}",
        signature: "panic_on_oom",
        ..ROW
    },
    Format {
        // After these the report's own head is missing: it would have made the panic a consequence.
        head: &[
            "Kernel panic - not syncing: {reason^Fatal exception} in interrupt",
            "Kernel panic - not syncing: {reason^panic_on_warn set}",
            "Kernel panic - not syncing: {reason^hung_task: blocked tasks}",
        ],
        title: "kernel panic: {reason}",
        signature: "{reason}",
        ..ROW
    },
    Format {
        head: &[
            "Kernel panic - not syncing: {reason^Attempted to kill init!} exitcode",
            "Kernel panic - not syncing: {reason}",
        ],
        title: "kernel panic: {reason}",
        signature: "{reason}",
        ..ROW
    },
    Format {
        // Only one after the log's first is a finding; the engine counts them.
        head: &["^Linux version {_:w} (", "^Booting the kernel"],
        unless: &[],
        class: Class::Reboot,
        title: "unexpected kernel reboot",
        signature: "banner",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
];
