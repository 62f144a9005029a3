//! A vCPU's registers.

use crate::ending::Registers;
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;

/// What a stopped vCPU was doing.
#[derive(Debug, Clone, Default)]
pub struct CpuState {
    /// General registers.
    pub regs: kvm_regs,
    /// Segments, control registers, descriptor tables.
    pub sregs: kvm_sregs,
}

impl CpuState {
    /// Of a vCPU that does not run. Zeros where KVM does not tell.
    pub fn of(fd: &VcpuFd) -> Self {
        Self { regs: fd.get_regs().unwrap_or_default(), sregs: fd.get_sregs().unwrap_or_default() }
    }
}

/// The registers of a vCPU that does not run, if KVM tells them.
pub(super) fn registers(fd: &VcpuFd) -> Option<Registers> {
    let (regs, sregs) = (fd.get_regs().ok()?, fd.get_sregs().ok()?);
    Some(Registers {
        rip: regs.rip,
        rsp: regs.rsp,
        rflags: regs.rflags,
        cr0: sregs.cr0,
        cr2: sregs.cr2,
        cr3: sregs.cr3,
        cr4: sregs.cr4,
        efer: sregs.efer,
        rax: regs.rax,
        rbx: regs.rbx,
        rcx: regs.rcx,
        rdx: regs.rdx,
        rsi: regs.rsi,
        rdi: regs.rdi,
        rbp: regs.rbp,
    })
}
