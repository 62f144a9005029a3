//! SRAT and SLIT: which processors and which memory are near each other.

use super::table;
use crate::boot::numa::Node;

const ENABLED: u32 = 1;
/// Distances as firmware has them when it measured nothing; 10 is a node to itself.
const NEAR: u8 = 10;
const FAR: u8 = 20;

/// The SRAT.
pub(super) fn srat(nodes: &[Node]) -> Vec<u8> {
    let mut contents = [&1_u32.to_le_bytes()[..], &[0; 8]].concat();
    for (domain, node) in (0_u8..).zip(nodes) {
        for cpu in node.cpus.clone() {
            contents.extend([0, 16, domain, cpu]);
            contents.extend([ENABLED, 0, 0].map(u32::to_le_bytes).concat());
        }
        for (address, size) in &node.memory {
            contents.extend([1, 40, domain, 0, 0, 0, 0, 0]);
            contents.extend([*address, *size].map(u64::to_le_bytes).concat());
            contents.extend([0, ENABLED, 0, 0].map(u32::to_le_bytes).concat());
        }
    }
    table(b"SRAT", 3, &contents)
}

/// The SLIT.
pub(super) fn slit(nodes: usize) -> Vec<u8> {
    let mut contents = (nodes as u64).to_le_bytes().to_vec();
    contents.extend((0..nodes * nodes).map(|i| if i / nodes == i % nodes { NEAR } else { FAR }));
    table(b"SLIT", 1, &contents)
}
