//! A guest of one vCPU and 2 MiB, started in 64-bit mode without a line of start-up code: page tables, descriptor
//! tables and control registers are set from outside.

use super::programs::{self, Program};
use super::report::Stop;
use kvm_bindings::{
    kvm_msr_entry, kvm_regs, kvm_segment, kvm_userspace_memory_region, CpuId, Msrs, KVM_MAX_CPUID_ENTRIES,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::atomic::{AtomicBool, Ordering};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Guest memory: what one large page maps.
const MEMORY: usize = 2 << 20;

// Where things stand in guest physical memory, which is mapped one to one.
const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const STUBS: u64 = 0x3000;
const PML4: u64 = programs::PML4;
const PDPT: u64 = 0xa000;
const PD: u64 = 0xb000;
const PT: u64 = programs::PT;
const STACK_TOP: u64 = 0x8_0000;

/// Present, writable, user.
const MAPPED: u64 = 0x7;
/// In a page directory: maps 2 MiB by itself.
const LARGE: u64 = 1 << 7;

/// Flat segments. SYSCALL and SYSRET take their selectors from STAR at fixed distances, hence the order.
const SEGMENTS: [u64; 5] = [
    0,
    0x00af_9b00_0000_ffff, // 0x08: code, 64-bit, ring 0
    0x00cf_9300_0000_ffff, // 0x10: data, ring 0
    0x00cf_f300_0000_ffff, // 0x18: data, ring 3
    0x00af_fb00_0000_ffff, // 0x20: code, 64-bit, ring 3
];
const CODE_SELECTOR: u16 = 0x08;
const DATA_SELECTOR: u16 = 0x10;

/// Vectors with an entry in the IDT: all that the CPU raises itself.
const VECTORS: u64 = 32;
/// Present, 64-bit interrupt gate, ring 0.
const GATE: u64 = 0x8e;

/// PE, MP, ET, NE, WP, PG, as Linux runs.
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
/// PAE, OSFXSR, OSXMMEXCPT.
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10;
const CR4_OSXSAVE: u64 = 1 << 18;
/// SCE, LME, LMA.
const EFER: u64 = 1 | 1 << 8 | 1 << 10;
/// x87 and SSE state.
const XCR0: u64 = 3;

/// Three pages that Intel CPUs without unrestricted guests need for real mode; anywhere outside of guest memory.
const TSS: usize = 0xfffb_d000;

/// A call that failed while a guest was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StepError {
    /// Which call.
    pub step: &'static str,
    /// `errno`.
    pub errno: i32,
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        match error.errno {
            // No signal but the kick reaches this thread. On a busy host it can come before the guest is even made.
            libc::EINTR => Self::Timeout,
            errno => Self::Call { step: error.step.to_owned(), errno },
        }
    }
}

const OUTSIDE: StepError = StepError { step: "write to guest memory", errno: libc::EFAULT };

fn at(step: &'static str) -> impl Fn(kvm_ioctls::Error) -> StepError {
    move |error| StepError { step, errno: error.errno() }
}

pub(super) struct Machine {
    vcpu: VcpuFd,
    // Fields are dropped in this order: memory must outlive the VM that it is mapped into.
    _vm: VmFd,
    memory: GuestMemoryMmap,
}

impl Machine {
    /// Makes a guest that is about to run `program`.
    pub fn new(kvm: &Kvm, program: &Program) -> Result<Self, StepError> {
        let no_memory = StepError { step: "mmap of guest memory", errno: libc::ENOMEM };
        let vm = kvm.create_vm().map_err(at("KVM_CREATE_VM"))?;
        vm.set_tss_address(TSS).map_err(at("KVM_SET_TSS_ADDR"))?;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).map_err(|_| no_memory)?;
        let host = memory.get_host_address(GuestAddress(0)).map_err(|_| no_memory)?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: host as u64,
        };
        // SAFETY: `host` is a mapping of MEMORY bytes that lives in the same Machine, dropped after the VM.
        unsafe { vm.set_user_memory_region(region) }.map_err(at("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = vm.create_vcpu(0).map_err(at("KVM_CREATE_VCPU"))?;
        let machine = Self { vcpu, _vm: vm, memory };
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(at("KVM_GET_SUPPORTED_CPUID"))?;
        machine.load(program, &cpuid)?;
        machine.start(program, &cpuid)?;
        Ok(machine)
    }

    /// Writes eight bytes of guest memory.
    pub fn write(&self, address: u64, value: u64) -> Result<(), StepError> {
        self.memory.write_obj(value, GuestAddress(address)).map_err(|_| OUTSIDE)
    }

    fn write_code(&self, address: u64, code: &[&[u8]]) -> Result<(), StepError> {
        self.memory.write_slice(&code.concat(), GuestAddress(address)).map_err(|_| OUTSIDE)
    }

    fn load(&self, program: &Program, cpuid: &CpuId) -> Result<(), StepError> {
        self.write(PML4, PDPT | MAPPED)?;
        self.write(PDPT, PD | MAPPED)?;
        self.write(PD, LARGE | MAPPED)?;
        self.write(PD + 8, PT | MAPPED)?;
        self.write(PT, programs::PAGE_A | MAPPED)?;
        for (i, segment) in (0..).zip(SEGMENTS) {
            self.write(GDT + 8 * i, segment)?;
        }
        for vector in 0..VECTORS {
            let stub = STUBS + 16 * vector;
            let handler = if program.vector == Some(vector as u8) { programs::HANDLER } else { stub };
            let low = (handler & 0xffff) | u64::from(CODE_SELECTOR) << 16 | GATE << 40 | (handler & 0xffff_0000) << 32;
            self.write(IDT + 16 * vector, low)?;
            self.write(IDT + 16 * vector + 8, handler >> 32)?;
            self.write_code(stub, &[&[0xb0, vector as u8], programs::REPORT_VECTOR])?;
        }
        self.write_code(programs::CODE, program.code)?;
        self.write_code(programs::HANDLER, program.handler)?;
        self.write_code(programs::USER, program.user)?;
        for (address, value) in program.data {
            self.write(*address, *value)?;
        }
        let vendor = cpuid.as_slice().iter().find(|leaf| leaf.function == 0).map_or(0, |leaf| leaf.ebx);
        self.write(programs::VENDOR, u64::from(vendor))
    }

    fn start(&self, program: &Program, cpuid: &CpuId) -> Result<(), StepError> {
        // CR4.OSXSAVE, XCR0 and some MSRs are refused before the CPUID allows them.
        self.vcpu.set_cpuid2(cpuid).map_err(at("KVM_SET_CPUID2"))?;
        // What is not set here (TR, LDTR, APIC base) keeps its state at reset, which the CPU accepts in 64-bit mode.
        let mut sregs = self.vcpu.get_sregs().map_err(at("KVM_GET_SREGS"))?;
        let data = kvm_segment {
            limit: u32::MAX,
            selector: DATA_SELECTOR,
            type_: 0x3,
            present: 1,
            s: 1,
            db: 1,
            g: 1,
            ..Default::default()
        };
        sregs.cs = kvm_segment { selector: CODE_SELECTOR, type_: 0xb, db: 0, l: 1, ..data };
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        (sregs.gdt.base, sregs.gdt.limit) = (GDT, 8 * SEGMENTS.len() as u16 - 1);
        (sregs.idt.base, sregs.idt.limit) = (IDT, 16 * VECTORS as u16 - 1);
        let xsave = programs::Feature::Xsave.offered(cpuid);
        (sregs.cr0, sregs.cr3, sregs.efer) = (CR0, PML4, EFER);
        sregs.cr4 = CR4 | if xsave { CR4_OSXSAVE } else { 0 };
        self.vcpu.set_sregs(&sregs).map_err(at("KVM_SET_SREGS"))?;
        if xsave {
            let mut xcrs = self.vcpu.get_xcrs().map_err(at("KVM_GET_XCRS"))?;
            xcrs.nr_xcrs = 1;
            (xcrs.xcrs[0].xcr, xcrs.xcrs[0].value) = (0, XCR0);
            self.vcpu.set_xcrs(&xcrs).map_err(at("KVM_SET_XCRS"))?;
        }
        let entries =
            program.msrs.iter().map(|(index, data)| kvm_msr_entry { index: *index, data: *data, reserved: 0 });
        let entries: Vec<kvm_msr_entry> = entries.collect();
        let refused = StepError { step: "KVM_SET_MSRS", errno: libc::EINVAL };
        let msrs = Msrs::from_entries(&entries).map_err(|_| refused)?;
        // It answers how many it set, and stops at the first that it refuses.
        if !entries.is_empty() && self.vcpu.set_msrs(&msrs).map_err(at("KVM_SET_MSRS"))? != entries.len() {
            return Err(refused);
        }
        // Bit 1 of RFLAGS is always set.
        let regs =
            kvm_regs { rip: programs::CODE, rsp: STACK_TOP, rdi: programs::DATA, rflags: 2, ..Default::default() };
        self.vcpu.set_regs(&regs).map_err(at("KVM_SET_REGS"))
    }

    /// Runs the guest until it gives an answer. `stop` and a signal end it before.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<u32, Stop> {
        while !stop.load(Ordering::Acquire) {
            let name = match self.vcpu.run() {
                Ok(VcpuExit::IoOut(programs::ANSWER_PORT, data)) => {
                    let data = data.try_into().map_err(|_| Stop::Exit { name: format!("IoOut {data:?}") })?;
                    return Ok(u32::from_le_bytes(data));
                }
                Ok(VcpuExit::IoOut(programs::VECTOR_PORT, &[vector])) => return Err(Stop::Exception { vector }),
                Ok(VcpuExit::Shutdown) => return Err(Stop::TripleFault),
                Ok(VcpuExit::FailEntry(reason, _)) => return Err(Stop::FailEntry { reason }),
                Ok(VcpuExit::InternalError) => return Err(self.internal_error()),
                Ok(VcpuExit::Intr) => continue,
                Ok(exit) => format!("{exit:?}"),
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => continue,
                Err(error) => return Err(Stop::Call { step: "KVM_RUN".to_owned(), errno: error.errno() }),
            };
            return Err(Stop::Exit { name });
        }
        Err(Stop::Timeout)
    }

    fn internal_error(&mut self) -> Stop {
        let run = self.vcpu.get_kvm_run();
        // SAFETY: after KVM_EXIT_INTERNAL_ERROR, `internal` is what the kernel filled in; any bytes are a valid u32.
        let suberror = unsafe { run.__bindgen_anon_1.internal.suberror };
        Stop::InternalError { suberror }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_while_the_guest_is_made_is_a_timeout() {
        let step = "KVM_CREATE_VCPU";
        assert_eq!(Stop::from(StepError { step, errno: libc::EINTR }), Stop::Timeout);
        let full = Stop::from(StepError { step, errno: libc::ENOMEM });
        assert_eq!(full, Stop::Call { step: step.to_owned(), errno: libc::ENOMEM });
    }
}
