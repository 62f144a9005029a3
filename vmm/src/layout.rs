//! Where everything stands: guest physical memory, I/O ports, interrupts. Nothing else in the crate has an address.
//!
//! ```text
//! 0x0000_0000  boot structures, below 640 KiB          RAM
//! 0x0009_fc00  EBDA: MP table                          reserved in the memory map
//! 0x000a_0000  nothing
//! 0x000e_0000  ACPI tables                             reserved in the memory map
//! 0x0010_0000  kernel, initramfs                       RAM up to LOW_END
//! 0xd000_0000  virtio-mmio, one page a device
//! 0xfec0_0000  IOAPIC, 0xfee0_0000 local APICs         (in KVM)
//! 0xfffb_c000  KVM's own pages
//! 0x1_0000_0000 the rest of RAM
//! ```

// Boot structures. The kernel has copied what it needs of them before it allocates its first page.

/// Global descriptor table that a vCPU starts with.
pub const GDT: u64 = 0x500;
/// Interrupt descriptor table that a vCPU starts with: empty.
pub const IDT: u64 = 0x520;
/// `struct hvm_start_info` of the PVH protocol (include/xen/interface/hvm/start_info.h), and the tables it points to.
pub const PVH_START_INFO: u64 = 0x6000;
/// The PVH module list: one entry, the initramfs.
pub const PVH_MODULES: u64 = 0x6040;
/// The PVH memory map.
pub const PVH_MEMORY_MAP: u64 = 0x7000;
/// `struct boot_params` of the Linux boot protocol (Documentation/x86/zero-page.rst). PVH guests do not have it.
pub const ZERO_PAGE: u64 = 0x7000;
/// The stack pointer that a vCPU starts with; it grows down.
pub const BOOT_STACK: u64 = 0x8ff0;
/// The first page table that a vCPU starts with; its lower levels follow page by page.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line, NUL-terminated.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// The longest command line with its NUL: COMMAND_LINE_SIZE of arch/x86/include/asm/setup.h.
pub const COMMAND_LINE_MAX: usize = 2048;

/// The last KiB of conventional memory, where Linux looks for an MP table (arch/x86/kernel/mpparse.c).
pub const EBDA: u64 = 0x9_fc00;
/// The end of conventional memory.
pub const CONVENTIONAL_END: u64 = 0xa_0000;
/// The BIOS area, in which Linux looks for the RSDP (drivers/acpi/acpica/tbxfroot.c); the other tables follow it.
pub const ACPI: u64 = 0xe_0000;
/// Its size.
pub const ACPI_SIZE: u64 = 0x2_0000;

/// Where extended memory begins, and a bzImage is loaded. An ELF kernel says itself where it goes.
pub const HIGH_RAM: u64 = 0x10_0000;
/// RAM below 4 GiB ends here; addresses up to 4 GiB are for devices.
pub const LOW_END: u64 = 0xc000_0000;
/// The rest of RAM begins here.
pub const FOUR_GIB: u64 = 1 << 32;

/// The first virtio-mmio device.
pub const VIRTIO: u64 = 0xd000_0000;
/// From one virtio-mmio device to the next, and the size of each.
pub const VIRTIO_SIZE: u64 = 0x1000;
/// The interrupts of virtio devices, one each, so that many at most: what the ISA lines 0 to 15 have left. Above 15 a
/// kernel without ACPI has none.
pub const VIRTIO_IRQS: [u32; 8] = [5, 6, 7, 10, 11, 12, 14, 15];

/// The I/O APIC, which KVM emulates.
pub const IOAPIC: u32 = 0xfec0_0000;
/// The local APICs, which KVM emulates.
pub const LAPIC: u32 = 0xfee0_0000;
/// One page that Intel CPUs without unrestricted guests need for real mode.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for the same.
pub const KVM_TSS: usize = 0xfffb_d000;

// I/O ports.

/// COM1, ttyS0: the console. Eight ports.
pub const COM1: u16 = 0x3f8;
/// COM1's interrupt.
pub const COM1_IRQ: u32 = 4;
/// COM2, ttyS1: the events. Eight ports.
pub const COM2: u16 = 0x2f8;
/// COM2's interrupt.
pub const COM2_IRQ: u32 = 3;
/// Ports of a 16550.
pub const COM_PORTS: u16 = 8;
/// The i8042's data port; its command port is four above.
pub const I8042: u16 = 0x60;
/// Ports from the first to the last of the i8042; 0x61, between them, is KVM's speaker.
pub const I8042_PORTS: u16 = 5;
/// CMOS and real-time clock: index and data port.
pub const CMOS: u16 = 0x70;
/// Ports of it.
pub const CMOS_PORTS: u16 = 2;
/// pvpanic's port, as QEMU's ISA device has it.
pub const PVPANIC: u16 = 0x505;
/// ACPI's PM1a event block: status and enable, 16 bits each.
pub const PM1A_EVENT: u16 = 0x600;
/// ACPI's PM1a control register, 16 bits: the sleep type that ends the machine is written here.
pub const PM1A_CONTROL: u16 = 0x604;
/// ACPI's power management timer, 32 bits.
pub const PM_TIMER: u16 = 0x608;
/// ACPI's reset register, 8 bits.
pub const PM_RESET: u16 = 0x60c;
/// Ports from the first to the last of ACPI's.
pub const PM_PORTS: u16 = 0x10;
/// What is written to [`PM_RESET`] to reset.
pub const PM_RESET_VALUE: u8 = 1;
/// The sleep type of S5, soft off, in [`PM1A_CONTROL`].
pub const SLEEP_TYPE_S5: u8 = 5;
/// The system control interrupt.
pub const SCI_IRQ: u32 = 9;
