//! Compaction without being asked, and asked all the time.

use super::part::write;
use super::{Acts, Dimension, Part, Settings};

const PROACTIVENESS: &str = "/proc/sys/vm/compaction_proactiveness";
const MEMORY: &str = "/proc/sys/vm/compact_memory";

pub(super) const TABLE: &[Dimension] = &[Dimension {
    name: "compaction",
    about:
        "how far kcompactd goes by itself, by the kernel's own measure of 20, not at all or all the way; or all memory \
            ten times a second besides (mm/compaction.c, fragmentation_score_wmark, compact_nodes)",
    acts: Acts::Run,
    settings: Settings::Words(&[
        ("default", &[write(PROACTIVENESS, "20")]),
        ("off", &[write(PROACTIVENESS, "0")]),
        ("eager", &[write(PROACTIVENESS, "100")]),
        ("forced", &[write(PROACTIVENESS, "20"), Part::Repeat { path: MEMORY, value: "1", every_ms: 100 }]),
    ]),
}];
