//! What watches the kernel, and what happens when it is displeased.

use super::part::{check, has_function, lacks_function, no_parameter};
use super::{Acts, Dimension, Part, Settings};
use mmtorture_protocol::Shows;

const KFENCE: &str = "/sys/module/kfence/parameters/sample_interval";
const ON_OOPS: &str = "/proc/sys/kernel/panic_on_oops";
const ON_WARN: &str = "/proc/sys/kernel/panic_on_warn";

/// What SLUB checks in a cache that every kernel has and that is merged with no other.
macro_rules! slub {
    ($file:literal, $value:literal) => {
        check(concat!("/sys/kernel/slab/kmalloc-64/", $file), $value)
    };
}

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "debug-vm",
        about: "checks in memory management, which also move others to where pages are freed or taken \
                (lib/Kconfig.debug, mm/debug.c); off also in the fragments that want its parts",
        acts: Acts::Build,
        settings: Settings::Words(&[
            ("on", &[Part::Kconfig(&["CONFIG_DEBUG_VM=y", "CONFIG_DEBUG_VM_PGFLAGS=y"]), has_function("dump_mm")]),
            (
                "off",
                &[
                    Part::Kconfig(&["# CONFIG_DEBUG_VM is not set", "# CONFIG_DEBUG_VM_PGFLAGS is not set"]),
                    lacks_function("dump_mm"),
                ],
            ),
        ]),
    },
    Dimension {
        name: "kasan",
        about: "KASAN's generic mode: uses after free and out of bounds; takes an eighth of memory and half the speed \
                (mm/kasan/generic.c)",
        acts: Acts::Build,
        settings: Settings::Words(&[
            (
                "on",
                &[
                    Part::Kconfig(&[
                        "CONFIG_KASAN=y",
                        "CONFIG_KASAN_GENERIC=y",
                        "CONFIG_KASAN_OUTLINE=y",
                        "CONFIG_KASAN_VMALLOC=y",
                    ]),
                    has_function("kasan_report"),
                ],
            ),
            ("off", &[Part::Kconfig(&["# CONFIG_KASAN is not set"]), lacks_function("kasan_report")]),
        ]),
    },
    Dimension {
        name: "lockdep",
        about: "proof of locking (kernel/locking/lockdep.c)",
        acts: Acts::Build,
        settings: Settings::Words(&[
            // LOCKDEP selects KALLSYMS_ALL (lib/Kconfig.debug), which the fragment debug has off.
            (
                "on",
                &[Part::Kconfig(&["CONFIG_PROVE_LOCKING=y", "CONFIG_KALLSYMS_ALL=y"]), has_function("lock_acquire")],
            ),
            ("off", &[Part::Kconfig(&["# CONFIG_PROVE_LOCKING is not set"]), lacks_function("lock_acquire")]),
        ]),
    },
    Dimension {
        name: "kfence",
        about:
            "a guarded allocation each 100 ms, or each 10 ms (mm/kfence/core.c, param_set_sample_interval); needs the \
                fragment features",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            (
                "off",
                &[
                    Part::Cmdline("kfence.sample_interval=0"),
                    Part::Check { path: KFENCE, want: "0", shows: Shows::Plain, or_absent: true },
                ],
            ),
            ("on", &[Part::Cmdline("kfence.sample_interval=100"), check(KFENCE, "100")]),
            ("eager", &[Part::Cmdline("kfence.sample_interval=10"), check(KFENCE, "10")]),
        ]),
    },
    Dimension {
        name: "page-table-check",
        about: "counts how user pages are mapped (mm/page_table_check.c); needs the fragment features",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            ("on", &[Part::Cmdline("page_table_check=on"), has_function("__page_table_check_zero")]),
            ("off", &[no_parameter("page_table_check=on")]),
        ]),
    },
    Dimension {
        name: "page-poisoning",
        about:
            "a pattern in freed pages, checked when they are taken again (mm/page_poison.c, early_page_poison_param); \
                needs the fragment features",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            ("on", &[Part::Cmdline("page_poison=1"), has_function("__kernel_poison_pages")]),
            ("off", &[no_parameter("page_poison=1")]),
        ]),
    },
    Dimension {
        name: "slub-debug",
        about: "consistency checks, red zones, poison and owners in all slab caches (mm/slub.c, setup_slub_debug)",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            (
                "on",
                &[
                    Part::Cmdline("slub_debug=FZPU"),
                    slub!("sanity_checks", "1"),
                    slub!("red_zone", "1"),
                    slub!("poison", "1"),
                    slub!("store_user", "1"),
                ],
            ),
            (
                "off",
                &[slub!("sanity_checks", "0"), slub!("red_zone", "0"), slub!("poison", "0"), slub!("store_user", "0")],
            ),
        ]),
    },
    Dimension {
        name: "panic",
        about: "what makes the kernel panic: nothing more than it must; an oops; a warning, too; or a bad page, whose \
                taint it is (kernel/panic.c, lib/bug.c)",
        acts: Acts::Boot,
        settings: Settings::Words(&[
            ("never", &[check(ON_OOPS, "0"), check(ON_WARN, "0")]),
            ("oops", &[Part::Cmdline("oops=panic"), check(ON_OOPS, "1"), check(ON_WARN, "0")]),
            ("warn", &[Part::Cmdline("oops=panic panic_on_warn=1"), check(ON_OOPS, "1"), check(ON_WARN, "1")]),
            // TAINT_BAD_PAGE is bit 5 (include/linux/panic.h).
            ("bad-page", &[Part::Cmdline("oops=panic panic_on_taint=0x20"), check(ON_OOPS, "1")]),
        ]),
    },
];
