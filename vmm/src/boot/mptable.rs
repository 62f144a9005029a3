//! The MP table (Intel's MultiProcessor Specification 1.4), from which kernels without ACPI learn of processors and
//! interrupts (arch/x86/kernel/mpparse.c).

use super::write as write_memory;
use crate::layout::{CONVENTIONAL_END, EBDA, IOAPIC, LAPIC};
use crate::Result;
use vm_memory::GuestMemoryMmap;

/// The lines of an ISA bus. KVM routes each to the I/O APIC's pin of the same number, and to the PIC.
const ISA_LINES: u8 = 16;
const ISA_BUS: u8 = 0;

/// Version 1.4 of the specification.
const SPECIFICATION: u8 = 4;
/// The versions that KVM's emulations tell.
const LAPIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;

// Entry types, section 4.3.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

/// For processors and I/O APICs: there and usable.
const ENABLED: u8 = 1;
const BOOT_PROCESSOR: u8 = 2;

// Interrupt types. Polarity and trigger mode are 0: as usual for the bus, which for ISA is edge and high.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// As a destination: every local APIC.
const ALL: u8 = 0xff;

/// The byte that makes the sum of `bytes` zero.
pub(super) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// The floating pointer, and behind it the configuration table, for `cpus` processors with the APIC ids 0 and up.
fn table(cpus: u8) -> Vec<u8> {
    let ioapic_id = cpus;
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for cpu in 0..cpus {
        let flags = ENABLED | if cpu == 0 { BOOT_PROCESSOR } else { 0 };
        let mut entry = vec![PROCESSOR, cpu, LAPIC_VERSION, flags];
        // Signature and features, which the kernel asks the processor itself.
        entry.resize(20, 0);
        entries.push(entry);
    }
    entries.push([&[BUS, ISA_BUS], &b"ISA   "[..]].concat());
    entries.push([&[IO_APIC, ioapic_id, IOAPIC_VERSION, ENABLED], &IOAPIC.to_le_bytes()[..]].concat());
    for line in 0..ISA_LINES {
        entries.push(vec![IO_INTERRUPT, INT, 0, 0, ISA_BUS, line, ioapic_id, line]);
    }
    // LINT0 takes the PIC's interrupts on the boot processor, LINT1 NMIs everywhere.
    entries.push(vec![LOCAL_INTERRUPT, EXT_INT, 0, 0, ISA_BUS, 0, 0, 0]);
    entries.push(vec![LOCAL_INTERRUPT, NMI, 0, 0, ISA_BUS, 0, ALL, 1]);

    let count = entries.len() as u16;
    let entries = entries.concat();
    let header_size = 44;
    let size = (header_size + entries.len()) as u16;
    let mut table = [&b"PCMP"[..], &size.to_le_bytes(), &[SPECIFICATION, 0], b"MMTORTUR", b"VMM         "].concat();
    table.extend([0; 6]); // No OEM table.
    table.extend(count.to_le_bytes());
    table.extend(LAPIC.to_le_bytes());
    table.extend([0; 4]); // No extended entries.
    debug_assert_eq!(table.len(), header_size);
    table.extend(entries);
    table[7] = checksum(&table);

    let mut pointer = b"_MP_".to_vec();
    pointer.extend((EBDA as u32 + 16).to_le_bytes());
    // One paragraph long; no default configuration; no PIC mode.
    pointer.extend([1, SPECIFICATION, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    [pointer, table].concat()
}

/// Writes it to the EBDA.
pub(super) fn write(memory: &GuestMemoryMmap, cpus: u8) -> Result<()> {
    let table = table(cpus);
    debug_assert!(table.len() as u64 <= CONVENTIONAL_END - EBDA);
    write_memory(memory, EBDA, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_CPUS;

    #[test]
    fn sums_are_zero_and_sizes_are_true() {
        for cpus in 1..=MAX_CPUS {
            let bytes = table(cpus);
            let (pointer, table) = bytes.split_at(16);
            assert_eq!((checksum(pointer), checksum(table)), (0, 0));
            assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
            assert!(bytes.len() <= 1024, "Linux looks at the last KiB of conventional memory only");
        }
    }

    #[test]
    fn entries_can_be_walked() {
        let bytes = table(3);
        let table = &bytes[16..];
        let count = usize::from(u16::from_le_bytes([table[34], table[35]]));
        let (mut at, mut kinds) = (44, Vec::new());
        while at < table.len() {
            kinds.push(table[at]);
            at += if table[at] == PROCESSOR { 20 } else { 8 };
        }
        assert_eq!((at, kinds.len()), (table.len(), count));
        assert_eq!(kinds.iter().filter(|kind| **kind == PROCESSOR).count(), 3);
        assert_eq!(kinds.iter().filter(|kind| **kind == IO_INTERRUPT).count(), 16);
        assert!(kinds.is_sorted(), "the specification wants them in this order");
        assert_eq!([table[47], table[67]], [ENABLED | BOOT_PROCESSOR, ENABLED]);
    }
}
