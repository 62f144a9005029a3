//! The files that a machine is made of, and the devices that it has.

use crate::boot::VirtioSlot;
use crate::bus::{Bus, Device};
use crate::config::Config;
use crate::confine::{Confinement, Kind};
use crate::devices::cmos::Cmos;
use crate::devices::i8042::I8042;
use crate::devices::pm::Pm;
use crate::devices::pvpanic::Pvpanic;
use crate::devices::serial::{self, Serial, Stream};
use crate::devices::virtio::{self, Block, OnStart, Rng, Transport};
use crate::ending::End;
use crate::error::{Error, Result};
use crate::layout;
use crate::log::log;
use kvm_ioctls::{IoEventAddress, VmFd};
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// All that is opened before the machine is confined.
pub(super) struct Opened {
    pub kernel: File,
    pub initramfs: Option<File>,
    pub streams: [Stream; 2],
    pub disks: Vec<Block>,
    pub control: Option<UnixListener>,
}

impl Opened {
    pub fn open(config: &Config) -> Result<Self> {
        let kernel = open(&config.kernel, "kernel")?;
        let initramfs = config.initramfs.as_deref().map(|path| open(path, "initramfs")).transpose()?;
        let mut disks = Vec::with_capacity(config.disks.len());
        for (name, disk) in ('a'..).zip(&config.disks) {
            disks.push(Block::open(&disk.path, disk.read_only, &format!("vd{name}"))?);
        }
        let control = config.control.as_deref().map(listen).transpose()?;
        // A FIFO waits for its reader here: last, so that what is wrong is said at once.
        let streams = [serial::open(&config.console)?, serial::open(&config.events)?];
        Ok(Self { kernel, initramfs, streams, disks, control })
    }
}

fn open(path: &Path, what: &str) -> Result<File> {
    File::open(path).map_err(|e| Error::request(format!("cannot read the {what} {}: {e}", path.display())))
}

/// A socket left behind by a machine that was killed is in the way of the next.
fn listen(path: &Path) -> Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = std::fs::remove_file(path);
    }
    UnixListener::bind(path)
        .map_err(|e| Error::request(format!("cannot make the control socket {}: {e}", path.display())))
}

/// The devices of a machine.
pub(super) struct Parts {
    pub ports: Bus,
    pub memory: Bus,
    pub virtio: Vec<VirtioSlot>,
}

impl Parts {
    pub fn attach(
        vm: &VmFd,
        ram: &GuestMemoryMmap,
        end: &Arc<End>,
        config: &Config,
        streams: [Stream; 2],
        disks: Vec<Block>,
        confinement: &Arc<Confinement>,
    ) -> Result<Self> {
        let mut parts = Self { ports: Bus::default(), memory: Bus::default(), virtio: Vec::new() };
        let [console, events] = streams;
        for (name, at, irq, stream) in
            [("console", layout::COM1, layout::COM1_IRQ, console), ("events", layout::COM2, layout::COM2_IRQ, events)]
        {
            let serial = Serial::new(name, interrupt(vm, irq)?, stream, Arc::clone(end));
            parts.port(at, layout::COM_PORTS, serial);
            log!("{name}: 16550 at port {at:#x}, interrupt {irq}");
        }
        parts.port(layout::I8042, layout::I8042_PORTS, I8042::new(Arc::clone(end)));
        parts.port(layout::CMOS, layout::CMOS_PORTS, Cmos::default());
        parts.port(layout::PM1A_EVENT, layout::PM_PORTS, Pm::new(Arc::clone(end)));
        parts.port(layout::PVPANIC, 1, Pvpanic::new(Arc::clone(end)));

        let confinement = Arc::clone(confinement);
        let on_start: OnStart = Arc::new(move || confinement.enter(Kind::Worker));
        for disk in disks {
            parts.virtio(vm, ram, Box::new(disk), &on_start)?;
        }
        if config.rng {
            parts.virtio(vm, ram, Box::new(Rng::new()), &on_start)?;
        }
        Ok(parts)
    }

    fn port(&mut self, at: u16, count: u16, device: impl Device + 'static) {
        self.ports.attach(at.into(), count.into(), Arc::new(Mutex::new(device)));
    }

    /// Puts a virtio device into the next slot. The checked configuration has no more devices than slots.
    fn virtio(
        &mut self,
        vm: &VmFd,
        ram: &GuestMemoryMmap,
        device: Box<dyn virtio::VirtioDevice>,
        on_start: &OnStart,
    ) -> Result<()> {
        let slot = self.virtio.len();
        let irq = layout::VIRTIO_IRQS[slot];
        let address = layout::VIRTIO + slot as u64 * layout::VIRTIO_SIZE;
        log!("virtio: {} at {address:#x}, interrupt {irq}", device.name());
        let transport = Transport::new(ram.clone(), device, interrupt(vm, irq)?, on_start)?;
        for (queue, notified) in (0u32..).zip(transport.queue_events()) {
            let register = IoEventAddress::Mmio(address + virtio::QUEUE_NOTIFY);
            vm.register_ioevent(notified, &register, queue).map_err(Error::host("KVM_IOEVENTFD"))?;
        }
        self.memory.attach(address, layout::VIRTIO_SIZE, Arc::new(Mutex::new(transport)));
        self.virtio.push(VirtioSlot { address, irq });
        Ok(())
    }
}

/// An interrupt of the guest, raised by writing to it.
fn interrupt(vm: &VmFd, irq: u32) -> Result<EventFd> {
    let line = EventFd::new(libc::EFD_NONBLOCK).map_err(Error::host("eventfd"))?;
    vm.register_irqfd(&line, irq).map_err(Error::host(format!("KVM_IRQFD {irq}")))?;
    Ok(line)
}
