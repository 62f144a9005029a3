//! One trial: one boot of one cell with one seed, from its request to its outcome.

pub mod judge;
pub mod watch;

use crate::build::Kernel;
use crate::error::{Error, Result};
use crate::files;
use crate::image;
use crate::interrupt::Interrupt;
use crate::machine::{Machine, Running, Spec};
use crate::oracle::expect::Expectations;
use crate::outcome::Outcome;
use crate::plan::Cell;
use anyhow::Context;
use judge::Ending;
use mmtorture_protocol::{Phase, Request, VERSION};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use watch::{Limits, Seen, Watch};

/// The console, byte for byte as it came.
pub const CONSOLE: &str = "console.log";
/// The event port, byte for byte as it came.
pub const EVENTS: &str = "events.jsonl";
/// What was asked of the guest.
pub const REQUEST: &str = "request.json";
/// The [`Trial`].
pub const TRIAL: &str = "trial.json";
/// What the machine's own process said.
const MACHINE_LOG: &str = "machine.log";
/// What was run.
const COMMAND: &str = "machine.json";

/// How often the guest says that it lives.
const HEARTBEAT_MS: u32 = 500;

/// The most that is kept of the event port; an honest guest says a few hundred KiB in a day.
const MAX_EVENT_BYTES: u64 = 64 << 20;

/// What all guests are told. `panic=-1` turns a panic into a reset at once, which ends the machine.
const CMDLINE: &str = "console=ttyS0,115200 panic=-1 no_timer_check";

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
    /// The guest's base archive.
    pub base_image: &'a Path,
    /// The matrix's boot deadline, if it has one.
    pub boot_seconds: Option<u32>,
    /// Findings that are no failures.
    pub expectations: &'a Expectations,
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
    /// All that was seen.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Trial {
    /// The finding that decided the outcome.
    pub fn finding(&self) -> Option<&crate::oracle::Finding> {
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

/// Runs the trial and writes its folder. `phase` hears of each phase that begins.
///
/// # Errors
/// The host fails (disk full, no QEMU) or a signal came; the folder then holds what there was, but no outcome.
pub fn run(job: &Job<'_>, phase: &mut dyn FnMut(Phase)) -> Result<Trial> {
    files::create_dir(job.dir)?;
    let name = format!("{}/{}", job.cell.id, job.seed);
    let request = Request {
        version: VERSION,
        trial: name.clone(),
        seed: job.seed,
        seconds: job.cell.seconds,
        heartbeat_ms: HEARTBEAT_MS,
        knobs: job.cell.shape.knobs.clone(),
        swap: job.cell.shape.swap,
        workload: job.cell.workload.clone(),
    };
    files::write_json(&job.dir.join(REQUEST), &request)?;
    // The machine reads it while it starts; it follows from the request and the base archive.
    let initramfs = tempfile::Builder::new()
        .prefix("initramfs-")
        .suffix(".cpio")
        .tempfile_in(job.dir)
        .with_context(|| format!("cannot write to {}", job.dir.display()))?;
    image::write_initramfs(initramfs.path(), job.base_image, &request)?;
    let spec = Spec {
        kernel: job.kernel.image(),
        initramfs: initramfs.path().to_owned(),
        cmdline: CMDLINE.to_owned(),
        cpus: job.cell.shape.cpus,
        memory_mib: job.cell.shape.memory_mib,
    };
    let limits = Limits::new(job.cell.seconds, job.machine.slowness(), job.boot_seconds);
    let machine_log = job.dir.join(MACHINE_LOG);
    let (mut running, console, events) = Running::start(job.machine, &spec, &machine_log)?;
    files::write_json(&job.dir.join(COMMAND), &running.argv)?;

    let mut watch = Watch::new(limits, name).expecting(job.expectations.clone(), jiff::Zoned::now().date());
    let stopped = follow(&mut watch, &mut running, console, events, job, phase)?;
    let status = running.wait()?;
    let mut seen = watch.finish(stopped.at);
    let ending = match (stopped.by_us, status.success()) {
        (true, _) => Ending::Stopped,
        (false, true) => Ending::Exited,
        (false, false) => {
            let said = std::fs::read_to_string(&machine_log).unwrap_or_default();
            Ending::Failed(format!("{} failed ({status}): {}", job.machine.describe(), said.trim()))
        }
    };
    let verdict = judge::judge(&mut seen, &ending, &job.kernel.banner());
    let trial = Trial {
        cell: job.cell.id.clone(),
        variant: job.cell.variant.clone(),
        seed: job.seed,
        seconds: job.cell.seconds,
        kernel: job.kernel.key.clone(),
        machine: job.machine.describe(),
        outcome: verdict.outcome,
        why: verdict.why,
        seen,
    };
    files::write_json(&job.dir.join(TRIAL), &trial)?;
    Ok(trial)
}

struct Stopped {
    at: Duration,
    by_us: bool,
}

enum Chunk {
    Console(Vec<u8>),
    Events(Vec<u8>),
    Broken(anyhow::Error),
}

/// Follows the machine to its end, or to the end that `watch` makes of it.
fn follow(
    watch: &mut Watch,
    running: &mut Running,
    console: PipeReader,
    events: PipeReader,
    job: &Job<'_>,
    phase: &mut dyn FnMut(Phase),
) -> Result<Stopped> {
    // Bounded: a guest that talks faster than we read waits, and no memory is lost to it.
    let (send, chunks) = mpsc::sync_channel(64);
    let readers = [
        keep(console, &job.dir.join(CONSOLE), u64::MAX, send.clone(), Chunk::Console)?,
        keep(events, &job.dir.join(EVENTS), MAX_EVENT_BYTES, send, Chunk::Events)?,
    ];
    let start = Instant::now();
    let mut last_phase = None;
    let mut by_us = false;
    let mut broken = None;
    let mut end = None;
    loop {
        match next(&chunks, watch.patience()) {
            Ok(Some(Chunk::Console(bytes))) => watch.console(start.elapsed(), &bytes),
            Ok(Some(Chunk::Events(bytes))) => watch.events(start.elapsed(), &bytes),
            Ok(Some(Chunk::Broken(e))) => broken = Some(Error::Host(e)),
            Ok(None) => {}
            // Both streams are closed: the machine has ended, and all that it said is in.
            Err(()) => break,
        }
        if watch.phase() != last_phase {
            last_phase = watch.phase();
            last_phase.into_iter().for_each(&mut *phase);
        }
        if job.interrupt.is_set() {
            broken.get_or_insert(Error::Interrupted);
        }
        let stop = end.is_none() && (broken.is_some() || watch.tick(start.elapsed()).is_some());
        if stop {
            // Not the end yet: what is in the pipes is read first.
            by_us = true;
            end = Some(start.elapsed());
            running.kill();
        }
    }
    for reader in readers {
        let _ = reader.join();
    }
    match broken {
        Some(e) => Err(e),
        None => Ok(Stopped { at: end.unwrap_or_else(|| start.elapsed()), by_us }),
    }
}

/// The next chunk, `None` for none in time, `Err` at the end of both streams.
fn next(chunks: &Receiver<Chunk>, patience: Duration) -> std::result::Result<Option<Chunk>, ()> {
    match chunks.recv_timeout(patience) {
        Ok(chunk) => Ok(Some(chunk)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(()),
    }
}

/// Reads a stream to its end in a thread: first to disk, then to the watcher.
fn keep(
    mut stream: PipeReader,
    path: &Path,
    limit: u64,
    send: SyncSender<Chunk>,
    chunk: fn(Vec<u8>) -> Chunk,
) -> Result<std::thread::JoinHandle<()>> {
    let path = path.to_owned();
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let thread = move || {
        let mut buffer = vec![0; 64 << 10];
        let mut kept = 0;
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            let bytes = &buffer[..n];
            if kept < limit {
                if let Err(e) = file.write_all(bytes) {
                    let context = format!("cannot write {}", path.display());
                    let _ = send.send(Chunk::Broken(anyhow::Error::new(e).context(context)));
                    return;
                }
                kept += n as u64;
            }
            if send.send(chunk(bytes.to_vec())).is_err() {
                return;
            }
        }
    };
    Ok(std::thread::Builder::new().spawn(thread).context("cannot start a thread")?)
}
