//! ACPI tables, for kernels that power off, reset and find processors, nodes and devices by them (ACPI Specification
//! 6.5, chapter 5). The machine is not a hardware-reduced one: it has the PM1 registers and the timer.

mod aml;
mod dsdt;
mod fadt;
mod madt;
mod srat;

use super::mptable::checksum;
use super::numa::Node;
use super::VirtioSlot;
use crate::layout::{ACPI, ACPI_SIZE};
use crate::{Error, Result};
use vm_memory::GuestMemoryMmap;

/// Bytes of a table before its contents.
const HEADER_SIZE: usize = 36;
/// FACS wants 64, nobody more.
const ALIGNMENT: u64 = 64;

/// A table: header, with length and sum, and contents.
fn table(signature: &[u8; 4], revision: u8, contents: &[u8]) -> Vec<u8> {
    let size = (HEADER_SIZE + contents.len()) as u32;
    let mut table = [&signature[..], &size.to_le_bytes(), &[revision, 0], b"MMTORT", b"MMTORVMM"].concat();
    table.extend(1_u32.to_le_bytes());
    table.extend(b"MMTV");
    table.extend(1_u32.to_le_bytes());
    table.extend(contents);
    table[9] = checksum(&table);
    table
}

/// The firmware's control structure: a lock that nobody else takes, and no way to wake up.
fn facs() -> Vec<u8> {
    let mut facs = [&b"FACS"[..], &64_u32.to_le_bytes()].concat();
    facs.resize(64, 0);
    facs[32] = 2; // Version.
    facs
}

fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut rsdp = [&b"RSD PTR "[..], &[0], b"MMTORT", &[2], &[0; 4], &36_u32.to_le_bytes()].concat();
    rsdp.extend(xsdt.to_le_bytes());
    rsdp.extend([0; 4]);
    // The first twenty bytes are ACPI 1.0's and have their own sum.
    rsdp[8] = checksum(&rsdp[..20]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

/// Addresses and tables, the RSDP first and at [`ACPI`].
fn tables(nodes: &[Node], virtio: &[VirtioSlot]) -> Vec<(u64, Vec<u8>)> {
    let mut tables = Vec::new();
    // The RSDP's place is kept free.
    let mut next = ACPI + ALIGNMENT;
    let mut place = |table: Vec<u8>| {
        let address = next;
        next = (next + table.len() as u64).next_multiple_of(ALIGNMENT);
        tables.push((address, table));
        address
    };
    let facs = place(facs());
    let dsdt = place(dsdt::dsdt(virtio));
    let mut found_by_xsdt = vec![place(fadt::fadt(facs, dsdt)), place(madt::madt(nodes))];
    if nodes.len() > 1 {
        found_by_xsdt.push(place(srat::srat(nodes)));
        found_by_xsdt.push(place(srat::slit(nodes.len())));
    }
    let pointers: Vec<u8> = found_by_xsdt.iter().flat_map(|address| address.to_le_bytes()).collect();
    let xsdt = place(table(b"XSDT", 1, &pointers));
    tables.insert(0, (ACPI, rsdp(xsdt)));
    tables
}

/// Writes all tables and returns the RSDP's address.
pub(super) fn write(memory: &GuestMemoryMmap, nodes: &[Node], virtio: &[VirtioSlot]) -> Result<u64> {
    for (address, table) in tables(nodes, virtio) {
        if address + table.len() as u64 > ACPI + ACPI_SIZE {
            return Err(Error::host("ACPI tables")(format!("need more than {ACPI_SIZE} bytes")));
        }
        super::write(memory, address, &table)?;
    }
    Ok(ACPI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::numa;
    use crate::config::{MAX_CPUS, MAX_NODES};
    use crate::layout::{VIRTIO, VIRTIO_IRQS, VIRTIO_SIZE};
    use std::process::Command;

    fn slots() -> Vec<VirtioSlot> {
        let slot = |(i, irq): (u64, &u32)| VirtioSlot { address: VIRTIO + i * VIRTIO_SIZE, irq: *irq };
        (0..).zip(&VIRTIO_IRQS).map(slot).collect()
    }

    /// The largest set of tables.
    fn most() -> Vec<(u64, Vec<u8>)> {
        tables(&numa::nodes(64 << 30, MAX_CPUS, MAX_NODES), &slots())
    }

    fn signature(table: &[u8]) -> &str {
        std::str::from_utf8(&table[..4]).unwrap()
    }

    #[test]
    fn sums_are_zero_and_sizes_are_true() {
        for (address, table) in most().iter().skip(1) {
            assert_eq!(u32::from_le_bytes(table[4..8].try_into().unwrap()) as usize, table.len());
            assert_eq!(address % 64, 0);
            if signature(table) != "FACS" {
                assert_eq!(checksum(table), 0, "{}", signature(table));
            }
        }
        let rsdp = &most()[0].1;
        assert_eq!((rsdp.len(), checksum(rsdp), checksum(&rsdp[..20])), (36, 0, 0));
    }

    #[test]
    fn tables_fit_and_do_not_overlap() {
        let mut end = ACPI;
        for (address, table) in most() {
            assert!(address >= end);
            end = address + table.len() as u64;
        }
        assert!(end <= ACPI + ACPI_SIZE);
        let one: Vec<_> = tables(&numa::nodes(512 << 20, 1, 1), &[]);
        let names: Vec<_> = one.iter().map(|(_, table)| signature(table).to_owned()).collect();
        assert_eq!(names, ["RSD ", "FACS", "DSDT", "FACP", "APIC", "XSDT"]);
    }

    #[test]
    fn pointers_lead_to_tables() {
        let tables = most();
        let at = |address: u64| &tables.iter().find(|(at, _)| *at == address).unwrap().1;
        let pointer = |table: &[u8], at: usize| u64::from_le_bytes(table[at..at + 8].try_into().unwrap());
        let xsdt = at(pointer(&tables[0].1, 24));
        let found: Vec<_> = xsdt[36..].chunks(8).map(|bytes| signature(at(pointer(bytes, 0)))).collect();
        assert_eq!(found, ["FACP", "APIC", "SRAT", "SLIT"]);
        let fadt = at(pointer(xsdt, 36));
        assert_eq!((signature(at(pointer(fadt, 132))), signature(at(pointer(fadt, 140)))), ("FACS", "DSDT"));
    }

    /// What `iasl` has to say to `file`.
    fn iasl(args: &[&str], file: &std::path::Path) -> Option<String> {
        let output = match Command::new("iasl").args(args).arg(file).output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("skipped: iasl (package acpica-tools): {error}");
                return None;
            }
        };
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
        Some(text)
    }

    #[test]
    fn acpicas_own_compiler_finds_nothing_wrong() {
        let dir = tempfile::tempdir().unwrap();
        for (name, tables) in [("most", most()), ("least", tables(&numa::nodes(16 << 20, 1, 1), &[]))] {
            for (_, table) in &tables[1..] {
                let file = dir.path().join(format!("{name}-{}.aml", signature(table)));
                std::fs::write(&file, table).unwrap();
                let Some(said) = iasl(&["-d"], &file) else { return };
                let source = file.with_extension("dsl");
                let text = std::fs::read_to_string(&source).unwrap();
                for bad in ["Warning", "Error", "Invalid", "terminates early", "Unknown"] {
                    let harmless = |line: &&str| !line.contains("No Errors") && !line.contains("Error Reg");
                    let lines = said.lines().chain(text.lines()).filter(|line| line.contains(bad));
                    let lines: Vec<_> = lines.filter(harmless).collect();
                    assert!(lines.is_empty(), "{}: {lines:#?}", file.display());
                }
                let Some(said) = iasl(&[], &source) else { return };
                assert!(said.contains("0 Errors, 0 Warnings, 0 Remarks"), "{said}");
            }
        }
    }
}
