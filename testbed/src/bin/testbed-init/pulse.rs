//! Telling the host that this machine still runs.
//!
//! The question itself may be what keeps it running. SVM's emulation changes a processor's pending interrupts without a
//! lock (QEMU 7.2, target/i386/tcg/sysemu/svm_helper.c, helper_vmrun and do_vmexit, on `interrupt_request`), so one that
//! another thread raises meanwhile can be lost: a one-shot timer's is then never followed by another. Its local APIC still
//! has it, and tells it again with the next interrupt of any kind. The question is one for the processor that takes it,
//! and moving over all of them is one for each.

use mmtorture_testbed::wire::Frame;
use rustix::thread::CpuSet;
use std::fs::File;

/// Answers from every processor.
///
/// # Errors
/// The port's.
pub fn answer(port: &mut File) -> anyhow::Result<()> {
    let every = rustix::thread::sched_getaffinity(None)?;
    for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| every.is_set(cpu)) {
        let mut one = CpuSet::new();
        one.set(cpu);
        rustix::thread::sched_setaffinity(None, &one)?;
    }
    rustix::thread::sched_setaffinity(None, &every)?;
    Ok(Frame::Pong.write(port)?)
}
