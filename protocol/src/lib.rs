//! The wire between host and guest: what a trial asks of its guest, and what the guest reports back.
//!
//! Types and framing, no I/O. Three streams use them, each of them JSON:
//!
//! * [`Request`]: one file in the guest's initramfs, [`REQUEST_PATH`], written by the host.
//! * [`Event`]: one object a line on the guest's second serial port ([`EVENT_TTY`]), written by PID 1.
//! * [`Report`]: one object a line on a pipe between a workload and PID 1, which turns them into events.
//!
//! The guest runs a kernel that is presumed broken, so the host reads an [`Event`] line as hostile input: it bounds
//! the line ([`MAX_LINE`]) and treats what does not parse as noise, never as an error of its own.

pub mod extents;
mod lines;
mod setup;
mod suite;

pub use lines::Lines;
pub use setup::{Backing, Knob, Memcg, MountOption, Repeat, Scratch, Shows, Swap, EXT4_PATH};
pub use suite::{Root, Suite, MAX_OBJECTS, ROOT_PATH};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this wire. Host and guest come from one build; a mismatch means a stale initramfs.
pub const VERSION: u32 = 2;

/// Where PID 1 finds its [`Request`].
pub const REQUEST_PATH: &str = "/trial.json";

/// Where PID 1 finds modules to load, in the order of their names; absent where there are none.
pub const MODULES_PATH: &str = "/modules";

/// The guest's event port. ttyS0 is the kernel's console and carries nothing of ours.
pub const EVENT_TTY: &str = "/dev/ttyS1";

/// The longest line, in bytes and without its newline, that either side writes or reads. Longer lines are dropped.
pub const MAX_LINE: usize = 64 * 1024;

/// What a trial asks of its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`] of the side that wrote it.
    pub version: u32,
    /// The trial's name, echoed in [`EventKind::Hello`] so that a stream cannot be taken for another's.
    pub trial: String,
    /// Seed of everything the workload draws.
    pub seed: u64,
    /// How long the workload runs, in seconds of guest time.
    pub seconds: u32,
    /// Interval between [`EventKind::Progress`] events, in milliseconds. At least 50.
    pub heartbeat_ms: u32,
    /// Turned in this order before the workload starts, each read back. What is only looked at comes before all writes.
    pub knobs: Vec<Knob>,
    /// Written again and again while the workload runs.
    pub repeat: Vec<Repeat>,
    /// What the workload has for its files.
    pub scratch: Scratch,
    /// The memory control group that the workload runs in.
    pub memcg: Memcg,
    /// NUMA nodes that the machine has; the guest says which it found.
    pub nodes: u32,
    /// What the guest swaps to.
    pub swap: Swap,
    /// Which of the machine's virtio disks, from 0, has the root that a [`Suite`] runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<u8>,
    /// Which workload, as `torture list` names it.
    pub workload: String,
}

/// One line on the event port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Guest time since boot (CLOCK_BOOTTIME), in milliseconds.
    pub uptime_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What a guest reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// PID 1 runs. Always the first event.
    Hello {
        /// [`VERSION`] of the guest's build.
        version: u32,
        /// [`Request::trial`]; empty if the request could not be read.
        trial: String,
        /// `uname -r`.
        release: String,
        /// `uname -v`: tells two builds of one release apart.
        build: String,
        /// Online CPUs.
        cpus: u32,
        /// MemTotal, in KiB.
        mem_kib: u64,
    },
    /// A new phase began.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A knob was written and read back, or something else that was asked for was looked at.
    Knob {
        /// [`Knob::dimension`].
        dimension: String,
        /// The file that shows it.
        path: String,
        /// What was asked for.
        asked: String,
        /// What the file shows now; empty if it could not be read.
        got: String,
        /// Why what was asked for is not in force; `None` if it is.
        error: Option<String>,
    },
    /// The workload says what it is and which counters must move for its run to count.
    Workload {
        /// Its name.
        name: String,
        /// What it declares.
        claims: Vec<Claim>,
    },
    /// The heartbeat: PID 1 is scheduled and the workload's operations so far.
    Progress {
        /// Operations by name, counted from the workload's start.
        ops: BTreeMap<String, u64>,
    },
    /// The guest saw something that must not be, though the kernel said nothing.
    Violation {
        /// A short stable name, the finding's title: `unexpected-errno`, `data-mismatch`, `workload-signal`, ...
        kind: String,
        /// The particulars, free text.
        detail: String,
    },
    /// The workload ended and the guest is about to power off. Always the last event.
    Done {
        /// How long the workload ran, in milliseconds of guest time.
        elapsed_ms: u64,
        /// /proc/vmstat counters that changed between the workload's start and its end, by how much.
        vmstat: BTreeMap<String, i64>,
        /// The workload's final operation counts.
        ops: BTreeMap<String, u64>,
    },
    /// The guest could not do what was asked; it powers off next. An error of the harness or of the matrix.
    Error {
        /// What failed and why.
        message: String,
    },
}

/// The phases of a guest's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Mounts, knobs, swap.
    Setup,
    /// The workload runs.
    Torture,
    /// The workload's processes are gone; swap is turned off, counters are read.
    TearDown,
}

impl Phase {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Torture => "torture",
            Self::TearDown => "tear-down",
        }
    }
}

/// A workload's promise: in any run that counts, one of these counters moves by at least so much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What the claim shows, in a word or two: `swap-out`, `thp-fault`, `migration`.
    pub shows: String,
    /// Names in /proc/vmstat, or of the workload's own operations where the kernel counts nothing of the kind; any one
    /// of them is enough. The former have underscores, the latter hyphens.
    pub any_of: Vec<String>,
    /// The least that it must move by.
    pub at_least: u64,
}

impl Claim {
    /// Whether `vmstat` (deltas) and `ops` keep the promise.
    pub fn holds(&self, vmstat: &BTreeMap<String, i64>, ops: &BTreeMap<String, u64>) -> bool {
        self.moved(vmstat, ops) >= self.at_least
    }

    /// By how much the counter moved that moved most. One that fell did not move as promised.
    pub fn moved(&self, vmstat: &BTreeMap<String, i64>, ops: &BTreeMap<String, u64>) -> u64 {
        let by = |name| vmstat.get(name).map(|&delta| u64::try_from(delta).unwrap_or(0));
        self.any_of.iter().filter_map(|name| by(name).or_else(|| ops.get(name).copied())).max().unwrap_or(0)
    }
}

/// One line from a workload to whoever started it (`torture --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "report")]
pub enum Report {
    /// First line: what runs, and what it declares.
    Started {
        /// The workload's name.
        name: String,
        /// See [`EventKind::Workload`].
        claims: Vec<Claim>,
    },
    /// Operations so far, a few times a second.
    Progress {
        /// Operations by name.
        ops: BTreeMap<String, u64>,
    },
    /// See [`EventKind::Violation`].
    Violation {
        /// Short stable name.
        kind: String,
        /// Particulars.
        detail: String,
    },
    /// Last line: the deadline passed and all its processes are gone.
    Finished {
        /// Final counts.
        ops: BTreeMap<String, u64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event { uptime_ms: 1203, kind: EventKind::Phase { phase: Phase::TearDown } };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"uptime_ms":1203,"event":"phase","phase":"tear-down"}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn a_claim_wants_any_one_counter_to_have_moved_enough() {
        let claim = Claim { shows: "swap-out".into(), any_of: vec!["pswpout".into(), "zswpout".into()], at_least: 10 };
        let moved = |n| BTreeMap::from([("pswpout".to_owned(), n)]);
        let holds = |n| claim.holds(&moved(n), &BTreeMap::new());
        assert!(holds(10));
        assert!(!holds(9));
        assert!(!holds(-10), "a counter that fell did not move as promised");
        assert!(!claim.holds(&BTreeMap::new(), &BTreeMap::new()));
    }

    #[test]
    fn an_operation_is_a_counter_too() {
        let claim = Claim { shows: "moves".into(), any_of: vec!["task-moves".into()], at_least: 2 };
        let ops = |n| BTreeMap::from([("task-moves".to_owned(), n)]);
        assert!(claim.holds(&BTreeMap::new(), &ops(2)));
        assert!(!claim.holds(&BTreeMap::new(), &ops(1)));
    }
}
