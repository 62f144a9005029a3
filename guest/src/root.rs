//! The root file system that a suite runs in: a disk that is only read, with the guest's own file systems on it.

use crate::scratch::virtio_disk;
use crate::{knobs, mounts};
use anyhow::Context as _;
use mmtorture_protocol::{EventKind, ROOT_PATH};
use rustix::mount::MountFlags;

/// Mounts the disk of that number; what is to be told of it. The workload mounts the rest, in a namespace of its own.
pub fn mount(disk: u8) -> EventKind {
    let device = virtio_disk(disk);
    // A kernel that lacks what it takes is not at fault, and neither is the harness: the cell was not exercised.
    let error = ext4(&device).err().map(|e| format!("{e:#}"));
    let got = if error.is_none() { device.as_str() } else { "" };
    knobs::told("root", "/proc/mounts", "a suite's root", got, error)
}

fn ext4(device: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(ROOT_PATH).with_context(|| format!("cannot make {ROOT_PATH}"))?;
    mounts::mount_with("ext4", device, ROOT_PATH, MountFlags::RDONLY, None).with_context(|| {
        format!(
            "cannot mount ext4 of {device}; does the kernel have CONFIG_VIRTIO_BLK=y, its bus and CONFIG_EXT4_FS=y?"
        )
    })
}
