//! Transparent huge pages of the one size that the processor's page table has.

use super::part::{choose, write};
use super::{Acts, Dimension, Part, Settings};
use mmtorture_protocol::Shows;

macro_rules! sysfs {
    ($file:literal) => {
        concat!("/sys/kernel/mm/transparent_hugepage/", $file)
    };
}

const ENABLED: &str = sysfs!("enabled");
const DEFRAG: &str = sysfs!("defrag");
const SHMEM: &str = sysfs!("shmem_enabled");
const ZERO: &str = sysfs!("use_zero_page");

const fn booted(want: &'static str) -> Part {
    Part::Check { path: ENABLED, want, shows: Shows::Bracketed, or_absent: false }
}

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "thp",
        about: "when anonymous memory is backed by huge pages (mm/huge_memory.c, enabled_store)",
        acts: Acts::Run,
        settings: Settings::Words(&[
            ("always", &[choose(ENABLED, "always")]),
            ("madvise", &[choose(ENABLED, "madvise")]),
            ("never", &[choose(ENABLED, "never")]),
        ]),
    },
    Dimension {
        name: "thp-defrag",
        about: "how hard a fault tries for a huge page (mm/huge_memory.c, vma_thp_gfp_mask)",
        acts: Acts::Run,
        settings: Settings::Words(&[
            ("always", &[choose(DEFRAG, "always")]),
            ("defer", &[choose(DEFRAG, "defer")]),
            ("defer+madvise", &[choose(DEFRAG, "defer+madvise")]),
            ("madvise", &[choose(DEFRAG, "madvise")]),
            ("never", &[choose(DEFRAG, "never")]),
        ]),
    },
    Dimension {
        name: "shmem-huge",
        about:
            "huge pages in shmem outside mounted tmpfs; deny and force rule over that, too (mm/shmem.c, shmem_is_huge); needs CONFIG_BASE_FULL, of the fragment mm-more",
        acts: Acts::Run,
        settings: Settings::Words(&[
            ("always", &[choose(SHMEM, "always")]),
            ("within_size", &[choose(SHMEM, "within_size")]),
            ("advise", &[choose(SHMEM, "advise")]),
            ("never", &[choose(SHMEM, "never")]),
            ("deny", &[choose(SHMEM, "deny")]),
            ("force", &[choose(SHMEM, "force")]),
        ]),
    },
    Dimension {
        name: "tmpfs-huge",
        about: "huge pages in the tmpfs that the workload has its files on, /tmp (mm/shmem.c, shmem_parse_one); needs CONFIG_BASE_FULL, of the fragment mm-more",
        acts: Acts::Run,
        settings: Settings::Words(&[
            ("never", &[Part::Mount("huge=never", true)]),
            ("always", &[Part::Mount("huge=always", false)]),
            ("within_size", &[Part::Mount("huge=within_size", false)]),
            ("advise", &[Part::Mount("huge=advise", false)]),
        ]),
    },
    Dimension {
        name: "thp-zero-page",
        about: "a read fault gives the shared huge zero page (mm/huge_memory.c, use_zero_page_store)",
        acts: Acts::Run,
        settings: Settings::Words(&[("on", &[write(ZERO, "1")]), ("off", &[write(ZERO, "0")])]),
    },
    Dimension {
        name: "thp-default",
        about:
            "what `enabled` is after boot: Kconfig, not sysfs, for bugs before the first process; the kernel makes it \
                never below 512 MiB of usable memory (mm/huge_memory.c, hugepage_init)",
        acts: Acts::Build,
        settings: Settings::Words(&[
            (
                "always",
                &[
                    Part::Kconfig(&[
                        "CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS=y",
                        "# CONFIG_TRANSPARENT_HUGEPAGE_MADVISE is not set",
                    ]),
                    booted("always"),
                ],
            ),
            (
                "madvise",
                &[
                    Part::Kconfig(&[
                        "CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y",
                        "# CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS is not set",
                    ]),
                    booted("madvise"),
                ],
            ),
        ]),
    },
];
