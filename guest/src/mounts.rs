//! The file systems that a bare initramfs lacks.

use crate::memcg;
use anyhow::Context as _;
use mmtorture_protocol::{Memcg, EVENT_TTY};
use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::path::Path;

/// Type, mount point, and whether a guest can do without.
const LATER: &[(&str, &str, bool)] =
    &[("proc", "/proc", false), ("sysfs", "/sys", false), ("debugfs", "/sys/kernel/debug", true)];

/// Mounts what the first event needs: the kernel mounts devtmpfs by itself on real roots only, never on an initramfs.
pub fn early() {
    let _ = std::fs::create_dir("/dev");
    let mounted = mount("devtmpfs", "devtmpfs", "/dev", None);
    if (mounted.is_err() || !Path::new(EVENT_TTY).exists()) && EVENT_TTY == "/dev/ttyS1" {
        // Without CONFIG_DEVTMPFS. 4:65 is ttyS1 (Documentation/admin-guide/devices.txt). Without a driver for it
        // the open fails, and that is told then.
        let _ = mknodat(CWD, EVENT_TTY, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(4, 65));
    }
}

/// Mounts the rest, with control groups of the version that `memcg` wants; a guest can do without those.
///
/// # Errors
/// If /proc or /sys cannot be had.
pub fn rest(memcg: Memcg) -> anyhow::Result<()> {
    for &(kind, at, optional) in LATER {
        // sysfs brings its own mount points; mkdir fails there.
        let _ = std::fs::create_dir_all(at);
        let result = mount(kind, kind, at, None);
        if !optional {
            result.with_context(|| format!("cannot mount {kind} on {at}"))?;
        }
    }
    let (kind, options) = memcg::hierarchy(memcg);
    let _ = mount(kind, kind, "/sys/fs/cgroup", options);
    Ok(())
}

/// Mounts `source` of that kind, with options as mount(8) takes them.
///
/// # Errors
/// The kernel's own. That something is mounted there already is none.
pub fn mount(kind: &str, source: &str, at: &str, options: Option<&str>) -> rustix::io::Result<()> {
    mount_with(kind, source, at, MountFlags::empty(), options)
}

/// [`mount`] with flags.
///
/// # Errors
/// As there.
pub fn mount_with(
    kind: &str,
    source: &str,
    at: &str,
    flags: MountFlags,
    options: Option<&str>,
) -> rustix::io::Result<()> {
    let options = options.map(CString::new).transpose().map_err(|_| Errno::INVAL)?;
    match rustix::mount::mount(source, at, kind, flags, options.as_deref()) {
        // Mounted already.
        Err(Errno::BUSY) => Ok(()),
        result => result,
    }
}
