//! Reads in tests what [`super::elf`] writes.

use super::elf::*;
use super::CpuState;
use kvm_bindings::kvm_segment;

/// Reads notes: their names, without the NUL, and contents. Ends at the first that does not fit.
pub fn read_notes(mut notes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (name_size, size) = (get32(notes, 0)? as usize, get32(notes, 4)? as usize);
        let name_end = 12_usize.checked_add(name_size)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size)?;
        let name = notes.get(12..name_end)?;
        let contents = notes.get(start..end)?;
        notes = notes.get(end.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some((name.strip_suffix(b"\0").unwrap_or(name), contents))
    })
}

/// Reads QEMU's note; what it does not have is 0.
pub fn qemu_cpu(note: &[u8]) -> Option<CpuState> {
    if get32(note, 0)? != QEMU_VERSION || get32(note, 4)? != QEMU_SIZE {
        return None;
    }
    let mut cpu = CpuState::default();
    let CpuState { regs: r, sregs: s, kernel_gs_base } = &mut cpu;
    let registers = [
        &mut r.rax,
        &mut r.rbx,
        &mut r.rcx,
        &mut r.rdx,
        &mut r.rsi,
        &mut r.rdi,
        &mut r.rsp,
        &mut r.rbp,
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.r11,
        &mut r.r12,
        &mut r.r13,
        &mut r.r14,
        &mut r.r15,
        &mut r.rip,
        &mut r.rflags,
    ];
    for (at, register) in (8..).step_by(8).zip(registers) {
        *register = get64(note, at)?;
    }
    let segments = [&mut s.cs, &mut s.ds, &mut s.es, &mut s.fs, &mut s.gs, &mut s.ss, &mut s.ldt, &mut s.tr];
    for (at, segment) in (152..).step_by(24).zip(segments) {
        let attributes = get32(note, at + 8)?;
        let bits = |bit: u32, width: u32| (attributes >> bit & ((1 << width) - 1)) as u8;
        *segment = kvm_segment {
            selector: get32(note, at)? as u16,
            limit: get32(note, at + 4)?,
            base: get64(note, at + 16)?,
            type_: bits(8, 4),
            s: bits(12, 1),
            dpl: bits(13, 2),
            present: bits(15, 1),
            avl: bits(20, 1),
            l: bits(21, 1),
            db: bits(22, 1),
            g: bits(23, 1),
            ..Default::default()
        };
    }
    for (at, table) in [(344, &mut s.gdt), (368, &mut s.idt)] {
        (table.limit, table.base) = (get32(note, at + 4)? as u16, get64(note, at + 16)?);
    }
    for (at, register) in [(392, &mut s.cr0), (408, &mut s.cr2), (416, &mut s.cr3), (424, &mut s.cr4)] {
        *register = get64(note, at)?;
    }
    *kernel_gs_base = get64(note, 432)?;
    Some(cpu)
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    get(bytes, at).map(u32::from_le_bytes)
}

fn get64(bytes: &[u8], at: usize) -> Option<u64> {
    get(bytes, at).map(u64::from_le_bytes)
}
