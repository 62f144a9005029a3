//! Model-specific registers that do not start as they should.
//!
//! All others are zero after reset, the addresses of SYSENTER and SYSCALL among them, and the guest sets them before it
//! uses them.

use crate::{Error, Result};
use kvm_bindings::{kvm_msr_entry, Msrs};
use kvm_ioctls::VcpuFd;
use std::fmt;

/// Name, number and value.
const MSRS: [(&str, u32, u64); 3] = [
    // Zero is how KVM synchronizes the counters of vCPUs.
    ("IA32_TIME_STAMP_COUNTER", 0x10, 0),
    // Fast string operations: Linux looks at this bit before it uses REP MOVSB (early_init_intel() of
    // arch/x86/kernel/cpu/intel.c).
    ("IA32_MISC_ENABLE", 0x1a0, 1),
    // MTRRs on, write-back where they say nothing. Without, Linux takes all memory for uncacheable.
    ("IA32_MTRR_DEF_TYPE", 0x2ff, 1 << 11 | 6),
];

/// An MSR that the host does not let the guest have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// As in the processor's manual.
    pub name: &'static str,
    /// Its number.
    pub index: u32,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#x})", self.name, self.index)
    }
}

/// Sets them and returns those that the host refuses.
///
/// # Errors
/// KVM_SET_MSRS fails as a whole.
pub(super) fn set(vcpu: &VcpuFd) -> Result<Vec<Refused>> {
    set_with(|msrs| vcpu.set_msrs(msrs).map_err(Error::host("KVM_SET_MSRS")))
}

/// `set` answers how many it set: it stops at the first that it refuses.
fn set_with(mut set: impl FnMut(&Msrs) -> Result<usize>) -> Result<Vec<Refused>> {
    let mut refused = Vec::new();
    let mut rest = &MSRS[..];
    while !rest.is_empty() {
        let entries: Vec<_> =
            rest.iter().map(|(_, index, data)| kvm_msr_entry { index: *index, data: *data, reserved: 0 }).collect();
        let msrs = Msrs::from_entries(&entries).map_err(|error| Error::host("list of MSRs")(format!("{error:?}")))?;
        let (_, tail) = rest.split_at(set(&msrs)?.min(rest.len()));
        rest = match tail.split_first() {
            Some((&(name, index, _), tail)) => {
                refused.push(Refused { name, index });
                tail
            }
            None => tail,
        };
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_left_out_and_the_rest_is_set() {
        let mut done = Vec::new();
        let refused = set_with(|msrs| {
            let accepted: Vec<_> =
                msrs.as_slice().iter().map(|msr| msr.index).take_while(|index| *index != 0x1a0).collect();
            done.extend(&accepted);
            Ok(accepted.len())
        });
        let refused: Vec<_> = refused.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!((done, refused), (vec![0x10, 0x2ff], vec!["IA32_MISC_ENABLE (0x1a0)".to_owned()]));
        assert_eq!(set_with(|_| Ok(0)).unwrap().len(), MSRS.len());
        assert_eq!(set_with(|_| Ok(3)).unwrap(), []);
    }
}
