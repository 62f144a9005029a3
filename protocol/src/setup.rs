//! What the guest is set up with before its workload starts.

use serde::{Deserialize, Serialize};

/// One file of the kernel's to write, to look at, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knob {
    /// The dimension it belongs to, for reports.
    pub dimension: String,
    /// Absolute path in the guest.
    pub path: String,
    /// What is written, without a newline. `None`: the file is only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// What the file must show then. `None`: it cannot be read, and that the write was taken is all there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<String>,
    /// How the file shows the value.
    pub shows: Shows,
    /// Whether a kernel without the file does as asked all the same: one without KSM merges nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub or_absent: bool,
}

/// How a kernel file shows its current value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    /// The value itself, as most of /proc/sys does.
    Plain,
    /// A list of choices with the current one in brackets, as `always [madvise] never`.
    Bracketed,
    /// The same with parentheses, as `none (voluntary) full`.
    Parenthesized,
    /// A bracketed choice where there is one, else the value itself: for files that only a matrix knows.
    Either,
    /// Words, of which the value is one: /proc/cmdline, the third column of /proc/kallsyms.
    Word,
    /// Words, of which the value is none.
    NoWord,
}

impl Shows {
    /// The current value in `text`, as this kind of file shows it; `None` where no choice is marked. Of words all.
    pub fn current(self, text: &str) -> Option<&str> {
        let between = |open, close| text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map(|(v, _)| v);
        match self {
            Self::Plain | Self::Word | Self::NoWord => Some(text.trim()),
            Self::Bracketed => between('[', ']'),
            Self::Parenthesized => between('(', ')'),
            Self::Either => between('[', ']').or(Some(text.trim())),
        }
    }

    /// The same for a report: of words only `want`, if it is among them, or nothing.
    pub fn found<'a>(self, text: &'a str, want: &'a str) -> Option<&'a str> {
        match self {
            Self::Word | Self::NoWord if text.split_whitespace().any(|word| word == want) => Some(want),
            Self::Word | Self::NoWord => Some(""),
            _ => self.current(text),
        }
    }

    /// Whether a file in which that was [`found`](Shows::found) is as it was wanted.
    pub fn agrees(self, got: &str, want: &str) -> bool {
        (got == want) != (self == Self::NoWord)
    }
}

/// A file that is written again and again while the workload runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// The dimension it belongs to.
    pub dimension: String,
    /// Absolute path in the guest.
    pub path: String,
    /// What is written.
    pub value: String,
    /// The pause after each write, in milliseconds.
    pub every_ms: u32,
}

/// What a guest swaps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Swap {
    /// Nothing.
    None,
    /// A zram device, the size of its disk in MiB.
    Zram {
        /// Uncompressed capacity in MiB.
        mib: u64,
    },
    /// The guest's first virtio disk, of which swap takes all.
    Disk {
        /// Its size in MiB.
        mib: u64,
    },
    /// A file on an ext4 file system that the guest's first virtio disk has.
    File {
        /// The file's size in MiB.
        mib: u64,
    },
}

impl Swap {
    /// How much can be swapped out, in MiB.
    pub fn mib(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Zram { mib } | Self::Disk { mib } | Self::File { mib } => mib,
        }
    }
}

/// What the workload has for its files: the file system on /tmp.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Which it is.
    pub backing: Backing,
    /// Options of the tmpfs that it is, or that it lies on.
    pub options: Vec<MountOption>,
}

/// An option of a mount, which /proc/mounts must show afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountOption {
    /// The dimension it belongs to.
    pub dimension: String,
    /// As mount(8) takes it: `huge=always`. The kernel shows it in the same spelling, unless it is the default.
    pub option: String,
    /// Whether it is the default, which the kernel does not show.
    pub default: bool,
}

/// A file system on something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Backing {
    /// tmpfs.
    #[default]
    Tmpfs,
    /// ext4 on a loop device on a file in a tmpfs. The file's contents are [`EXT4_PATH`] in the initramfs.
    Ext4Loop {
        /// The file's size in MiB.
        mib: u64,
    },
    /// ext4 on a virtio disk.
    Ext4Disk {
        /// Its size in MiB.
        mib: u64,
        /// Which of the machine's virtio disks, from 0.
        disk: u8,
    },
}

/// Where the initramfs has what is not zero of a file system for [`Backing::Ext4Loop`], as [`crate::extents`].
pub const EXT4_PATH: &str = "/scratch.ext4";

/// The memory control group that the workload runs in, two levels below the root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "version", deny_unknown_fields)]
pub enum Memcg {
    /// The root's.
    #[default]
    None,
    /// One of the first version's.
    V1 {
        /// Its limit in MiB.
        mib: u64,
    },
    /// One of the second's.
    V2 {
        /// Its limit in MiB.
        mib: u64,
    },
}

impl Memcg {
    /// Where the guest makes it.
    pub const DIR: &str = "/sys/fs/cgroup/mmtorture/workload";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_shows_its_value_in_one_way_or_another() {
        let shown = |shows: Shows, text: &'static str| shows.current(text);
        assert_eq!(shown(Shows::Bracketed, "always [madvise] never\n"), Some("madvise"));
        assert_eq!(shown(Shows::Bracketed, "always madvise never\n"), None);
        assert_eq!(shown(Shows::Parenthesized, "none voluntary (full) \n"), Some("full"));
        assert_eq!(shown(Shows::Plain, "100\n"), Some("100"));
        assert_eq!(shown(Shows::Either, "100\n"), Some("100"));
        assert_eq!(shown(Shows::Either, "always [never]\n"), Some("never"));
    }

    #[test]
    fn words_are_whole_and_may_be_unwanted() {
        let cmdline = "console=ttyS0 page_poison=1\n";
        let agrees = |shows: Shows, want: &str| shows.agrees(shows.found(cmdline, want).unwrap(), want);
        assert!(agrees(Shows::Word, "page_poison=1"));
        assert!(!agrees(Shows::Word, "page_poison"));
        assert!(agrees(Shows::NoWord, "page_poison"));
        assert!(!agrees(Shows::NoWord, "page_poison=1"));
    }
}
