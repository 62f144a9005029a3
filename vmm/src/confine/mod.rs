//! Confinement: what this process may still ask of the host once it has opened its files.
//!
//! The guest is hostile, and so is this process if a bug of its lets the guest take it over. It keeps the system calls
//! that each kind of thread needs ([`filters`]), may gain no privileges, and may not grow.

mod filters;
mod limits;
mod report;

use crate::error::{Error, Result};
use crate::log::log;
use seccompiler::BpfProgram;

/// The kinds of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The main thread: control socket, end, dumps.
    Main,
    /// A vCPU: KVM_RUN, and the devices that answer in its thread.
    Vcpu,
    /// A virtio device's worker: reads and writes of files that are open.
    Worker,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Main, Self::Vcpu, Self::Worker];
}

/// A confinement, ready to be entered.
pub struct Confinement {
    /// By kind; `None` where there is none.
    filters: Option<[BpfProgram; 3]>,
}

impl Confinement {
    /// None: for debugging, and for tests.
    pub fn none() -> Self {
        Self { filters: None }
    }

    /// Prepares the filters, and takes from the process what it will not need: new privileges at once, and memory
    /// beyond `guest_bytes` of guest and what a VMM is entitled to.
    ///
    /// # Errors
    /// The kernel refuses one of the limits.
    pub fn prepare(guest_bytes: u64) -> Result<Self> {
        limits::no_new_privileges()?;
        limits::set(guest_bytes)?;
        report::install_handler();
        let mut filters = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            filters.push(filters::of(kind).map_err(Error::host("cannot compile a seccomp filter"))?);
        }
        Ok(Self { filters: filters.try_into().ok() })
    }

    /// Confines the calling thread for good. Without its confinement no thread goes on: the process ends.
    pub fn enter(&self, kind: Kind) {
        let Some(filters) = &self.filters else { return };
        if let Err(e) = seccompiler::apply_filter(&filters[kind as usize]) {
            log!("seccomp: {e}");
            std::process::exit(3);
        }
    }
}
