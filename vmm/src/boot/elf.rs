//! A vmlinux: each segment goes to the physical address that it asks for.

use super::kernel::{copy, field, read, Entry, Format, Image, Kernel};
use crate::config::Protocol;
use crate::layout::COMMAND_LINE_MAX;
use crate::{Error, Result};
use std::ops::Range;
use vm_memory::GuestMemoryMmap;

pub(super) const MAGIC: &[u8] = b"\x7fELF";

// Sizes and numbers of the System V ABI, "Object files", and its x86-64 supplement.
const HEADER_SIZE: usize = 64;
const SEGMENT_SIZE: usize = 56;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// Linux has five. Whoever writes more does not write a kernel.
const MAX_SEGMENTS: usize = 64;
/// Linux has some hundred bytes of notes.
const MAX_NOTES: u64 = 64 << 10;

/// The note with the PVH entry (include/xen/interface/elfnote.h), by the name of `Xen`.
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// A program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

impl Segment {
    fn new(bytes: &[u8]) -> Self {
        Self {
            kind: u32::from_le_bytes(field(bytes, 0)),
            offset: u64::from_le_bytes(field(bytes, 8)),
            // The virtual address, eight bytes before, is the kernel's affair.
            address: u64::from_le_bytes(field(bytes, 24)),
            file_size: u64::from_le_bytes(field(bytes, 32)),
            memory_size: u64::from_le_bytes(field(bytes, 40)),
        }
    }

    /// Its place in guest memory, where that is memory the kernel may have and the file has its contents.
    fn place(&self, ram: &Range<u64>, file_size: u64) -> Result<Range<u64>> {
        let Self { offset, address, file_size: size, memory_size, .. } = *self;
        if offset.checked_add(size).is_none_or(|end| end > file_size) || size > memory_size {
            return Err(Error::request(format!(
                "a segment of {size} bytes at byte {offset} for {memory_size} bytes of memory, \
                 expected to find it within the file's {file_size} bytes; is the file cut off?"
            )));
        }
        match address.checked_add(memory_size) {
            Some(end) if ram.start <= address && end <= ram.end => Ok(address..end),
            _ => Err(Error::request(format!(
                "a segment of {memory_size:#x} bytes at {address:#x}, expected within the guest's memory at {ram:#x?}; \
                 a kernel may need more memory than the guest has"
            ))),
        }
    }
}

/// Loads an ELF file.
pub(super) fn load(
    memory: &GuestMemoryMmap,
    ram: &Range<u64>,
    image: &mut impl Image,
    file_size: u64,
    protocol: Protocol,
) -> Result<Kernel> {
    let mut header = [0; HEADER_SIZE];
    read(image, 0, &mut header)?;
    let segments = segments(image, &header)?;

    // All is checked before anything is written.
    let mut loads = Vec::new();
    for segment in segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memory_size > 0) {
        let place = segment.place(ram, file_size)?;
        loads.push((segment, place));
    }
    let start = loads.iter().map(|(_, place)| place.start).min();
    let end = loads.iter().map(|(_, place)| place.end).max();
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Error::request("an ELF file without a segment to load, expected a vmlinux"));
    };
    let range = start..end;
    // Each is smaller than memory, and there are few: no overflow.
    let total: u64 = loads.iter().map(|(_, place)| place.end - place.start).sum();
    // Segments on top of each other could have the same bytes read over and over.
    if total > ram.end - ram.start {
        return Err(Error::request(format!(
            "segments of {total} bytes together, expected at most the guest's {}",
            ram.end - ram.start
        )));
    }

    let inside = |address: &u64| loads.iter().any(|(_, place)| place.contains(address));
    let pvh = match protocol {
        Protocol::Linux64 => None,
        Protocol::Auto | Protocol::Pvh => pvh_entry(image, &segments)?.filter(|entry| inside(&u64::from(*entry))),
    };
    let entry = match (pvh, protocol) {
        (Some(address), _) => Entry::Pvh(address),
        (None, Protocol::Pvh) => {
            return Err(Error::request(
                "no PVH entry within the kernel (an ELF note, CONFIG_PVH), expected one for --protocol pvh",
            ))
        }
        // vmlinux.lds.S: ENTRY(phys_startup_64), a physical address.
        (None, _) => Entry::Linux64(u64::from_le_bytes(field(&header, 24))),
    };
    if let Entry::Linux64(address) = entry {
        if !inside(&address) {
            return Err(Error::request(format!("an entry at {address:#x}, expected within the kernel at {range:#x?}")));
        }
    }
    for (segment, place) in &loads {
        copy(memory, image, segment.offset, place.start, segment.file_size)?;
    }
    Ok(Kernel {
        format: Format::Vmlinux,
        entry,
        range,
        setup_header: None,
        initramfs_limit: ram.end,
        command_line_max: COMMAND_LINE_MAX - 1,
    })
}

/// The program headers of a file for this machine.
fn segments(image: &mut impl Image, header: &[u8; HEADER_SIZE]) -> Result<Vec<Segment>> {
    let (class, endian, machine) = (header[4], header[5], u16::from_le_bytes(field(header, 18)));
    if (class, endian, machine) != (CLASS_64, LITTLE_ENDIAN, MACHINE_X86_64) {
        return Err(Error::request(format!(
            "an ELF file of class {class}, byte order {endian}, machine {machine}, \
             expected {CLASS_64}, {LITTLE_ENDIAN}, {MACHINE_X86_64}: x86-64"
        )));
    }
    let [size, count] = [54, 56].map(|at| usize::from(u16::from_le_bytes(field(header, at))));
    if size != SEGMENT_SIZE || count > MAX_SEGMENTS {
        return Err(Error::request(format!(
            "{count} program headers of {size} bytes, expected at most {MAX_SEGMENTS} of {SEGMENT_SIZE}"
        )));
    }
    let mut table = vec![0; size * count];
    read(image, u64::from_le_bytes(field(header, 32)), &mut table)?;
    Ok(table.chunks_exact(SEGMENT_SIZE).map(Segment::new).collect())
}

/// The PVH entry, where a note tells one.
fn pvh_entry(image: &mut impl Image, segments: &[Segment]) -> Result<Option<u32>> {
    for segment in segments.iter().filter(|segment| segment.kind == PT_NOTE) {
        let mut notes = vec![0; segment.file_size.min(MAX_NOTES) as usize];
        read(image, segment.offset, &mut notes)?;
        if let Some(entry) = find_pvh_note(&notes) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Notes are name size, contents size, type, then name and contents, each padded to four bytes.
fn find_pvh_note(mut notes: &[u8]) -> Option<u32> {
    while notes.len() >= 12 {
        let [name_size, size, kind] = [0, 4, 8].map(|at| u32::from_le_bytes(field(notes, at)));
        let name_end = 12_usize.checked_add(name_size as usize)?.checked_next_multiple_of(4)?;
        let end = name_end.checked_add(size as usize)?.checked_next_multiple_of(4)?;
        let name = notes.get(12..name_end)?;
        if kind == XEN_ELFNOTE_PHYS32_ENTRY && name == b"Xen\0" {
            // Four or eight bytes, as the kernel's version has it; the address has 32 bits in either.
            return notes.get(name_end..name_end + 4).map(|bytes| u32::from_le_bytes(field(bytes, 0)));
        }
        notes = notes.get(end..)?;
    }
    None
}

/// A tiny vmlinux, for tests and for fuzzing to start from.
pub(super) mod sample {
    use super::*;

    /// ELF header, three program headers, one note.
    #[cfg(test)]
    pub const HEADERS: usize = HEADER_SIZE + 3 * SEGMENT_SIZE + 24;
    pub const CODE: u64 = 0x10_0000;
    pub const BSS: u64 = 0x20_0000;

    fn segment(kind: u32, offset: usize, address: u64, file_size: u64, memory_size: u64) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), 7_u32.to_le_bytes()].concat();
        for word in [offset as u64, address | 0xffff_ffff_8000_0000, address, file_size, memory_size, 4096] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// A tiny vmlinux: code at 1 MiB, a bss at 2 MiB, a PVH note with the entry at CODE + 0x10.
    pub fn kernel() -> Vec<u8> {
        let mut bytes = [MAGIC, &[CLASS_64, LITTLE_ENDIAN, 1], &[0; 9]].concat();
        for half in [2_u16, MACHINE_X86_64, 1, 0] {
            bytes.extend(half.to_le_bytes());
        }
        for word in [CODE, HEADER_SIZE as u64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 4]);
        for half in [HEADER_SIZE as u16, SEGMENT_SIZE as u16, 3, 64, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        let note = HEADER_SIZE + 3 * SEGMENT_SIZE;
        bytes.extend(segment(PT_LOAD, note, CODE, 64, 0x1000));
        bytes.extend(segment(PT_LOAD, note, BSS, 0, 0x3000));
        bytes.extend(segment(PT_NOTE, note, 0, 24, 24));
        bytes.extend([4_u32, 8, XEN_ELFNOTE_PHYS32_ENTRY].map(u32::to_le_bytes).concat());
        bytes.extend(b"Xen\0");
        bytes.extend((CODE + 0x10).to_le_bytes());
        bytes.extend([0x90; 40]);
        assert_eq!(bytes.len(), note + 64);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::load;
    use super::super::kernel::tests::{memory, refusal};
    use super::sample::{kernel, BSS, CODE};
    use super::*;
    use std::io::Cursor;
    use vm_memory::{Bytes, GuestAddress};

    fn patched(at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = kernel();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }

    #[test]
    fn segments_go_where_they_ask_and_bss_counts() {
        let (memory, bytes) = (memory(16), kernel());
        let kernel = load(&memory, &mut Cursor::new(&bytes), Protocol::Auto).unwrap();
        assert_eq!(kernel.entry, Entry::Pvh(CODE as u32 + 0x10));
        assert_eq!(kernel.range, CODE..BSS + 0x3000);
        let mut code = vec![0; 64];
        memory.read_slice(&mut code, GuestAddress(CODE)).unwrap();
        assert_eq!(code, bytes[bytes.len() - 64..]);
    }

    #[test]
    fn the_protocol_is_the_callers_choice() {
        let load = |bytes: &[u8], protocol| load(&memory(16), &mut Cursor::new(bytes), protocol);
        assert_eq!(load(&kernel(), Protocol::Linux64).unwrap().entry, Entry::Linux64(CODE));
        assert_eq!(load(&kernel(), Protocol::Pvh).unwrap().entry, Entry::Pvh(CODE as u32 + 0x10));
        let note = HEADER_SIZE + 3 * SEGMENT_SIZE;
        let no_note = patched(note + 8, &[1]);
        assert_eq!(load(&no_note, Protocol::Auto).unwrap().entry, Entry::Linux64(CODE));
        assert!(refusal(load(&no_note, Protocol::Pvh)).contains("CONFIG_PVH"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_numbers() {
        let load = |bytes: &[u8]| refusal(load(&memory(16), &mut Cursor::new(bytes), Protocol::Linux64));
        assert!(load(&patched(18, &[183, 0])).contains("machine 183"));
        assert!(load(&patched(24, &[0; 8])).contains("an entry at 0x0"));
        let address = HEADER_SIZE + 24;
        assert!(load(&patched(address, &0x7000_u64.to_le_bytes())).contains("at 0x7000, expected within"));
        assert!(load(&patched(address, &(16_u64 << 20).to_le_bytes())).contains("more memory"));
        assert!(load(&patched(address + 16, &u64::MAX.to_le_bytes())).contains("expected within"));
        assert!(load(&patched(56, &[0xff, 0xff])).contains("65535 program headers"));
        assert!(load(&kernel()[..kernel().len() - 1]).contains("cut off"));
        assert!(load(&kernel()[..100]).contains("the file ends"));
        // The first segment made a note, the second empty.
        let mut none = patched(HEADER_SIZE, &[4]);
        none[HEADER_SIZE + SEGMENT_SIZE + 40..][..8].fill(0);
        assert!(load(&none).contains("without a segment"));
    }

    #[test]
    fn segments_on_top_of_each_other_are_read_once_at_most() {
        let mut bytes = kernel();
        for i in 0..2 {
            bytes[HEADER_SIZE + i * SEGMENT_SIZE + 24..][..8].copy_from_slice(&CODE.to_le_bytes());
            bytes[HEADER_SIZE + i * SEGMENT_SIZE + 40..][..8].copy_from_slice(&(14_u64 << 20).to_le_bytes());
        }
        assert!(refusal(load(&memory(16), &mut Cursor::new(bytes), Protocol::Auto)).contains("together"));
    }

    #[test]
    fn notes_that_make_no_sense_tell_no_entry() {
        let note = |words: [u32; 3]| words.map(u32::to_le_bytes).concat();
        assert_eq!(find_pvh_note(&note([u32::MAX, u32::MAX, 18])), None);
        assert_eq!(find_pvh_note(&[note([4, 8, 18]), b"Xen\0\x01".to_vec()].concat()), None);
        assert_eq!(find_pvh_note(&note([0, 0, 18])), None);
        let other = [note([4, 1, 18]), b"Abc\0\xff\0\0\0".to_vec()].concat();
        let ours = [note([4, 4, 18]), b"Xen\0\x01\x02\0\0".to_vec()].concat();
        assert_eq!(find_pvh_note(&[other, ours].concat()), Some(0x201));
    }
}
