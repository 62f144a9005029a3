//! Reads the ELF dump that QEMU writes (QMP `dump-guest-memory`), so that [`super::write`] writes it anew: with the
//! kernel's VMCOREINFO, which QEMU adds only where the guest has fw_cfg and a driver for it, and without zeros.

use super::elf::{self, qemu_cpu};
use super::{CpuState, PAGE};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The most notes that are read, in bytes: QEMU has some 800 a vCPU.
const MAX_NOTES: u64 = 1 << 20;

/// The memory and the vCPUs in QEMU's dump. Pages of zeros take no memory here.
///
/// # Errors
/// The file cannot be read, or is no such dump ([`ErrorKind::InvalidData`]).
pub fn read(dump: &mut File) -> io::Result<(GuestMemoryMmap, Vec<CpuState>)> {
    let wrong = |why: &str| io::Error::new(ErrorKind::InvalidData, format!("{why}, expected QEMU's ELF dump"));
    let mut header = [0; elf::EHDR_SIZE as usize];
    dump.rewind()?;
    dump.read_exact(&mut header)?;
    let table = elf::program_headers(&header).ok_or_else(|| wrong("no ELF64 core of x86-64"))?;
    let mut headers = vec![0; usize::from(table.count) * usize::from(elf::PHDR_SIZE)];
    dump.seek(SeekFrom::Start(table.offset))?;
    dump.read_exact(&mut headers)?;

    let (mut ranges, mut cpus) = (vec![], vec![]);
    for header in headers.chunks_exact(elf::PHDR_SIZE.into()).filter_map(elf::program_header) {
        match header.kind {
            elf::PT_LOAD => ranges.push(header),
            elf::PT_NOTE if header.size <= MAX_NOTES => {
                let mut notes = vec![0; header.size as usize];
                dump.seek(SeekFrom::Start(header.offset))?;
                dump.read_exact(&mut notes)?;
                cpus.extend(
                    elf::read_notes(&notes).filter(|(name, _)| *name == b"QEMU").filter_map(|(_, cpu)| qemu_cpu(cpu)),
                );
            }
            _ => {}
        }
    }
    if cpus.is_empty() {
        return Err(wrong("no vCPU's state"));
    }
    ranges.sort_by_key(|range| range.address);
    let sizes: Vec<_> = ranges.iter().map(|range| (GuestAddress(range.address), range.size as usize)).collect();
    let memory = GuestMemoryMmap::from_ranges(&sizes).map_err(|error| wrong(&format!("its memory: {error}")))?;
    for range in ranges {
        let mut page = [0; PAGE];
        dump.seek(SeekFrom::Start(range.offset))?;
        let mut reader = io::BufReader::with_capacity(64 * PAGE, &mut *dump);
        for at in (0..range.size).step_by(PAGE) {
            let part = &mut page[..PAGE.min((range.size - at) as usize)];
            reader.read_exact(part)?;
            if part.iter().any(|&byte| byte != 0) {
                memory.write_slice(part, GuestAddress(range.address + at)).map_err(io::Error::other)?;
            }
        }
    }
    Ok((memory, cpus))
}
