//! Dumps: a guest's memory and registers as an ELF core, which drgn opens with the kernel's vmlinux.
//!
//! ```text
//! ELF header        ET_CORE, EM_X86_64
//! program headers   PT_NOTE, then a PT_LOAD for each range of RAM: p_paddr is the guest's physical address
//! notes             NT_PRSTATUS of each vCPU, QEMU's CPU state of each vCPU, the kernel's own VMCOREINFO
//! memory            each range at a page boundary; pages that hold only zeros are holes in the file
//! ```
//!
//! Addresses are physical: how virtual ones translate follows from VMCOREINFO, which says where the kernel's page tables
//! are. The kernel makes that note for kdump; [`vmcoreinfo`] finds it in memory. A kernel without it (too early, or
//! without CONFIG_CRASH_CORE) is dumped all the same.
//!
//! System calls, for a confined process: ftruncate, lseek, write, pread64 of the [`Pagemap`], mmap and munmap of its
//! buffers.

mod elf;
mod pagemap;
#[cfg(test)]
mod reading;
mod vmcoreinfo;

pub use pagemap::Pagemap;
pub use vmcoreinfo::{fuzz, fuzz_seeds};

use elf::Segment;
use kvm_bindings::{kvm_regs, kvm_sregs};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use vm_memory::bitmap::BitmapSlice;
use vm_memory::{
    GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileMemory, VolatileMemoryError, VolatileSlice,
    WriteVolatile,
};

/// A page of the guest, in bytes.
pub(crate) const PAGE: usize = 4096;

/// A vCPU's registers.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuState {
    /// From KVM_GET_REGS.
    pub regs: kvm_regs,
    /// From KVM_GET_SREGS.
    pub sregs: kvm_sregs,
    /// MSR_KERNEL_GS_BASE (0xc0000102): the kernel's per-CPU area while the vCPU is in user mode. 0 where unknown.
    pub kernel_gs_base: u64,
}

/// What a dump came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dumped {
    /// The file's size, in bytes.
    pub bytes: u64,
    /// How much of it was written, in bytes. The rest is holes: pages that hold only zeros.
    pub written: u64,
    /// Whether the kernel's VMCOREINFO was found, without which a debugger cannot translate addresses.
    pub vmcoreinfo: bool,
}

/// Writes a core to `file`, from its beginning, whatever it held. The guest must be paused, or the core is torn.
///
/// `pages` tells which pages the guest has touched; without it every page is read, which costs the host page tables for
/// all of the guest's memory, though no memory.
///
/// # Errors
/// The file cannot be written, of which it says how much was: it holds no valid core then.
pub fn write(
    file: &mut File,
    memory: &GuestMemoryMmap,
    cpus: &[CpuState],
    pages: Option<&Pagemap>,
) -> io::Result<Dumped> {
    let mut writer = Writer { file, written: 0 };
    writer.core(memory, cpus, pages).map_err(|error| {
        let written = writer.written;
        io::Error::new(error.kind(), format!("{error}, after at least {written} bytes: the file is partial"))
    })
}

struct Writer<'a> {
    file: &'a mut File,
    written: u64,
}

impl Writer<'_> {
    fn core(&mut self, memory: &GuestMemoryMmap, cpus: &[CpuState], pages: Option<&Pagemap>) -> io::Result<Dumped> {
        let info = vmcoreinfo::find(memory, pages)?;
        let notes = elf::notes(cpus, info.as_deref());
        let ranges: Vec<_> = memory.iter().map(|region| (region.start_addr().0, region.len())).collect();
        let (headers, segments, bytes) = elf::layout(&notes, &ranges);

        // What the file held must not show through the holes.
        self.file.set_len(0)?;
        self.file.set_len(bytes)?;
        self.file.rewind()?;
        for part in [&headers, &notes] {
            self.file.write_all(part)?;
            self.written += part.len() as u64;
        }
        for (region, segment) in memory.iter().zip(&segments) {
            self.region(region, segment, pages)?;
        }
        Ok(Dumped { bytes, written: self.written, vmcoreinfo: info.is_some() })
    }

    /// Writes the pages of a region that hold anything, those next to each other at once.
    fn region(
        &mut self,
        region: &impl GuestMemoryRegion,
        segment: &Segment,
        pages: Option<&Pagemap>,
    ) -> io::Result<()> {
        let all = region.as_volatile_slice().map_err(io::Error::other)?;
        pagemap::visit(&all, pages, &mut |run| {
            let mut start = run.start;
            while start < run.end {
                let end = (start..run.end).step_by(PAGE).find(|&at| is_zero(&all, at)).unwrap_or(run.end);
                if start < end {
                    let part = all.subslice(start, end - start).map_err(io::Error::other)?;
                    self.file.seek(SeekFrom::Start(segment.offset + start as u64))?;
                    self.file.write_all_volatile(&part).map_err(io_error)?;
                    self.written += part.len() as u64;
                }
                start = end + PAGE;
            }
            Ok(())
        })
    }
}

/// Whether the page at `offset` holds only zeros. What is less than a page is not worth asking.
fn is_zero(memory: &VolatileSlice<'_, impl BitmapSlice>, offset: usize) -> bool {
    const WORDS: usize = PAGE / size_of::<u64>();
    let words = memory.get_array_ref::<u64>(offset, WORDS);
    words.is_ok_and(|words| (0..WORDS).all(|at| words.load(at) == 0))
}

fn io_error(error: VolatileMemoryError) -> io::Error {
    match error {
        VolatileMemoryError::IOError(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_bindings::kvm_segment;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::process::Command;
    use vm_memory::{Bytes, GuestAddress};

    const MIB: u64 = 1 << 20;
    const HIGH: u64 = 1 << 32;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20), (GuestAddress(HIGH), 3 * PAGE)]).unwrap()
    }

    fn cpu() -> CpuState {
        let mut cpu = CpuState { kernel_gs_base: 0x77, ..CpuState::default() };
        (cpu.regs.rip, cpu.regs.rsp, cpu.regs.rflags) = (0xffff_ffff_8100_1234, 0xffff_c900_0000_3f00, 0x46);
        (cpu.regs.r15, cpu.regs.rdi, cpu.regs.rax) = (15, 1, 2);
        let code = kvm_segment { selector: 0x10, type_: 0xb, s: 1, present: 1, l: 1, g: 1, ..Default::default() };
        (cpu.sregs.cs, cpu.sregs.ss.selector, cpu.sregs.gs.base) = (code, 0x18, 0x99);
        (cpu.sregs.cr0, cpu.sregs.cr3, cpu.sregs.gdt.limit) = (0x8005_0033, 0x1234_5000, 0x7f);
        cpu
    }

    /// A core's parts, read as the ELF specification has them.
    struct Core {
        bytes: Vec<u8>,
    }

    impl Core {
        fn u16(&self, at: usize) -> usize {
            u16::from_le_bytes(self.bytes[at..at + 2].try_into().unwrap()).into()
        }
        fn u32(&self, at: usize) -> u32 {
            u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
        }
        fn u64(&self, at: usize) -> u64 {
            u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
        }

        /// Type, offset, physical address, size in the file.
        fn segments(&self) -> Vec<(u32, u64, u64, u64)> {
            let (table, size, count) = (self.u64(32) as usize, self.u16(54), self.u16(56));
            let at = (0..count).map(|i| table + i * size);
            at.map(|at| (self.u32(at), self.u64(at + 8), self.u64(at + 24), self.u64(at + 32))).collect()
        }

        /// Name, type, contents.
        fn notes(&self) -> Vec<(String, u32, &[u8])> {
            let (_, offset, _, size) = self.segments()[0];
            let (mut at, end) = (offset as usize, (offset + size) as usize);
            let mut notes = vec![];
            while at < end {
                let (name, contents) = (self.u32(at) as usize, self.u32(at + 4) as usize);
                let name_at = at + 12;
                let contents_at = name_at + name.next_multiple_of(4);
                let text = String::from_utf8(self.bytes[name_at..name_at + name - 1].to_vec()).unwrap();
                notes.push((text, self.u32(at + 8), &self.bytes[contents_at..contents_at + contents]));
                at = contents_at + contents.next_multiple_of(4);
            }
            assert_eq!(at, end);
            notes
        }
    }

    fn read(file: &File) -> Core {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Core { bytes }
    }

    #[test]
    fn memory_and_registers_are_read_back() {
        let memory = memory();
        memory.write_slice(b"first", GuestAddress(0)).unwrap();
        memory.write_slice(b"across two pages", GuestAddress(33 * MIB - 6)).unwrap();
        memory.write_slice(&[0; 100], GuestAddress(40 * MIB)).unwrap();
        memory.write_slice(b"last", GuestAddress(HIGH + 3 * PAGE as u64 - 4)).unwrap();
        for pages in [Pagemap::open(), None] {
            let mut file = tempfile::tempfile().unwrap();
            // What was there before is gone.
            file.write_all(&[0xaa; 100_000]).unwrap();
            let dumped = write(&mut file, &memory, &[cpu(), CpuState::default()], pages.as_ref()).unwrap();
            let metadata = file.metadata().unwrap();
            assert_eq!(dumped.bytes, metadata.len());
            assert!(dumped.bytes > 64 * MIB && dumped.written < 5 * PAGE as u64, "{dumped:?}");
            // As far as the file system has holes at all, in blocks of 512 bytes.
            assert!(metadata.blocks() * 512 < MIB, "{}", metadata.blocks());
            assert!(!dumped.vmcoreinfo);

            let core = read(&file);
            let segments = core.segments();
            assert_eq!(segments[0].0, 4);
            assert_eq!(
                segments[1..].iter().map(|s| (s.0, s.2, s.3)).collect::<Vec<_>>(),
                [(1, 0, 64 * MIB), (1, HIGH, 3 * PAGE as u64)]
            );
            let low = &core.bytes[segments[1].1 as usize..][..64 << 20];
            assert_eq!(&low[..5], b"first");
            assert_eq!(&low[(33 << 20) - 6..][..16], b"across two pages");
            assert_eq!(low.iter().filter(|&&byte| byte != 0).count(), 21);
            assert!(core.bytes.ends_with(b"last"));

            let notes = core.notes();
            assert_eq!(
                notes.iter().map(|note| (&*note.0, note.1, note.2.len())).collect::<Vec<_>>(),
                [("CORE", 1, 336), ("CORE", 1, 336), ("QEMU", 0, 440), ("QEMU", 0, 440)]
            );
            let word = |contents: &[u8], at: usize| u64::from_le_bytes(contents[at..at + 8].try_into().unwrap());
            // struct elf_prstatus: pr_pid, then r15, rax, rdi, rip, cs, rflags, rsp, ss, gs_base of pr_reg.
            let status = notes[0].2;
            assert_eq!((status[32], notes[1].2[32]), (1, 2));
            let register = |index: usize| word(status, 112 + 8 * index);
            assert_eq!([0, 10, 14].map(register), [15, 2, 1]);
            assert_eq!([16, 17, 18, 19].map(register), [cpu().regs.rip, 0x10, 0x46, cpu().regs.rsp]);
            assert_eq!([20, 22].map(register), [0x18, 0x99]);
            // QEMUCPUState: rip after 16 registers, CS first of the segments, CR3, kernel_gs_base at the end.
            let state = notes[2].2;
            assert_eq!(word(state, 8 + 16 * 8), cpu().regs.rip);
            assert_eq!(word(state, 152) as u32, 0x10);
            // Code, system, present, 64-bit, granularity: 0x00a09b00.
            assert_eq!(u32::from_le_bytes(state[160..164].try_into().unwrap()), 0x00a0_9b00);
            assert_eq!((word(state, 440 - 24), word(state, 440 - 8)), (0x1234_5000, 0x77));
        }
    }

    #[test]
    fn what_the_guest_never_touched_stays_so() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 2 << 30)]).unwrap();
        for at in (0..4 * MIB).step_by(PAGE) {
            memory.write_slice(b"touched", GuestAddress(1024 * MIB + at)).unwrap();
        }
        let pages = Pagemap::open();
        let touched = || {
            let mut bytes = 0;
            let all = memory.iter().next().unwrap().as_volatile_slice().unwrap();
            let mut count = |run: std::ops::Range<usize>| {
                bytes += run.len() as u64;
                Ok(())
            };
            pagemap::visit(&all, pages.as_ref(), &mut count).unwrap();
            bytes
        };
        let before = touched();
        let mut file = tempfile::tempfile().unwrap();
        let dumped = write(&mut file, &memory, &[cpu()], pages.as_ref()).unwrap();
        assert_eq!(touched(), before);
        assert!(before < 8 * MIB && dumped.bytes > 2048 * MIB, "{before} {dumped:?}");
        assert!((4 * MIB..5 * MIB).contains(&dumped.written), "{dumped:?}");
    }

    #[test]
    fn the_kernels_own_note_is_there() {
        let memory = memory();
        let info = b"OSRELEASE=6.1.0\nPAGESIZE=4096\n";
        let note = [&11_u32.to_le_bytes()[..], &(info.len() as u32).to_le_bytes(), &[0; 4], b"VMCOREINFO\0\0", info];
        memory.write_slice(&note.concat(), GuestAddress(17 * MIB)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let dumped = write(&mut file, &memory, &[cpu()], Pagemap::open().as_ref()).unwrap();
        assert!(dumped.vmcoreinfo);
        let core = read(&file);
        assert_eq!(core.notes().last(), Some(&("VMCOREINFO".to_owned(), 0, &info[..])));
    }

    #[test]
    fn readelf_reads_it() {
        if Command::new("readelf").arg("--version").output().is_err() {
            println!("skipped: readelf (binutils) is missing");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("core");
        let mut file = File::create(&path).unwrap();
        write(&mut file, &memory(), &[cpu()], None).unwrap();
        let output = Command::new("readelf").args(["-W", "-h", "-l", "-n"]).arg(&path).output().unwrap();
        let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "Type: CORE (Core file)",
            "Machine: Advanced Micro Devices X86-64",
            "LOAD 0x001000 0x0000000000000000 0x0000000000000000 0x4000000 0x4000000 RWE 0x1000",
            "LOAD 0x4001000 0x0000000000000000 0x0000000100000000 0x003000 0x003000 RWE 0x1000",
            "CORE 0x00000150 NT_PRSTATUS (prstatus structure)",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}\n{text}");
        }
        assert!(lines.iter().any(|line| line.starts_with("QEMU 0x000001b8")), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        let memory = memory();
        memory.write_slice(b"something", GuestAddress(0)).unwrap();
        let error = write(&mut File::open("/dev/null").unwrap(), &memory, &[cpu()], None).unwrap_err();
        assert!(error.to_string().ends_with("after at least 0 bytes: the file is partial"), "{error}");
    }
}
