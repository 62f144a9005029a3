//! What the oracle says: findings and their parts. Plain data, no logic beyond naming.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of kernel report. Its serialized (kebab-case) name is the first part of a [`Finding::signature`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// `BUG()`, `BUG_ON()`, `VM_BUG_ON*()`.
    KernelBug,
    /// Access through a NULL pointer.
    NullDereference,
    /// Access to an unmapped or protected kernel address.
    PageFault,
    /// x86 general protection fault.
    GeneralProtection,
    /// x86 double fault.
    DoubleFault,
    /// x86 triple fault: the machine saw it, the kernel cannot say so.
    TripleFault,
    /// Kernel stack ran into its guard page, or its end marker was overwritten.
    StackOverflow,
    /// Invalid opcode that no `kernel BUG at` line explains.
    InvalidOpcode,
    /// x86 divide error.
    DivideError,
    /// Any other oops head, of any architecture.
    Oops,
    /// `BUG: Bad page state`: a page was allocated or freed with fields that must be clear.
    BadPageState,
    /// `BUG: Bad page map`: a page table entry points to what it must not.
    BadPageMap,
    /// `BUG: Bad page cache`: still mapped when deleted.
    BadPageCache,
    /// `BUG: Bad rss-counter state` at the end of an mm.
    BadRssCounter,
    /// `BUG: non-zero pgtables_bytes` (or `nr_ptes`, `nr_pmds`) at the end of an mm.
    PgtablesLeak,
    /// `bad pte/pmd/pud/p4d/pgd`: a corrupt page table entry was cleared.
    BadPageTable,
    /// Bad or unused swap entry.
    SwapEntry,
    /// A swap device failed to read or write.
    SwapIo,
    /// `list_add`/`list_del` corruption.
    ListCorruption,
    /// Saturated or underflowed `refcount_t`.
    Refcount,
    /// Underflow of a memcg page counter or LRU size.
    MemcgCounter,
    /// SLUB's consistency checks.
    Slub,
    /// Poison of a free page overwritten.
    PagePoison,
    /// `ODEBUG`: object life-time violation.
    ObjectDebug,
    /// KASAN report.
    Kasan,
    /// KFENCE report.
    Kfence,
    /// KCSAN report.
    Kcsan,
    /// KMSAN report.
    Kmsan,
    /// UBSAN report.
    Ubsan,
    /// kmemleak report.
    MemoryLeak,
    /// Hardened usercopy violation.
    Usercopy,
    /// `WARN_ON()` and its kin, `VM_WARN_ON*()` among them.
    Warning,
    /// A CPU ran kernel code for too long.
    SoftLockup,
    /// A CPU took no interrupts for too long.
    HardLockup,
    /// RCU stall.
    RcuStall,
    /// A task blocked for too long.
    HungTask,
    /// A worker pool made no progress.
    WorkqueueLockup,
    /// Sleeping, scheduling or a preemptible access where that is forbidden.
    AtomicSleep,
    /// Lock debugging: lockdep and spinlock debugging.
    Lockdep,
    /// RCU used outside of its rules.
    RcuUsage,
    /// The OOM killer found nothing to kill, or the fault path leaked `VM_FAULT_OOM`.
    OomDeadlock,
    /// `BUG: ...` that no more specific format knows.
    OtherBug,
    /// Kernel panic.
    Panic,
    /// A boot banner in mid-log.
    Reboot,
    /// The OOM killer did its work.
    OomKill,
    /// A page or vmalloc allocation failed and said so.
    AllocationFailure,
    /// A failure that fault injection made on purpose.
    FaultInjection,
    /// A program's fault: a segfault and its kin.
    UserFault,
    /// What the guest's own programs saw though the kernel said nothing: wrong data, a wrong errno, a guest that vanished.
    Violation,
}

impl Class {
    /// What a healthy kernel under pressure says as well; told apart from findings, see [`super::Oracle::with_noise`].
    pub fn is_noise(self) -> bool {
        matches!(self, Class::OomKill | Class::AllocationFailure | Class::FaultInjection | Class::UserFault)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The serialized name is the one name: serde's unit variants always serialize as a string.
        self.serialize(f)
    }
}

/// How bad a finding is; ordered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a line, not a failure.
    Info,
    /// A failure; the kernel goes on in a defined state.
    Warning,
    /// A failure after which nothing that the kernel says about itself can be trusted.
    Error,
    /// The kernel, or the task that hit it, is dead.
    Fatal,
}

impl Severity {
    /// Whether a trial ends at a finding of this severity: what follows would only be its consequences.
    pub fn stops_trial(self) -> bool {
        self >= Severity::Error
    }
}

/// What the CPU was doing when the kernel reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// On behalf of a task.
    Task,
    /// In an interrupt, hard or soft.
    Interrupt,
    /// In a non-maskable interrupt.
    Nmi,
    /// On an exception's own stack.
    Exception,
}

/// One entry of a stack trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Symbol as printed, compiler suffixes (`.constprop.0`, `.cold`) included.
    pub function: String,
    /// Byte offset into the function; none for inlined frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Size of the function in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Module that the function stands in; none for vmlinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// `file:line`, where the log was symbolized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Marked `?` by the unwinder: found on the stack, maybe stale.
    #[serde(default)]
    pub unreliable: bool,
    /// `[inline]` entry of a symbolized log.
    #[serde(default)]
    pub inline: bool,
    /// The instruction pointer (`RIP:`, `pc :`), not a return address.
    #[serde(default)]
    pub ip: bool,
}

/// One report of the kernel about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Short name as syzbot gives them: `kernel BUG in migrate_folio_unmap`.
    pub title: String,
    /// Other names of the same thing; findings that share a title or an alternative are likely one bug.
    pub alt_titles: Vec<String>,
    /// Kind of report.
    pub class: Class,
    /// How bad it is.
    pub severity: Severity,
    /// What identifies the bug: class, guilty function, condition, reason. Holds no address, pid, CPU, count or source line.
    pub signature: String,
    /// The first failure of its boot; false where an earlier finding that stops a trial makes this a likely consequence.
    pub primary: bool,
    /// The report is not whole; `corrupted_why` tells why. Its title may be worse than that of a whole one.
    pub corrupted: bool,
    /// Why the report is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupted_why: Option<String>,
    /// First line of the report, 1-based.
    pub first_line: u64,
    /// Last line of the report, 1-based, inclusive. Lines of other tasks may stand between.
    pub last_line: u64,
    /// Offset of the report's first byte in the log.
    pub first_byte: u64,
    /// Offset just past the report's last line, its newline included.
    pub end_byte: u64,
    /// Name of the task (`comm`).
    #[serde(default)]
    pub process: Option<String>,
    /// Its pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// CPU that the report is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// `VM_BUG_ON_FOLIO(...)` and its kin as printed. The VMA and MM forms do not print their condition: the macro's name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Free text: why a page was dumped, why the kernel panicked, what a `WARN()` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `file:line` that the kernel printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Taint letters before this report, without blanks: `GBW`; none where the kernel was not tainted or did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<String>,
    /// What the CPU was doing; none where the report does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Why this finding is no failure here: somebody declared it. See [`super::expect`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// First function of the stack that is not plumbing.
    #[serde(default)]
    pub guilty: Option<String>,
    /// The report's main trace, innermost first, the instruction pointer at its head where it was printed.
    pub frames: Vec<Frame>,
}

impl Finding {
    /// Whether it makes its trial a failure.
    pub fn is_failure(&self) -> bool {
        self.expected.is_none() && self.severity > Severity::Info
    }

    /// Whether it ends its trial: what follows would only be its consequences.
    pub fn stops_trial(&self) -> bool {
        self.expected.is_none() && self.severity.stops_trial()
    }
}

/// What the oracle announces while it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The first line of a report was read. A [`Notice::Completed`] for it follows, with others' in between perhaps.
    Opened {
        /// Kind of report.
        class: Class,
        /// How bad it is.
        severity: Severity,
        /// The line, without its printk prefixes.
        headline: String,
    },
    /// A report is over.
    Completed(Box<Finding>),
}
