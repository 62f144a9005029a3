//! What commands that run guests have in common.

use super::positive;
use crate::error::Result;
use crate::image::Programs;
use crate::machine::choose::{choose, AskedAccel, AskedMachine, Choice};
use crate::machine::qemu::{self, Qemu};
use crate::machine::vmm::Vmm;
use crate::machine::Machine;

/// What is asked of guests.
#[derive(Debug, clap::Args)]
pub(super) struct GuestArgs {
    /// Guests at once; by default as many as the host's cores and memory bear
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) jobs: Option<usize>,
    /// What runs the guests
    #[arg(long, value_enum, default_value_t)]
    machine: AskedMachine,
    /// How it executes them
    #[arg(long, value_enum, default_value_t)]
    accel: AskedAccel,
}

impl GuestArgs {
    /// The machine that was asked for, and why it is that one.
    pub(super) fn machine(&self, programs: &Programs) -> Result<(Box<dyn Machine>, String)> {
        let (choice, why) = choose(self.machine, self.accel, mmtorture_vmm::probe)?;
        let machine: Box<dyn Machine> = match choice {
            Choice::Vmm { masks } => Box::new(Vmm::new(programs.vmm(), masks)),
            Choice::Qemu(accel) => {
                qemu::installed()?;
                Box::new(Qemu::new(accel))
            }
        };
        Ok((machine, why))
    }
}
