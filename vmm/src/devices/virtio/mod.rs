//! virtio devices (Virtual I/O Device specification, version 1.2), a folder each.
//!
//! A device is two things: what it says of itself ([`VirtioDevice`]) and what it does with one request ([`Handler`]).
//! The rest is the same for all: [`Transport`] has the registers, `queue` takes requests out of the guest's memory and
//! puts answers back, `worker` is the thread that does so. A new device is one folder here and one line in
//! [`crate::machine`].

pub mod block;
mod buffers;
#[doc(hidden)]
pub mod fuzz;
mod interrupt;
mod mmio;
mod poll;
pub(crate) mod queue;
pub mod rng;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod worker;

pub use block::Block;
pub use buffers::Buffers;
pub use mmio::{Transport, QUEUE_NOTIFY};
pub use queue::{Broken, Chain};
pub use rng::Rng;

use std::sync::Arc;

/// What runs first on every worker thread: the place to confine it.
pub type OnStart = Arc<dyn Fn() + Send + Sync>;

/// A device, behind its [`Transport`].
pub trait VirtioDevice: Send {
    /// Its name in the log and of its threads (`disk-vda`); the kernel shows the first 15 bytes of a thread's name.
    fn name(&self) -> &str;

    /// Its type: section 5 of the specification.
    fn device_type(&self) -> u32;

    /// The feature bits that are its own. The transport adds those of rings and of the specification's version.
    fn features(&self) -> u64;

    /// The most descriptors of each of its queues: powers of two up to 32768.
    fn queue_sizes(&self) -> &[u16];

    /// Its configuration space, which never changes. What the guest reads beyond its end is zero.
    fn config(&self) -> &[u8];

    /// What answers the requests of queue number `queue`, on a thread of its own.
    fn handler(&self, queue: usize) -> Box<dyn Handler>;
}

/// What a device does with requests.
pub trait Handler: Send {
    /// Answers one request and says how many bytes it wrote to the writable part of its chain, from its start on.
    /// `features` are those that the driver accepted.
    ///
    /// # Errors
    /// The chain leaves no room for any answer, not even for one that says no. The device stops until it is reset.
    fn handle(&mut self, chain: &Chain<'_>, features: u64) -> Result<u32, Broken>;
}
