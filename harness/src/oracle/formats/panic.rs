//! Panics and reboots. After an oops they are its consequence; alone they are the finding.

use super::{End, Format, Guilt};
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
        ..ROW
    },
    Format {
        head: &[
            "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: {function:s}+",
            "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in",
        ],
        class: Class::StackOverflow,
        title: "kernel panic: stack is corrupted in {guilty}",
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
        head: &["^Linux version {_:w} ("],
        unless: &[],
        class: Class::Reboot,
        title: "unexpected kernel reboot",
        signature: "banner",
        guilt: Guilt::Nobody,
        end: End::Line,
        ..ROW
    },
];
