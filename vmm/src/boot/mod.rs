//! From files to a guest about to run: kernel, initramfs, command line, tables, first registers.
//!
//! [`load`] writes everything into guest memory, which must be fresh: what a file does not fill is taken for zero. It
//! tells what it wrote where as [`Given`], which [`registers::set`] then needs for the first vCPU. The other vCPUs
//! wait for the guest's INIT and SIPI, which KVM handles by itself.
//!
//! A guest learns of its processors twice, from the MP table and from ACPI: kernels without ACPI read the one, all
//! others the other. Of virtio-mmio devices it learns from the DSDT and from its command line; see
//! [`VirtioBy`](crate::config::VirtioBy) for who needs which.
//!
//! Kernels are hostile: no file makes [`load`] panic, allocate or read more than the guest's memory holds, or write to
//! anything else than the memory that it claims above [`HIGH_RAM`](crate::layout::HIGH_RAM).

mod acpi;
mod bzimage;
mod elf;
pub(crate) mod fuzz;
pub mod kernel;
mod memory_map;
mod mptable;
pub mod numa;
mod pvh;
pub mod registers;
mod zero_page;

pub use kernel::{Entry, Format, Kernel};
pub use memory_map::{MemoryRange, Usage};

use crate::config::Config;
use crate::layout::{COMMAND_LINE, COMMAND_LINE_MAX, VIRTIO_SIZE};
use crate::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The page size, to which an initramfs is aligned so that the kernel can free it page by page.
const PAGE: u64 = 4096;

/// What a guest is made of, opened before the process confines itself.
#[derive(Debug)]
pub struct Files {
    /// A vmlinux or a bzImage.
    pub kernel: File,
    /// One or more cpio archives, compressed or not: the kernel's business.
    pub initramfs: Option<File>,
}

/// Where a virtio-mmio device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtioSlot {
    /// Its first register's address; it has [`VIRTIO_SIZE`] of them.
    pub address: u64,
    /// Its interrupt, one of [`VIRTIO_IRQS`](crate::layout::VIRTIO_IRQS).
    pub irq: u32,
}

/// What the guest was given. Its `Display` is for the log: several lines, none hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// What the kernel's file is.
    pub format: Format,
    /// Where and how the first vCPU enters it.
    pub entry: Entry,
    /// The memory that the kernel needs until it manages memory itself, its bss or room for decompression included.
    pub kernel: Range<u64>,
    /// The initramfs.
    pub initramfs: Option<Range<u64>>,
    /// The command line: what was asked for, after the virtio devices where they are on it.
    pub command_line: String,
    /// What the guest was told of its physical memory.
    pub memory_map: Vec<MemoryRange>,
    /// Which vCPUs and memory belong together.
    pub nodes: Vec<numa::Node>,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel: {} at {:#x?}, {}", self.format, self.kernel, self.entry)?;
        match &self.initramfs {
            Some(range) => writeln!(f, "initramfs: {range:#x?}")?,
            None => writeln!(f, "initramfs: none")?,
        }
        writeln!(f, "command line: {}", self.command_line)?;
        for range in &self.memory_map {
            writeln!(f, "memory: {range}")?;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            writeln!(f, "node {i}: {node}")?;
        }
        Ok(())
    }
}

/// Loads the kernel and all that it needs to start.
///
/// # Errors
/// A request error where a file, the command line or the memory does not fit, a host error where a file cannot be read.
pub fn load(config: &Config, memory: &GuestMemoryMmap, files: Files, virtio: &[VirtioSlot]) -> Result<Given> {
    let Files { kernel: mut file, initramfs } = files;
    let kernel = kernel::load(memory, &mut file, config.protocol).map_err(in_file(&config.kernel))?;
    let initramfs = match (initramfs, &config.initramfs) {
        (Some(mut file), path) => {
            let path = path.as_deref().unwrap_or(Path::new("initramfs"));
            Some(load_initramfs(memory, &kernel, &mut file).map_err(in_file(path))?)
        }
        (None, _) => None,
    };
    let command_line = command_line(config, virtio, kernel.command_line_max)?;
    write(memory, COMMAND_LINE, &[command_line.as_bytes(), &[0]].concat())?;

    let nodes = numa::nodes(config.memory << 20, config.cpus, config.nodes);
    mptable::write(memory, config.cpus)?;
    let rsdp = acpi::write(memory, &nodes, if config.virtio_by.acpi() { virtio } else { &[] })?;
    let given = Given {
        format: kernel.format,
        entry: kernel.entry,
        kernel: kernel.range.clone(),
        initramfs,
        command_line,
        memory_map: memory_map::of(memory),
        nodes,
    };
    match given.entry {
        Entry::Pvh(_) => pvh::write(memory, &given, rsdp)?,
        Entry::Linux64(_) => zero_page::write(memory, &given, kernel.setup_header, rsdp)?,
    }
    registers::write_tables(memory)?;
    Ok(given)
}

/// For `map_err`: names the file of a wrong request.
fn in_file(path: &Path) -> impl FnOnce(Error) -> Error + '_ {
    move |error| match error {
        Error::Request(why) => Error::request(format!("{}: {why}", path.display())),
        Error::Host { step, why } => Error::Host { step: format!("{}: {step}", path.display()), why },
    }
}

/// Writes to guest memory at an address that [`crate::layout`] says is there.
fn write(memory: &GuestMemoryMmap, address: u64, bytes: &[u8]) -> Result<()> {
    memory.write_slice(bytes, GuestAddress(address)).map_err(Error::host(format!("guest memory at {address:#x}")))
}

/// Puts the initramfs at the top of the low memory that the kernel can take it from.
fn load_initramfs(memory: &GuestMemoryMmap, kernel: &Kernel, file: &mut impl kernel::Image) -> Result<Range<u64>> {
    let size = file.seek(SeekFrom::End(0)).map_err(Error::host("cannot tell its size"))?;
    if size == 0 {
        return Err(Error::request("the initramfs is empty, expected a cpio archive"));
    }
    let limit = memory_map::low_end(memory).min(kernel.initramfs_limit);
    let room = limit.saturating_sub(kernel.range.end);
    let start = limit.checked_sub(size).map(|start| start / PAGE * PAGE).filter(|start| *start >= kernel.range.end);
    let Some(start) = start else {
        return Err(Error::request(format!(
            "an initramfs of {size} bytes, expected at most {room}: the kernel needs memory up to {:#x}, \
             and the initramfs must end at {limit:#x}; give the guest more memory",
            kernel.range.end
        )));
    };
    kernel::copy(memory, file, 0, start, size)?;
    Ok(start..start + size)
}

/// The command line, the virtio devices first: after a `--` of the caller's they would be arguments of init.
fn command_line(config: &Config, virtio: &[VirtioSlot], max: usize) -> Result<String> {
    let mut words = Vec::new();
    if config.virtio_by.command_line() {
        // drivers/virtio/virtio_mmio.c, vm_cmdline_set(): SIZE@ADDRESS:IRQ.
        let word = |slot: &VirtioSlot| format!("virtio_mmio.device={VIRTIO_SIZE}@{:#x}:{}", slot.address, slot.irq);
        words.extend(virtio.iter().map(word));
    }
    if !config.cmdline.is_empty() {
        words.push(config.cmdline.clone());
    }
    let line = words.join(" ");
    let max = max.min(COMMAND_LINE_MAX - 1);
    if line.len() > max {
        return Err(Error::request(format!(
            "a kernel command line of {} bytes, expected at most {max}; it is: {line}",
            line.len()
        )));
    }
    match line.find('\0') {
        Some(at) => Err(Error::request(format!("a NUL at byte {at} of the kernel command line, expected text"))),
        None => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::kernel::tests::{memory, refusal};
    use super::*;
    use crate::config::VirtioBy;
    use crate::layout::{ACPI, EBDA, PVH_START_INFO, VIRTIO, ZERO_PAGE};
    use clap::Parser;
    use std::io::{Cursor, Write};

    /// What a guest might have been given.
    pub fn given(entry: Entry) -> Given {
        Given {
            format: Format::Vmlinux,
            entry,
            kernel: 0x100_0000..0x200_0000,
            initramfs: Some(0x3f_0000..0x40_0000),
            command_line: "console=ttyS0".to_owned(),
            memory_map: vec![MemoryRange { start: 0x1000, size: 0x2000, usage: Usage::Ram }],
            nodes: vec![],
        }
    }

    fn config(args: &[&str]) -> Config {
        Config::try_parse_from([&["vmm", "--kernel", "k"], args].concat()).unwrap()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    const SLOTS: [VirtioSlot; 2] =
        [VirtioSlot { address: VIRTIO, irq: 5 }, VirtioSlot { address: VIRTIO + VIRTIO_SIZE, irq: 6 }];

    #[test]
    fn a_guest_gets_all_that_it_needs() {
        let (memory, config) = (memory(32), config(&["--memory", "32", "--cpus", "2", "--cmdline", "quiet"]));
        let files = Files { kernel: file(&elf::sample::kernel()), initramfs: Some(file(&[7; 5000])) };
        let given = load(&config, &memory, files, &SLOTS).unwrap();
        assert_eq!(given.entry, Entry::Pvh(0x10_0010));
        assert_eq!(given.initramfs, Some(0x1ff_e000..0x1ff_e000 + 5000));
        let bytes = |address, size| {
            let mut bytes = vec![0; size];
            memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
            bytes
        };
        assert_eq!(bytes(0x1ff_e000, 5001), [vec![7; 5000], vec![0]].concat());
        let line = "virtio_mmio.device=4096@0xd0000000:5 virtio_mmio.device=4096@0xd0001000:6 quiet";
        assert_eq!(given.command_line, line);
        assert_eq!(bytes(COMMAND_LINE, line.len() + 1), [line.as_bytes(), &[0]].concat());
        assert_eq!(bytes(EBDA, 4), b"_MP_");
        assert_eq!(bytes(ACPI, 8), b"RSD PTR ");
        assert_eq!(bytes(PVH_START_INFO, 4), 0x336e_c578_u32.to_le_bytes());
        let log = given.to_string();
        assert!(log.starts_with("kernel: vmlinux at 0x100000..0x203000, entered by PVH at 0x100010\n"), "{log}");
    }

    #[test]
    fn a_bzimage_finds_its_header_in_the_zero_page() {
        let memory = memory(32);
        let files = Files { kernel: file(&bzimage::sample::kernel()), initramfs: None };
        load(&config(&["--memory", "32"]), &memory, files, &[]).unwrap();
        assert_eq!(memory.read_obj::<u32>(GuestAddress(ZERO_PAGE + 0x202)).unwrap(), u32::from_le_bytes(*b"HdrS"));
        assert_eq!(memory.read_obj::<u32>(GuestAddress(ZERO_PAGE + 0x260)).unwrap(), 0x1_0000);
    }

    #[test]
    fn an_initramfs_that_does_not_fit_is_refused() {
        let memory = memory(4);
        let kernel = kernel::load(&memory, &mut Cursor::new(elf::sample::kernel()), Default::default()).unwrap();
        let load = |size: usize| load_initramfs(&memory, &kernel, &mut Cursor::new(vec![1; size]));
        let room = (4 << 20) - 0x20_3000;
        assert_eq!(load(room).unwrap(), 0x20_3000..4 << 20);
        assert_eq!(load(1).unwrap(), 0x3f_f000..0x3f_f001);
        let why = refusal(load(room + 1));
        assert!(why.contains(&format!("an initramfs of {} bytes, expected at most {room}", room + 1)), "{why}");
        assert!(refusal(load(5 << 20)).contains("more memory"));
        assert!(refusal(load(0)).contains("empty"));
    }

    #[test]
    fn a_kernel_takes_its_initramfs_from_where_it_says() {
        let memory = memory(16);
        let mut kernel = kernel::load(&memory, &mut Cursor::new(elf::sample::kernel()), Default::default()).unwrap();
        kernel.initramfs_limit = 0x50_0000;
        assert_eq!(load_initramfs(&memory, &kernel, &mut Cursor::new(b"x")).unwrap(), 0x4f_f000..0x4f_f001);
    }

    #[test]
    fn a_command_line_has_a_length_and_no_nul() {
        let line = |text: &str, max| command_line(&config(&["--cmdline", text]), &[], max);
        assert_eq!(line(&"x".repeat(2047), 5000).unwrap().len(), 2047);
        assert!(refusal(line(&"x".repeat(2048), 5000)).contains("of 2048 bytes, expected at most 2047"));
        assert!(refusal(line("quiet", 4)).contains("expected at most 4"));
        assert!(refusal(line("a\0b", 2047)).contains("NUL at byte 1"));
    }

    #[test]
    fn virtio_devices_are_told_of_as_asked() {
        let line =
            |by| command_line(&Config { virtio_by: by, ..config(&["--cmdline", "a"]) }, &SLOTS[..1], 2047).unwrap();
        assert_eq!(line(VirtioBy::Acpi), "a");
        assert_eq!(line(VirtioBy::Cmdline), "virtio_mmio.device=4096@0xd0000000:5 a");
        assert_eq!(line(VirtioBy::Both), line(VirtioBy::Cmdline));
        assert!(VirtioBy::Both.acpi() && !VirtioBy::Cmdline.acpi());
    }

    #[test]
    fn errors_name_the_file() {
        let files = Files { kernel: file(b"no"), initramfs: None };
        assert!(refusal(load(&config(&[]), &memory(16), files, &[])).starts_with("k: a file of 2 bytes"));
    }
}
