//! How a machine ended, whichever machine it was.

use mmtorture_vmm::ending::{self, Registers, ResetBy};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Ending {
    /// The guest switched itself off.
    PowerOff,
    /// The guest reset itself.
    Reset {
        /// By what, where the machine knows: `i8042`, `acpi`, `kvm`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A vCPU met an exception that it could not even report as a double fault.
    TripleFault {
        /// Which vCPU, where the machine knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vcpu: Option<u8>,
        /// Its registers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registers: Option<Registers>,
    },
    /// The guest's kernel said that it panicked, and the machine ended it for that.
    Panicked,
    /// KVM could not go on.
    InternalError {
        /// `kvm_run.internal.suberror`; 1 is an instruction that KVM's emulator lacks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suberror: Option<u32>,
        /// The bytes at the instruction pointer, in hexadecimal; empty where nobody knows.
        instruction: String,
        /// The vCPU's registers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registers: Option<Registers>,
    },
    /// We ended it; `stop` says why.
    Stopped,
    /// In order, but the machine did not say how.
    Unknown,
    /// The machine itself failed, or somebody else ended it.
    Failed {
        /// What it said.
        why: String,
    },
}

impl From<ending::Ending> for Ending {
    fn from(ending: ending::Ending) -> Self {
        use ending::Ending as Vmm;
        let failed = |why: String| Self::Failed { why };
        match ending {
            Vmm::PowerOff => Self::PowerOff,
            Vmm::Reset { by } => {
                let by = match by {
                    ResetBy::I8042 => "i8042",
                    ResetBy::Acpi => "acpi",
                    ResetBy::Kvm => "kvm",
                };
                Self::Reset { by: Some(by.to_owned()) }
            }
            Vmm::TripleFault { vcpu, registers } => Self::TripleFault { vcpu: Some(vcpu), registers },
            Vmm::Panicked => Self::Panicked,
            Vmm::InternalError { vcpu: _, suberror, instruction, registers } => {
                Self::InternalError { suberror: Some(suberror), instruction, registers }
            }
            Vmm::FailEntry { vcpu, reason } => {
                failed(format!("the processor refuses vCPU {vcpu}: KVM_EXIT_FAIL_ENTRY {reason:#x}"))
            }
            Vmm::UnknownExit { vcpu, exit } => failed(format!("vCPU {vcpu} left KVM_RUN for {exit}")),
            Vmm::RunFailed { vcpu, errno } => {
                failed(format!("KVM_RUN of vCPU {vcpu} failed: {}", std::io::Error::from_raw_os_error(errno)))
            }
            Vmm::Quit => failed("the machine was told to quit".to_owned()),
            Vmm::Killed { signal } => failed(format!("signal {signal} ended the machine")),
            Vmm::StreamClosed { stream } => failed(format!("nobody read the guest's {stream}")),
        }
    }
}

impl fmt::Display for Ending {
    /// In words; what a vCPU stood at follows after a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("power-off"),
            Self::Reset { by: None } => f.write_str("reset"),
            Self::Reset { by: Some(by) } => write!(f, "reset by {by}"),
            Self::TripleFault { registers, vcpu } => {
                f.write_str("triple fault")?;
                if let Some(vcpu) = vcpu {
                    write!(f, " of vCPU {vcpu}")?;
                }
                registers.as_ref().map_or(Ok(()), |r| write!(f, ": {}", Line(r)))
            }
            Self::Panicked => f.write_str("panic"),
            Self::InternalError { suberror, instruction, registers } => {
                f.write_str("KVM internal error")?;
                if let Some(suberror) = suberror {
                    write!(f, " {suberror}")?;
                }
                if !instruction.is_empty() {
                    write!(f, " at instruction {instruction}")?;
                }
                registers.as_ref().map_or(Ok(()), |r| write!(f, ": {}", Line(r)))
            }
            Self::Stopped => f.write_str("ended by mmtorture"),
            Self::Unknown => f.write_str("ended in order"),
            Self::Failed { why } => f.write_str(why),
        }
    }
}

/// Registers in one line.
struct Line<'a>(&'a Registers);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Registers { rip, rsp, rflags, cr0, cr2, cr3, cr4, efer, .. } = self.0;
        write!(f, "rip {rip:#x} rsp {rsp:#x} rflags {rflags:#x} cr0 {cr0:#x} cr2 {cr2:#x} cr3 {cr3:#x} cr4 {cr4:#x} efer {efer:#x}")?;
        let Registers { rax, rbx, rcx, rdx, rsi, rdi, rbp, .. } = self.0;
        write!(f, " rax {rax:#x} rbx {rbx:#x} rcx {rcx:#x} rdx {rdx:#x} rsi {rsi:#x} rdi {rdi:#x} rbp {rbp:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_vmm_says_is_taken_as_it_says_it() {
        let told = |line: &str| Ending::from(serde_json::from_str::<ending::Ending>(line).unwrap()).to_string();
        assert_eq!(told(r#"{"ending":"reset","by":"i8042"}"#), "reset by i8042");
        assert_eq!(told(r#"{"ending":"triple-fault","vcpu":1,"registers":null}"#), "triple fault of vCPU 1");
        let error = r#"{"ending":"internal-error","vcpu":0,"suberror":1,"instruction":"480fc7","registers":null}"#;
        assert_eq!(told(error), "KVM internal error 1 at instruction 480fc7");
        assert_eq!(
            told(r#"{"ending":"run-failed","vcpu":2,"errno":14}"#),
            "KVM_RUN of vCPU 2 failed: Bad address (os error 14)"
        );
    }

    #[test]
    fn a_trial_keeps_it_as_one_object() {
        let ending = Ending::Reset { by: None };
        let text = serde_json::to_string(&ending).unwrap();
        assert_eq!(text, r#"{"kind":"reset"}"#);
        assert_eq!(serde_json::from_str::<Ending>(&text).unwrap(), ending);
    }
}
