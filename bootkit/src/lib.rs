//! What every program that boots a Linux guest needs, whatever for.

pub mod cpio;
pub mod debian;
pub mod modules;
pub mod tsc;
