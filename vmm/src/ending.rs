//! How a machine ends, and who says so first.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// How a machine ended. Printed as one line of JSON, the last on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ending")]
pub enum Ending {
    /// The guest switched itself off, by ACPI.
    PowerOff,
    /// The guest reset itself.
    Reset {
        /// By which device.
        by: ResetBy,
    },
    /// KVM_EXIT_SHUTDOWN: a vCPU met an exception that it could not even report as a double fault.
    TripleFault {
        /// Which vCPU.
        vcpu: u8,
        /// Its registers, as far as KVM still tells them.
        registers: Option<Registers>,
    },
    /// The guest's kernel told pvpanic that it panicked, and either reset or went on for [`crate::machine::PANIC_GRACE`].
    Panicked,
    /// KVM_EXIT_INTERNAL_ERROR: KVM cannot go on.
    InternalError {
        /// Which vCPU.
        vcpu: u8,
        /// `kvm_run.internal.suberror`; 1 is an instruction that KVM's emulator lacks.
        suberror: u32,
        /// The bytes at the instruction pointer, in hexadecimal; empty where it cannot be read.
        instruction: String,
        /// The vCPU's registers.
        registers: Option<Registers>,
    },
    /// KVM_EXIT_FAIL_ENTRY: the processor refuses the vCPU's state.
    FailEntry {
        /// Which vCPU.
        vcpu: u8,
        /// The hardware's reason.
        reason: u64,
    },
    /// KVM_RUN came back for a reason that nothing here asks for.
    UnknownExit {
        /// Which vCPU.
        vcpu: u8,
        /// As kvm-ioctls names it.
        exit: String,
    },
    /// KVM_RUN failed.
    RunFailed {
        /// Which vCPU.
        vcpu: u8,
        /// `errno`.
        errno: i32,
    },
    /// The control socket said `quit`.
    Quit,
    /// A signal that asks for it (SIGTERM, SIGINT, SIGHUP).
    Killed {
        /// Its number.
        signal: i32,
    },
    /// Nobody reads what the guest writes to a serial port.
    StreamClosed {
        /// `console` or `events`.
        stream: String,
    },
}

/// What can reset a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetBy {
    /// The keyboard controller: `reboot=k`, Linux's default.
    I8042,
    /// ACPI's reset register: `reboot=a`.
    Acpi,
    /// KVM itself, on behalf of an interface that it emulates.
    Kvm,
}

/// The registers that explain why a vCPU stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as in the processor's manual")]
pub struct Registers {
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
}

/// Where vCPUs and devices say that the machine ends. The first word stands.
#[derive(Debug)]
pub struct End {
    ending: Mutex<Option<Ending>>,
    panicked: AtomicBool,
    said: EventFd,
}

impl End {
    /// Of a machine that has not ended. `said` becomes readable when it ends, or panics.
    pub fn new(said: EventFd) -> Self {
        Self { ending: Mutex::new(None), panicked: AtomicBool::new(false), said }
    }

    /// Ends the machine, if nobody else did. A guest that resets after it said that it panicked has panicked.
    pub fn say(&self, ending: Ending) {
        let ending = match ending {
            Ending::Reset { .. } | Ending::PowerOff if self.has_panicked() => Ending::Panicked,
            ending => ending,
        };
        self.lock().get_or_insert(ending);
        self.wake();
    }

    /// The guest's kernel says that it panicked. Its console may have more to say.
    pub fn panicked(&self) {
        if !self.panicked.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Whether it did.
    pub fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        // An eventfd's counter overflows after 2^64 - 1 words.
        let _ = self.said.write(1);
    }

    /// How it ended, once it has.
    pub fn get(&self) -> Option<Ending> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Ending>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stands() {
        let end = End::new(EventFd::new(0).unwrap());
        end.say(Ending::PowerOff);
        end.say(Ending::Quit);
        assert_eq!(end.get(), Some(Ending::PowerOff));
    }

    #[test]
    fn a_reset_after_a_panic_is_a_panic() {
        let end = End::new(EventFd::new(0).unwrap());
        end.panicked();
        assert_eq!(end.get(), None);
        end.say(Ending::Reset { by: ResetBy::I8042 });
        assert_eq!(end.get(), Some(Ending::Panicked));
    }

    #[test]
    fn an_ending_is_one_flat_object() {
        let text = serde_json::to_string(&Ending::Reset { by: ResetBy::I8042 }).unwrap();
        assert_eq!(text, r#"{"ending":"reset","by":"i8042"}"#);
    }
}
