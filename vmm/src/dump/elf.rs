//! The ELF structures of a core, as bytes. Names and layouts are those of include/uapi/linux/elf.h and, for the notes,
//! as said at each.

use super::vmcoreinfo::NAME as VMCOREINFO;
use super::{CpuState, PAGE};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
pub const PT_LOAD: u32 = 1;
pub const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
/// ELF64, little-endian, version 1, System V.
const IDENT: &[u8; 16] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
/// Read, write, execute: a core cannot tell.
const RWX: u32 = 7;
pub const EHDR_SIZE: u16 = 64;
pub const PHDR_SIZE: u16 = 56;

/// A range of guest memory in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it stands in the file.
    pub offset: u64,
}

/// The headers of a core, where each of `ranges` (guest physical address and size) goes in it, and the file's size. The
/// notes follow the headers.
pub fn layout(notes: &[u8], ranges: &[(u64, u64)]) -> (Vec<u8>, Vec<Segment>, u64) {
    let headers_size = u64::from(EHDR_SIZE) + u64::from(PHDR_SIZE) * (1 + ranges.len() as u64);
    let mut headers = vec![];
    headers.extend_from_slice(IDENT);
    put16(&mut headers, &[ET_CORE, EM_X86_64]);
    put32(&mut headers, &[1]);
    // No entry; program headers follow; no section headers.
    put64(&mut headers, &[0, u64::from(EHDR_SIZE), 0]);
    put32(&mut headers, &[0]);
    put16(&mut headers, &[EHDR_SIZE, PHDR_SIZE, 1 + ranges.len() as u16, 0, 0, 0]);

    put32(&mut headers, &[PT_NOTE, 0]);
    put64(&mut headers, &[headers_size, 0, 0, notes.len() as u64, notes.len() as u64, 4]);
    let page = PAGE as u64;
    let mut offset = (headers_size + notes.len() as u64).next_multiple_of(page);
    let mut segments = vec![];
    for &(address, size) in ranges {
        segments.push(Segment { offset });
        put32(&mut headers, &[PT_LOAD, RWX]);
        // p_vaddr is 0, as it is in QEMU's dumps: no virtual address is known.
        put64(&mut headers, &[offset, 0, address, size, size, page]);
        offset += size.next_multiple_of(page);
    }
    (headers, segments, offset)
}

/// The notes: registers of each vCPU for all debuggers, once more as QEMU has them, and VMCOREINFO.
pub fn notes(cpus: &[CpuState], vmcoreinfo: Option<&[u8]>) -> Vec<u8> {
    let mut notes = vec![];
    for (id, cpu) in (1..).zip(cpus) {
        note(&mut notes, b"CORE", NT_PRSTATUS, &prstatus(id, cpu));
    }
    for cpu in cpus {
        note(&mut notes, b"QEMU", 0, &qemu_state(cpu));
    }
    if let Some(info) = vmcoreinfo {
        note(&mut notes, VMCOREINFO, 0, info);
    }
    notes
}

fn note(out: &mut Vec<u8>, name: &[u8], kind: u32, contents: &[u8]) {
    put32(out, &[name.len() as u32 + 1, contents.len() as u32, kind]);
    out.extend_from_slice(name);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(contents);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// `struct elf_prstatus` (include/linux/elfcore.h) with `struct user_regs_struct` (arch/x86/include/asm/user_64.h). Its
/// pid is the vCPU's number from 1 on.
fn prstatus(id: u32, cpu: &CpuState) -> Vec<u8> {
    const PID: usize = 32;
    const REGISTERS: usize = 112;
    let mut out = vec![0; PID];
    put32(&mut out, &[id]);
    out.resize(REGISTERS, 0);
    let CpuState { regs: r, sregs: s, .. } = cpu;
    put64(&mut out, &[r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx]);
    // orig_ax is that of no system call.
    put64(&mut out, &[r.rsi, r.rdi, u64::MAX, r.rip, s.cs.selector.into(), r.rflags, r.rsp, s.ss.selector.into()]);
    put64(&mut out, &[s.fs.base, s.gs.base]);
    put64(&mut out, &[s.ds.selector, s.es.selector, s.fs.selector, s.gs.selector].map(u64::from));
    // pr_fpvalid, padding.
    put32(&mut out, &[0, 0]);
    out
}

/// The version of QEMU's note, and its size in bytes.
pub(super) const QEMU_VERSION: u32 = 1;
pub(super) const QEMU_SIZE: u32 = 440;

/// QEMU's note: `QEMUCPUState`, which crash reads, and which says CR3 and where the per-CPU area is.
fn qemu_state(cpu: &CpuState) -> Vec<u8> {
    let CpuState { regs, sregs, kernel_gs_base } = cpu;
    let kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, rip, rflags, .. } = *regs;
    let kvm_regs { r8, r9, r10, r11, r12, r13, r14, r15, .. } = *regs;
    let kvm_sregs { cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt, cr0, cr2, cr3, cr4, .. } = *sregs;
    let mut out = vec![];
    put32(&mut out, &[QEMU_VERSION, QEMU_SIZE]);
    put64(&mut out, &[rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags]);
    for segment in [cs, ds, es, fs, gs, ss, ldt, tr] {
        put32(&mut out, &[segment.selector.into(), segment.limit, attributes(&segment), 0]);
        put64(&mut out, &[segment.base]);
    }
    for table in [gdt, idt] {
        put32(&mut out, &[0, table.limit.into(), 0, 0]);
        put64(&mut out, &[table.base]);
    }
    // CR1 does not exist.
    put64(&mut out, &[cr0, 0, cr2, cr3, cr4, *kernel_gs_base]);
    debug_assert_eq!(out.len(), QEMU_SIZE as usize);
    out
}

/// A segment's attributes where the second word of its descriptor has them (Intel SDM, volume 3, 3.4.5).
fn attributes(segment: &kvm_segment) -> u32 {
    let kvm_segment { type_, s, dpl, present, avl, l, db, g, .. } = *segment;
    [(type_, 8), (s, 12), (dpl, 13), (present, 15), (avl, 20), (l, 21), (db, 22), (g, 23)]
        .iter()
        .fold(0, |all, &(field, bit)| all | u32::from(field) << bit)
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::super::reading::{qemu_cpu, read_notes};
    use super::*;

    /// A state in which each field has a value of its own.
    fn cpu() -> CpuState {
        let note: Vec<u8> = (0..).flat_map(|word: u32| (word * 0x0101_0101).to_le_bytes()).take(440).collect();
        let note = [&[1, 0, 0, 0, 0xb8, 1, 0, 0], &note[8..]].concat();
        qemu_cpu(&note).unwrap()
    }

    #[test]
    fn what_is_written_as_qemu_does_is_read_back() {
        let cpu = cpu();
        assert_ne!((cpu.regs.rbp, cpu.sregs.tr.base, cpu.sregs.cr4), (0, 0, 0));
        let notes = notes(&[cpu, CpuState::default()], Some(b"OSRELEASE=x\n"));
        let names: Vec<_> = read_notes(&notes).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"CORE"[..], b"CORE", b"QEMU", b"QEMU", b"VMCOREINFO"]);
        let cpus: Vec<_> = read_notes(&notes).filter_map(|(_, contents)| qemu_cpu(contents)).collect();
        assert_eq!(cpus.len(), 2);
        assert_eq!((cpus[0].regs, cpus[0].kernel_gs_base), (cpu.regs, cpu.kernel_gs_base));
        assert_eq!(cpus[0].sregs, cpu.sregs);
    }

    #[test]
    fn notes_that_do_not_fit_end_the_list() {
        let notes = notes(&[cpu()], None);
        for size in 0..notes.len() {
            assert!(read_notes(&notes[..size]).count() < 2, "{size}");
        }
        for at in [0, 4] {
            let mut notes = notes.clone();
            notes[at..at + 4].fill(0xff);
            assert_eq!(read_notes(&notes).count(), 0);
        }
        assert!(qemu_cpu(&[1, 0, 0, 0, 0xb8, 1, 0, 0, 0]).is_none());
    }
}
