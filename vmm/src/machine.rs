//! A machine: put together from its configuration, run, and followed to its end.
//!
//! The order is the one that the host needs: files are opened while they may be, the VM has its interrupt controllers
//! before its vCPUs (KVM_CREATE_IRQCHIP), CPUID comes before the MSRs and registers that it allows, and confinement comes
//! last, before the first instruction of the guest.

mod operate;
mod parts;

use crate::boot;
use crate::config::Config;
use crate::confine::{Confinement, Kind};
use crate::control::Server;
use crate::cpu;
use crate::ending::{End, Ending};
use crate::error::{Error, Result};
use crate::layout::{KVM_IDENTITY_MAP, KVM_TSS};
use crate::log::log;
use crate::memory;
use crate::vcpu::{Outside, Vcpus};
use kvm_bindings::{kvm_pit_config, KVM_PIT_SPEAKER_DUMMY};
use kvm_ioctls::{Kvm, VmFd};
use parts::{Opened, Parts};
use std::sync::Arc;
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// How long a guest that panicked may go on, so that its console can say all that it has to say. With `panic=-1` on its
/// command line it resets long before.
pub const PANIC_GRACE: Duration = Duration::from_secs(2);

/// Runs the machine to its end. `event` hears of what happens before it.
///
/// # Errors
/// The request is wrong, or the host fails, before the guest runs.
pub fn run(config: &Config, event: &mut dyn FnMut(Event)) -> Result<Ending> {
    crate::log::start();
    config.check()?;
    let signals = operate::Signals::block()?;
    let opened = Opened::open(config)?;
    let kvm = Kvm::new().map_err(Error::host("cannot open /dev/kvm"))?;
    let bytes = config.memory << 20;
    // Before any thread is started: limits and no_new_privs are the whole process's.
    let confinement = Arc::new(if config.no_confinement { Confinement::none() } else { Confinement::prepare(bytes)? });

    let vm = kvm.create_vm().map_err(Error::host("KVM_CREATE_VM"))?;
    prepare(&vm)?;
    let ram = memory::map(bytes)?;
    memory::register(&vm, &ram)?;

    let said = EventFd::new(libc::EFD_NONBLOCK).map_err(Error::host("eventfd"))?;
    let end = Arc::new(End::new(said.try_clone().map_err(Error::host("eventfd"))?));
    let Opened { kernel, initramfs, streams, disks, control } = opened;
    let parts = Parts::attach(&vm, &ram, &end, config, streams, disks, &confinement)?;
    let given = boot::load(config, &ram, boot::Files { kernel, initramfs }, &parts.virtio)?;
    for line in given.to_string().lines() {
        log!("{line}");
    }

    let mut fds = Vec::with_capacity(config.cpus.into());
    for index in 0..config.cpus {
        let vcpu = vm.create_vcpu(index.into()).map_err(Error::host(format!("KVM_CREATE_VCPU {index}")))?;
        let refused = cpu::setup(&kvm, &vcpu, index, config)?;
        if index == 0 {
            boot::registers::set(&vcpu, &given)?;
            for msr in refused {
                log!("cpu: this host refuses MSR {msr}; the guest goes without");
            }
        }
        fds.push(vcpu);
    }
    log!("cpu: {} vCPUs", fds.len());

    let outside =
        Arc::new(Outside { ports: parts.ports, memory: parts.memory, ram: ram.clone(), end: Arc::clone(&end) });
    let mut server = control.map(Server::new).transpose().map_err(Error::host("epoll"))?;
    let vcpus = Vcpus::start(fds, &outside, &confinement)?;
    let mut operator = operate::Operator::new(&vcpus, &ram, &end);
    confinement.enter(Kind::Main);
    event(Event::Running);
    let ending = operator.follow(&said, &signals, server.as_mut(), event)?;
    drop(vcpus);
    Ok(ending)
}

/// What happens to a machine before its end. One line of JSON each on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The vCPUs run.
    Running,
    /// The guest's kernel told pvpanic that it panicked.
    Panicked,
}

/// What a VM has before vCPUs and memory.
fn prepare(vm: &VmFd) -> Result<()> {
    vm.set_identity_map_address(KVM_IDENTITY_MAP).map_err(Error::host("KVM_SET_IDENTITY_MAP_ADDR"))?;
    vm.set_tss_address(KVM_TSS).map_err(Error::host("KVM_SET_TSS_ADDR"))?;
    vm.create_irq_chip().map_err(Error::host("KVM_CREATE_IRQCHIP"))?;
    // Or every access to port 0x61, by which a guest may calibrate its delays, would come to us.
    let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(pit).map_err(Error::host("KVM_CREATE_PIT2"))
}
