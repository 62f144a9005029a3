//! From the initramfs to the host's file system, over which the guest writes into memory.

use anyhow::Context as _;
use mmtorture_testbed::wire::Setup;
use rustix::mount::MountFlags;
use std::ffi::CString;

/// The largest message that net/9p/trans_virtio.c takes: 128 pages less three for headers. The default is a quarter.
const MSIZE: u32 = 125 * 4096;

/// What every Linux has over its root: type, place, options. `/run` is a host's state, not its files.
const SYSTEM: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "ptmxmode=666"),
    ("tmpfs", "/dev/shm", ""),
    ("tmpfs", "/run", "mode=755"),
];

/// Mounts all of it and makes it `/`.
///
/// # Errors
/// Something cannot be mounted; the message says what.
pub fn enter(setup: &Setup) -> anyhow::Result<()> {
    // cache=loose: nothing is asked of the host twice. The guest may miss what the host changes meanwhile; what is to
    // be exchanged goes through a share.
    nine_p(&setup.root, "/host", MountFlags::RDONLY, "loose")?;
    mount("tmpfs", "tmpfs", "/upper", "mode=755")?;
    for folder in ["/upper/files", "/upper/work"] {
        std::fs::create_dir(folder).with_context(|| folder.to_owned())?;
    }
    mount("overlay", "overlay", "/root", "lowerdir=/host,upperdir=/upper/files,workdir=/upper/work")?;
    for &(kind, at, options) in SYSTEM {
        let at = format!("/root{at}");
        // A host need not have all of them; devpts and shm lie on the devtmpfs just mounted.
        let _ = std::fs::create_dir_all(&at);
        mount(kind, kind, &at, options)?;
    }
    // A device that was mounted by the host shows its files through 9p all the same: no other host mounts are made.
    for (tag, path) in &setup.shares {
        let at = format!("/root{path}");
        let _ = std::fs::create_dir_all(&at);
        // cache=mmap: what either side writes is seen by the other at once, and a shared mapping can be had.
        nine_p(tag, &at, MountFlags::empty(), "mmap")?;
    }
    std::env::set_current_dir("/root")?;
    rustix::mount::mount_move(".", "/").context("cannot move the new root to /")?;
    rustix::process::chroot(".").context("cannot enter the new root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Mounts a file system.
///
/// # Errors
/// It cannot be; the message says which and where.
pub fn mount(kind: &str, source: &str, at: &str, options: &str) -> anyhow::Result<()> {
    mount_with(kind, source, at, MountFlags::empty(), options)
}

fn nine_p(tag: &str, at: &str, flags: MountFlags, cache: &str) -> anyhow::Result<()> {
    let options = format!("trans=virtio,version=9p2000.L,msize={MSIZE},cache={cache}");
    mount_with("9p", tag, at, flags, &options)
}

fn mount_with(kind: &str, source: &str, at: &str, flags: MountFlags, options: &str) -> anyhow::Result<()> {
    let data = CString::new(options)?;
    rustix::mount::mount(source, at, kind, flags, Some(data.as_c_str()))
        .with_context(|| format!("cannot mount {kind} {source} on {at}"))
}
