//! Which accelerator, and why.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a machine executes its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// The host's processor, through /dev/kvm.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accel {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        }
    }
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Asked {
    /// KVM where it runs guests natively, TCG elsewhere.
    #[default]
    Auto,
    /// KVM, whatever the probe says.
    Kvm,
    /// TCG.
    Tcg,
}

/// The accelerator to use, and a sentence that says why.
pub fn choose(asked: Asked, probe: impl FnOnce() -> mmtorture_vmm::Report) -> (Accel, String) {
    match asked {
        Asked::Kvm => (Accel::Kvm, "KVM, as asked".to_owned()),
        Asked::Tcg => (Accel::Tcg, "TCG, as asked".to_owned()),
        Asked::Auto => {
            let report = probe();
            let accel = if report.usable_for_torture() { Accel::Kvm } else { Accel::Tcg };
            (accel, format!("{}: {}", accel.name(), report.sentence()))
        }
    }
}
