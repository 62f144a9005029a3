//! /tmp, where the workload has its files: a tmpfs, or ext4 on one or on a disk.

use crate::{knobs, mounts};
use anyhow::{bail, Context as _};
use mmtorture_protocol::{extents, Backing, EventKind, MountOption, Scratch, EXT4_PATH};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the workload has its files.
pub const AT: &str = "/tmp";

/// Where the tmpfs below ext4 is.
const BELOW: &str = "/backing";

/// No thread that zeroes inode tables in the background: it would make two runs of one seed differ.
const EXT4_OPTIONS: &str = "noinit_itable";

/// Makes it; what is to be told of it.
pub fn make(scratch: &Scratch) -> Vec<EventKind> {
    let mut events = Vec::new();
    let options: Vec<_> = scratch.options.iter().map(|o| o.option.as_str()).collect();
    let at = if matches!(scratch.backing, Backing::Ext4Loop { .. }) { BELOW } else { AT };
    if matches!(scratch.backing, Backing::Ext4Disk { .. }) {
        let none = || Err("the workload's files are on a disk".to_owned());
        events.extend(scratch.options.iter().map(|o| told(o, if o.default { Ok(()) } else { none() }, "")));
    } else {
        let _ = std::fs::create_dir_all(at);
        let mounted = mounts::mount("tmpfs", "tmpfs", at, Some(&options.join(",")));
        let shown = shown_options(at);
        for option in &scratch.options {
            events.push(told(option, mounted.map_err(|e| e.to_string()), &shown));
        }
    }
    let (asked, made) = match scratch.backing {
        Backing::Tmpfs => return events,
        Backing::Ext4Loop { mib } => (format!("ext4-loop:{mib}M"), ext4_loop(mib)),
        Backing::Ext4Disk { mib, disk } => (format!("ext4-disk:{mib}M"), ext4(&virtio_disk(disk), AT)),
    };
    // A kernel that lacks what it takes is not at fault, and neither is the harness: the cell was not exercised.
    let error = made.err().map(|e| format!("{e:#}"));
    let got = error.is_none().then(|| device_on(AT)).flatten().unwrap_or_default();
    events.push(knobs::told("backing", "/proc/mounts", &asked, &got, error));
    events
}

/// The machine's disk of that number. They are named in the order in which they are found, which is their own.
pub fn virtio_disk(number: u8) -> String {
    format!("/dev/vd{}", char::from(b'a' + number.min(25)))
}

/// Mounts the ext4 file system on `device`.
///
/// # Errors
/// There is no such device, or the kernel has no ext4.
pub fn ext4(device: &str, at: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(at).with_context(|| format!("cannot make {at}"))?;
    mounts::mount("ext4", device, at, Some(EXT4_OPTIONS))
        .with_context(|| format!("cannot mount ext4 of {device}; does the kernel have CONFIG_EXT4_FS=y?"))
}

fn ext4_loop(mib: u64) -> anyhow::Result<()> {
    let image = format!("{BELOW}/ext4.img");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&image);
    let file = file.with_context(|| format!("cannot make {image}"))?;
    file.set_len(mib.saturating_mul(1 << 20)).with_context(|| format!("cannot make {image} {mib} MiB large"))?;
    let packed = std::fs::read(EXT4_PATH).with_context(|| format!("cannot read {EXT4_PATH}"))?;
    // Its memory is the guest's.
    let _ = std::fs::remove_file(EXT4_PATH);
    let mut rest = &packed[..];
    while let Some((offset, bytes)) = extents::next(&mut rest) {
        file.write_all_at(bytes, offset).with_context(|| format!("cannot write {image}"))?;
    }
    if !rest.is_empty() {
        bail!("{EXT4_PATH} is cut off");
    }
    ext4(&attach(&file)?, AT)
}

/// Loop control and loop device requests (include/uapi/linux/loop.h).
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82_u32 as libc::Ioctl;
const LOOP_SET_FD: libc::Ioctl = 0x4C00_u32 as libc::Ioctl;

/// A loop device on `file`.
fn attach(file: &File) -> anyhow::Result<String> {
    const CONTROL: &str = "/dev/loop-control";
    let control = OpenOptions::new().read(true).write(true).open(CONTROL);
    let control = control.with_context(|| format!("the kernel has no {CONTROL} (CONFIG_BLK_DEV_LOOP=y)"))?;
    // SAFETY: this request takes no argument and yields a number.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    if number < 0 {
        return Err(std::io::Error::last_os_error()).context("no free loop device");
    }
    let name = format!("/dev/loop{number}");
    let device = OpenOptions::new().read(true).write(true).open(&name);
    let device = device.with_context(|| format!("cannot open {name}"))?;
    // SAFETY: the request takes a descriptor, which is open; the kernel takes a reference of its own.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, file.as_raw_fd()) } != 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("cannot set up {name}"));
    }
    Ok(name)
}

fn told(option: &MountOption, mounted: Result<(), String>, shown: &str) -> EventKind {
    let asked = option.option.as_str();
    let key = asked.split('=').next().unwrap_or(asked);
    // Defaults are not shown (mm/shmem.c, shmem_show_options).
    let got = shown.split(',').find(|o| o.split('=').next() == Some(key)).or(option.default.then_some(asked));
    let got = got.unwrap_or_default();
    let error = match mounted {
        Err(error) => Some(format!("tmpfs does not take {asked}: {error}")),
        Ok(()) => (got != asked).then(|| format!("/proc/mounts shows {got:?}")),
    };
    knobs::told(&option.dimension, "/proc/mounts", asked, got, error)
}

/// The options of what is mounted on `at`, as /proc/mounts shows them.
fn shown_options(at: &str) -> String {
    mounted(at).map(|fields| fields[3].clone()).unwrap_or_default()
}

/// File system and device of what is mounted on `at`.
fn device_on(at: &str) -> Option<String> {
    mounted(at).map(|fields| format!("{} on {}", fields[2], fields[0]))
}

/// The last mount on `at` hides those before it.
fn mounted(at: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(Path::new("/proc/mounts")).unwrap_or_default();
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(fields).rfind(|fields| fields.len() >= 4 && fields[1] == at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_believed_when_it_is_shown() {
        let option = |default| MountOption { dimension: "tmpfs-huge".into(), option: "huge=always".into(), default };
        let said = |default, mounted: Result<(), String>, shown: &str| {
            let EventKind::Knob { got, error, .. } = told(&option(default), mounted, shown) else { panic!() };
            (got, error.is_some())
        };
        assert_eq!(said(false, Ok(()), "rw,relatime,huge=always"), ("huge=always".into(), false));
        assert_eq!(said(false, Ok(()), "rw,relatime,huge=advise"), ("huge=advise".into(), true));
        assert_eq!(said(false, Ok(()), "rw,relatime"), (String::new(), true));
        assert_eq!(said(true, Ok(()), "rw,relatime"), ("huge=always".into(), false));
        assert!(said(true, Err("Invalid argument".into()), "rw").1);
    }
}
