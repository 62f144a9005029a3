//! What the guest is told of its physical memory.

use crate::layout::{ACPI, ACPI_SIZE, CONVENTIONAL_END, EBDA, HIGH_RAM};
use std::fmt;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// What memory is for. The numbers are those of e820 (arch/x86/include/asm/e820/types.h) and of the PVH memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Usage {
    /// The guest's.
    Ram = 1,
    /// Tables that it reads.
    Reserved = 2,
}

/// A range of physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRange {
    /// Its address.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it is for.
    pub usage: Usage,
}

impl fmt::Display for MemoryRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = match self.usage {
            Usage::Ram => "RAM",
            Usage::Reserved => "reserved",
        };
        write!(f, "{:#x}..{:#x} {usage}", self.start, self.start + self.size)
    }
}

/// The end of the RAM that begins at 0.
pub(super) fn low_end(memory: &GuestMemoryMmap) -> u64 {
    memory.find_region(GuestAddress(0)).map_or(0, GuestMemoryRegion::len)
}

/// The map. What is in none of its ranges belongs to devices or to nobody.
///
/// The tables are reserved rather than of the ACPI type: ACPI's locks in the FACS must stay where they are, and the area
/// is the BIOS's on every PC.
pub(super) fn of(memory: &GuestMemoryMmap) -> Vec<MemoryRange> {
    let range = |usage, start, end| MemoryRange { start, size: end - start, usage };
    let mut map = vec![
        range(Usage::Ram, 0, EBDA),
        range(Usage::Reserved, EBDA, CONVENTIONAL_END),
        range(Usage::Reserved, ACPI, ACPI + ACPI_SIZE),
    ];
    for region in memory.iter() {
        let (start, end) = (region.start_addr().0.max(HIGH_RAM), region.start_addr().0 + region.len());
        if start < end {
            map.push(range(Usage::Ram, start, end));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{FOUR_GIB, LOW_END};

    #[test]
    fn tables_and_devices_are_not_ram() {
        let map = of(&crate::memory::map(4 << 30).unwrap());
        let ram: Vec<_> = map.iter().filter(|range| range.usage == Usage::Ram).map(|r| (r.start, r.size)).collect();
        assert_eq!(ram, [(0, EBDA), (HIGH_RAM, LOW_END - HIGH_RAM), (FOUR_GIB, 1 << 30)]);
        assert!(map.windows(2).all(|pair| pair[0].start + pair[0].size <= pair[1].start), "{map:?}");
        assert_eq!(map[2].to_string(), "0xe0000..0x100000 reserved");
    }

    #[test]
    fn a_small_guest_has_no_high_memory() {
        let memory = crate::memory::map(16 << 20).unwrap();
        assert_eq!(of(&memory).len(), 4);
        assert_eq!(low_end(&memory), 16 << 20);
    }
}
