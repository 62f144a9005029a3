//! What a vCPU is before it runs: CPUID, MSRs, local interrupts.

pub mod cpuid;
pub mod msrs;

use crate::config::Config;
use crate::{Error, Result};
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Cap, Kvm, VcpuFd};

/// Offsets of local interrupt registers in the local APIC (Intel SDM volume 3, table 11-1).
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
// Delivery modes, bits 8 to 10. Bit 16, which masks the interrupt, stays clear.
const EXT_INT: u32 = 7 << 8;
const NMI: u32 = 4 << 8;

/// Sets up the vCPU with this index, which is its APIC id. Returns the MSRs that the host refused, for the log.
///
/// The order matters: KVM checks MSRs and registers against CPUID.
///
/// # Errors
/// KVM fails.
pub fn setup(kvm: &Kvm, vcpu: &VcpuFd, index: u8, config: &Config) -> Result<Vec<msrs::Refused>> {
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::host("KVM_GET_SUPPORTED_CPUID"))?;
    let topology = cpuid::Topology::new(index, config.cpus, config.nodes);
    let deadline = kvm.check_extension(Cap::TscDeadlineTimer);
    let cpuid = cpuid::guest(&supported, topology, deadline, &config.mask_cpuid)?;
    vcpu.set_cpuid2(&cpuid).map_err(Error::host("KVM_SET_CPUID2"))?;
    let refused = msrs::set(vcpu)?;
    // INIT, which every other vCPU gets from the guest, would undo it: there the guest does this itself.
    if index == 0 {
        connect_lints(vcpu)?;
    }
    Ok(refused)
}

/// Connects the PIC and NMIs, as firmware does and the MP table says.
fn connect_lints(vcpu: &VcpuFd) -> Result<()> {
    let mut lapic = vcpu.get_lapic().map_err(Error::host("KVM_GET_LAPIC"))?;
    for (register, mode) in [(LVT_LINT0, EXT_INT), (LVT_LINT1, NMI)] {
        for (to, byte) in lapic.regs[register..].iter_mut().zip(mode.to_le_bytes()) {
            *to = byte as _;
        }
    }
    vcpu.set_lapic(&lapic).map_err(Error::host("KVM_SET_LAPIC"))
}
