//! Swap on a zram device, a disk or a file: made, and taken away again.

use crate::{knobs, scratch};
use anyhow::{bail, Context as _};
use mmtorture_protocol::{EventKind, Swap};
use rustix::fs::FallocateFlags;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What swap's header and slots are counted in.
const PAGE: usize = 4096;

/// The first virtio disk.
const DISK: &str = "vda";

/// Where the file system for a swap file is.
const FILES: &str = "/swap";

/// Sets up what is asked for: what is to be told of it, and what was turned on.
pub fn on(swap: Swap) -> (Option<EventKind>, Option<String>) {
    let asked = match swap {
        Swap::None => return (None, None),
        Swap::Zram { mib } => format!("zram:{mib}M"),
        Swap::Disk { mib } => format!("disk:{mib}M"),
        Swap::File { mib } => format!("file:{mib}M"),
    };
    let tell = |got: &str, error| Some(knobs::told("swap", SWAPS, &asked, got, error));
    match turn_on(swap) {
        // A kernel that lacks what it takes is not at fault, and neither is the harness: the cell was not exercised.
        Err(error) => (tell("", Some(format!("{error:#}"))), None),
        Ok(area) => {
            let got = shown(&fs::read_to_string(SWAPS).unwrap_or_default(), &area);
            let error = got.is_empty().then(|| format!("{SWAPS} does not show {area}"));
            (tell(&got, error), Some(area))
        }
    }
}

/// Where the kernel lists what it swaps to.
const SWAPS: &str = "/proc/swaps";

/// `AREA KIND SIZE KiB`, if it is among those that are listed.
fn shown(swaps: &str, area: &str) -> String {
    let fields = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = swaps.lines().map(fields).find(|fields| fields.len() >= 3 && fields[0] == area);
    found.map(|fields| format!("{} {} {} KiB", fields[0], fields[1], fields[2])).unwrap_or_default()
}

fn turn_on(swap: Swap) -> anyhow::Result<String> {
    let (area, mib) = match swap {
        Swap::None => bail!("there is nothing to swap to"),
        Swap::Zram { mib } => (format!("/dev/{}", zram(mib)?), mib),
        Swap::Disk { mib } => (format!("/dev/{}", disk(mib)?), mib),
        Swap::File { mib } => (file(mib)?, mib),
    };
    let Some(header) = mib.checked_mul(1 << 20).and_then(|bytes| header(bytes / PAGE as u64)) else {
        bail!("{mib} MiB of {area} cannot be swapped to: expected from 1 to {} MiB", u64::from(u32::MAX) / 256);
    };
    let mut file = OpenOptions::new().write(true).open(&area).with_context(|| format!("cannot open {area}"))?;
    file.write_all(&header).and_then(|()| file.sync_all()).with_context(|| format!("cannot write to {area}"))?;
    drop(file);
    let path = CString::new(area.as_str())?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    if unsafe { libc::swapon(path.as_ptr(), 0) } != 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("swapon of {area}"));
    }
    Ok(area)
}

/// A file without holes: swapon refuses those (mm/swapfile.c, generic_swapfile_activate; fs/iomap/swapfile.c), but not
/// extents that are allocated and unwritten.
fn file(mib: u64) -> anyhow::Result<String> {
    scratch::ext4(&format!("/dev/{DISK}"), FILES)?;
    let path = format!("{FILES}/file");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot make {path}"))?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, mib.saturating_mul(1 << 20))
        .with_context(|| format!("cannot make {path} {mib} MiB large"))?;
    Ok(path)
}

/// Turns that area off. What is left in it is read back in, so it may take a while.
///
/// # Errors
/// ENOMEM, EINTR, or what a broken kernel thinks of.
pub fn off(area: &str) -> std::io::Result<()> {
    let path = CString::new(area)?;
    // SAFETY: as in `turn_on`.
    match unsafe { libc::swapoff(path.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The name of an unused zram device, made that large.
fn zram(mib: u64) -> anyhow::Result<String> {
    let name = if Path::new("/sys/block/zram0").exists() {
        "zram0".to_owned()
    } else {
        // zram.num_devices=0 makes none at start; reading this file makes one (admin-guide/blockdev/zram.rst).
        let added = fs::read_to_string("/sys/class/zram-control/hot_add")
            .context("no zram device and no way to add one: does the kernel have CONFIG_ZRAM=y?")?;
        format!("zram{}", added.trim())
    };
    let size = format!("/sys/block/{name}/disksize");
    let bytes = mib.saturating_mul(1 << 20);
    fs::write(&size, bytes.to_string()).with_context(|| format!("cannot write {mib} MiB to {size}"))?;
    Ok(name)
}

/// The name of the disk, which must have that size: another one is another's.
fn disk(mib: u64) -> anyhow::Result<String> {
    let file = format!("/sys/block/{DISK}/size");
    let text = fs::read_to_string(&file).with_context(|| {
        format!("{file}: no disk to swap to; does the kernel have CONFIG_VIRTIO_BLK=y and its machine's virtio bus?")
    })?;
    // In sectors of 512 bytes, whatever the disk's own are (Documentation/ABI/stable/sysfs-block).
    let sectors: u64 = text.trim().parse().with_context(|| format!("{file} shows {:?}", text.trim()))?;
    if sectors != mib.saturating_mul(2048) {
        bail!("{DISK} has {sectors} sectors, expected the {mib} MiB of the swap disk");
    }
    Ok(DISK.to_owned())
}

/// The first page of a swap area of `pages` pages: union swap_header in include/linux/swap.h. `None` if the count does
/// not fit its field, or leaves no page to swap to.
fn header(pages: u64) -> Option<[u8; PAGE]> {
    let last_page = u32::try_from(pages.checked_sub(1)?).ok().filter(|&last| last > 0)?;
    let mut page = [0; PAGE];
    // 1024 bytes of boot block, then version, last_page, nr_badpages; UUID and label stay empty.
    page[1024..1028].copy_from_slice(&1u32.to_ne_bytes());
    page[1028..1032].copy_from_slice(&last_page.to_ne_bytes());
    page[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_mkswap_writes() {
        // mkswap of util-linux on a 1 MiB file, UUID and label aside: 00000400: 01000000 ff000000 00000000
        let page = header(256).unwrap();
        assert_eq!(page[1024..1036], [1, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&page[4086..], b"SWAPSPACE2");
        assert_eq!(page.iter().filter(|&&byte| byte != 0).count(), 2 + 10);
    }

    #[test]
    fn an_area_is_found_among_those_in_use() {
        let swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\n/dev/zram0    partition\t262140\t\t0\t\t-2\n";
        assert_eq!(shown(swaps, "/dev/zram0"), "/dev/zram0 partition 262140 KiB");
        assert_eq!(shown(swaps, "/dev/zram"), "");
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(header(0).is_none() && header(1).is_none() && header(1 << 33).is_none());
        assert!(header(2).is_some() && header(1 << 32).is_some());
    }
}
