//! Exits: what a vCPU left KVM_RUN for, done.

use super::state;
use super::Outside;
use crate::ending::{Ending, ResetBy};
use kvm_bindings::{
    KVM_EXIT_IO_OUT, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
    KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The longest x86 instruction, in bytes.
const INSTRUCTION_MAX: usize = 15;

/// What came of a KVM_RUN.
pub(super) enum Exit {
    /// Something that is done; the guest goes on.
    Done,
    /// A signal, or `immediate_exit`.
    Kicked,
    /// The machine's end.
    Ended(Ending),
}

/// Runs the guest until it exits, and does what the exit asks for.
pub(super) fn run(vcpu: u8, fd: &mut VcpuFd, outside: &Outside) -> Exit {
    match fd.run() {
        Ok(VcpuExit::IoIn(..) | VcpuExit::IoOut(..)) => {
            port_io(fd, outside);
            Exit::Done
        }
        Ok(VcpuExit::MmioRead(address, data)) => {
            outside.memory.read(address, data);
            Exit::Done
        }
        Ok(VcpuExit::MmioWrite(address, data)) => {
            outside.memory.write(address, data);
            Exit::Done
        }
        Ok(VcpuExit::Intr) => Exit::Kicked,
        Ok(VcpuExit::Shutdown) => Exit::Ended(Ending::TripleFault { vcpu, registers: state::registers(fd) }),
        Ok(VcpuExit::InternalError) => Exit::Ended(internal_error(vcpu, fd, outside)),
        Ok(VcpuExit::FailEntry(reason, _)) => Exit::Ended(Ending::FailEntry { vcpu, reason }),
        Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _)) => Exit::Ended(Ending::PowerOff),
        Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _)) => Exit::Ended(Ending::Reset { by: ResetBy::Kvm }),
        Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _)) => Exit::Ended(Ending::Panicked),
        Ok(exit) => {
            let exit = format!("{exit:?}");
            Exit::Ended(Ending::UnknownExit { vcpu, exit })
        }
        Err(error) => match error.errno() {
            libc::EINTR => Exit::Kicked,
            // A vCPU that waited for INIT and SIPI, and has something to do now.
            libc::EAGAIN => Exit::Done,
            errno => Exit::Ended(Ending::RunFailed { vcpu, errno }),
        },
    }
}

/// An access to an I/O port: `count` of them, `size` bytes each, for string instructions.
fn port_io(fd: &mut VcpuFd, outside: &Outside) {
    let run: *mut kvm_bindings::kvm_run = fd.get_kvm_run();
    // SAFETY: after KVM_EXIT_IO, `io` is what the kernel filled in.
    let io = unsafe { (*run).__bindgen_anon_1.io };
    let (size, length) = (usize::from(io.size), usize::from(io.size) * io.count as usize);
    // SAFETY: the kernel puts `count` items of `size` bytes at `data_offset` from kvm_run, inside of the vCPU's mapping
    // (Documentation/virt/kvm/api.rst, KVM_EXIT_IO), which lives as long as `fd`. Nobody else uses it until the next KVM_RUN.
    let data = unsafe { std::slice::from_raw_parts_mut(run.cast::<u8>().add(io.data_offset as usize), length) };
    for item in data.chunks_exact_mut(size.max(1)) {
        match u32::from(io.direction) == KVM_EXIT_IO_OUT {
            true => outside.ports.write(io.port.into(), item),
            false => outside.ports.read(io.port.into(), item),
        }
    }
}

fn internal_error(vcpu: u8, fd: &mut VcpuFd, outside: &Outside) -> Ending {
    let run = fd.get_kvm_run();
    // SAFETY: after KVM_EXIT_INTERNAL_ERROR, `internal` and, in it, `emulation_failure` are what the kernel filled in;
    // both are plain integers.
    let (suberror, failure) =
        unsafe { (run.__bindgen_anon_1.internal.suberror, run.__bindgen_anon_1.emulation_failure) };
    // SAFETY: as above; a plain struct of a byte count and bytes.
    let told = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
    let flagged = failure.flags & u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
    // `ndata` counts the words that are valid: flags, and then two of length and bytes.
    let bytes = if suberror == KVM_INTERNAL_ERROR_EMULATION && failure.ndata >= 3 && flagged {
        told.insn_bytes[..usize::from(told.insn_size).min(INSTRUCTION_MAX)].to_vec()
    } else {
        bytes_at_rip(fd, &outside.ram).unwrap_or_default()
    };
    let instruction = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    Ending::InternalError { vcpu, suberror, instruction, registers: state::registers(fd) }
}

/// The bytes at the instruction pointer, read through the guest's page tables as KVM walks them.
fn bytes_at_rip(fd: &VcpuFd, ram: &GuestMemoryMmap) -> Option<Vec<u8>> {
    let (regs, sregs) = (fd.get_regs().ok()?, fd.get_sregs().ok()?);
    let at = fd.translate_gva(sregs.cs.base.wrapping_add(regs.rip)).ok().filter(|at| at.valid != 0)?;
    let mut bytes = vec![0; INSTRUCTION_MAX];
    let read = ram.read(&mut bytes, GuestAddress(at.physical_address)).ok()?;
    bytes.truncate(read);
    Some(bytes)
}
