//! The devices, a folder each. What each answers at is in [`crate::layout`]; interrupt controllers, PIT and local APICs
//! are KVM's.

pub mod cmos;
pub(crate) mod fuzz;
pub mod i8042;
pub mod irq;
pub mod pm;
pub mod pvpanic;
pub mod serial;
pub mod virtio;
