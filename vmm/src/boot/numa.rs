//! NUMA nodes: which vCPUs and which memory belong together.

use crate::memory;
use std::fmt;
use std::ops::Range;

/// Linux's memory section (SECTION_SIZE_BITS of arch/x86/include/asm/sparsemem.h). A section of two nodes would be
/// shown under one of them in sysfs.
const SECTION: u64 = 128 << 20;
/// Where shares are smaller than a section: a huge page has one node.
const HUGE_PAGE: u64 = 2 << 20;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its vCPUs.
    pub cpus: Range<u8>,
    /// Its memory: address and size in bytes, in at most two ranges.
    pub memory: Vec<(u64, u64)>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPUs {:?}, memory", self.cpus)?;
        self.memory.iter().try_for_each(|(start, size)| write!(f, " {start:#x}..{:#x}", start + size))
    }
}

/// The first vCPUs of each of `nodes` nodes, and behind the last the number of vCPUs. No node is empty as long as there
/// are no more nodes than vCPUs.
pub fn cpu_bounds(cpus: u8, nodes: u8) -> Vec<u8> {
    let nodes = nodes.max(1);
    (0..=nodes).map(|node| (u32::from(cpus) * u32::from(node) / u32::from(nodes)) as u8).collect()
}

/// Splits vCPUs and `bytes` of memory into `nodes` contiguous shares that are even but for alignment.
pub fn nodes(bytes: u64, cpus: u8, nodes: u8) -> Vec<Node> {
    let count = u64::from(nodes.max(1));
    let alignment = if bytes / count >= SECTION { SECTION } else { HUGE_PAGE };
    // Offsets into RAM without its hole. Where that begins and ends is aligned, so addresses are, too.
    let bound = |node: u64| if node == count { bytes } else { bytes / count * node / alignment * alignment };
    let shares = (0..count).map(|node| bound(node)..bound(node + 1));
    let cpus = cpu_bounds(cpus, nodes);
    cpus.windows(2)
        .zip(shares)
        .map(|(cpus, share)| Node { cpus: cpus[0]..cpus[1], memory: within(bytes, &share) })
        .collect()
}

/// The addresses of a share of RAM.
fn within(bytes: u64, share: &Range<u64>) -> Vec<(u64, u64)> {
    let mut offset = 0;
    let mut parts = Vec::new();
    for (address, size) in memory::ranges(bytes) {
        let (start, end) = (share.start.max(offset), share.end.min(offset + size));
        if start < end {
            parts.push((address + start - offset, end - start));
        }
        offset += size;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_CPUS, MAX_MEMORY_MIB, MAX_NODES, MIN_MEMORY_MIB};
    use crate::layout::{FOUR_GIB, LOW_END};
    use proptest::prelude::*;

    #[test]
    fn shares_are_even_and_leave_the_hole_out() {
        let two = nodes(8 << 30, 4, 2);
        assert_eq!(two[0], Node { cpus: 0..2, memory: vec![(0, LOW_END), (FOUR_GIB, 1 << 30)] });
        assert_eq!(two[1], Node { cpus: 2..4, memory: vec![(FOUR_GIB + (1 << 30), 4 << 30)] });
        assert_eq!(nodes(512 << 20, 1, 1), [Node { cpus: 0..1, memory: vec![(0, 512 << 20)] }]);
        assert_eq!(two[0].to_string(), "vCPUs 0..2, memory 0x0..0xc0000000 0x100000000..0x140000000");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_node_is_empty(
            mib in MIN_MEMORY_MIB..=MAX_MEMORY_MIB, cpus in 1..=MAX_CPUS, count in 1..=MAX_NODES,
        ) {
            let bytes = mib << 20;
            let all = nodes(bytes, cpus, count);
            prop_assert_eq!(all.len(), usize::from(count));
            let memory: Vec<_> = all.iter().flat_map(|node| &node.memory).collect();
            prop_assert_eq!(memory.iter().map(|(_, size)| size).sum::<u64>(), bytes);
            prop_assert!(memory.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
            prop_assert!(memory.iter().skip(1).all(|(start, _)| start % HUGE_PAGE == 0));
            prop_assert!(all.iter().all(|node| !node.memory.is_empty() && node.memory.len() <= 2));
            prop_assert_eq!(all.iter().map(|node| node.cpus.len()).sum::<usize>(), usize::from(cpus));
            if count <= cpus {
                prop_assert!(all.iter().all(|node| !node.cpus.is_empty()));
            }
        }
    }
}
