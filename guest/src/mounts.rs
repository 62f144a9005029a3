//! The file systems that a bare initramfs lacks.

use anyhow::Context as _;
use mmtorture_protocol::EVENT_TTY;
use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::path::Path;

/// Type, mount point, and whether a guest can do without.
const LATER: &[(&str, &str, bool)] = &[
    ("proc", "/proc", false),
    ("sysfs", "/sys", false),
    ("tmpfs", "/tmp", true),
    ("debugfs", "/sys/kernel/debug", true),
    ("cgroup2", "/sys/fs/cgroup", true),
];

/// Mounts what the first event needs: the kernel mounts devtmpfs by itself on real roots only, never on an initramfs.
pub fn early() {
    let _ = std::fs::create_dir("/dev");
    let mounted = mount("devtmpfs", "/dev");
    if (mounted.is_err() || !Path::new(EVENT_TTY).exists()) && EVENT_TTY == "/dev/ttyS1" {
        // Without CONFIG_DEVTMPFS. 4:65 is ttyS1 (Documentation/admin-guide/devices.txt). Without a driver for it
        // the open fails, and that is told then.
        let _ = mknodat(CWD, EVENT_TTY, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(4, 65));
    }
}

/// Mounts the rest.
///
/// # Errors
/// If /proc or /sys cannot be had.
pub fn rest() -> anyhow::Result<()> {
    for &(kind, at, optional) in LATER {
        // sysfs brings its own mount points; mkdir fails there.
        let _ = std::fs::create_dir_all(at);
        let result = mount(kind, at);
        if !optional {
            result.with_context(|| format!("cannot mount {kind} on {at}"))?;
        }
    }
    Ok(())
}

fn mount(kind: &str, at: &str) -> rustix::io::Result<()> {
    match rustix::mount::mount(kind, at, kind, MountFlags::empty(), None) {
        // Mounted already.
        Err(Errno::BUSY) => Ok(()),
        result => result,
    }
}
