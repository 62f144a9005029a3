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
