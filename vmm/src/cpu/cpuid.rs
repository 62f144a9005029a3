//! The CPUID that a guest sees: what KVM supports on this host, never a template, with the topology of this machine and
//! without the bits that the caller hides. KVM's own leaves, from 0x4000_0000 on, stay as they are.

use crate::boot::numa;
use crate::{Error, Result};
use kvm_bindings::{kvm_cpuid_entry2, CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX};

/// A bit that is hidden, written as `LEAF[.SUBLEAF]:REGISTER:BIT`: `0x7.0:ebx:5`, `1:ecx:12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// EAX.
    pub leaf: u32,
    /// ECX, 0 where nothing is said.
    pub subleaf: u32,
    /// 0 to 3: EAX to EDX.
    pub register: u8,
    /// 0 to 31.
    pub bit: u8,
}

/// In the order of [`Mask::register`].
const REGISTERS: [&str; 4] = ["eax", "ebx", "ecx", "edx"];

impl std::str::FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let expected = || "expected LEAF[.SUBLEAF]:REGISTER:BIT, as 0x7.0:ebx:5".to_owned();
        let [leaf, register, bit] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(expected());
        };
        let (leaf, subleaf) = leaf.split_once('.').unwrap_or((leaf, "0"));
        let register = REGISTERS.iter().position(|name| name.eq_ignore_ascii_case(register)).ok_or_else(expected)?;
        let bit = bit.parse().ok().filter(|bit| *bit < 32).ok_or_else(expected)?;
        let leaf = number(leaf).ok_or_else(expected)?;
        let subleaf = number(subleaf).ok_or_else(expected)?;
        Ok(Self { leaf, subleaf, register: register as u8, bit })
    }
}

/// A decimal or, with `0x`, hexadecimal number.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Where a vCPU stands among the others. A vCPU is a core of one thread; APIC ids are indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// The vCPU's index.
    index: u8,
    /// The bits of an APIC id that tell cores of a package apart; those above them tell packages apart.
    core_bits: u32,
    /// Cores of a package.
    cores: u8,
}

impl Topology {
    /// For the vCPU with this index. All are in one package, but no package spans NUMA nodes, for Linux warns of cores
    /// that share a cache across nodes (topology_sane() of arch/x86/kernel/smpboot.c). As package and core are bits of
    /// the APIC id, packages are then the largest power of two that every node begins at a multiple of.
    pub fn new(index: u8, cpus: u8, nodes: u8) -> Self {
        let inner = numa::cpu_bounds(cpus, nodes);
        let whole = u32::from(cpus.max(1)).next_power_of_two().trailing_zeros();
        let bounds = inner[1..inner.len() - 1].iter().map(|bound| bound.trailing_zeros());
        let core_bits = bounds.min().unwrap_or(whole).min(whole);
        Self { index, core_bits, cores: cpus.min(1 << core_bits) }
    }
}

/// The guest's CPUID.
///
/// # Errors
/// KVM offers more entries than it takes.
pub fn guest(supported: &CpuId, topology: Topology, deadline_timer: bool, masks: &[Mask]) -> Result<CpuId> {
    let entries = entries(supported.as_slice(), topology, deadline_timer, masks);
    CpuId::from_entries(&entries).map_err(|error| Error::host("list of CPUID leaves")(format!("{error:?}")))
}

fn entries(
    supported: &[kvm_cpuid_entry2],
    topology: Topology,
    deadline_timer: bool,
    masks: &[Mask],
) -> Vec<kvm_cpuid_entry2> {
    let find = |leaf| supported.iter().find(|entry| entry.function == leaf).copied().unwrap_or_default();
    // Leaf 0 tells the last leaf and the vendor: "AuthenticAMD" and "HygonGenuine" have their own topology leaves.
    let amd = [*b"Auth", *b"Hygo"].map(u32::from_le_bytes).contains(&find(0).ebx);
    // 0x1f is 0xb with levels that we do not have, and Linux would prefer it.
    let ours = |leaf| matches!(leaf, 0xb | 0x1f);
    let mut entries: Vec<_> = supported.iter().filter(|entry| !ours(entry.function)).copied().collect();
    for entry in &mut entries {
        set_topology(entry, topology, amd);
        if entry.function == 1 {
            // KVM emulates the timer in its local APIC and leaves it to us to say so; and it is a hypervisor.
            entry.ecx |= u32::from(deadline_timer) << 24 | 1 << 31;
        }
    }
    if find(0).eax >= 0xb {
        entries.extend(extended_topology(topology));
    }
    for mask in masks {
        let hit = |entry: &&mut kvm_cpuid_entry2| entry.function == mask.leaf && entry.index == mask.subleaf;
        for entry in entries.iter_mut().filter(hit) {
            let registers = [&mut entry.eax, &mut entry.ebx, &mut entry.ecx, &mut entry.edx];
            if let Some(register) = registers.into_iter().nth(mask.register.into()) {
                *register &= !(1_u32.checked_shl(mask.bit.into()).unwrap_or(0));
            }
        }
    }
    entries
}

/// `bits` of `register` from `low` on, set to `value`.
fn put(register: &mut u32, low: u32, bits: u32, value: u32) {
    let mask = ((1 << bits) - 1) << low;
    *register = *register & !mask | value << low & mask;
}

/// What leaves of Intel's and AMD's manuals tell of APIC ids and of who shares what.
fn set_topology(entry: &mut kvm_cpuid_entry2, topology: Topology, amd: bool) {
    let Topology { index, core_bits, cores } = topology;
    let (index, cores) = (u32::from(index), u32::from(cores));
    match entry.function {
        1 => {
            put(&mut entry.ebx, 24, 8, index);
            put(&mut entry.ebx, 16, 8, cores);
            // HTT: more than one logical processor in a package.
            put(&mut entry.edx, 28, 1, u32::from(cores > 1));
        }
        // Caches: the first levels are a core's, the third the package's.
        4 | 0x8000_001d if entry.eax & 0x1f != 0 => {
            let sharers = if entry.eax >> 5 & 7 < 3 { 1 } else { 1 << core_bits };
            put(&mut entry.eax, 14, 12, sharers - 1);
            if entry.function == 4 {
                put(&mut entry.eax, 26, 6, (1 << core_bits) - 1);
            }
        }
        // CmpLegacy: HTT stands for cores, not threads.
        0x8000_0001 if amd => put(&mut entry.ecx, 1, 1, u32::from(cores > 1)),
        0x8000_0008 if amd => {
            put(&mut entry.ecx, 0, 8, cores - 1);
            put(&mut entry.ecx, 12, 4, core_bits);
        }
        0x8000_001e if amd => {
            entry.eax = index;
            // One thread a core; a package is a node.
            entry.ebx = index & ((1 << core_bits) - 1);
            entry.ecx = index >> core_bits;
        }
        _ => {}
    }
}

/// Leaf 0xb: a level of threads, one each, and a level of cores.
fn extended_topology(topology: Topology) -> [kvm_cpuid_entry2; 2] {
    let level = |index, shift, processors, kind: u32| kvm_cpuid_entry2 {
        function: 0xb,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: processors,
        ecx: kind << 8 | index,
        edx: topology.index.into(),
        ..Default::default()
    };
    [level(0, 0, 1, 1), level(1, topology.core_bits, topology.cores.into(), 2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_CPUS, MAX_NODES};

    fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
    }

    fn host(vendor: &[u8; 4]) -> Vec<kvm_cpuid_entry2> {
        vec![
            entry(0, 0, [0x1f, u32::from_le_bytes(*vendor), 0, 0]),
            entry(1, 0, [0x306c3, 0x0720_0800, 0x1000, 1 << 28]),
            entry(4, 0, [0x1c00_4121, 0, 0, 0]),
            entry(4, 3, [0x1c03_c163, 0, 0, 0]),
            entry(7, 0, [0, u32::MAX, 0, 0]),
            entry(0xb, 0, [1, 2, 0x100, 7]),
            entry(0x1f, 0, [1, 2, 0x100, 7]),
            entry(0x4000_0001, 0, [0x0100_7efb, 0, 0, 0]),
            entry(0x8000_0001, 0, [0; 4]),
            entry(0x8000_0008, 0, [0, 0, 0x600f, 0]),
            entry(0x8000_001e, 0, [9, 0x109, 3, 0]),
        ]
    }

    fn find(entries: &[kvm_cpuid_entry2], leaf: u32, subleaf: u32) -> [u32; 4] {
        let found = entries.iter().find(|entry| entry.function == leaf && entry.index == subleaf).unwrap();
        [found.eax, found.ebx, found.ecx, found.edx]
    }

    #[test]
    fn masks_are_written_as_documented() {
        assert_eq!("0x7.0:ebx:5".parse(), Ok(Mask { leaf: 7, subleaf: 0, register: 1, bit: 5 }));
        assert_eq!("1:ECX:31".parse(), Ok(Mask { leaf: 1, subleaf: 0, register: 2, bit: 31 }));
        assert_eq!("0xd.1:eax:1".parse(), Ok(Mask { leaf: 0xd, subleaf: 1, register: 0, bit: 1 }));
        for bad in ["", "7", "7:ebx", "7:ebx:32", "7:abc:1", "x:ebx:1", "7.:ebx:1", "7:ebx:1:2", "0x:ebx:1", "7:ebx:-1"]
        {
            assert!(bad.parse::<Mask>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_masked_bit_is_the_only_one_that_goes() {
        let masks = ["7:ebx:5", "0x99:eax:1"].map(|mask| mask.parse().unwrap());
        let entries = entries(&host(b"Genu"), Topology::new(0, 1, 1), false, &masks);
        assert_eq!(find(&entries, 7, 0), [0, !(1 << 5), 0, 0]);
    }

    #[test]
    fn every_vcpu_has_its_own_id_in_every_leaf() {
        for vendor in [b"Genu", b"Auth"] {
            for index in 0..4 {
                let entries = entries(&host(vendor), Topology::new(index, 4, 1), true, &[]);
                let id = u32::from(index);
                assert_eq!(find(&entries, 1, 0)[1], id << 24 | 4 << 16 | 0x0800);
                assert_eq!(find(&entries, 1, 0)[2], 0x1000 | 1 << 24 | 1 << 31);
                assert_eq!(find(&entries, 0xb, 0), [0, 1, 0x100, id]);
                assert_eq!(find(&entries, 0xb, 1), [2, 4, 0x201, id]);
                assert!(entries.iter().all(|entry| entry.function != 0x1f));
                assert_eq!(find(&entries, 0x4000_0001, 0), [0x0100_7efb, 0, 0, 0]);
                if vendor == b"Auth" {
                    assert_eq!(find(&entries, 0x8000_0001, 0)[2], 2);
                    assert_eq!(find(&entries, 0x8000_0008, 0)[2], 0x2003);
                    assert_eq!(find(&entries, 0x8000_001e, 0), [id, id, 0, 0]);
                }
            }
        }
    }

    #[test]
    fn caches_are_shared_within_a_package_at_most() {
        let entries = entries(&host(b"Genu"), Topology::new(5, 8, 2), true, &[]);
        assert_eq!(find(&entries, 4, 0)[0], 0x0c00_0121);
        assert_eq!(find(&entries, 4, 3)[0], 0x0c00_c163);
        let alone = super::entries(&host(b"Genu"), Topology::new(0, 1, 1), true, &[]);
        assert_eq!(find(&alone, 1, 0)[3] >> 28 & 1, 0);
    }

    #[test]
    fn no_package_spans_nodes() {
        for cpus in 1..=MAX_CPUS {
            for nodes in 1..=MAX_NODES.min(cpus) {
                let bounds = numa::cpu_bounds(cpus, nodes);
                let node = |cpu: u8| bounds.iter().filter(|bound| **bound <= cpu).count();
                let package = |cpu: u8| cpu >> Topology::new(cpu, cpus, nodes).core_bits;
                for (a, b) in (0..cpus).flat_map(|a| (0..cpus).map(move |b| (a, b))) {
                    assert!(package(a) != package(b) || node(a) == node(b), "{cpus} {nodes}: {a} {b}");
                    assert!(nodes > 1 || package(a) == package(b));
                }
            }
        }
    }

    #[test]
    fn a_processor_without_the_leaf_does_not_get_it() {
        let old = [entry(0, 0, [0xa, 0, 0, 0]), entry(1, 0, [0; 4])];
        assert_eq!(entries(&old, Topology::new(0, 1, 1), false, &[]).len(), 2);
    }
}
