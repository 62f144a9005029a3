//! The devices, a folder each.

pub mod virtio;
