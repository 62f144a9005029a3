//! `struct hvm_start_info`, by which the PVH protocol tells the kernel what it needs to know
//! (include/xen/interface/hvm/start_info.h; Linux reads it in arch/x86/platform/pvh/enlighten.c).

use super::Given;
use crate::layout::{COMMAND_LINE, PVH_MEMORY_MAP, PVH_MODULES, PVH_START_INFO};
use crate::Result;
use linux_loader::loader::elf::start_info::{
    hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info, XEN_HVM_START_MAGIC_VALUE,
};
use vm_memory::{ByteValued, GuestMemoryMmap};

/// The first version with a memory map, without which Linux takes none but Xen's word.
const VERSION: u32 = 1;

/// Writes it to [`PVH_START_INFO`], and module list and memory map to where it says they are.
pub(super) fn write(memory: &GuestMemoryMmap, given: &Given, rsdp: u64) -> Result<()> {
    if let Some(range) = &given.initramfs {
        let module = hvm_modlist_entry { paddr: range.start, size: range.end - range.start, ..Default::default() };
        super::write(memory, PVH_MODULES, module.as_slice())?;
    }
    for (i, range) in (0..).zip(&given.memory_map) {
        let entry =
            hvm_memmap_table_entry { addr: range.start, size: range.size, type_: range.usage as u32, reserved: 0 };
        super::write(memory, PVH_MEMORY_MAP + i * size_of::<hvm_memmap_table_entry>() as u64, entry.as_slice())?;
    }
    let info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: VERSION,
        nr_modules: given.initramfs.iter().len() as u32,
        modlist_paddr: PVH_MODULES,
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: rsdp,
        memmap_paddr: PVH_MEMORY_MAP,
        memmap_entries: given.memory_map.len() as u32,
        ..Default::default()
    };
    super::write(memory, PVH_START_INFO, info.as_slice())
}

#[cfg(test)]
mod tests {
    use super::super::kernel::tests::memory;
    use super::super::tests::given;
    use super::super::Entry;
    use super::*;
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn what_the_kernel_reads_is_where_it_reads_it() {
        let memory = memory(16);
        write(&memory, &given(Entry::Pvh(0x100_0000)), 0xe_0000).unwrap();
        let at = |address| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        assert_eq!(at(PVH_START_INFO), u64::from(XEN_HVM_START_MAGIC_VALUE) | 1 << 32);
        assert_eq!(at(PVH_START_INFO + 8), 1 << 32);
        assert_eq!(
            [16, 24, 32, 40, 48].map(|offset| at(PVH_START_INFO + offset)),
            [PVH_MODULES, COMMAND_LINE, 0xe_0000, PVH_MEMORY_MAP, 1]
        );
        assert_eq!([0, 8].map(|offset| at(PVH_MODULES + offset)), [0x3f_0000, 0x1_0000]);
        assert_eq!([0, 8, 16].map(|offset| at(PVH_MEMORY_MAP + offset)), [0x1000, 0x2000, 1]);
    }
}
