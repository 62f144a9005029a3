//! The guard between a guest's queue and the handlers: what comes out of it is a finite chain of guest memory in the
//! right order, and a ring that makes no sense is an error, not a loop.
//!
//! `virtio-queue` bounds a chain by the size of its table and refuses an available index that is more than a queue
//! ahead; it ends a broken chain as if it were whole, and an unready queue as if it were empty. That is told apart here.

use super::Buffers;
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The most descriptors of one chain, directly or in an indirect table. The specification allows as many as the queue
/// has (2.7.5.3.1), and no queue of ours has more.
pub(crate) const MAX_CHAIN: usize = 256;

/// What a driver did that leaves its device no way to go on but a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub &'static str);

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidAvailRingIndex => Self("an available index more than a queue ahead"),
            Error::InvalidDescriptorIndex => Self("a descriptor index beyond the table"),
            Error::QueueNotReady => Self("a queue that is not ready"),
            _ => Self("a ring outside of guest memory"),
        }
    }
}

/// A request: what the device may read, and what it may write.
#[derive(Debug, Default)]
pub struct Chain<'m> {
    head: u16,
    /// The device-readable part.
    pub readable: Buffers<'m>,
    /// The device-writable part.
    pub writable: Buffers<'m>,
}

/// A live queue.
pub(crate) struct VirtQueue<'m> {
    queue: Queue,
    memory: &'m GuestMemoryMmap,
}

impl<'m> VirtQueue<'m> {
    /// Takes over a queue that its driver has set up. Its rings are in guest memory from here on, which never shrinks.
    pub fn new(queue: Queue, memory: &'m GuestMemoryMmap) -> Result<Self, Broken> {
        if !queue.is_valid(memory) {
            return Err(Broken("a queue that is not ready, or outside of guest memory"));
        }
        Ok(Self { queue, memory })
    }

    /// Takes the next request. False if there is none.
    pub fn pop(&mut self, chain: &mut Chain<'m>) -> Result<bool, Broken> {
        let Some(mut descriptors) = self.queue.iter(self.memory)?.next() else { return Ok(false) };
        chain.head = descriptors.head_index();
        chain.readable.clear();
        chain.writable.clear();
        let (mut count, mut writable, mut ended) = (0, false, false);
        for descriptor in descriptors.by_ref() {
            count += 1;
            if count > MAX_CHAIN {
                return Err(Broken("a descriptor chain longer than the queue"));
            }
            // Section 2.7.4.2: what is writable comes after what is readable.
            let buffers = match (descriptor.is_write_only(), writable) {
                (true, _) => &mut chain.writable,
                (false, false) => &mut chain.readable,
                (false, true) => return Err(Broken("a readable descriptor after a writable one")),
            };
            writable = descriptor.is_write_only();
            buffers.push(self.memory, descriptor.addr(), descriptor.len())?;
            ended = !descriptor.has_next();
        }
        // A loop, an index beyond its table, a table within a table, more than 4 GiB: the iterator stops before the end.
        match ended {
            true => Ok(true),
            false => Err(Broken("a descriptor chain without an end")),
        }
    }

    /// Gives a request back, with the number of bytes written to it. The driver may look at it from here on.
    pub fn push(&mut self, chain: &Chain<'_>, written: u32) -> Result<(), Broken> {
        Ok(self.queue.add_used(self.memory, chain.head, written)?)
    }

    /// Whether the driver has made something available. An index that makes no sense is something too: `pop` tells.
    pub fn has_next(&self) -> bool {
        self.queue.avail_idx(self.memory, Ordering::Relaxed).is_ok_and(|index| index.0 != self.queue.next_avail())
    }

    /// Whether the driver wants an interrupt for what was given back since this was last asked.
    pub fn wants_interrupt(&mut self) -> Result<bool, Broken> {
        let wanted = self.queue.needs_notification(self.memory)?;
        if self.queue.event_idx_enabled() {
            return Ok(wanted);
        }
        // Without event indices there is this flag, which the library leaves to us (section 2.7.7.2).
        let flags: u16 = self
            .memory
            .load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed)
            .map_err(|_| Broken("a ring outside of guest memory"))?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Asks the driver to notify. True if it has made something available meanwhile, of which it may not have.
    pub fn enable_notifications(&mut self) -> Result<bool, Broken> {
        Ok(self.queue.enable_notification(self.memory)?)
    }

    /// Asks the driver not to notify. With event indices it does so once for each time that it was asked to.
    pub fn disable_notifications(&mut self) -> Result<(), Broken> {
        Ok(self.queue.disable_notification(self.memory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, Driver, BUFFERS};
    use super::*;

    const B: u64 = BUFFERS;

    /// What comes of the chain that `make` puts into the table.
    fn pop(make: impl FnOnce(&mut Driver) -> u16) -> Result<(usize, usize), Broken> {
        let memory = memory();
        let mut driver = Driver::new(&memory, 16);
        let head = make(&mut driver);
        driver.offer(head);
        let mut queue = driver.virt_queue(true, &memory);
        let mut chain = Chain::default();
        assert!(queue.has_next());
        assert!(queue.pop(&mut chain)?);
        assert!(!queue.has_next());
        assert_eq!(chain.head, head);
        Ok((chain.readable.len(), chain.writable.len()))
    }

    #[test]
    fn a_chain_is_split_by_direction() {
        let buffers = [(B, 16, false), (B + 16, 0, false), (B + 32, 100, true), (B + 200, 1, true)];
        assert_eq!(pop(|driver| driver.direct(&buffers)), Ok((16, 101)));
        assert_eq!(pop(|driver| driver.indirect(&buffers)), Ok((16, 101)));
    }

    #[test]
    fn a_chain_that_makes_no_sense_breaks_the_queue() {
        let endless = Err(Broken("a descriptor chain without an end"));
        let outside = Err(Broken("a descriptor that points outside of guest memory"));
        let raw = |addr, len, flags, next| {
            pop(move |driver| {
                driver.raw(0, addr, len, flags, next);
                driver.raw(1, B, 1, 1, 0);
                0
            })
        };
        assert_eq!(pop(|_| 16), endless, "a head beyond the table");
        assert_eq!(raw(B, 1, 1, 0), endless, "a loop of one");
        assert_eq!(raw(B, 1, 1, 1), endless, "a loop of two");
        assert_eq!(raw(B, 1, 1, 16), endless, "next beyond the table");
        assert_eq!(raw(B, 17, 4, 0), endless, "an indirect table of no whole descriptors");
        assert_eq!(raw(B, 0, 4, 0), endless, "an empty indirect table");
        assert_eq!(raw(u64::MAX - 8, 16, 4, 0), endless, "an indirect table nowhere");
        assert_eq!(raw(0x1000, 16, 4, 0), endless, "an indirect table in itself");
        assert_eq!(raw(u64::MAX, 16, 0, 0), outside);
        assert_eq!(raw(B, u32::MAX, 0, 0), outside);
        assert_eq!(raw(16 << 20, 1, 0, 0), outside);
        let order = [(B, 1, false), (B, 1, true), (B, 1, false)];
        assert_eq!(pop(|driver| driver.direct(&order)), Err(Broken("a readable descriptor after a writable one")));
        let long = vec![(B, 1, false); MAX_CHAIN + 1];
        assert_eq!(
            pop(|driver| driver.indirect(&long)),
            Err(Broken("a descriptor chain longer than the queue")),
            "an indirect table may say that it has 65535"
        );
    }

    #[test]
    fn an_index_that_jumps_breaks_the_queue() {
        let memory = memory();
        let driver = Driver::new(&memory, 16);
        let mut queue = driver.virt_queue(true, &memory);
        let mut chain = Chain::default();
        driver.set_avail(17);
        assert!(queue.has_next());
        assert_eq!(queue.pop(&mut chain).unwrap_err(), Broken("an available index more than a queue ahead"));
        driver.set_avail(u16::MAX);
        assert!(queue.pop(&mut chain).is_err(), "backwards is far ahead");
    }

    #[test]
    fn rings_outside_of_memory_are_refused() {
        let memory = memory();
        let driver = Driver::new(&memory, 16);
        for address in [(16 << 20) - 64, 16 << 20, 0xffff_fff0] {
            for high in [0, u32::MAX] {
                let mut queue = driver.queue(true);
                queue.set_used_ring_address(Some(address), Some(high));
                assert!(VirtQueue::new(queue, &memory).is_err(), "{address:#x} {high:#x}");
            }
        }
        let mut queue = driver.queue(true);
        queue.set_ready(false);
        assert!(VirtQueue::new(queue, &memory).is_err());
    }

    #[test]
    fn interrupts_come_when_they_are_asked_for() {
        let memory = memory();
        for event_idx in [true, false] {
            let mut driver = Driver::new(&memory, 16);
            let mut queue = driver.virt_queue(event_idx, &memory);
            let mut chain = Chain::default();
            let mut round = |driver: &mut Driver| {
                let head = driver.direct(&[(B, 1, true)]);
                driver.offer(head);
                assert!(queue.pop(&mut chain).unwrap());
                queue.push(&chain, 1).unwrap();
                assert_eq!(driver.take(), Some((head.into(), 1)));
                queue.wants_interrupt().unwrap()
            };
            driver.set_used_event(2);
            assert_eq!(
                [(); 4].map(|()| round(&mut driver)),
                if event_idx { [false, false, true, false] } else { [true; 4] }
            );
            driver.set_avail_flags(1);
            driver.set_used_event(4);
            assert_eq!(round(&mut driver), event_idx);
        }
    }

    #[test]
    fn notifications_come_when_they_are_asked_for() {
        let memory = memory();
        for event_idx in [true, false] {
            let mut driver = Driver::new(&memory, 16);
            let mut queue = driver.virt_queue(event_idx, &memory);
            queue.disable_notifications().unwrap();
            assert!(!queue.enable_notifications().unwrap());
            let head = driver.direct(&[(B, 1, true)]);
            driver.offer(head);
            assert!(driver.wanted(event_idx));
            queue.disable_notifications().unwrap();
            driver.offer(head);
            assert!(!driver.wanted(event_idx));
            assert!(queue.enable_notifications().unwrap(), "what came meanwhile is not lost");
        }
    }
}
