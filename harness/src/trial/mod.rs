//! One trial: one boot of one cell with one seed, from its request to its outcome.

pub mod console;
pub mod dump;
mod follow;
pub mod guest;
pub mod judge;
mod storage;
pub mod watch;

use crate::build::Kernel;
use crate::error::Result;
use crate::ext4::DISK;
use crate::files;
use crate::interrupt::Interrupt;
use crate::machine::ending::Ending;
use crate::machine::{Machine, Running};
use crate::oracle::expect::Expectations;
use crate::oracle::Finding;
use crate::outcome::Outcome;
use crate::plan::Cell;
use anyhow::Context;
use console::Console;
use dump::{Core, Cores};
use follow::{follow, Dumped};
use guest::Guest;
use mmtorture_protocol::Phase;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use watch::{Limits, Seen, Watch};

/// The event port, byte for byte as it came.
pub const EVENTS: &str = "events.jsonl";
/// What was asked of the guest.
pub const REQUEST: &str = "request.json";
/// The [`Trial`].
pub const TRIAL: &str = "trial.json";
/// What the machine's own process said.
pub const MACHINE_LOG: &str = "machine.log";
/// What was run.
const COMMAND: &str = "machine.json";

/// How the name of a trial's own initramfs ends, which is gone with it.
const INITRAMFS: &str = ".cpio";

/// How often the guest says that it lives.
const HEARTBEAT_MS: u32 = 500;

/// The most that is kept of the event port; an honest guest says a few hundred KiB in a day.
const MAX_EVENT_BYTES: u64 = 64 << 20;

/// The most that is read of one report, in bytes.
const MAX_REPORT: u64 = 64 << 10;

/// What all guests are told. Nothing else of theirs raises an NMI that nobody knows, so `unknown_nmi_panic` speaks of ours.
const CMDLINE: &str = "console=ttyS0,115200 no_timer_check unknown_nmi_panic";

/// Turns a panic into a reset at once, which ends the machine.
const PANIC_RESETS: &str = "panic=-1";

/// Leaves a panicked kernel where it is, for its memory to be dumped. We end it once its report is complete.
const PANIC_STAYS: &str = "panic=0";

/// What it takes to run a trial.
pub struct Job<'a> {
    /// What.
    pub cell: &'a Cell,
    /// With which seed.
    pub seed: u64,
    /// On which kernel.
    pub kernel: &'a Kernel,
    /// In which machine.
    pub machine: &'a dyn Machine,
    /// The root of the workload's suite, if it is one.
    pub root: Option<&'a Path>,
    /// The guest's base archive.
    pub base_image: &'a Path,
    /// The matrix's boot deadline, if it has one.
    pub boot_seconds: Option<u32>,
    /// Findings that are no failures.
    pub expectations: &'a Expectations,
    /// The dumps that there are, if dumps are kept.
    pub cores: Option<&'a Cores>,
    /// Where its files go. Made here.
    pub dir: &'a Path,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

/// A trial that was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// The cell's id.
    pub cell: String,
    /// The variant's name.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// The workload's time, in seconds.
    pub seconds: u32,
    /// The kernel's key.
    pub kernel: String,
    /// The machine.
    pub machine: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Why.
    pub why: String,
    /// How the machine ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The memory dump, where one was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<Core>,
    /// All that was seen.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Trial {
    /// The finding that decided the outcome.
    pub fn finding(&self) -> Option<&Finding> {
        let findings = &self.seen.findings;
        let fatal = findings.iter().find(|f| f.primary && f.stops_trial());
        fatal.or_else(|| findings.iter().find(|f| f.is_failure()))
    }

    /// How long the workload ran without a finding, in seconds of host time.
    pub fn exposure(&self) -> f64 {
        let times = &self.seen.times;
        let start = times.torture_ms.unwrap_or(times.end_ms);
        let ran = times.finding_ms.unwrap_or(times.end_ms).saturating_sub(start);
        // Tear-down is no torture.
        let ran = self.seen.done.as_ref().map_or(ran, |done| done.elapsed_ms.min(ran));
        Duration::from_millis(ran).as_secs_f64()
    }
}

/// Whether a file in a trial's folder is there only while the trial runs: one that was killed leaves it behind.
pub fn is_left_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(INITRAMFS) || name.ends_with(DISK)
}

/// What a finding's report says on the console in its trial's folder, at most [`MAX_REPORT`] bytes of it. Empty if no line
/// of it does; `None` if that console is gone.
///
/// # Errors
/// The console cannot be read.
pub fn report(dir: &Path, finding: &Finding) -> Result<Option<String>> {
    let length = finding.end_byte.saturating_sub(finding.first_byte).min(MAX_REPORT);
    if length == 0 {
        return Ok(Some(String::new()));
    }
    let Some(mut console) = Console::open(dir)? else { return Ok(None) };
    let bytes = console.part(finding.first_byte, length)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Runs the trial and writes its folder. `phase` hears of each phase that begins.
///
/// # Errors
/// The host fails (disk full, no QEMU) or a signal came; the folder then holds what there was, but no outcome.
pub fn run(job: &Job<'_>, phase: &mut dyn FnMut(Phase)) -> Result<Trial> {
    // What a killed run left of this trial must not pass for a part of it.
    if job.dir.exists() {
        std::fs::remove_dir_all(job.dir).with_context(|| format!("cannot remove {}", job.dir.display()))?;
    }
    files::create_dir(job.dir)?;
    let guest = Guest::make(job.cell, job.seed, job.kernel, job.base_image, job.root, job.cores.is_some(), job.dir)?;
    files::write_json(&job.dir.join(REQUEST), &guest.request)?;
    let limits = Limits::new(job.cell.seconds, job.machine.slowness(), job.boot_seconds);
    let machine_log = job.dir.join(MACHINE_LOG);
    let (mut running, console, events) = Running::start(job.machine, &guest.spec, &machine_log)?;
    files::write_json(&job.dir.join(COMMAND), &running.argv)?;

    let mut watch =
        Watch::new(limits, guest.request.trial.clone()).expecting(job.expectations.clone(), jiff::Zoned::now().date());
    let followed = follow(&mut watch, &mut running, console, events, job, phase)?;
    let (said, ending) = running.finish(job.machine, followed.by_us)?;
    if said.panicked {
        watch.panicked(followed.at);
    }
    // The guest's memory is the host's again before its dump is compressed.
    drop(running);
    let mut seen = watch.finish(followed.at);
    let verdict = judge::judge(&mut seen, &ending, job.kernel.banner(), job.cell.shape.cpus);
    let core = match (followed.core, job.cores) {
        (Some(dumped), Some(cores)) => Some(keep_core(dumped, cores, job)),
        (None, Some(cores)) if !followed.by_us => no_core(&seen, &ending, cores),
        _ => None,
    };
    let trial = Trial {
        cell: job.cell.id.clone(),
        variant: job.cell.variant.clone(),
        seed: job.seed,
        seconds: job.cell.seconds,
        kernel: job.kernel.key.clone(),
        machine: job.machine.describe(),
        outcome: verdict.outcome,
        why: verdict.why,
        ending: Some(ending),
        core,
        seen,
    };
    // Before the trial is one that was run: whoever finds its outcome finds its console whole, in one form.
    if let Err(e) = console::pack(job.dir) {
        tracing::warn!("{e}: it stays as it is");
    }
    keep(&trial, job.dir)?;
    Ok(trial)
}

/// Writes what a trial came to into its folder: from then on it is one that was run.
///
/// # Errors
/// It cannot be written.
pub fn keep(trial: &Trial, dir: &Path) -> Result<()> {
    files::create_dir(dir)?;
    Ok(files::write_json(&dir.join(TRIAL), trial)?)
}

/// Compresses a dump. That there is none is no reason to lose the trial.
fn keep_core(dumped: Dumped, cores: &Cores, job: &Job<'_>) -> Core {
    let core = Core::from(dumped.raw.and_then(|raw| dump::keep(&raw, job.dir, job.interrupt)));
    if let Core::Failed { .. } = &core {
        cores.give_back(&dumped.signature);
    }
    core
}

/// A finding that took the machine with it has left nothing to dump.
fn no_core(seen: &Seen, ending: &Ending, cores: &Cores) -> Option<Core> {
    let finding = seen.fatal()?;
    let why = || format!("the machine ended ({ending}) before its memory could be dumped");
    (!cores.has(&finding.signature)).then(|| Core::Failed { why: why() })
}
