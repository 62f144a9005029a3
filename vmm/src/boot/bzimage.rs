//! A bzImage: a setup part that tells of it (Documentation/x86/boot.rst), and a decompressor with its payload, which is
//! what is loaded. The setup part's real mode code does not run.

use super::kernel::{copy, read, Entry, Format, Image, Kernel};
use crate::config::Protocol;
use crate::layout::HIGH_RAM;
use crate::{Error, Result};
use linux_loader::loader::bootparam::{setup_header, LOADED_HIGH, XLF_KERNEL_64};
use std::mem::size_of;
use std::ops::Range;
use vm_memory::{ByteValued, GuestMemoryMmap};

/// `header`.
pub(super) const MAGIC: &[u8] = b"HdrS";
/// Where that is.
pub(super) const MAGIC_AT: usize = 0x202;
/// Where the setup header begins, in the file as in the zero page.
const HEADER_AT: usize = 0x1f1;
/// Where it ends for the newest version that we know.
pub(super) const HEADER_END: usize = HEADER_AT + size_of::<setup_header>();
/// The first version with `xloadflags`.
const MIN_VERSION: u16 = 0x20c;
/// Where the 64-bit entry is in the part that is loaded.
const ENTRY_64: u64 = 0x200;
/// The setup part is counted in these.
const SECTOR: u64 = 512;

/// Loads a bzImage to [`HIGH_RAM`].
pub(super) fn load(
    memory: &GuestMemoryMmap,
    ram: &Range<u64>,
    image: &mut impl Image,
    file_size: u64,
    protocol: Protocol,
) -> Result<Kernel> {
    if protocol == Protocol::Pvh {
        return Err(Error::request("a bzImage, which has no PVH entry; expected a vmlinux for --protocol pvh"));
    }
    let header = header(image, file_size)?;
    let (version, loadflags, xloadflags) = (header.version, header.loadflags, header.xloadflags);
    if version < MIN_VERSION || loadflags & LOADED_HIGH == 0 || xloadflags & XLF_KERNEL_64 == 0 {
        return Err(Error::request(format!(
            "a kernel image of boot protocol {}.{:02} with loadflags {loadflags:#x} and xloadflags {xloadflags:#x}, \
             expected a bzImage of 2.12 or later with a 64-bit entry",
            version >> 8,
            version & 0xff
        )));
    }
    let setup_sectors = if header.setup_sects == 0 { 4 } else { u64::from(header.setup_sects) };
    let setup_size = (setup_sectors + 1) * SECTOR;
    let size = match file_size.checked_sub(setup_size) {
        Some(size) if size > ENTRY_64 => size,
        _ => {
            return Err(Error::request(format!(
                "a bzImage of {file_size} bytes, expected more than {setup_size} of setup; is the file cut off?"
            )))
        }
    };
    let range = match working_end(&header).map(|end| end.max(HIGH_RAM.saturating_add(size))) {
        Some(end) if end <= ram.end => HIGH_RAM..end,
        _ => {
            let (start, init_size) = (header.pref_address, header.init_size);
            return Err(Error::request(format!(
                "a bzImage of {size:#x} bytes that needs {init_size:#x} bytes from {start:#x} on to decompress, \
                 expected within the guest's memory at {ram:#x?}; give the guest more memory"
            )));
        }
    };
    copy(memory, image, setup_size, HIGH_RAM, size)?;
    Ok(Kernel {
        format: Format::BzImage,
        entry: Entry::Linux64(HIGH_RAM + ENTRY_64),
        range,
        setup_header: Some(header),
        initramfs_limit: ram.end.min(u64::from(header.initrd_addr_max) + 1),
        command_line_max: header.cmdline_size as usize,
    })
}

/// The setup header, as long as it says that it is. The rest stays zero, as the protocol wants it.
fn header(image: &mut impl Image, file_size: u64) -> Result<setup_header> {
    let mut bytes = [0; HEADER_END];
    let known = file_size.min(HEADER_END as u64) as usize;
    read(image, 0, &mut bytes[..known])?;
    // The jump at 0x200 leads over the header: its offset is how far the header goes beyond the jump.
    let end = HEADER_END.min(MAGIC_AT + usize::from(bytes[MAGIC_AT - 1]));
    let mut header = setup_header::default();
    header.as_mut_slice()[..end - HEADER_AT].copy_from_slice(&bytes[HEADER_AT..end]);
    Ok(header)
}

/// Where the memory ends in which the decompressor works. It starts where arch/x86/boot/compressed/head_64.S puts it: at
/// the load address, aligned, but not below the address that the kernel was built for.
fn working_end(header: &setup_header) -> Option<u64> {
    let alignment = u64::from(header.kernel_alignment).max(1);
    let aligned = if header.relocatable_kernel == 0 { 0 } else { HIGH_RAM.checked_next_multiple_of(alignment)? };
    aligned.max(header.pref_address).max(HIGH_RAM).checked_add(u64::from(header.init_size))
}

/// A tiny bzImage, for tests and for fuzzing to start from.
pub(super) mod sample {
    use super::*;

    pub const SETUP: usize = 2 * 512;

    /// A tiny bzImage of one setup sector: 1 KiB to load, 64 KiB to work in from 2 MiB on.
    pub fn kernel() -> Vec<u8> {
        let header = setup_header {
            setup_sects: 1,
            boot_flag: 0xaa55,
            jump: u16::from_le_bytes([0xeb, (HEADER_END - MAGIC_AT) as u8]),
            header: u32::from_le_bytes(*b"HdrS"),
            version: 0x20f,
            loadflags: LOADED_HIGH,
            initrd_addr_max: 0x7fff_ffff,
            kernel_alignment: 0x20_0000,
            relocatable_kernel: 1,
            xloadflags: XLF_KERNEL_64,
            cmdline_size: 2047,
            pref_address: 0x20_0000,
            init_size: 0x1_0000,
            ..Default::default()
        };
        let mut bytes = vec![0xcc; SETUP];
        bytes[HEADER_AT..HEADER_END].copy_from_slice(header.as_slice());
        bytes.extend([0x90; 1024]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::load;
    use super::super::kernel::tests::{memory, refusal};
    use super::sample::{kernel, SETUP};
    use super::*;
    use std::io::Cursor;
    use vm_memory::{Bytes, GuestAddress};

    fn patched(at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = kernel();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }

    #[test]
    fn the_payload_is_loaded_and_the_memory_to_work_in_counts() {
        let memory = memory(16);
        let kernel = load(&memory, &mut Cursor::new(kernel()), Protocol::Auto).unwrap();
        assert_eq!(kernel.entry, Entry::Linux64(HIGH_RAM + 0x200));
        assert_eq!(kernel.range, HIGH_RAM..0x21_0000);
        assert_eq!((kernel.initramfs_limit, kernel.command_line_max), (16 << 20, 2047));
        let mut bytes = vec![0; 1024];
        memory.read_slice(&mut bytes, GuestAddress(HIGH_RAM)).unwrap();
        assert_eq!(bytes, [0x90; 1024]);
    }

    #[test]
    fn a_header_is_as_long_as_it_says() {
        let short = patched(0x201, &[(0x238 - MAGIC_AT) as u8]);
        let kernel = load(&memory(16), &mut Cursor::new(short), Protocol::Auto).unwrap();
        let header = kernel.setup_header.unwrap();
        let (cmdline_size, pref_address) = (header.cmdline_size, header.pref_address);
        assert_eq!((cmdline_size, pref_address), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_numbers() {
        let load = |bytes: &[u8]| refusal(load(&memory(16), &mut Cursor::new(bytes), Protocol::Auto));
        assert!(load(&patched(0x206, &[4, 2])).contains("boot protocol 2.04"));
        assert!(load(&patched(0x236, &[0])).contains("xloadflags 0x0"));
        assert!(load(&patched(0x260, &[0xff; 4])).contains("needs 0xffffffff bytes from 0x200000 on"));
        assert!(load(&patched(0x258, &[0xff; 8])).contains("give the guest more memory"));
        assert!(load(&patched(HEADER_AT, &[0xff])).contains("cut off"));
        assert!(load(&kernel()[..SETUP + 0x200]).contains("cut off"));
    }

    #[test]
    fn there_is_no_pvh_entry() {
        assert!(refusal(load(&memory(16), &mut Cursor::new(kernel()), Protocol::Pvh)).contains("no PVH entry"));
    }
}
