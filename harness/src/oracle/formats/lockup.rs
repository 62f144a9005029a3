//! What does not come back: CPUs, tasks, grace periods, worker pools.

use super::{Alias, End, Format, Guilt};
use crate::oracle::finding::{Class, Severity};

/// The timer interrupt and RCU's own functions.
const STALL_SKIP: &[&str] = &["apic_timer_interrupt", "rcu"];

/// Rows.
pub(super) const FORMATS: &[Format] = &[
    Format {
        head: &["BUG: soft lockup - CPU#{cpu:d} stuck for {_:d}s! [{process}:{pid:d}]", "BUG: soft lockup"],
        class: Class::SoftLockup,
        title: "BUG: soft lockup in {guilty}",
        alts: &["stall in {guilty}", "BUG: soft lockup in {outer}", "stall in {outer}"],
        guilt: Guilt::Interrupted,
        alias: Alias::Dispatched,
        skip: STALL_SKIP,
        end: End::Trace,
        ..Format::DEFAULT
    },
    Format {
        head: &["atchdog detected hard LOCKUP on cpu {cpu:d}", "atchdog detected hard LOCKUP"],
        class: Class::HardLockup,
        title: "BUG: hard lockup in {guilty}",
        alts: &["stall in {guilty}"],
        any_caller: true,
        guilt: Guilt::Interrupted,
        alias: Alias::Dispatched,
        skip: STALL_SKIP,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "INFO: {_:s} self-detected stall on CPU",
            "INFO: {_:s} detected stalls on CPUs/tasks",
            "INFO: {_:s} detected expedited stalls on CPUs/tasks",
            "INFO: {_:s} self-detected stall on CPUs/tasks",
            "INFO: {_:s} detected stalls on tasks",
        ],
        class: Class::RcuStall,
        title: "INFO: rcu detected stall in {guilty}",
        alts: &["stall in {guilty}", "INFO: rcu detected stall in {outer}", "stall in {outer}"],
        // Both CPUs' points of view of one stall.
        absorbs: &[Class::RcuStall],
        guilt: Guilt::Interrupted,
        alias: Alias::Dispatched,
        skip: STALL_SKIP,
        end: End::Open,
        any_caller: true,
        ..Format::DEFAULT
    },
    Format {
        head: &[
            "INFO: task {process}:{pid:d} blocked for more than {_:d} seconds",
            "INFO: task {process}:{pid:d} blocked in I/O wait for more than {_:d} seconds",
        ],
        class: Class::HungTask,
        title: "INFO: task hung in {guilty}",
        alts: &["hang in {guilty}", "INFO: task hung in {outer}", "hang in {outer}"],
        guilt: Guilt::Waiter,
        alias: Alias::Waited,
        ..Format::DEFAULT
    },
    Format {
        head: &["INFO: task {process}:{pid:d} can't die for more than {_:d} seconds"],
        class: Class::HungTask,
        title: "INFO: task can't die in {guilty}",
        signature: "can't die|{guilty}",
        alts: &["hang in {guilty}"],
        guilt: Guilt::Waiter,
        alias: Alias::Waited,
        ..Format::DEFAULT
    },
    Format {
        head: &["BUG: workqueue lockup - pool"],
        class: Class::WorkqueueLockup,
        severity: Severity::Warning,
        title: "BUG: workqueue lockup",
        signature: "pool",
        guilt: Guilt::Nobody,
        absorbs: &[Class::WorkqueueLockup],
        end: End::Open,
        ..Format::DEFAULT
    },
];
