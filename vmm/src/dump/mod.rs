//! Dumps: a guest's memory and registers as an ELF core, which drgn and crash open with the kernel's vmlinux.
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
//! without CONFIG_KEXEC_CORE) is dumped all the same.

mod elf;
mod pagemap;
mod vmcoreinfo;

pub use pagemap::Pagemap;
pub use vmcoreinfo::fuzz;

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
        io::Error::new(error.kind(), format!("{error}, with {written} bytes written: the file is partial"))
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
