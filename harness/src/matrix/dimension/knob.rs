//! Dimensions that are one file in the guest, written before the workload starts and read back.

use super::{Dimension, Effect};
use mmtorture_protocol::{Knob, Shows};

/// The file of a dimension.
#[derive(Debug)]
pub struct File {
    path: &'static str,
    shows: Shows,
    choices: Choices,
}

#[derive(Debug)]
enum Choices {
    OneOf(&'static [&'static str]),
    Range(u64, u64),
}

fn parse(dimension: &Dimension, setting: &str) -> Option<Effect> {
    let file = dimension.knob.as_ref()?;
    let legal = match file.choices {
        Choices::OneOf(choices) => choices.contains(&setting),
        // Only the canonical spelling, or `007` and `7` would be two cells.
        Choices::Range(least, most) => {
            setting.parse::<u64>().is_ok_and(|n| (least..=most).contains(&n) && n.to_string() == setting)
        }
    };
    legal.then(|| {
        Effect::Knob(Knob {
            dimension: dimension.name.to_owned(),
            path: file.path.to_owned(),
            value: setting.to_owned(),
            shows: file.shows,
        })
    })
}

macro_rules! choice {
    ($name:literal, $path:literal, [$($choice:literal),+], $about:literal) => {
        Dimension {
            name: $name,
            about: $about,
            expected: concat!("one of", $(" ", $choice),+),
            parse,
            knob: Some(File { path: $path, shows: Shows::Bracketed, choices: Choices::OneOf(&[$($choice),+]) }),
        }
    };
}

macro_rules! number {
    ($name:literal, $path:literal, $least:literal ..= $most:literal, $about:literal) => {
        Dimension {
            name: $name,
            about: $about,
            expected: concat!("a number from ", $least, " to ", $most),
            parse,
            knob: Some(File { path: $path, shows: Shows::Plain, choices: Choices::Range($least, $most) }),
        }
    };
}

pub(super) const TABLE: &[Dimension] = &[
    choice!(
        "thp",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        ["always", "madvise", "never"],
        "when anonymous memory is backed by huge pages (mm/huge_memory.c, enabled_show)"
    ),
    choice!(
        "thp-defrag",
        "/sys/kernel/mm/transparent_hugepage/defrag",
        ["always", "defer", "defer+madvise", "madvise", "never"],
        "how hard a fault tries for a huge page (mm/huge_memory.c, defrag_show)"
    ),
    choice!(
        "shmem-huge",
        "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        ["always", "within_size", "advise", "never", "deny", "force"],
        "huge pages in shmem outside mounted tmpfs (mm/shmem.c, shmem_enabled_show)"
    ),
    number!(
        "swappiness",
        "/proc/sys/vm/swappiness",
        0..=200,
        "how reclaim weighs anonymous memory against the page cache (mm/vmscan.c, get_scan_count)"
    ),
];

#[cfg(test)]
mod tests {
    use crate::matrix::dimension::find;

    #[test]
    fn only_the_canonical_spelling_of_a_number_is_a_setting() {
        let swappiness = find("swappiness").unwrap();
        assert!(swappiness.effect("200").is_ok());
        for wrong in ["201", "-1", "007", "+7", " 7", ""] {
            assert!(swappiness.effect(wrong).is_err(), "{wrong:?}");
        }
    }
}
