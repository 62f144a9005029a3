//! Virtual CPUs: a thread each, which runs its guest's instructions until somebody kicks it out.
//!
//! All that a thread is asked for goes through its mailbox. Whoever puts something in sets `attention`, then
//! `kvm_run.immediate_exit`, then signals the thread; the thread looks at `attention` before each KVM_RUN, and clears
//! `immediate_exit` before it looks. So no kick is lost, wherever the thread was.

mod exit;
mod kick;
mod state;

use crate::bus::Bus;
use crate::confine::{Confinement, Kind};
use crate::dump::CpuState;
use crate::ending::End;
use crate::error::{Error, Result};
use crate::log::log;
use exit::Exit;
use kick::Kick;
use kvm_ioctls::VcpuFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vm_memory::GuestMemoryMmap;

/// How long all vCPUs may take to stop. One that waits for a slow reader of its serial port takes longer.
pub const PAUSE_PATIENCE: Duration = Duration::from_secs(2);

/// Between two kicks of a thread that ends.
const KICK_INTERVAL: Duration = Duration::from_millis(10);

/// What is outside of a vCPU.
pub struct Outside {
    /// The bus of I/O ports.
    pub ports: Bus,
    /// The bus of physical memory that is not RAM.
    pub memory: Bus,
    /// RAM.
    pub ram: GuestMemoryMmap,
    /// Where it says that the machine ends.
    pub end: Arc<End>,
}

/// What a vCPU's thread is asked for, and answers.
#[derive(Default)]
struct Mail {
    pause: bool,
    stop: bool,
    nmi: bool,
    /// Set while the thread waits outside of KVM_RUN.
    paused: Option<CpuState>,
}

/// What a vCPU's thread shares with those who ask.
#[derive(Default)]
struct Mailbox {
    attention: AtomicBool,
    mail: Mutex<Mail>,
    changed: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One vCPU's thread.
struct Vcpu {
    mailbox: Arc<Mailbox>,
    kick: Kick,
    /// Yields the vCPU, whose kvm_run the kick writes to: it must not go before the last kick.
    thread: Option<JoinHandle<VcpuFd>>,
}

/// The vCPUs of a machine.
pub struct Vcpus {
    vcpus: Vec<Vcpu>,
}

impl Vcpus {
    /// Starts a thread for each of `fds`; they run the guest at once.
    ///
    /// # Errors
    /// The host has no thread for them.
    pub fn start(fds: Vec<VcpuFd>, outside: &Arc<Outside>, confinement: &Arc<Confinement>) -> Result<Self> {
        kick::install_handler();
        let mut vcpus = Self { vcpus: Vec::with_capacity(fds.len()) };
        for (index, mut fd) in (0..).zip(fds) {
            let mailbox = Arc::new(Mailbox::default());
            let kick = Kick::of(&mut fd);
            let processor = Processor { index, fd, mailbox: Arc::clone(&mailbox), outside: Arc::clone(outside) };
            let confinement = Arc::clone(confinement);
            let thread = std::thread::Builder::new()
                .name(format!("vcpu{index}"))
                .spawn(move || {
                    confinement.enter(Kind::Vcpu);
                    processor.run()
                })
                .map_err(Error::host(format!("cannot start vCPU {index}'s thread")))?;
            vcpus.vcpus.push(Vcpu { mailbox, kick, thread: Some(thread) });
        }
        Ok(vcpus)
    }

    /// Stops all vCPUs between two instructions and yields their states.
    ///
    /// # Errors
    /// One does not stop within [`PAUSE_PATIENCE`]; all of them go on then.
    pub fn pause(&self) -> std::result::Result<Vec<CpuState>, String> {
        for vcpu in &self.vcpus {
            vcpu.ask(|mail| mail.pause = true);
        }
        let deadline = Instant::now() + PAUSE_PATIENCE;
        let mut states = Vec::with_capacity(self.vcpus.len());
        for (index, vcpu) in self.vcpus.iter().enumerate() {
            match vcpu.wait_paused(deadline) {
                Some(state) => states.push(state),
                None => {
                    self.resume();
                    return Err(format!("vCPU {index} does not stop within {PAUSE_PATIENCE:?}"));
                }
            }
        }
        Ok(states)
    }

    /// Lets all vCPUs go on.
    pub fn resume(&self) {
        for vcpu in &self.vcpus {
            vcpu.ask(|mail| mail.pause = false);
        }
    }

    /// Injects an NMI into one vCPU, or all. A paused one takes it when it goes on.
    ///
    /// # Errors
    /// There is no such vCPU.
    pub fn nmi(&self, only: Option<u8>) -> std::result::Result<(), String> {
        if only.is_some_and(|index| usize::from(index) >= self.vcpus.len()) {
            return Err(format!("no such vCPU, expected 0 to {}", self.vcpus.len() - 1));
        }
        for (index, vcpu) in self.vcpus.iter().enumerate() {
            if only.is_none_or(|only| usize::from(only) == index) {
                vcpu.ask(|mail| mail.nmi = true);
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.vcpus.len()
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        for vcpu in &self.vcpus {
            vcpu.ask(|mail| mail.stop = true);
        }
        for vcpu in &mut self.vcpus {
            let Some(thread) = vcpu.thread.take() else { continue };
            while !thread.is_finished() {
                vcpu.kick.kick(&thread);
                std::thread::park_timeout(KICK_INTERVAL);
            }
            // A thread that panicked has said so on standard error.
            drop(thread.join());
        }
    }
}

impl Vcpu {
    fn ask(&self, what: impl FnOnce(&mut Mail)) {
        let mut mail = self.mailbox.lock();
        what(&mut mail);
        self.mailbox.attention.store(true, Ordering::SeqCst);
        self.mailbox.changed.notify_all();
        drop(mail);
        if let Some(thread) = &self.thread {
            self.kick.kick(thread);
        }
    }

    fn wait_paused(&self, deadline: Instant) -> Option<CpuState> {
        let mut mail = self.mailbox.lock();
        loop {
            if let Some(state) = &mail.paused {
                return Some(*state);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            (mail, _) = self.mailbox.changed.wait_timeout(mail, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A vCPU in its thread.
struct Processor {
    index: u8,
    fd: VcpuFd,
    mailbox: Arc<Mailbox>,
    outside: Arc<Outside>,
}

impl Processor {
    fn run(mut self) -> VcpuFd {
        loop {
            if self.mailbox.attention.swap(false, Ordering::SeqCst) && !self.attend() {
                return self.fd;
            }
            match exit::run(self.index, &mut self.fd, &self.outside) {
                Exit::Done => {}
                Exit::Kicked => self.fd.set_kvm_immediate_exit(0),
                Exit::Ended(ending) => {
                    self.outside.end.say(ending);
                    // The machine may be asked for its state until it is taken down.
                    self.wait_for_the_end();
                    return self.fd;
                }
            }
        }
    }

    /// Does what the mailbox asks for. `false` if that is to stop.
    fn attend(&mut self) -> bool {
        let mailbox = Arc::clone(&self.mailbox);
        let mut mail = mailbox.lock();
        if mail.pause && !mail.stop {
            // An access that KVM handed to us is completed by the next KVM_RUN, before it exits as it is told to.
            self.fd.set_kvm_immediate_exit(1);
            let _ = self.fd.run();
            self.fd.set_kvm_immediate_exit(0);
        }
        loop {
            if mail.stop {
                return false;
            }
            if std::mem::take(&mut mail.nmi) {
                if let Err(e) = self.fd.nmi() {
                    log!("vCPU {}: KVM_NMI: {e}", self.index);
                }
            }
            if !mail.pause {
                if mail.paused.take().is_some() {
                    // So that the guest's watchdogs do not count the time (kernel/watchdog.c, kvm_check_and_clear_guest_paused).
                    // It fails where the guest has not set up kvm-clock: then there is nothing to tell.
                    let _ = self.fd.kvmclock_ctrl();
                }
                return true;
            }
            if mail.paused.is_none() {
                mail.paused = Some(state::of(&self.fd));
                mailbox.changed.notify_all();
            }
            mail = mailbox.changed.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_for_the_end(&mut self) {
        let mailbox = Arc::clone(&self.mailbox);
        let mut mail = mailbox.lock();
        while !mail.stop {
            mail.paused = mail.pause.then(|| state::of(&self.fd));
            mailbox.changed.notify_all();
            mail = mailbox.changed.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
