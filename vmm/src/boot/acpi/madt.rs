//! The MADT: processors and interrupt controllers.

use super::table;
use crate::boot::numa::Node;
use crate::layout::{IOAPIC, LAPIC, SCI_IRQ};

/// There is a PIC, too.
const PCAT_COMPAT: u32 = 1;
const ENABLED: u32 = 1;
/// Active high, level-triggered. Other ISA lines are high and edge, which goes without saying.
const HIGH_LEVEL: u16 = 1 | 3 << 2;
const ALL_PROCESSORS: u8 = 0xff;
const LINT1: u8 = 1;

/// The MADT for the vCPUs of these nodes, whose APIC ids are their indices.
pub(super) fn madt(nodes: &[Node]) -> Vec<u8> {
    let cpus = nodes.iter().map(|node| node.cpus.end).max().unwrap_or(0);
    let mut contents = [LAPIC, PCAT_COMPAT].map(u32::to_le_bytes).concat();
    for cpu in 0..cpus {
        contents.extend([0, 8, cpu, cpu]);
        contents.extend(ENABLED.to_le_bytes());
    }
    contents.extend([1, 12, cpus, 0]);
    contents.extend([IOAPIC, 0].map(u32::to_le_bytes).concat());
    // ISA lines are the I/O APIC's pins of the same number, as KVM routes them: only the SCI needs a word.
    contents.extend([2, 10, 0, SCI_IRQ as u8]);
    contents.extend(SCI_IRQ.to_le_bytes());
    contents.extend(HIGH_LEVEL.to_le_bytes());
    contents.extend([4, 6, ALL_PROCESSORS, 0, 0, LINT1]);
    table(b"APIC", 5, &contents)
}
