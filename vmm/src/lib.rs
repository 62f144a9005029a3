//! The virtual machine side of mmtorture that does not know what a trial is.
//!
//! For now this is the [`mod@probe`]: whether this host's `/dev/kvm` runs an unmodified kernel natively, is a software
//! KVM that only looks as if it did, or is not there at all.

pub mod probe;

pub use probe::{probe, Report, Verdict};
