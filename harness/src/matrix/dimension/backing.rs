//! What the workload's files lie on.

use super::{Acts, Dimension, Part, Settings};
use crate::size;
use mmtorture_protocol::Backing;

/// mke2fs wants more room for a journal.
const MIN_EXT4_MIB: u64 = 16;

pub(super) const TABLE: &[Dimension] = &[Dimension {
    name: "backing",
    about: "the file system on /tmp: tmpfs; ext4 on a loop device on a file in a tmpfs; ext4 on a virtio disk \
            (drivers/block/loop.c, fs/ext4/super.c); ext4 needs the fragment features, the disk also virtio",
    acts: Acts::Run,
    settings: Settings::Parsed {
        expected: "tmpfs, ext4-loop:SIZE or ext4-disk:SIZE from 16M as in ext4-loop:128M",
        pattern: "^(tmpfs|ext4-(loop|disk):[1-9][0-9]*[MG])$",
        parse: |setting| {
            let backing = match setting.split_once(':') {
                None if setting == "tmpfs" => Backing::Tmpfs,
                Some(("ext4-loop", size)) => Backing::Ext4Loop { mib: at_least(size)? },
                Some(("ext4-disk", size)) => Backing::Ext4Disk { mib: at_least(size)?, disk: 0 },
                _ => return None,
            };
            Some(vec![Part::Backing(backing)])
        },
    },
}];

fn at_least(text: &str) -> Option<u64> {
    size::mib(text).filter(|&mib| mib >= MIN_EXT4_MIB)
}
