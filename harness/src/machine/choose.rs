//! Which machine, with which accelerator, and why.

use crate::error::{Error, Result};
use clap::ValueEnum;
use mmtorture_vmm::Report;
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

/// The machine that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum AskedMachine {
    /// mmtorture-vmm where KVM runs guests natively, QEMU elsewhere.
    #[default]
    Auto,
    /// mmtorture-vmm.
    Vmm,
    /// QEMU.
    Qemu,
}

/// The accelerator that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum AskedAccel {
    /// KVM where it runs guests natively, TCG elsewhere.
    #[default]
    Auto,
    /// KVM, whatever the probe says.
    Kvm,
    /// TCG.
    Tcg,
}

/// A machine that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// mmtorture-vmm, with KVM.
    Vmm {
        /// CPUID bits that the probe found guests better off without.
        masks: &'static [&'static str],
    },
    /// QEMU.
    Qemu(Accel),
}

impl Choice {
    /// The name for people.
    pub fn name(self) -> String {
        match self {
            Self::Vmm { .. } => "mmtorture-vmm".to_owned(),
            Self::Qemu(accel) => format!("QEMU with {}", accel.name()),
        }
    }
}

/// The machine to use, and a sentence that says which and why. Probes only where the answer matters.
///
/// # Errors
/// The two do not go together, or the machine that is insisted on does not run guests here.
pub fn choose(machine: AskedMachine, accel: AskedAccel, probe: impl FnOnce() -> Report) -> Result<(Choice, String)> {
    let because = |choice: Choice, why: &str| (choice, format!("{}: {why}", choice.name()));
    Ok(match (machine, accel) {
        (AskedMachine::Vmm, AskedAccel::Tcg) => {
            return Err(Error::request("--machine vmm with --accel tcg, expected --accel auto or kvm: TCG is QEMU's"));
        }
        (AskedMachine::Vmm, AskedAccel::Kvm) => because(Choice::Vmm { masks: &[] }, "KVM, as asked"),
        (AskedMachine::Vmm, AskedAccel::Auto) => {
            let report = probe();
            if !report.usable_for_torture() {
                return Err(Error::host(format!(
                    "--machine vmm needs a KVM that runs guests natively, and here is: {}; --accel kvm insists, \
                     --machine qemu does without",
                    report.sentence()
                )));
            }
            because(Choice::Vmm { masks: report.masks() }, &report.sentence())
        }
        (AskedMachine::Qemu | AskedMachine::Auto, AskedAccel::Tcg) => {
            because(Choice::Qemu(Accel::Tcg), "TCG, as asked")
        }
        (AskedMachine::Qemu, AskedAccel::Kvm) => because(Choice::Qemu(Accel::Kvm), "KVM, as asked"),
        (AskedMachine::Qemu, AskedAccel::Auto) => {
            let report = probe();
            let accel = if report.usable_for_torture() { Accel::Kvm } else { Accel::Tcg };
            because(Choice::Qemu(accel), &report.sentence())
        }
        (AskedMachine::Auto, AskedAccel::Auto) => auto(&probe()),
        (AskedMachine::Auto, AskedAccel::Kvm) => {
            let report = probe();
            match report.usable_for_torture() {
                true => because(Choice::Vmm { masks: report.masks() }, &report.sentence()),
                // Our VMM is for native KVM; on another only who names it gets it.
                false => because(Choice::Qemu(Accel::Kvm), &format!("KVM, as asked, but {}", report.sentence())),
            }
        }
    })
}

/// What `auto` chooses on a host of which the probe says that, and why.
pub fn auto(report: &Report) -> (Choice, String) {
    let choice =
        if report.usable_for_torture() { Choice::Vmm { masks: report.masks() } } else { Choice::Qemu(Accel::Tcg) };
    (choice, format!("{}: {}", choice.name(), report.sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmtorture_vmm::probe::Absence;
    use mmtorture_vmm::Verdict;

    fn report(native: bool) -> Report {
        let verdict = if native { Verdict::Native } else { Verdict::Absent { reason: Absence::NoDevice } };
        Report { verdict, measured: None, took_ms: 1 }
    }

    const VMM: Choice = Choice::Vmm { masks: &[] };

    fn on(native: bool, machine: AskedMachine, accel: AskedAccel) -> Result<(Choice, String)> {
        choose(machine, accel, || report(native))
    }

    #[test]
    fn auto_goes_by_the_probe() {
        use AskedMachine::{Auto, Qemu, Vmm};
        for (machine, native, choice) in [
            (Auto, true, VMM),
            (Auto, false, Choice::Qemu(Accel::Tcg)),
            (Qemu, true, Choice::Qemu(Accel::Kvm)),
            (Qemu, false, Choice::Qemu(Accel::Tcg)),
            (Vmm, true, VMM),
        ] {
            assert_eq!(on(native, machine, AskedAccel::Auto).unwrap().0, choice, "{machine:?}");
        }
        let (_, why) = on(false, Auto, AskedAccel::Auto).unwrap();
        assert_eq!(why, "QEMU with TCG: no /dev/kvm: KVM is not available here");
    }

    #[test]
    fn what_is_asked_for_is_done_without_a_probe() {
        let choose = |machine, accel| choose(machine, accel, || panic!("no need to probe")).unwrap();
        assert_eq!(choose(AskedMachine::Vmm, AskedAccel::Kvm), (VMM, "mmtorture-vmm: KVM, as asked".into()));
        assert_eq!(choose(AskedMachine::Qemu, AskedAccel::Kvm).0, Choice::Qemu(Accel::Kvm));
        assert_eq!(choose(AskedMachine::Auto, AskedAccel::Tcg).0, Choice::Qemu(Accel::Tcg));
        assert_eq!(on(false, AskedMachine::Auto, AskedAccel::Kvm).unwrap().0, Choice::Qemu(Accel::Kvm));
        assert_eq!(on(true, AskedMachine::Auto, AskedAccel::Kvm).unwrap().0, VMM);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = on(true, AskedMachine::Vmm, AskedAccel::Tcg).unwrap_err();
        assert_eq!(wrong.exit_status(), 2);
        let unable = on(false, AskedMachine::Vmm, AskedAccel::Auto).unwrap_err();
        assert_eq!(unable.exit_status(), 3);
        assert!(unable.to_string().contains("no /dev/kvm"), "{unable}");
    }
}
