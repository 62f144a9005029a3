//! What the first vCPU starts with. The others wait in KVM for the guest's INIT and SIPI.
//!
//! Only what the protocols ask for is set. The rest is what a vCPU has after reset, which is valid in either mode; the
//! FPU is among it: Linux initializes it before it uses it (arch/x86/kernel/fpu/init.c).

use super::{write, Entry, Given};
use crate::layout::{BOOT_STACK, FOUR_GIB, GDT, IDT, PAGE_TABLES, PVH_START_INFO, ZERO_PAGE};
use crate::{Error, Result};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

// __BOOT_CS and __BOOT_DS: where Documentation/x86/boot.rst wants them.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
/// Flat segments. Bit 53 of the code segment makes it a 64-bit one; the PVH entry gets its 32-bit twin from
/// [`set`], and loads a GDT of its own before it reloads CS.
const SEGMENTS: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// A descriptor table's limit is the offset of its last byte.
const GDT_LIMIT: u16 = 8 * SEGMENTS.len() as u16 - 1;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Bit 1 is always set; interrupts are off.
const RFLAGS: u64 = 2;

/// Present and writable.
const MAPPED: u64 = 3;
/// In a page directory: maps 2 MiB by itself.
const LARGE: u64 = 1 << 7;
const LARGE_SIZE: u64 = 2 << 20;
const ENTRIES: u64 = 512;
const TABLE: u64 = 8 * ENTRIES;

/// Writes descriptor and page tables: an empty IDT, as nothing is to interrupt before the kernel has its own, and the
/// first 4 GiB one to one, in which kernel, initramfs and all boot structures are.
pub(super) fn write_tables(memory: &GuestMemoryMmap) -> Result<()> {
    write(memory, GDT, &SEGMENTS.map(u64::to_le_bytes).concat())?;
    write(memory, IDT, &[0; 8])?;
    let directories = FOUR_GIB / LARGE_SIZE / ENTRIES;
    let pointers = PAGE_TABLES + TABLE;
    let first_directory = pointers + TABLE;
    write(memory, PAGE_TABLES, &(pointers | MAPPED).to_le_bytes())?;
    for i in 0..directories {
        write(memory, pointers + 8 * i, &((first_directory + i * TABLE) | MAPPED).to_le_bytes())?;
    }
    let pages = (0..directories * ENTRIES).flat_map(|i| ((i * LARGE_SIZE) | LARGE | MAPPED).to_le_bytes());
    write(memory, first_directory, &pages.collect::<Vec<u8>>())
}

/// Sets the first vCPU's registers. CPUID must have been set: KVM refuses control registers that it does not allow.
///
/// # Errors
/// KVM refuses them.
pub fn set(vcpu: &VcpuFd, given: &Given) -> Result<()> {
    let reset = vcpu.get_sregs().map_err(Error::host("KVM_GET_SREGS"))?;
    vcpu.set_sregs(&sregs(given.entry, reset)).map_err(Error::host("KVM_SET_SREGS"))?;
    vcpu.set_regs(&regs(given.entry)).map_err(Error::host("KVM_SET_REGS"))
}

fn regs(entry: Entry) -> kvm_regs {
    let regs = kvm_regs { rflags: RFLAGS, rsp: BOOT_STACK, ..Default::default() };
    match entry {
        Entry::Pvh(address) => kvm_regs { rip: address.into(), rbx: PVH_START_INFO, ..regs },
        Entry::Linux64(address) => kvm_regs { rip: address, rsi: ZERO_PAGE, ..regs },
    }
}

fn sregs(entry: Entry, reset: kvm_sregs) -> kvm_sregs {
    let long = matches!(entry, Entry::Linux64(_));
    let flat = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Default::default() };
    let code = kvm_segment { selector: CODE, type_: 0xb, db: (!long).into(), l: long.into(), ..flat };
    let data = kvm_segment { selector: DATA, type_: 0x3, db: 1, ..flat };
    let mut sregs = kvm_sregs { cs: code, ds: data, es: data, fs: data, gs: data, ss: data, ..reset };
    // A busy TSS, which PVH wants with exactly this limit and long mode with any.
    sregs.tr = kvm_segment { base: 0, limit: 0x67, type_: 0xb, present: 1, ..Default::default() };
    sregs.gdt = kvm_dtable { base: GDT, limit: GDT_LIMIT, ..Default::default() };
    sregs.idt = kvm_dtable { base: IDT, limit: 0, ..Default::default() };
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = if long {
        (CR0_PE | CR0_ET | CR0_PG, PAGE_TABLES, CR4_PAE, EFER_LME | EFER_LMA)
    } else {
        (CR0_PE | CR0_ET, 0, 0, 0)
    };
    sregs
}

#[cfg(test)]
mod tests {
    use super::super::kernel::tests::memory;
    use super::*;
    use crate::layout::COMMAND_LINE;
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn the_first_gigabytes_are_mapped_one_to_one() {
        let memory = memory(16);
        write_tables(&memory).unwrap();
        let at = |address| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        for address in [0, 0x10_0000, 0x1234_5678, 0xfee0_0000, FOUR_GIB - 1] {
            let mut table = PAGE_TABLES;
            for level in [39, 30] {
                let entry = at(table + (address >> level) % ENTRIES * 8);
                assert_eq!(entry & 0xfff, MAPPED);
                table = entry & !0xfff;
            }
            let entry = at(table + (address >> 21) % ENTRIES * 8);
            assert_eq!(entry, (address / LARGE_SIZE * LARGE_SIZE) | LARGE | MAPPED);
            assert!(table + TABLE <= COMMAND_LINE);
        }
        assert_eq!(at(GDT + u64::from(CODE)), SEGMENTS[2]);
    }

    #[test]
    fn each_protocol_has_its_mode() {
        let (regs, sregs) = (regs(Entry::Pvh(0x100_04a0)), sregs(Entry::Pvh(0x100_04a0), kvm_sregs::default()));
        assert_eq!((regs.rip, regs.rbx, regs.rflags), (0x100_04a0, PVH_START_INFO, 2));
        assert_eq!((sregs.cr0, sregs.cr4, sregs.efer), (0x11, 0, 0));
        assert_eq!((sregs.cs.db, sregs.cs.l, sregs.tr.limit), (1, 0, 0x67));
        let entry = Entry::Linux64(0x10_0200);
        let (regs, sregs) = (super::regs(entry), super::sregs(entry, kvm_sregs::default()));
        assert_eq!((regs.rip, regs.rsi), (0x10_0200, ZERO_PAGE));
        assert_eq!((sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer), (0x8000_0011, PAGE_TABLES, 0x20, 0x500));
        assert_eq!((sregs.cs.db, sregs.cs.l, sregs.cs.selector), (0, 1, CODE));
    }
}
