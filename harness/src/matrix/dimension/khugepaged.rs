//! khugepaged, which collapses small pages to huge ones behind the workload's back.

use super::part::write;
use super::{Acts, Dimension, Part, Settings};

macro_rules! sysfs {
    ($file:literal) => {
        concat!("/sys/kernel/mm/transparent_hugepage/khugepaged/", $file)
    };
}

const PAGES: &str = sysfs!("pages_to_scan");
const SCAN_SLEEP: &str = sysfs!("scan_sleep_millisecs");
const ALLOC_SLEEP: &str = sysfs!("alloc_sleep_millisecs");
const DEFRAG: &str = sysfs!("defrag");

const fn pace(pages: &'static str, scan: &'static str, alloc: &'static str) -> [Part; 3] {
    [write(PAGES, pages), write(SCAN_SLEEP, scan), write(ALLOC_SLEEP, alloc)]
}

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "khugepaged",
        about: "its pace: the kernel's own with 4 KiB pages; a gulp every 10 ms; once an hour, which is never \
                (mm/khugepaged.c, khugepaged_do_scan)",
        acts: Acts::Run,
        settings: Settings::Words(&[
            ("default", &pace("4096", "10000", "60000")),
            // No pause at all would take one of few CPUs from the workload for good.
            ("eager", &pace("65536", "10", "10")),
            ("off", &pace("4096", "3600000", "3600000")),
        ]),
    },
    Dimension {
        name: "khugepaged-defrag",
        about:
            "whether it compacts and reclaims for its huge pages (mm/khugepaged.c, alloc_hugepage_khugepaged_gfpmask)",
        acts: Acts::Run,
        settings: Settings::Words(&[("on", &[write(DEFRAG, "1")]), ("off", &[write(DEFRAG, "0")])]),
    },
];
