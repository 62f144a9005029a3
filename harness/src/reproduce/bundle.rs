//! A failure packed up: kernel, guest, patches, console, and a script that needs only QEMU.

use super::script::{script, sign, OUT};
use super::{Reproduction, Sought};
use crate::build::Kernel;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::machine::choose::Accel;
use crate::machine::qemu::{self, Qemu};
use crate::machine::{Disk, Machine, Ports, Spec};
use crate::plan::{Cell, Variant};
use crate::trial::console::{Console, CONSOLE};
use crate::trial::guest::Guest;
use crate::trial::watch::Limits;
use crate::trial::{self, Trial, EVENTS, REQUEST, TRIAL};
use crate::zstd;
use anyhow::Context;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The initramfs in a bundle.
const INITRAMFS: &str = "initramfs.cpio";

/// What goes into a bundle.
pub struct Bundle<'a> {
    /// The failure.
    pub sought: &'a Sought,
    /// Its cell.
    pub cell: &'a Cell,
    /// Its trial.
    pub trial: &'a Trial,
    /// The trial's folder.
    pub dir: &'a Path,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The guest, made again.
    pub guest: &'a Guest,
    /// The matrix's boot deadline, if it has one.
    pub boot_seconds: Option<u32>,
    /// The patches, by the names they get.
    pub patches: Vec<(String, &'a [u8])>,
    /// How often it came again, if that was tried.
    pub reproduction: Option<&'a Reproduction>,
    /// What is not as it was in the run.
    pub differs: &'a [String],
}

/// A variant's patches, in order, by names that sort that way.
pub fn patches(variant: &Variant) -> Vec<(String, &[u8])> {
    let Some(series) = &variant.series else { return Vec::new() };
    let of = |(n, i): (usize, &usize)| {
        let patch = &series.patches[*i];
        // A patch may be called by a path.
        let stem = patch.stem.replace('/', "-");
        (format!("{:04}-{stem}.patch", n + 1), patch.text.as_slice())
    };
    variant.patches.iter().enumerate().map(of).collect()
}

/// The folder that a bundle is to go to.
///
/// # Errors
/// There is none.
pub fn folder(bundle: &Path) -> Result<&Path> {
    let folder = bundle.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Error::request(format!("--bundle {}: there is no folder {}", bundle.display(), folder.display())))
}

impl Bundle<'_> {
    /// Writes it to `path`, whole or not at all; its size in bytes.
    ///
    /// # Errors
    /// The disk is full, a file is gone, or a signal came.
    pub fn write(&self, path: &Path, interrupt: &Interrupt) -> Result<u64> {
        let folder = folder(path)?;
        let context = || format!("cannot write {}", path.display());
        let tar = tempfile::tempfile_in(folder).with_context(context)?;
        let mut tar = self.pack(tar, interrupt).with_context(context)?;
        tar.seek(SeekFrom::Start(0)).with_context(context)?;
        interrupt.check()?;
        let (_, bytes) = zstd::write(&tar, path, interrupt).with_context(context)?;
        Ok(bytes)
    }

    fn pack(&self, file: File, interrupt: &Interrupt) -> anyhow::Result<File> {
        let mut archive = Archive::new(file, format!("{}-seed-{}", self.cell.id, self.sought.seed));
        archive.text("README.md", &self.readme(), 0o644)?;
        archive.text("run.sh", &self.script()?, 0o755)?;
        let spec = &self.guest.spec;
        for (name, from) in [("bzImage", Some(&spec.kernel)), ("vmlinux", spec.vmlinux.as_ref())] {
            from.map(|from| archive.file(name, from)).transpose()?;
        }
        archive.file(INITRAMFS, &spec.initramfs)?;
        for (name, disk) in disk_names(spec).iter().zip(&spec.disks) {
            archive.file(name, &disk.path)?;
        }
        if let Some(config) = self.kernel.config() {
            archive.file(".config", &config)?;
        }
        for (name, text) in &self.patches {
            archive.bytes(&format!("patches/{name}"), text, 0o644)?;
        }
        if let Some(mut console) = Console::open(self.dir).map_err(anyhow::Error::msg)? {
            archive.stream(&format!("failure/{CONSOLE}"), &mut console)?;
        }
        for name in [EVENTS, REQUEST, TRIAL] {
            let from = self.dir.join(name);
            if from.is_file() {
                archive.file(&format!("failure/{name}"), &from)?;
            }
        }
        if interrupt.is_set() {
            anyhow::bail!("interrupted");
        }
        archive.finish()
    }

    fn script(&self) -> anyhow::Result<String> {
        let machine = self.machine();
        let spec = Spec {
            kernel: "bzImage".into(),
            vmlinux: None,
            initramfs: INITRAMFS.into(),
            disks: disk_names(&self.guest.spec)
                .iter()
                .zip(&self.guest.spec.disks)
                .map(|(name, disk)| Disk { path: Path::new(OUT).join(name), read_only: disk.read_only })
                .collect(),
            ..self.guest.spec.clone()
        };
        let argv = argv(&machine, &spec);
        let limits = Limits::new(self.cell.seconds, machine.slowness(), self.boot_seconds);
        let seconds = (limits.boot + limits.life + limits.power_off).as_secs();
        let finding = self.trial.finding();
        let report = finding.map(|f| trial::report(self.dir, f)).transpose().map_err(anyhow::Error::msg)?;
        let sign = sign(self.sought, finding, &report.flatten().unwrap_or_default());
        Ok(script(&self.sought.title, &argv, &disk_names(&spec), &sign, seconds))
    }

    /// The machine of the trial, or QEMU in our own VMM's place.
    fn machine(&self) -> Qemu {
        let tcg = Qemu::new(Accel::Tcg);
        if tcg.describe() == self.trial.machine {
            tcg
        } else {
            Qemu::new(Accel::Kvm)
        }
    }

    fn readme(&self) -> String {
        let (sought, cell) = (self.sought, self.cell);
        let mut text = format!("# {}\n\n", sought.title);
        let _ = writeln!(text, "A failure of a Linux kernel under a memory-management workload, found by mmtorture.\n");
        let _ = writeln!(text, "    ./run.sh\n");
        let _ = writeln!(
            text,
            "boots the kernel in QEMU ({}) and says whether the failure came again: exit status 1 if so, 0 if the\n\
             workload ended without it, 3 if neither can be said. The console lands in `{OUT}/console.log`. It is a race:\n\
             run it a few times. Where the host's time stamp counter ticks at another rate, under TCG, set `TSC_KHZ`\n\
             (`dmesg | grep -i 'tsc.*MHz'`), or the guest's clock is off.\n",
            self.machine().describe()
        );
        let _ = writeln!(text, "- kernel: {}, key {}", cell.variant, self.kernel.key);
        if let Some(meta) = self.kernel.meta() {
            let _ = writeln!(text, "- source: {}, id {}", meta.source, meta.source_id);
            if !meta.toolchain.is_empty() {
                let _ = writeln!(text, "- built by: {}", meta.toolchain);
            }
        }
        let settings: Vec<_> = cell.settings.iter().map(|(name, setting)| format!("{name}={setting}")).collect();
        let _ = writeln!(text, "- workload: {}, {} s, seed {}", cell.workload, cell.seconds, sought.seed);
        let _ = writeln!(text, "- settings: {}", settings.join(" "));
        let _ = writeln!(text, "- seen in: run {}, cell {}, on {}", sought.run, sought.cell, self.trial.machine);
        if let Some(rate) = self.reproduction.and_then(|r| r.rate) {
            let _ = writeln!(
                text,
                "- came again in {} of {} trials ({:.0} to {:.0} % at 95 %)",
                rate.hits,
                rate.of,
                100.0 * rate.low,
                100.0 * rate.high
            );
        }
        for differs in self.differs {
            let _ = writeln!(text, "- not as it was: {differs}");
        }
        text.push_str(
            "\n`bzImage`, `vmlinux` (if it was kept) and `.config` are the kernel, `patches/` what was applied to the source,\n\
             in order, `initramfs.cpio` the guest with its request, `failure/` the trial that failed: its console, its\n\
             events, what was asked of it and what was made of it.\n",
        );
        text
    }
}

fn disk_names(spec: &Spec) -> Vec<String> {
    (0..spec.disks.len()).map(|n| format!("disk{n}.img")).collect()
}

/// The command that runs `spec`, with its console and its events in [`OUT`] and nobody to talk to.
fn argv(machine: &Qemu, spec: &Spec) -> Vec<String> {
    let out = Path::new(OUT);
    let (console, events) = (out.join(CONSOLE), out.join(EVENTS));
    let ports = Ports { console: &console, events: &events, control: &out.join("control") };
    let command = machine.command(spec, &ports);
    let mut argv = vec![qemu::PROGRAM.to_owned()];
    let mut words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        if word == "-qmp" {
            words.next();
        } else {
            argv.push(word);
        }
    }
    argv
}

/// A tar archive whose content alone decides its bytes.
struct Archive {
    tar: tar::Builder<File>,
    folder: PathBuf,
}

impl Archive {
    /// Into `file`; everything in it is below `folder`.
    fn new(file: File, folder: String) -> Self {
        let mut tar = tar::Builder::new(file);
        tar.mode(tar::HeaderMode::Deterministic);
        // Disks are mostly holes.
        tar.sparse(true);
        Self { tar, folder: folder.into() }
    }

    fn text(&mut self, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        self.bytes(name, text.as_bytes(), mode)
    }

    fn bytes(&mut self, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        Ok(self.tar.append_data(&mut header, self.folder.join(name), bytes)?)
    }

    /// Of what has no length yet, as one has to be written first.
    fn stream(&mut self, name: &str, from: &mut dyn Read) -> anyhow::Result<()> {
        let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
        std::io::copy(from, &mut file).with_context(|| format!("cannot copy {name}"))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(self.tar.append_file(self.folder.join(name), &mut file)?)
    }

    fn file(&mut self, name: &str, from: &Path) -> anyhow::Result<()> {
        let context = || format!("cannot read {}", from.display());
        let mut file = File::open(from).with_context(context)?;
        self.tar.append_file(self.folder.join(name), &mut file).with_context(context)
    }

    fn finish(self) -> anyhow::Result<File> {
        let mut file = self.tar.into_inner()?;
        file.flush()?;
        Ok(file)
    }
}
