//! Following a machine to its end: its streams to disk and to the watch, the watch's wishes to the machine.

use super::dump::{self, Cores};
use super::watch::{Stop, Watch};
use super::{console::CONSOLE, Job, EVENTS, MAX_EVENT_BYTES};
use crate::error::{Error, Result};
use crate::machine::Running;
use anyhow::Context;
use mmtorture_protocol::Phase;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tempfile::TempPath;

/// How long a machine that has told its ending may take to be gone. QEMU stays where KVM cannot go on, for somebody to
/// look at it.
const LINGER: Duration = Duration::from_millis(100);

/// What stands for a signature where nothing was reported.
const HANG: &str = "hang";
/// The same of a panic.
const PANIC: &str = "panic";

/// How it went.
pub(super) struct Followed {
    /// When the machine ended.
    pub at: Duration,
    /// We ended it.
    pub by_us: bool,
    /// The dump that was asked for, not compressed yet.
    pub core: Option<Dumped>,
}

/// A dump, and whose it is.
pub(super) struct Dumped {
    pub signature: String,
    pub raw: Result<TempPath>,
}

enum Chunk {
    Console(Vec<u8>),
    Events(Vec<u8>),
    Broken(anyhow::Error),
}

/// Follows the machine to its end, or to the end that `watch` makes of it.
pub(super) fn follow(
    watch: &mut Watch,
    running: &mut Running,
    console: PipeReader,
    events: PipeReader,
    job: &Job<'_>,
    phase: &mut dyn FnMut(Phase),
) -> Result<Followed> {
    // Bounded: a guest that talks faster than we read waits, and no memory is lost to it.
    let (send, chunks) = mpsc::sync_channel(64);
    let readers = [
        keep(console, &job.dir.join(CONSOLE), u64::MAX, send.clone(), Chunk::Console)?,
        keep(events, &job.dir.join(EVENTS), MAX_EVENT_BYTES, send, Chunk::Events)?,
    ];
    let start = Instant::now();
    let mut last_phase = None;
    let mut broken = None;
    let mut told = None;
    let mut end = None;
    let mut by_us = false;
    let mut dumped = None;
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
        if end.is_some() {
            continue;
        }
        let said = running.monitor.said();
        let now = start.elapsed();
        if said.panicked {
            watch.panicked(now);
        }
        if said.ending.is_some() {
            told.get_or_insert(now);
        }
        let stop = watch.tick(now);
        if stop == Some(Stop::Silent) && broken.is_none() && !watch.was_asked() && running.monitor.nmi().is_ok() {
            watch.asked(start.elapsed());
            continue;
        }
        by_us = stop.is_some() || broken.is_some();
        if by_us || told.is_some_and(|told| now.saturating_sub(told) >= LINGER) {
            // Not the end yet: what is in the pipes is read first.
            end = Some(now);
            if let (Some(cores), Some(stop), None) = (job.cores, stop, &broken) {
                dumped = dump(cores, watch, stop, running, job);
            }
            running.kill();
        }
    }
    for reader in readers {
        let _ = reader.join();
    }
    match broken {
        Some(e) => Err(e),
        None => Ok(Followed { at: end.unwrap_or_else(|| start.elapsed()), by_us, core: dumped }),
    }
}

/// Dumps the guest that is about to be ended for `stop`, if that is a failure that has no dump yet.
fn dump(cores: &Cores, watch: &Watch, stop: Stop, running: &mut Running, job: &Job<'_>) -> Option<Dumped> {
    let signature = match stop {
        Stop::Finding => watch.finding()?.signature.as_str(),
        Stop::Silent => HANG,
        Stop::Panicked => PANIC,
        _ => return None,
    };
    if !cores.claim(signature) {
        return None;
    }
    let raw = dump::dump(&mut *running.monitor, job.dir, job.cell.shape.memory_mib);
    Some(Dumped { signature: signature.to_owned(), raw })
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
