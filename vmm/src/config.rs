//! What a machine is asked to be: the command line of `mmtorture-vmm`.

use crate::layout::VIRTIO_IRQS;
use clap::ValueEnum;
use std::path::PathBuf;

/// The least memory, in MiB: a kernel is loaded at 1 MiB or 16 MiB and must fit.
pub const MIN_MEMORY_MIB: u64 = 16;
/// The most memory, in MiB.
pub const MAX_MEMORY_MIB: u64 = 64 << 10;
/// The most vCPUs.
pub const MAX_CPUS: u8 = 16;
/// The most NUMA nodes.
pub const MAX_NODES: u8 = 8;

/// A small KVM virtual machine monitor for kernels under test.
///
/// Runs one guest to its end. Machine events are JSON lines on standard output, the last of them the ending; the log is
/// on standard error.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "mmtorture-vmm", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 the guest came to an end, which standard output tells; 2 the request is wrong; \
3 the host failed."
)]
pub struct Config {
    /// The kernel: a vmlinux or a bzImage
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,
    /// How it is entered
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// The initramfs
    #[arg(long, value_name = "FILE")]
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub cmdline: String,
    /// Virtual CPUs, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_CPUS)))]
    pub cpus: u8,
    /// Memory in MiB, 16 to 65536
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(MIN_MEMORY_MIB..=MAX_MEMORY_MIB))]
    pub memory: u64,
    /// NUMA nodes that share vCPUs and memory evenly, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub nodes: u8,
    /// A disk; several are vda, vdb, ... in this order
    #[arg(long = "disk", value_name = "FILE[,ro]")]
    pub disks: Vec<Disk>,
    /// How the guest learns of disks and rng
    #[arg(long, value_enum, default_value_t)]
    pub virtio_by: VirtioBy,
    /// A virtio source of entropy
    #[arg(long)]
    pub rng: bool,
    /// Where ttyS0 writes: a file, a FIFO, /dev/fd/N, or unix:PATH of a listening socket
    #[arg(long, value_name = "PATH", default_value = "/dev/null")]
    pub console: PathBuf,
    /// Where ttyS1 writes, as for --console
    #[arg(long, value_name = "PATH", default_value = "/dev/null")]
    pub events: PathBuf,
    /// Where the control socket is made
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// CPUID bits that the guest does not see, as LEAF[.SUBLEAF]:REGISTER:BIT (0x7.0:ebx:5)
    #[arg(long = "mask-cpuid", value_name = "BIT")]
    pub mask_cpuid: Vec<crate::cpu::cpuid::Mask>,
    /// Run without seccomp filters and resource limits, for debugging this program
    #[arg(long)]
    pub no_confinement: bool,
}

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Protocol {
    /// PVH where an ELF kernel has its note, else the 64-bit entry
    #[default]
    Auto,
    /// The PVH entry of an ELF kernel, in 32-bit mode
    Pvh,
    /// The 64-bit entry of Documentation/x86/boot.rst
    Linux64,
}

/// How a guest learns of its virtio-mmio devices, which it cannot find by itself.
///
/// A kernel with ACPI and CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES understands either. Told both, it registers each device
/// twice: the one from ACPI works, and the other is refused its registers, which costs a line of error on the console
/// and nothing else. A caller that knows the kernel's configuration says which it needs and spares it that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum VirtioBy {
    /// By ACPI and by the command line: works with every kernel
    #[default]
    Both,
    /// By ACPI's DSDT only
    Acpi,
    /// By the kernel's command line only, for kernels without ACPI or with acpi=off
    Cmdline,
}

impl VirtioBy {
    /// Whether the DSDT has them.
    pub fn acpi(self) -> bool {
        self != Self::Cmdline
    }

    /// Whether the command line has them.
    pub fn command_line(self) -> bool {
        self != Self::Acpi
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its image.
    pub path: PathBuf,
    /// Whether the guest may only read.
    pub read_only: bool,
}

impl std::str::FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, read_only) = match text.strip_suffix(",ro") {
            Some(path) => (path, true),
            None => (text, false),
        };
        match path {
            "" => Err("expected FILE or FILE,ro".to_owned()),
            path => Ok(Self { path: PathBuf::from(path), read_only }),
        }
    }
}

impl Config {
    /// Checks what single options cannot tell of each other.
    ///
    /// # Errors
    /// What does not fit, and what would.
    pub fn check(&self) -> crate::Result<()> {
        let virtio = self.disks.len() + usize::from(self.rng);
        if virtio > VIRTIO_IRQS.len() {
            return Err(crate::Error::request(format!(
                "{virtio} virtio devices (disks and rng), expected at most {}",
                VIRTIO_IRQS.len()
            )));
        }
        if self.nodes > self.cpus {
            return Err(crate::Error::request(format!(
                "{} NUMA nodes for {} vCPUs, expected no more nodes than vCPUs",
                self.nodes, self.cpus
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_disk_may_be_read_only() {
        assert_eq!("a.img".parse(), Ok(Disk { path: "a.img".into(), read_only: false }));
        assert_eq!("a.img,ro".parse(), Ok(Disk { path: "a.img".into(), read_only: true }));
        assert!(",ro".parse::<Disk>().is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let parse = |args: &[&str]| Config::try_parse_from([&["vmm", "--kernel", "k"], args].concat());
        assert!(parse(&["--cpus", "17"]).is_err());
        assert!(parse(&["--memory", "8"]).is_err());
        assert!(parse(&["--nodes", "2"]).unwrap().check().is_err());
        let disks: Vec<_> = (0..9).flat_map(|_| ["--disk", "d"]).collect();
        assert!(parse(&disks).unwrap().check().is_err());
        assert!(parse(&["--cpus", "4", "--nodes", "2", "--rng"]).unwrap().check().is_ok());
    }
}
