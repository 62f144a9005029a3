//! A driver for tests: split rings in guest memory, and the registers of a transport.

use super::queue::VirtQueue;
use super::{OnStart, Transport, VirtioDevice};
use crate::bus::Device;
use std::sync::Arc;
use std::time::{Duration, Instant};
use virtio_bindings::virtio_mmio::*;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

pub const VERSION_1: u64 = 1 << 32;
pub const EVENT_IDX: u64 = 1 << 29;

pub const MEMORY: usize = 16 << 20;
const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x4000;
const USED: u64 = 0x5000;
const INDIRECT: u64 = 0x8000;
/// Buffers from here on.
pub const BUFFERS: u64 = 0x10_0000;

pub fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap()
}

/// A buffer: address, length, whether the device may write to it.
pub type Buffer = (u64, u32, bool);

/// The driver's end of a queue.
pub struct Driver {
    pub memory: GuestMemoryMmap,
    pub size: u16,
    /// Where in the table the next chain goes.
    free: u16,
    avail: u16,
    used: u16,
}

impl Driver {
    pub fn new(memory: &GuestMemoryMmap, size: u16) -> Self {
        memory.write_slice(&vec![0; (BUFFERS - TABLE) as usize], GuestAddress(TABLE)).unwrap();
        Self { memory: memory.clone(), size, free: 0, avail: 0, used: 0 }
    }

    /// The device's end.
    pub fn queue(&self, event_idx: bool) -> Queue {
        let mut queue = Queue::new(256).unwrap();
        queue.set_size(self.size);
        queue.set_desc_table_address(Some(TABLE as u32), None);
        queue.set_avail_ring_address(Some(AVAIL as u32), None);
        queue.set_used_ring_address(Some(USED as u32), None);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        queue
    }

    pub fn virt_queue<'m>(&self, event_idx: bool, memory: &'m GuestMemoryMmap) -> VirtQueue<'m> {
        VirtQueue::new(self.queue(event_idx), memory).unwrap()
    }

    pub fn descriptor(&self, table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let at = GuestAddress(table + 16 * u64::from(index));
        let bytes = [&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat();
        self.memory.write_slice(&bytes, at).unwrap();
    }

    /// A descriptor of the table, as a hostile driver may write it.
    pub fn raw(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        self.descriptor(TABLE, index, addr, len, flags, next);
    }

    fn chain(&self, table: u64, first: u16, buffers: &[Buffer]) {
        for (index, (addr, len, writable)) in (first..).zip(buffers) {
            let last = index == first + buffers.len() as u16 - 1;
            let flags = u16::from(!last) | u16::from(*writable) << 1;
            self.descriptor(table, index, *addr, *len, flags, index + 1);
        }
    }

    /// Puts a chain into the table, without making it available.
    pub fn direct(&mut self, buffers: &[Buffer]) -> u16 {
        let count = buffers.len() as u16;
        if self.free + count > self.size {
            self.free = 0;
        }
        let head = self.free;
        self.chain(TABLE, head, buffers);
        self.free += count;
        head
    }

    pub fn indirect(&mut self, buffers: &[Buffer]) -> u16 {
        let head = self.free % self.size;
        let table = INDIRECT + 0x1000 * u64::from(head);
        self.chain(table, 0, buffers);
        self.descriptor(TABLE, head, table, 16 * buffers.len() as u32, 4, 0);
        self.free = head + 1;
        head
    }

    /// Makes a chain available.
    pub fn offer(&mut self, head: u16) {
        let slot = AVAIL + 4 + 2 * u64::from(self.avail % self.size);
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.avail = self.avail.wrapping_add(1);
        self.set_avail(self.avail);
    }

    pub fn set_avail(&self, index: u16) {
        self.memory.store(index, GuestAddress(AVAIL + 2), std::sync::atomic::Ordering::Release).unwrap();
    }

    pub fn set_avail_flags(&self, flags: u16) {
        self.memory.write_obj(flags, GuestAddress(AVAIL)).unwrap();
    }

    /// Wants an interrupt when the device has used so many chains more.
    pub fn set_used_event(&self, index: u16) {
        self.memory.write_obj(index, GuestAddress(AVAIL + 4 + 2 * u64::from(self.size))).unwrap();
    }

    /// Whether the device wants to be notified of what was offered last.
    pub fn wanted(&self, event_idx: bool) -> bool {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        if !event_idx {
            return self.memory.read_obj::<u16>(GuestAddress(USED)).unwrap() & 1 == 0;
        }
        let event: u16 = self.memory.read_obj(GuestAddress(USED + 4 + 8 * u64::from(self.size))).unwrap();
        event == self.avail.wrapping_sub(1)
    }

    pub fn used_index(&self) -> u16 {
        self.memory.load(GuestAddress(USED + 2), std::sync::atomic::Ordering::Acquire).unwrap()
    }

    /// The next chain that the device gave back: its head, and the bytes written.
    pub fn take(&mut self) -> Option<(u32, u32)> {
        if self.used_index() == self.used {
            return None;
        }
        let slot = USED + 4 + 8 * u64::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        let [id, len]: [u32; 2] = [0, 4].map(|at| self.memory.read_obj(GuestAddress(slot + at)).unwrap());
        Some((id, len))
    }

    pub fn wait(&mut self) -> (u32, u32) {
        let mut answer = None;
        until("an answer", || {
            answer = self.take();
            answer.is_some()
        });
        answer.unwrap()
    }
}

/// Waits for what another thread does.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited for {what} in vain");
        std::thread::yield_now();
    }
}

/// A transport whose driver is this test.
pub struct Registers(pub Transport);

impl Registers {
    pub fn new(memory: &GuestMemoryMmap, device: Box<dyn VirtioDevice>, irq: &EventFd) -> Self {
        let on_start: OnStart = Arc::new(|| ());
        Self(Transport::new(memory.clone(), device, irq.try_clone().unwrap(), &on_start).unwrap())
    }

    pub fn read(&mut self, register: u32) -> u32 {
        let mut data = [0xff; 4];
        self.0.read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub fn write(&mut self, register: u32, value: u32) {
        self.0.write(register.into(), &value.to_le_bytes());
    }

    pub fn features(&mut self) -> u64 {
        let half = |registers: &mut Self, select| {
            registers.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, select);
            u64::from(registers.read(VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(self, 0) | half(self, 1) << 32
    }

    /// Accepts features, and says whether the device does.
    pub fn accept(&mut self, features: u64) -> bool {
        self.write(VIRTIO_MMIO_STATUS, 1);
        self.write(VIRTIO_MMIO_STATUS, 3);
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, select);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES, half);
        }
        self.write(VIRTIO_MMIO_STATUS, 11);
        self.read(VIRTIO_MMIO_STATUS) == 11
    }

    /// Sets up the first queue as [`Driver`] has it.
    pub fn set_queue(&mut self, size: u16) {
        self.write(VIRTIO_MMIO_QUEUE_SEL, 0);
        self.write(VIRTIO_MMIO_QUEUE_NUM, size.into());
        self.write(VIRTIO_MMIO_QUEUE_DESC_LOW, TABLE as u32);
        self.write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL as u32);
        self.write(VIRTIO_MMIO_QUEUE_USED_LOW, USED as u32);
        self.write(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    /// All of it: the device serves when this returns.
    pub fn start(&mut self, features: u64, size: u16) {
        assert!(self.accept(features));
        self.set_queue(size);
        self.write(VIRTIO_MMIO_STATUS, 15);
        assert_eq!(self.read(VIRTIO_MMIO_STATUS), 15);
    }
}
