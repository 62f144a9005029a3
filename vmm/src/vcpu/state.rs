//! A vCPU's registers.

use crate::dump::CpuState;
use crate::ending::Registers;
use kvm_bindings::{kvm_msr_entry, Msrs};
use kvm_ioctls::VcpuFd;

/// MSR_KERNEL_GS_BASE (arch/x86/include/asm/msr-index.h).
const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// The state of a vCPU that does not run. Zeros where KVM does not tell.
pub(super) fn of(fd: &VcpuFd) -> CpuState {
    let entry = kvm_msr_entry { index: KERNEL_GS_BASE, ..Default::default() };
    let kernel_gs_base = Msrs::from_entries(&[entry]).ok().and_then(|mut msrs| {
        fd.get_msrs(&mut msrs).ok().filter(|&read| read == 1)?;
        Some(msrs.as_slice()[0].data)
    });
    CpuState {
        regs: fd.get_regs().unwrap_or_default(),
        sregs: fd.get_sregs().unwrap_or_default(),
        kernel_gs_base: kernel_gs_base.unwrap_or_default(),
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
