//! Keeping the outer kernel's code as it is.
//!
//! KVM switches static keys as machines come and go, one of them in the scheduler (kvm_create_vm →
//! preempt_notifier_inc): the kernel then patches its own code by way of INT3 (arch/x86/kernel/alternative.c,
//! text_poke_bp_batch) while its other processors run it. Under multi-threaded TCG (QEMU 7.2) that froze the guest now
//! and then. In the freeze that was looked into, both processors took a breakpoint in __schedule that the kernel had
//! removed, over and over, as if they kept a translation from while it was there. With machines that stay, the keys
//! stay as they are.

use kvm_ioctls::{Kvm, VcpuFd, VmFd};

/// Machines that nobody runs.
#[derive(Debug)]
pub struct Held {
    _machines: Vec<(VcpuFd, VmFd)>,
}

/// Makes them. They hold the keys `preempt_notifier_key`, `kvm_has_noapic_vcpu` (a processor without a local APIC) and
/// `apic_sw_disabled` (one whose APIC is as after reset).
///
/// # Errors
/// KVM makes no machine.
pub fn hold() -> Result<Held, kvm_ioctls::Error> {
    let kvm = Kvm::new()?;
    let mut machines = Vec::new();
    for local_apic in [false, true] {
        let machine = kvm.create_vm()?;
        if local_apic {
            machine.create_irq_chip()?;
        }
        machines.push((machine.create_vcpu(0)?, machine));
    }
    Ok(Held { _machines: machines })
}
