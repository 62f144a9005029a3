//! Huge pages of each smaller size, where the kernel has the files (anonymous memory since 6.8, shmem since 6.11).

use super::part::choose;
use super::{Acts, Dimension, Settings};

macro_rules! size_file {
    ($kib:literal, $file:literal) => {
        concat!("/sys/kernel/mm/transparent_hugepage/hugepages-", $kib, "kB/", $file)
    };
}

macro_rules! sized {
    ($kib:literal) => {
        Dimension {
            name: concat!("mthp-", $kib, "k"),
            about: "anonymous huge pages of that size (mm/huge_memory.c, anon_enabled_store)",
            acts: Acts::Run,
            settings: Settings::Words(&[
                ("always", &[choose(size_file!($kib, "enabled"), "always")]),
                ("inherit", &[choose(size_file!($kib, "enabled"), "inherit")]),
                ("madvise", &[choose(size_file!($kib, "enabled"), "madvise")]),
                ("never", &[choose(size_file!($kib, "enabled"), "never")]),
            ]),
        }
    };
}

macro_rules! sized_shmem {
    ($kib:literal) => {
        Dimension {
            name: concat!("mthp-shmem-", $kib, "k"),
            about: "huge pages of that size in shmem (mm/shmem.c, thpsize_shmem_enabled_store)",
            acts: Acts::Run,
            settings: Settings::Words(&[
                ("always", &[choose(size_file!($kib, "shmem_enabled"), "always")]),
                ("inherit", &[choose(size_file!($kib, "shmem_enabled"), "inherit")]),
                ("within_size", &[choose(size_file!($kib, "shmem_enabled"), "within_size")]),
                ("advise", &[choose(size_file!($kib, "shmem_enabled"), "advise")]),
                ("never", &[choose(size_file!($kib, "shmem_enabled"), "never")]),
            ]),
        }
    };
}

pub(super) const TABLE: &[Dimension] = &[
    sized!(16),
    sized!(32),
    sized!(64),
    sized!(128),
    sized!(256),
    sized!(512),
    sized!(1024),
    sized!(2048),
    sized_shmem!(16),
    sized_shmem!(32),
    sized_shmem!(64),
    sized_shmem!(128),
    sized_shmem!(256),
    sized_shmem!(512),
    sized_shmem!(1024),
    sized_shmem!(2048),
];
