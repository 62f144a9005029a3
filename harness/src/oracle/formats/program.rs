//! What programs on the console say when their own memory is not what they wrote, or when the harness inside the guest gave up.
//! To memory management under test, a compiler that crashes is a finding although the kernel said nothing.

use super::{End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

const ROW: Format = Format {
    class: Class::Violation,
    severity: Severity::Warning,
    guilt: Guilt::Nobody,
    end: End::Line,
    ..Format::DEFAULT
};

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        // glibc
        head: &["*** stack smashing detected ***"],
        title: "user memory corrupted: stack smashing detected",
        signature: "stack smashing",
        ..ROW
    },
    Format {
        head: &[
            "^malloc(): {reason^corrupted}",
            "^malloc(): {reason^invalid}",
            "^free(): {reason^invalid}",
            "^{reason:w} free or corruption",
            "^corrupted {reason^size vs. prev_size}",
            "^corrupted {reason^double-linked list}",
        ],
        title: "user memory corrupted: {reason}",
        signature: "{reason}",
        ..ROW
    },
    Format {
        head: &["internal compiler error: {reason}"],
        title: "internal compiler error: {reason}",
        signature: "compiler|{reason}",
        ..ROW
    },
    Format {
        // syzkaller's executor and manager
        head: &["SYZFAIL: {reason}"],
        title: "SYZFAIL: {reason}",
        alts: &["SYZFAIL"],
        signature: "syzfail|{reason}",
        ..ROW
    },
    Format {
        head: &["SYZFATAL: {reason}"],
        title: "SYZFATAL: {reason}",
        alts: &["SYZFATAL"],
        signature: "syzfatal",
        ..ROW
    },
    Format {
        // Go programs
        head: &["^panic: {reason}", "^fatal error: {reason^runtime}", "^fatal error: {reason^unexpected signal}"],
        title: "panic: {reason}",
        alts: &["fatal error: {reason}"],
        signature: "go|{reason}",
        ..ROW
    },
];
