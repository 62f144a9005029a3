//! QEMU, with KVM or with its own translator (TCG).

use super::accel::Accel;
use super::{Machine, Spec};
use crate::error::Result;
use crate::process;
use mmtorture_bootkit::tsc;
use std::path::Path;
use std::process::Command;

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU's version.
///
/// # Errors
/// It is not installed.
pub fn installed() -> Result<String> {
    let mut command = Command::new(PROGRAM);
    command.arg("--version");
    process::output(command)
}

/// QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    accel: Accel,
    /// What this accelerator's guests must be told on the command line.
    hints: String,
}

impl Qemu {
    /// QEMU with `accel`.
    pub fn new(accel: Accel) -> Self {
        let hints = match accel {
            // lpj: a delay loop calibrated under translation is as good as a guess, and takes longer.
            Accel::Tcg => format!("tsc=reliable tsc_early_khz={} lpj=10000000", tsc::khz()),
            Accel::Kvm => String::new(),
        };
        Self { accel, hints }
    }
}

impl Machine for Qemu {
    fn command(&self, spec: &Spec, console: &Path, events: &Path) -> Command {
        let mut qemu = Command::new(PROGRAM);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"]);
        // A reset ends the run: a triple fault, a panic with panic=-1, and the restart by which a guest without ACPI
        // ends, show as QEMU's exit.
        qemu.arg("-no-reboot");
        // q35 rather than microvm, which hung in delay calibration under TCG.
        qemu.args(["-machine", "q35"]);
        match self.accel {
            // Two host threads for two virtual CPUs: races are real ones.
            Accel::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
            Accel::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        };
        qemu.args(["-smp", &spec.cpus.to_string(), "-m", &format!("{}M", spec.memory_mib)]);
        qemu.arg("-kernel").arg(&spec.kernel).arg("-initrd").arg(&spec.initramfs);
        qemu.args(["-append", format!("{} {}", spec.cmdline, self.hints).trim_end()]);
        for (id, path) in [("console", console), ("events", events)] {
            qemu.args(["-chardev", &format!("file,id={id},path={}", path.display())]);
            qemu.args(["-serial", &format!("chardev:{id}")]);
        }
        qemu
    }

    fn describe(&self) -> String {
        format!("QEMU with {}", self.accel.name())
    }

    fn overhead_mib(&self) -> u64 {
        match self.accel {
            // The translation buffer grows to an eighth of the guest's memory or more; QEMU itself is some 60 MiB.
            Accel::Tcg => 256,
            Accel::Kvm => 96,
        }
    }

    fn slowness(&self) -> u32 {
        match self.accel {
            Accel::Tcg => 10,
            Accel::Kvm => 1,
        }
    }
}
