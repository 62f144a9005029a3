//! The registers of a virtio device on a memory bus: virtio-mmio, version 2 (section 4.2 of the specification).
//!
//! A guest may write any value to any register at any time. What the specification does not allow a driver is ignored;
//! a queue that cannot work makes the device need a reset.

use super::interrupt::Interrupt;
use super::worker::{Job, Worker};
use super::{OnStart, VirtioDevice};
use crate::bus::Device;
use crate::error::{Error, Result};
use std::sync::Arc;
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// Where a driver writes the index of a queue to notify it, from the device's base: what an ioeventfd is registered
/// for, with the queue's index as its 32-bit data.
pub const QUEUE_NOTIFY: u64 = VIRTIO_MMIO_QUEUE_NOTIFY as u64;

/// "virt" in little-endian.
const MAGIC: u32 = 0x7472_6976;
/// The version that is not legacy.
const VERSION: u32 = 2;
/// A vendor ID means nothing to drivers; this one is "mmto".
const VENDOR: u32 = 0x6f74_6d6d;
/// The features of every device.
const FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// The steps of initialization in their order (section 3.1.1).
const STEPS: [u32; 4] =
    [VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK];

/// A device with its registers, its queues and their threads. Dropping it stops and joins the threads.
pub struct Transport {
    memory: GuestMemoryMmap,
    device: Box<dyn VirtioDevice>,
    interrupt: Arc<Interrupt>,
    events: Vec<EventFd>,
    queues: Vec<Queue>,
    workers: Vec<Worker>,
    status: u32,
    driver_features: u64,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
}

impl Transport {
    /// Puts `device` behind registers, and starts its threads: they run `on_start` and then wait for a driver. `irq` is
    /// written to for each interrupt, edge-triggered.
    ///
    /// # Errors
    /// The host has no threads or descriptors left.
    pub fn new(
        memory: GuestMemoryMmap,
        device: Box<dyn VirtioDevice>,
        irq: EventFd,
        on_start: &OnStart,
    ) -> Result<Self> {
        let (mut events, mut queues, mut workers) = (vec![], vec![], vec![]);
        for (index, size) in device.queue_sizes().iter().enumerate() {
            let step = || format!("cannot make queue {index} of {}", device.name());
            // Blocking: a worker waits in read.
            let event = EventFd::new(libc::EFD_CLOEXEC).map_err(Error::host(step()))?;
            let wait = event.try_clone().map_err(Error::host(step()))?;
            queues.push(Queue::new(*size).map_err(Error::host(step()))?);
            workers.push(Worker::spawn(device.name(), wait, device.handler(index), on_start.clone())?);
            events.push(event);
        }
        let interrupt = Arc::new(Interrupt::new(irq));
        Ok(Self {
            memory,
            device,
            interrupt,
            events,
            queues,
            workers,
            status: 0,
            driver_features: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            queue_sel: 0,
        })
    }

    /// One event for each queue, in order: a write to it notifies the queue, as a write of the queue's index to
    /// [`QUEUE_NOTIFY`] does.
    pub fn queue_events(&self) -> &[EventFd] {
        &self.events
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    fn features(&self) -> u64 {
        self.device.features() | FEATURES
    }

    fn queue(&self) -> Option<&Queue> {
        self.queues.get(self.queue_sel as usize)
    }

    /// The selected queue, at the only time when a driver may set it up: between features and DRIVER_OK.
    fn queue_in_setup(&mut self) -> Option<&mut Queue> {
        let open = self.has(VIRTIO_CONFIG_S_FEATURES_OK) && !self.has(VIRTIO_CONFIG_S_DRIVER_OK);
        let queue = self.queues.get_mut(self.queue_sel as usize).filter(|_| open)?;
        (!queue.ready()).then_some(queue)
    }

    fn has(&self, status: u32) -> bool {
        self.status & status != 0
    }

    fn register(&self, offset: u32) -> u32 {
        match offset {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.device.device_type(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => half(self.features(), self.device_features_sel),
            VIRTIO_MMIO_QUEUE_NUM_MAX => self.queue().map_or(0, |queue| queue.max_size().into()),
            VIRTIO_MMIO_QUEUE_READY => self.queue().is_some_and(Queue::ready).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt.status(),
            VIRTIO_MMIO_STATUS if self.interrupt.needs_reset() => self.status | VIRTIO_CONFIG_S_NEEDS_RESET,
            VIRTIO_MMIO_STATUS => self.status,
            // There is no shared memory region, which all bits say (section 4.2.2).
            VIRTIO_MMIO_SHM_LEN_LOW..=VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // Including the configuration's generation: a configuration that never changes has one.
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u32, value: u32) {
        match offset {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            VIRTIO_MMIO_QUEUE_SEL => self.queue_sel = value,
            VIRTIO_MMIO_QUEUE_NOTIFY => self.notify(value),
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt.acknowledge(value),
            VIRTIO_MMIO_STATUS => self.set_status(value),
            VIRTIO_MMIO_QUEUE_READY if value == 0 => self.stop_queue(),
            _ => {
                let Some(queue) = self.queue_in_setup() else { return };
                match offset {
                    // `set_` ignores what is no valid size or alignment. Zero is none.
                    VIRTIO_MMIO_QUEUE_NUM => queue.set_size(u16::try_from(value).unwrap_or(0)),
                    VIRTIO_MMIO_QUEUE_READY => queue.set_ready(value == 1),
                    VIRTIO_MMIO_QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
                    VIRTIO_MMIO_QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
                    VIRTIO_MMIO_QUEUE_AVAIL_LOW => queue.set_avail_ring_address(Some(value), None),
                    VIRTIO_MMIO_QUEUE_AVAIL_HIGH => queue.set_avail_ring_address(None, Some(value)),
                    VIRTIO_MMIO_QUEUE_USED_LOW => queue.set_used_ring_address(Some(value), None),
                    VIRTIO_MMIO_QUEUE_USED_HIGH => queue.set_used_ring_address(None, Some(value)),
                    _ => {}
                }
            }
        }
    }

    fn set_driver_features(&mut self, value: u32) {
        if !self.has(VIRTIO_CONFIG_S_DRIVER) || self.has(VIRTIO_CONFIG_S_FEATURES_OK) {
            return;
        }
        let shift = match self.driver_features_sel {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.driver_features = self.driver_features & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    /// Takes the steps of initialization that `value` adds, each only after the one before it.
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        self.status |= value & VIRTIO_CONFIG_S_FAILED;
        for (index, step) in STEPS.into_iter().enumerate() {
            let due = index == 0 || self.has(STEPS[index - 1]);
            if value & step == 0 || self.has(step) || !due || self.has(VIRTIO_CONFIG_S_FAILED) {
                continue;
            }
            // Features that make no sense are refused by leaving the bit clear (section 3.1.1, step 6).
            if step == VIRTIO_CONFIG_S_FEATURES_OK && !self.features_fit() {
                continue;
            }
            self.status |= step;
            if step == VIRTIO_CONFIG_S_DRIVER_OK {
                self.activate();
            }
        }
    }

    fn features_fit(&self) -> bool {
        self.driver_features & !self.features() == 0 && self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0
    }

    /// The driver is ready: hands the queues that it has set up to their workers.
    fn activate(&mut self) {
        let event_idx = self.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        for (queue, worker) in self.queues.iter_mut().zip(&self.workers).filter(|(queue, _)| queue.ready()) {
            queue.set_event_idx(event_idx);
            // A state that a queue gave can be taken back.
            let Ok(queue) = Queue::try_from(queue.state()) else { continue };
            worker.start(Job {
                queue,
                memory: self.memory.clone(),
                features: self.driver_features,
                interrupt: self.interrupt.clone(),
            });
        }
    }

    fn notify(&self, queue: u32) {
        if let Some(event) = self.events.get(queue as usize).filter(|_| self.has(VIRTIO_CONFIG_S_DRIVER_OK)) {
            // Its counter overflows after 2^64 - 2 notifications that nobody reads.
            let _ = event.write(1);
        }
    }

    /// The driver takes the selected queue back (section 4.2.2.2).
    fn stop_queue(&mut self) {
        let index = self.queue_sel as usize;
        if let (Some(queue), Some(worker)) = (self.queues.get_mut(index), self.workers.get(index)) {
            worker.stop();
            queue.set_ready(false);
        }
    }

    fn reset(&mut self) {
        self.workers.iter().for_each(Worker::stop);
        self.queues.iter_mut().for_each(Queue::reset);
        self.interrupt.reset();
        self.status = 0;
        self.driver_features = 0;
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.queue_sel = 0;
    }
}

impl Device for Transport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(at) = offset.checked_sub(VIRTIO_MMIO_CONFIG.into()) {
            let rest = self.device.config().get(at as usize..).unwrap_or_default();
            let len = rest.len().min(data.len());
            data.fill(0);
            data[..len].copy_from_slice(&rest[..len]);
        } else if let (Ok(data), true) = (<&mut [u8; 4]>::try_from(data), offset.is_multiple_of(4)) {
            // Registers are 32 bits wide and accessed as such (section 4.2.2.2).
            *data = self.register(offset as u32).to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        // No configuration of ours is writable.
        if let (Ok(data), true) =
            (<[u8; 4]>::try_from(data), offset.is_multiple_of(4) && offset < VIRTIO_MMIO_CONFIG.into())
        {
            self.set_register(offset as u32, u32::from_le_bytes(data));
        }
    }
}

/// The low (0) or the high (1) 32 bits; of all others there is nothing.
fn half(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, until, Driver, Registers, BUFFERS, EVENT_IDX, VERSION_1};
    use super::super::{Block, Rng};
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use vm_memory::{Bytes, GuestAddress};

    fn rng() -> (GuestMemoryMmap, Registers, EventFd) {
        let memory = memory();
        let irq = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let registers = Registers::new(&memory, Box::new(Rng::new()), &irq);
        (memory, registers, irq)
    }

    #[test]
    fn a_driver_finds_what_it_looks_for() {
        let (_, mut registers, _) = rng();
        assert_eq!(registers.read(VIRTIO_MMIO_MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
        assert_eq!(registers.read(VIRTIO_MMIO_VERSION), 2);
        assert_eq!(registers.read(VIRTIO_MMIO_DEVICE_ID), 4);
        assert_eq!(registers.features(), VERSION_1 | EVENT_IDX | 1 << 28);
        assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
        registers.write(VIRTIO_MMIO_QUEUE_SEL, 1);
        assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        assert_eq!(registers.read(VIRTIO_MMIO_SHM_LEN_LOW), u32::MAX);
        let mut odd = [0xff; 2];
        registers.0.read(0, &mut odd);
        assert_eq!(odd, [0xff; 2], "a register is 32 bits wide");
    }

    #[test]
    fn initialization_has_an_order() {
        let (_, mut registers, _) = rng();
        registers.write(VIRTIO_MMIO_STATUS, 2);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 0);
        registers.write(VIRTIO_MMIO_STATUS, 4);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 0);
        assert!(!registers.accept(EVENT_IDX), "a legacy driver");
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 3);
        assert!(!registers.accept(VERSION_1 | 1), "a feature that was not offered");
        assert!(registers.accept(VERSION_1));
        registers.write(VIRTIO_MMIO_DRIVER_FEATURES, 1);
        registers.write(VIRTIO_MMIO_STATUS, 15);
        registers.set_queue(16);
        assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_READY), 0, "too late");
        registers.write(VIRTIO_MMIO_STATUS, 0);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 0);
        assert!(registers.accept(VERSION_1));
        registers.write(VIRTIO_MMIO_STATUS, 128);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 139);
        registers.write(VIRTIO_MMIO_STATUS, 15);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 139, "a driver that gave up starts anew");
    }

    #[test]
    fn a_notification_is_answered_until_the_device_is_reset() {
        let (memory, mut registers, irq) = rng();
        for round in 0..3 {
            let mut driver = Driver::new(&memory, 16);
            memory.write_slice(&[0; 64], GuestAddress(BUFFERS)).unwrap();
            registers.start(VERSION_1 | EVENT_IDX, 16);
            let head = driver.direct(&[(BUFFERS, 64, true)]);
            driver.offer(head);
            // By the register, and as an ioeventfd does.
            match round {
                0 => registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0),
                _ => registers.0.queue_events()[0].write(1).unwrap(),
            }
            assert_eq!(driver.wait(), (head.into(), 64));
            let mut bytes = [0; 64];
            memory.read_slice(&mut bytes, GuestAddress(BUFFERS)).unwrap();
            assert_ne!(bytes, [0; 64]);
            until("an interrupt", || irq.read().is_ok());
            assert_eq!(registers.read(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
            registers.write(VIRTIO_MMIO_INTERRUPT_ACK, 1);
            assert_eq!(registers.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
            registers.write(VIRTIO_MMIO_STATUS, 0);
            assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_READY), 0);
            driver.offer(head);
            registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert_eq!(driver.take(), None, "a device that is reset leaves memory alone");
        }
    }

    #[test]
    fn a_broken_queue_needs_a_reset_and_says_so() {
        let (memory, mut registers, irq) = rng();
        let driver = Driver::new(&memory, 16);
        registers.start(VERSION_1 | EVENT_IDX, 16);
        driver.set_avail(1000);
        registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        until("an interrupt", || irq.read().is_ok());
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 79);
        assert_eq!(registers.read(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
        registers.write(VIRTIO_MMIO_STATUS, 0);
        assert_eq!(registers.read(VIRTIO_MMIO_STATUS), 0);
        let mut driver = Driver::new(&memory, 16);
        registers.start(VERSION_1, 16);
        let head = driver.direct(&[(BUFFERS, 8, true)]);
        driver.offer(head);
        registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        assert_eq!(driver.wait(), (0, 8));
    }

    #[test]
    fn a_driver_may_take_a_queue_back() {
        let (memory, mut registers, _) = rng();
        let mut driver = Driver::new(&memory, 16);
        registers.start(VERSION_1, 16);
        assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_READY), 1);
        registers.write(VIRTIO_MMIO_QUEUE_READY, 0);
        assert_eq!(registers.read(VIRTIO_MMIO_QUEUE_READY), 0);
        let head = driver.direct(&[(BUFFERS, 8, true)]);
        driver.offer(head);
        registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(driver.take(), None);
    }

    #[test]
    fn threads_start_with_the_transport_and_end_with_it() {
        let started = Arc::new(AtomicU32::new(0));
        let count = started.clone();
        let hook: OnStart = Arc::new(move || {
            assert_eq!(std::thread::current().name(), Some("rng"));
            count.fetch_add(1, Ordering::Relaxed);
        });
        let irq = EventFd::new(0).unwrap();
        let transport = Transport::new(memory(), Box::new(Rng::new()), irq, &hook).unwrap();
        until("the thread", || started.load(Ordering::Relaxed) == 1);
        drop(transport);
        // The hook is dropped by the thread, or not at all.
        drop(hook);
        assert_eq!(Arc::strong_count(&started), 1);
    }

    #[test]
    fn the_configuration_ends_with_zeros() {
        let irq = EventFd::new(0).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(1_000_000).unwrap();
        let disk = Block::new(file, false, "vda").unwrap();
        let mut registers = Registers::new(&memory(), Box::new(disk), &irq);
        assert_eq!(registers.read(VIRTIO_MMIO_DEVICE_ID), 2);
        let mut capacity = [0xff; 8];
        registers.0.read(VIRTIO_MMIO_CONFIG.into(), &mut capacity);
        assert_eq!(u64::from_le_bytes(capacity), 1953, "whole sectors");
        registers.0.read(0xffc, &mut capacity);
        assert_eq!(capacity, [0; 8]);
        registers.0.read(u64::MAX, &mut capacity);
        assert_eq!(capacity, [0; 8]);
        registers.0.write(VIRTIO_MMIO_CONFIG.into(), &[1; 4]);
        registers.0.read(VIRTIO_MMIO_CONFIG.into(), &mut capacity[..1]);
        assert_eq!(capacity[0], 1953_u64 as u8, "and cannot be written");
    }

    proptest! {
        #[test]
        fn no_sequence_of_accesses_does_harm(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::super::fuzz::mmio(&data);
        }

        #[test]
        fn no_sequence_of_accesses_after_a_good_start_does_harm(
            seed in prop::sample::select(super::super::fuzz::mmio_seeds()),
            at in 0..200_usize,
            data in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut input = seed;
            for (slot, byte) in input.iter_mut().skip(at).zip(data) {
                *slot = byte;
            }
            super::super::fuzz::mmio(&input);
        }
    }
}
