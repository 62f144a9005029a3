//! Machines: a child process that runs a guest, with a console stream and an event stream.
//!
//! A machine is a way to make that child's command line; how its streams are read and how it ends is the same for all.

pub mod accel;
pub mod qemu;

use crate::error::Result;
use crate::process;
use anyhow::Context;
use rustix::io::{fcntl_getfd, fcntl_setfd, FdFlags};
use std::io::PipeReader;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// What a machine is asked to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
}

/// A way to run guests.
pub trait Machine: Send + Sync {
    /// The command that runs `spec`. It writes what the guest writes to ttyS0 to the file `console`, and what it
    /// writes to ttyS1 to the file `events`; both are pipes of its own. It ends when the guest powers off or resets.
    fn command(&self, spec: &Spec, console: &Path, events: &Path) -> Command;

    /// The machine and accelerator, for people.
    fn describe(&self) -> String;

    /// Host memory that a guest takes beyond its own, in MiB.
    fn overhead_mib(&self) -> u64;

    /// How much slower than native the guest is, at least roughly: what waits for the guest waits so much longer.
    fn slowness(&self) -> u32;
}

/// A machine that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What was run, for a person who wants to run it again.
    pub argv: Vec<String>,
}

impl Running {
    /// Starts `machine` with `spec`; its own messages go to the file `stderr`. Yields the console and event streams.
    ///
    /// The machine dies with the calling thread.
    ///
    /// # Errors
    /// The machine is not installed or cannot be started.
    pub fn start(machine: &dyn Machine, spec: &Spec, stderr: &Path) -> Result<(Self, PipeReader, PipeReader)> {
        let (console, console_end) = stream()?;
        let (events, events_end) = stream()?;
        let path = |end: &OwnedFd| PathBuf::from(format!("/dev/fd/{}", end.as_raw_fd()));
        let mut command = machine.command(spec, &path(&console_end), &path(&events_end));
        let log = std::fs::File::create(stderr).with_context(|| format!("cannot write {}", stderr.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        process::die_with_parent(&mut command);
        let tool = command.get_program().to_string_lossy().into_owned();
        let argv = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        let child = spawn_with(&mut command, &tool, [&console_end, &events_end])?;
        Ok((Self { child, argv }, console, events))
    }

    /// Ends it at once. Harmless where it has ended.
    pub fn kill(&mut self) {
        process::kill_group(&mut self.child);
    }

    /// Waits for its end. Call it once both streams have ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().context("cannot wait for the machine")?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pipe: our end, and the machine's.
fn stream() -> Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    Ok((reader, writer.into()))
}

/// Spawns with `ends` open in the child. Two machines that start at once must not inherit each other's ends, or neither
/// stream would end with its machine; so the flag is lifted under a lock that every spawn here takes.
fn spawn_with(command: &mut Command, tool: &str, ends: [&OwnedFd; 2]) -> Result<Child> {
    static SPAWNING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = SPAWNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let inherit = |yes: bool| -> anyhow::Result<()> {
        for end in ends {
            let mut flags = fcntl_getfd(end.as_fd())?;
            flags.set(FdFlags::CLOEXEC, !yes);
            fcntl_setfd(end.as_fd(), flags)?;
        }
        Ok(())
    };
    inherit(true)?;
    let child = process::spawn(command, tool);
    inherit(false)?;
    child
}
