//! A host with a real KVM, on any machine.
//!
//! QEMU's TCG emulates AMD's SVM. A stock Debian kernel booted under it loads kvm-amd and has a `/dev/kvm` that runs
//! guests the way hardware would: by VMRUN, with nested paging, at about TCG's own speed. In that guest the host's root
//! file system is visible, so that whatever runs here runs there, too.
//!
//! ```no_run
//! # fn main() -> Result<(), mmtorture_testbed::Error> {
//! use mmtorture_testbed::{Job, Options, Testbed};
//! let bed = Testbed::boot(&Options::default())?;
//! let said = bed.run(&Job::shell("ls -l /dev/kvm"))?;
//! assert!(said.status.success());
//! # Ok(()) }
//! ```
//!
//! One boot takes some ten seconds and serves any number of commands, one at a time.

mod bed;
mod error;
mod image;
mod job;
mod package;
mod qemu;
pub mod wire;

pub use bed::{Options, Testbed};
pub use error::Error;
pub use job::{Job, Output, Stream};
pub use package::Kernel;
