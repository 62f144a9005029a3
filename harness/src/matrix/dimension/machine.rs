//! The machine: processors, memory, nodes; and how the kernel shares the processors.

use super::{Acts, Dimension, Part, Settings};
use crate::size;
use mmtorture_protocol::Shows;

/// The kernels that we configure have room for this many (CONFIG_NR_CPUS).
const MAX_CPUS: u64 = 16;

/// Both machines have at most so many.
const MAX_NODES: u64 = 8;

/// A kernel of ours with its initramfs boots in less, but a guest that can do nothing tortures nothing.
const MIN_MEMORY_MIB: u64 = 128;

const fn preempt(parameter: &'static str, mode: &'static str) -> [Part; 2] {
    let path = "/sys/kernel/debug/sched/preempt";
    [Part::Cmdline(parameter), Part::Check { path, want: mode, shows: Shows::Parenthesized, or_absent: false }]
}

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "cpus",
        about: "virtual CPUs, all online (kernel/cpu.c, bringup_nonboot_cpus)",
        acts: Acts::Boot,
        settings: Settings::Numbers { least: 1, most: MAX_CPUS, part: |n| Part::Cpus(n as u32) },
    },
    Dimension {
        name: "memory",
        about: "the guest's memory (mm/memblock.c)",
        acts: Acts::Boot,
        settings: Settings::Parsed {
            expected: "a size from 128M, as 320M or 2G",
            pattern: "^[1-9][0-9]*[MG]$",
            parse: |s| size::mib(s).filter(|&n| n >= MIN_MEMORY_MIB).map(|n| vec![Part::MemoryMib(n)]),
        },
    },
    Dimension {
        name: "numa",
        about: "NUMA nodes that share CPUs and memory evenly (drivers/acpi/numa/srat.c); needs the fragment acpi",
        acts: Acts::Boot,
        settings: Settings::Numbers { least: 1, most: MAX_NODES, part: |n| Part::Nodes(n as u32) },
    },
    Dimension {
        name: "preempt",
        about:
            "where the kernel may be preempted (kernel/sched/core.c, sched_dynamic_update); needs the fragment features",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            ("none", &preempt("preempt=none", "none")),
            ("voluntary", &preempt("preempt=voluntary", "voluntary")),
            ("full", &preempt("preempt=full", "full")),
        ]),
    },
];
