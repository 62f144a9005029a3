//! Merging of equal pages.

use super::part::{write, write_if_there};
use super::{Acts, Dimension, Settings};

const RUN: &str = "/sys/kernel/mm/ksm/run";
const SLEEP: &str = "/sys/kernel/mm/ksm/sleep_millisecs";
const PAGES: &str = "/sys/kernel/mm/ksm/pages_to_scan";

pub(super) const TABLE: &[Dimension] = &[Dimension {
    name: "ksm",
    about: "whether ksmd runs, at the kernel's own pace of 100 pages each 20 ms, or of 2000 each ms (mm/ksm.c, ksm_scan_thread)",
    acts: Acts::Run,
    settings: Settings::Words(&[
        ("off", &[write_if_there(RUN, "0")]),
        ("on", &[write(PAGES, "100"), write(SLEEP, "20"), write(RUN, "1")]),
        ("eager", &[write(PAGES, "2000"), write(SLEEP, "1"), write(RUN, "1")]),
    ]),
}];
