//! Finds the kernel's VMCOREINFO in guest memory.
//!
//! At subsys_initcall the kernel writes it as an ELF note of its own (`vmcoreinfo_note`, kernel/crash_core.c) for kdump
//! to find, into pages of its own (`alloc_pages_exact`): so it stands at the start of a page. Any program in the guest
//! can have a page that looks like it, and an earlier kernel may have left one. A wrong one harms nobody but the reader
//! of the dump, so this is a matter of picking well, within bounds.

use super::{pagemap, Pagemap, PAGE};
use crate::fuzz::Digest;
use std::io;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// The note's name.
pub const NAME: &[u8] = b"VMCOREINFO";

/// The note's header (`struct elf64_note`: name size, contents' size, type) and its name, padded to four bytes.
const HEADER: usize = 12 + 12;

/// The most that the kernel has room for: VMCOREINFO_BYTES of include/linux/crash_core.h.
const MAX: usize = PAGE;

/// Where the kernel's image is mapped: __START_KERNEL_map of arch/x86/include/asm/page_64_types.h.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// A page table's last entry, which maps the kernel's image; its bit for "present" and where in it the address stands.
const LAST_ENTRY: u64 = 511 * 8;
const PRESENT: u64 = 1;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The contents of the kernel's VMCOREINFO. Of several that look right, the first whose page tables are where it says
/// they are, else the first.
///
/// # Errors
/// None of its own; those of reading memory mean that it is not there.
pub fn find(memory: &GuestMemoryMmap, pages: Option<&Pagemap>) -> io::Result<Option<Vec<u8>>> {
    let (mut first, mut best) = (None, None);
    for region in memory.iter() {
        let all = region.as_volatile_slice().map_err(io::Error::other)?;
        pagemap::visit(&all, pages, &mut |run| {
            for at in run.step_by(PAGE) {
                if best.is_some() {
                    break;
                }
                let Some(info) = read(memory, region.start_addr().0 + at as u64) else { continue };
                if maps_kernel(memory, &info) {
                    best = Some(info);
                } else {
                    first.get_or_insert(info);
                }
            }
            Ok(())
        })?;
    }
    Ok(best.or(first))
}

/// The note at `address`, if there is one and it makes sense.
fn read(memory: &GuestMemoryMmap, address: u64) -> Option<Vec<u8>> {
    let mut header = [0; HEADER];
    memory.read_slice(&mut header, GuestAddress(address)).ok()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (name, padding) = header[12..].split_at(NAME.len());
    let (name_size, size, kind) = (word(0) as usize, word(4) as usize, word(8));
    if name_size != NAME.len() + 1 || kind != 0 || name != NAME || padding != [0; 2] || size > MAX {
        return None;
    }
    let mut info = vec![0; size];
    memory.read_slice(&mut info, GuestAddress(address + HEADER as u64)).ok()?;
    is_text(&info).then_some(info)
}

/// Lines of `KEY=VALUE`, the first of them the kernel's release (crash_save_vmcoreinfo_init).
fn is_text(info: &[u8]) -> bool {
    let lines = info.strip_suffix(b"\n").unwrap_or(info).split(|&byte| byte == b'\n');
    info.starts_with(b"OSRELEASE=")
        && lines.into_iter().all(|line| line.contains(&b'=') && line.iter().all(|byte| (b' '..=b'~').contains(byte)))
}

/// Whether the kernel's page tables, where the note says that they are, map a kernel.
fn maps_kernel(memory: &GuestMemoryMmap, info: &[u8]) -> bool {
    let address = || {
        let symbol = u64::from_str_radix(value(info, "SYMBOL(swapper_pg_dir)")?, 16).ok()?;
        let base = value(info, "NUMBER(phys_base)")?.parse::<i64>().ok()?;
        let tables = symbol.wrapping_sub(START_KERNEL_MAP).wrapping_add_signed(base);
        let entry: u64 = memory.read_obj(GuestAddress(tables.checked_add(LAST_ENTRY)?)).ok()?;
        (entry & PRESENT != 0).then_some(GuestAddress(entry & ADDRESS))
    };
    address().is_some_and(|address| memory.address_in_range(address))
}

/// What stands after `key=`.
fn value<'a>(info: &'a [u8], key: &str) -> Option<&'a str> {
    std::str::from_utf8(info).ok()?.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Looks for a note in `data` as guest memory. For the fuzz driver.
pub fn fuzz(data: &[u8]) -> u64 {
    let mut digest = Digest::default();
    let data = &data[..data.len().min(2 * PAGE)];
    let Ok(memory) = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 2 * PAGE)]) else { return 0 };
    if memory.write_slice(data, GuestAddress(0)).is_ok() {
        if let Ok(Some(info)) = find(&memory, None) {
            assert!(info.len() <= MAX && is_text(&info));
            digest.add(&[1, u8::from(maps_kernel(&memory, &info))]);
        }
    }
    digest.0
}

/// A note as a kernel writes it.
pub fn fuzz_seeds() -> Vec<Vec<u8>> {
    let info = b"OSRELEASE=6.1.0\nSYMBOL(swapper_pg_dir)=ffffffff81000000\nNUMBER(phys_base)=-16777216\n";
    let sizes = [NAME.len() as u32 + 1, info.len() as u32, 0].map(u32::to_le_bytes).concat();
    vec![[&sizes, NAME, &[0; 2], &info[..]].concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: u64 = 0x5000;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 16 * PAGE), (GuestAddress(1 << 32), 16 * PAGE)]).unwrap()
    }

    fn note(info: &[u8]) -> Vec<u8> {
        let header = [11, info.len() as u32, 0].map(u32::to_le_bytes).concat();
        [&header[..], b"VMCOREINFO\0\0", info].concat()
    }

    fn info(release: &str, tables: u64) -> Vec<u8> {
        let symbol = START_KERNEL_MAP + 0x1000_0000 + tables;
        let base = -0x1000_0000;
        format!("OSRELEASE={release}\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)={symbol:x}\nNUMBER(phys_base)={base}\n")
            .into_bytes()
    }

    fn put(memory: &GuestMemoryMmap, address: u64, bytes: &[u8]) {
        memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    #[test]
    fn the_note_that_fits_the_page_tables_is_picked() {
        let memory = memory();
        assert_eq!(find(&memory, None).unwrap(), None);
        // A program's copy with other contents, lower in memory.
        put(&memory, 0x2000, &note(&info("6.1-fake", 0x8000)));
        assert_eq!(find(&memory, None).unwrap(), Some(info("6.1-fake", 0x8000)));
        put(&memory, 1 << 32, &note(&info("6.1-real", TABLES)));
        put(&memory, TABLES + LAST_ENTRY, &(0x6000 | PRESENT).to_le_bytes());
        let pages = Pagemap::open();
        assert_eq!(find(&memory, pages.as_ref()).unwrap(), Some(info("6.1-real", TABLES)));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let good = info("6.1", TABLES);
        let with = |at: usize, bytes: &[u8]| {
            let mut note = note(&good);
            note[at..at + bytes.len()].copy_from_slice(bytes);
            note
        };
        for (what, bytes) in [
            ("no text", note(b"")),
            ("another text", note(b"SYMBOL(_stext)=0\n")),
            ("a line without a value", note(b"OSRELEASE=6.1\nPAGESIZE\n")),
            ("an empty line", note(b"OSRELEASE=6.1\n\nA=1\n")),
            ("bytes that are no text", note(b"OSRELEASE=6.1\nA=\xff\x1b[2J\n")),
            ("a name's size", with(0, &[10])),
            ("a size beyond the kernel's", with(4, &4097_u32.to_le_bytes())),
            ("a size beyond memory", with(4, &u32::MAX.to_le_bytes())),
            ("a type", with(8, &[1])),
            ("a name", with(12, b"VMCOREINF0")),
            ("padding", with(23, &[1])),
        ] {
            let memory = memory();
            put(&memory, 0x1000, &bytes);
            assert_eq!(find(&memory, None).unwrap(), None, "{what}");
        }
        // At the end of memory, half of it missing.
        let memory = memory();
        put(&memory, 15 * PAGE as u64, &note(&[b"OSRELEASE=".to_vec(), vec![b'='; 4000]].concat()));
        put(&memory, 15 * PAGE as u64 + 4, &4096_u32.to_le_bytes());
        assert_eq!(find(&memory, None).unwrap(), None);
        // Not at the start of a page.
        put(&memory, 0x1010, &note(&good));
        assert_eq!(find(&memory, None).unwrap(), None);
    }

    #[test]
    fn page_tables_are_looked_for_without_trust() {
        for (tables, base) in [
            (u64::MAX, "0"),
            (0, "0"),
            (START_KERNEL_MAP, "9223372036854775807"),
            (START_KERNEL_MAP, "-1"),
            (START_KERNEL_MAP + 0x7fff_f000, "0"),
            (START_KERNEL_MAP, "x"),
        ] {
            let text = format!("OSRELEASE=6.1\nSYMBOL(swapper_pg_dir)={tables:x}\nNUMBER(phys_base)={base}\n");
            assert!(!maps_kernel(&memory(), text.as_bytes()), "{text}");
        }
    }
}
