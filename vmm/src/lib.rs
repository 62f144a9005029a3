//! A small KVM virtual machine monitor for kernels under test, and the [`mod@probe`] that tells whether a host's
//! `/dev/kvm` can run them. It knows nothing of trials or findings: the program `mmtorture-vmm` is driven as QEMU is.
//!
//! `docs/vmm.md` walks through a boot. In short: [`config`] is what is asked for, [`layout`] is where everything stands,
//! [`boot`] puts kernel, tables and first registers there, [`devices`] answer on two [`bus`]es, [`vcpu`] runs the
//! processors, [`machine`] puts it together and follows it to its [`ending`].
//!
//! The guest runs a broken kernel and is taken for hostile: no byte of it makes this process panic, spin, allocate
//! without bound, or touch memory other than the guest's.

pub mod boot;
pub mod bus;
pub mod config;
pub mod confine;
pub mod control;
pub mod cpu;
pub mod devices;
pub mod dump;
pub mod ending;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod layout;
mod log;
pub mod machine;
pub mod memory;
pub mod probe;
pub mod vcpu;

pub use error::{Error, Result};
pub use probe::{probe, Report, Verdict};
