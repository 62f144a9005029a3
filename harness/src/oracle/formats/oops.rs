//! Oopses: the heads of x86's exceptions, then other architectures'. `show_regs()`, the trace and the end marker follow them all.

use super::{Alias, End, Format};
use crate::oracle::finding::{Class, Severity};

const ROW: Format =
    Format { class: Class::Oops, severity: Severity::Fatal, end: End::MarkerThenRegisters, ..Format::DEFAULT };

/// Other names under which one wild access shows, depending on the address and on who looked first.
const ACCESS: &[&str] = &["bad-access in {guilty}", "bad-access in {outer}"];

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        // rust/kernel's panic handler prints why, then BUG()s.
        head: &["rust_kernel: panicked at {location:w}"],
        reason_follows: true,
        class: Class::KernelBug,
        title: "{reason} in {guilty}",
        alts: &["kernel BUG in {guilty}"],
        signature: "{reason}|{guilty}",
        absorbs: &[Class::KernelBug, Class::InvalidOpcode, Class::Oops],
        ..ROW
    },
    Format {
        head: &[
            "kernel BUG at {location:w}!",
            "Kernel BUG at {function:s}+",
            "kernel BUG at {location:w}",
            // include/asm-generic/bug.h, where the architecture has no trap for it
            "BUG: failure at {location:w}/{function:s}()!",
        ],
        unless: &["[verbose debug info unavailable] "],
        class: Class::KernelBug,
        title: "kernel BUG in {guilty}",
        alts: &["kernel BUG in {outer}"],
        signature: "{guilty}[|{condition}]",
        absorbs: &[Class::InvalidOpcode, Class::Oops],
        ..ROW
    },
    Format {
        head: &[
            "BUG: kernel NULL pointer dereference, address:",
            "BUG: unable to handle kernel NULL pointer dereference",
            // powerpc
            "BUG: Kernel NULL pointer dereference",
            "Unable to handle kernel NULL pointer dereference",
        ],
        class: Class::NullDereference,
        title: "BUG: unable to handle kernel NULL pointer dereference in {guilty}",
        alts: ACCESS,
        absorbs: &[Class::Oops],
        ..ROW
    },
    Format {
        head: &[
            "BUG: unable to handle page fault for address:",
            "BUG: unable to handle kernel paging request",
            // powerpc
            "BUG: Unable to handle kernel data access",
            "BUG: Unable to handle kernel instruction fetch",
            "Unable to handle kernel paging request",
            "Unable to handle kernel access",
            "Unable to handle kernel execute",
            "Unable to handle kernel read",
            "Unable to handle kernel write",
            "Unable to handle kernel {_:w} at virtual address",
            "Unable to handle kernel pointer dereference",
        ],
        class: Class::PageFault,
        title: "BUG: unable to handle kernel paging request in {guilty}",
        alts: ACCESS,
        absorbs: &[Class::Oops],
        ..ROW
    },
    Format {
        head: &[
            "BUG: stack guard page was hit at",
            "kernel stack overflow (page fault): ",
            "Insufficient stack space to handle exception!",
            "BUG: TASK stack guard page was hit at",
            "BUG: IRQ stack guard page was hit at",
        ],
        class: Class::StackOverflow,
        title: "BUG: stack guard page was hit in {guilty}",
        alts: &["stack-overflow in {guilty}"],
        alias: Alias::Dispatched,
        absorbs: &[Class::Oops, Class::DoubleFault, Class::StackOverflow],
        ..ROW
    },
    Format {
        head: &["PANIC: double fault", "double fault: {_:x} [#"],
        class: Class::DoubleFault,
        title: "PANIC: double fault in {guilty}",
        alts: &["stack-overflow in {guilty}"],
        absorbs: &[Class::Oops, Class::DoubleFault],
        ..ROW
    },
    Format {
        head: &[
            "general protection fault: {_:x} [#",
            "general protection fault, ",
            "general protection fault: ",
            "general protection fault maybe",
        ],
        // A process that faults in user space: `traps: foo[123] general protection fault ip:...`.
        unless: &[" ip:"],
        class: Class::GeneralProtection,
        title: "general protection fault in {guilty}",
        alts: &["bad-access in {guilty}", "general protection fault in {outer}"],
        ..ROW
    },
    Format {
        head: &["invalid opcode: {_:x} [#"],
        class: Class::InvalidOpcode,
        title: "invalid opcode in {guilty}",
        ..ROW
    },
    Format {
        // pgtable_bad(): a reserved bit was set in the page tables that the CPU walked.
        head: &["Corrupted page table at address {_:x}", "Bad pagetable: {_:x} [#"],
        class: Class::BadPageTable,
        title: "BUG: corrupted page table in {guilty}",
        signature: "reserved bit|{guilty}",
        absorbs: &[Class::BadPageTable, Class::Oops],
        ..ROW
    },
    Format { head: &["stack segment: {_:x} [#", "stack segment: "], title: "stack segment fault in {guilty}", ..ROW },
    Format {
        head: &["divide error: {_:x} [#", "divide_error: {_:x} [#"],
        class: Class::DivideError,
        title: "divide error in {guilty}",
        ..ROW
    },
    Format {
        head: &[
            "int3: {_:x} [#",
            "debug: {_:x} [#",
            "alignment check: {_:x} [#",
            "segment not present: {_:x} [#",
            "bounds: {_:x} [#",
            "coprocessor segment overrun: {_:x} [#",
            "invalid TSS: {_:x} [#",
            "control protection: {_:x} [#",
            // s390's program checks
            "specification exception: {_:x} ilc:",
            "operation exception: {_:x} ilc:",
            "addressing exception: {_:x} ilc:",
            "monitor event: {_:x} ilc:",
            "illegal operation: {_:x} ilc:",
            "control-protection exception:",
        ],
        title: "BUG: kernel trap in {guilty}",
        ..ROW
    },
    Format {
        head: &["Unhandled fault: {kind} (", "Unhandled fault: {kind}"],
        title: "Unhandled fault in {guilty}",
        alts: ACCESS,
        absorbs: &[Class::Oops],
        ..ROW
    },
    Format {
        head: &["Alignment trap: not handling instruction"],
        title: "Alignment trap in {guilty}",
        absorbs: &[Class::Oops, Class::PageFault, Class::NullDereference],
        ..ROW
    },
    Format {
        head: &["Internal error: {kind}: {_:x} [#", "Internal error: {kind} [#"],
        title: "Internal error in {guilty}",
        alts: ACCESS,
        signature: "{kind}|{guilty}",
        ..ROW
    },
    Format {
        head: &["Bad mode in {kind} handler detected"],
        title: "Bad mode in {guilty}",
        alts: &["kernel panic: bad mode"],
        absorbs: &[Class::Oops],
        ..ROW
    },
    Format {
        // riscv's `Oops [#1]`, s390's `Oops: 0004 ilc:3 [#1]`, powerpc's `Oops: Kernel access of bad area`, x86's bare one.
        head: &[
            "Oops: {kind}, sig: {_:d} [#",
            "Oops: {_:x} [#",
            "Oops: {_:x} ilc:",
            "^Oops [#",
            "Oops: {kind} [#",
            "Kernel BUG [#",
        ],
        title: "Oops in {guilty}",
        ..ROW
    },
];
