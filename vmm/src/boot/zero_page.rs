//! `struct boot_params`, by which the Linux boot protocol tells the kernel what it needs to know
//! (Documentation/x86/zero-page.rst).

use super::Given;
use crate::layout::{COMMAND_LINE, ZERO_PAGE};
use crate::Result;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header, LOADED_HIGH};
use vm_memory::{ByteValued, GuestMemoryMmap};

/// A loader without a number of its own.
const TYPE_OF_LOADER: u8 = 0xff;

/// What is in it. `header` is a bzImage's; a vmlinux has none.
fn params(given: &Given, header: Option<setup_header>, rsdp: u64) -> boot_params {
    let hdr = header.unwrap_or(setup_header {
        boot_flag: 0xaa55,
        header: u32::from_le_bytes(*b"HdrS"),
        // The first version with `acpi_rsdp_addr`.
        version: 0x20e,
        loadflags: LOADED_HIGH,
        kernel_alignment: 0x100_0000,
        ..Default::default()
    });
    let mut params = boot_params { hdr, acpi_rsdp_addr: rsdp, ..Default::default() };
    params.hdr.type_of_loader = TYPE_OF_LOADER;
    // All of it is below 4 GiB, as the layout and the initramfs's limit have it.
    params.hdr.code32_start = given.kernel.start as u32;
    params.hdr.cmd_line_ptr = COMMAND_LINE as u32;
    if let Some(range) = &given.initramfs {
        params.hdr.ramdisk_image = range.start as u32;
        params.hdr.ramdisk_size = (range.end - range.start) as u32;
    }
    for (entry, range) in given.memory_map.iter().enumerate() {
        params.e820_table[entry] = boot_e820_entry { addr: range.start, size: range.size, r#type: range.usage as u32 };
    }
    params.e820_entries = given.memory_map.len() as u8;
    params
}

/// Writes it to [`ZERO_PAGE`].
pub(super) fn write(memory: &GuestMemoryMmap, given: &Given, header: Option<setup_header>, rsdp: u64) -> Result<()> {
    super::write(memory, ZERO_PAGE, params(given, header, rsdp).as_slice())
}

#[cfg(test)]
mod tests {
    use super::super::tests::given;
    use super::super::{Entry, MemoryRange, Usage};
    use super::*;

    #[test]
    fn what_the_kernel_reads_is_where_it_reads_it() {
        let given = given(Entry::Linux64(0x100_0000));
        let params = params(&given, None, 0xe_0000);
        let bytes = params.as_slice();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), 4096);
        assert_eq!((word(0x070), bytes[0x1e8], word(0x1fe) & 0xffff), (0xe_0000, 1, 0xaa55));
        assert_eq!((&bytes[0x202..0x206], bytes[0x210]), (&b"HdrS"[..], 0xff));
        assert_eq!((word(0x218), word(0x21c), word(0x228)), (0x3f_0000, 0x1_0000, COMMAND_LINE as u32));
        assert_eq!(given.memory_map, [MemoryRange { start: 0x1000, size: 0x2000, usage: Usage::Ram }]);
        assert_eq!([0x2d0, 0x2d8, 0x2e0].map(word), [0x1000, 0x2000, 1]);
    }

    #[test]
    fn a_bzimage_keeps_its_own_header() {
        let header = setup_header { version: 0x20f, init_size: 7, ..Default::default() };
        let params = params(&given(Entry::Linux64(0x10_0200)), Some(header), 0);
        let (version, init_size, loader) = (params.hdr.version, params.hdr.init_size, params.hdr.type_of_loader);
        assert_eq!((version, init_size, loader), (0x20f, 7, TYPE_OF_LOADER));
    }
}
