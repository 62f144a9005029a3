//! What is reclaimed, and by which order.

use super::part::{number, Value};
use super::{Acts, Dimension, Part, Settings};
use mmtorture_protocol::Shows;

const LRU_GEN: &str = "/sys/kernel/mm/lru_gen/enabled";

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "swappiness",
        about: "how reclaim weighs anonymous memory against the page cache (mm/vmscan.c, get_scan_count)",
        acts: Acts::Run,
        settings: Settings::Numbers { least: 0, most: 200, part: |n| number("/proc/sys/vm/swappiness", n) },
    },
    Dimension {
        name: "lru",
        about: "two lists, or generations (mm/vmscan.c, lru_gen_change_state); mglru needs the fragment mm-more",
        acts: Acts::Run,
        settings: Settings::Words(&[
            (
                "classic",
                &[Part::Write {
                    path: LRU_GEN,
                    value: Value::Text("0"),
                    want: Some("0x0000"),
                    shows: Shows::Plain,
                    or_absent: true,
                }],
            ),
            // All its parts: x86-64 has the accessed bit on every level that they use.
            (
                "mglru",
                &[Part::Write {
                    path: LRU_GEN,
                    value: Value::Text("7"),
                    want: Some("0x0007"),
                    shows: Shows::Plain,
                    or_absent: false,
                }],
            ),
        ]),
    },
];
