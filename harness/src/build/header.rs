//! What a bzImage says of itself: the setup header of the x86 boot protocol (Documentation/x86/boot.rst).

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Where the version string may end at most: setup code is below 64 sectors, and a string below 256 bytes.
const MOST: u64 = 64 * 512 + 256;

/// The header's magic, and where it is.
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");

/// Where the version string's offset is. It counts from [`SETUP`]; 0 is none.
const VERSION_AT: usize = 0x20e;

/// What follows the boot sector.
const SETUP: usize = 0x200;

/// `struct new_utsname` has room for so much (__NEW_UTS_LEN).
const UTS_LEN: usize = 64;

/// Who a kernel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
}

/// Reads the header of the image at `path`.
///
/// # Errors
/// There is no such file, or it is no bzImage.
pub fn read(path: &Path) -> Result<Identity> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    match read {
        Ok(_) => parse(&bytes).map_err(|why| Error::request(format!("{}: {why}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(Error::request(format!("kernel image {}: no such file", path.display())))
        }
        Err(e) => Err(Error::host(format!("cannot read {}: {e}", path.display()))),
    }
}

fn parse(image: &[u8]) -> std::result::Result<Identity, String> {
    let expected = "expected a bzImage for x86, as /boot/vmlinuz-VERSION is";
    if image.starts_with(b"\x7fELF") {
        return Err(format!("an ELF file, {expected}; a vmlinux is given as kernel.vmlinux beside it"));
    }
    let (at, magic) = MAGIC;
    if image.get(at..at + magic.len()) != Some(magic) {
        return Err(format!("no boot header, {expected}"));
    }
    let offset = image.get(VERSION_AT..VERSION_AT + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let text = image.get(SETUP + offset..).filter(|_| offset != 0).and_then(|text| text.split(|b| *b == 0).next());
    let text = String::from_utf8_lossy(text.ok_or("its boot header has no version")?).into_owned();
    // arch/x86/boot/version.c: UTS_RELEASE " (" who "@" where ") " UTS_VERSION
    let parts = text.split_once(" (").and_then(|(release, rest)| Some((release, rest.split_once(") ")?.1)));
    let Some((release, version)) = parts else { return Err(format!("its boot header says '{text}'")) };
    let cut = |text: &str| text.chars().take(UTS_LEN).collect::<String>();
    Ok(Identity { release: cut(release), version: cut(version) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x3000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x2000u16.to_le_bytes());
        image[0x2200..0x2200 + version.len()].copy_from_slice(version.as_bytes());
        image
    }

    #[test]
    fn an_image_says_what_its_guests_will() {
        let debian =
            "6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-02)";
        let identity = parse(&image(debian)).unwrap();
        assert_eq!(identity.release, "6.1.0-56-amd64");
        assert_eq!(identity.version, "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-02)");
        let ours = "6.1.192 (mmtorture@mmtorture) #mmt-0123456789ab SMP PREEMPT Thu Jan  1 00:00:00 UTC 1970 and so on";
        assert_eq!(parse(&image(ours)).unwrap().version.len(), 64);
    }

    #[test]
    fn what_is_none_is_told_so() {
        let errors = [vec![], b"\x7fELF".to_vec(), vec![0; 0x3000], image("6.1")].map(|i| parse(&i).unwrap_err());
        insta::assert_snapshot!(errors.join("\n"), @"
        no boot header, expected a bzImage for x86, as /boot/vmlinuz-VERSION is
        an ELF file, expected a bzImage for x86, as /boot/vmlinuz-VERSION is; a vmlinux is given as kernel.vmlinux beside it
        no boot header, expected a bzImage for x86, as /boot/vmlinuz-VERSION is
        its boot header says '6.1'
        ");
    }
}
