//! Running one command.

use crate::pulse;
use anyhow::Context as _;
use mmtorture_testbed::wire::{Exit, Frame, Run};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Exit status of a command that cannot be started, in the form of wait(2). A shell's own number for it.
const NOT_STARTED: i32 = 127 << 8;

/// How long output may still come after everything was killed. Whoever holds a pipe longer is stuck in the kernel.
const DRAIN: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Runs it to its end, tells what it prints and how it ended, and leaves nothing of it running.
///
/// # Errors
/// The port is at its end, or says an error: the host is gone.
pub fn run(run: &Run, port: &mut File) -> anyhow::Result<()> {
    let start = Instant::now();
    let wait_status = match spawn(run) {
        Ok(child) => watch(child, port)?,
        Err(error) => {
            let program = run.argv.first().map_or("", String::as_str);
            Frame::Stderr(format!("testbed: cannot start {program:?} in {}: {error}\n", run.cwd).into()).write(port)?;
            NOT_STARTED
        }
    };
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    // What was written through a mapping of a share is the host's only after this.
    rustix::fs::sync();
    Ok(Frame::Exit(Exit { wait_status, elapsed_ms }).write(port)?)
}

fn spawn(run: &Run) -> std::io::Result<Child> {
    let (program, arguments) = run.argv.split_first().ok_or_else(|| std::io::Error::other("no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(run.env.iter().map(|(name, value)| (name, value))).current_dir(&run.cwd);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn()
}

/// A command's two outputs; one is gone when all who could write to it are.
struct Pipes {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Waits for its end; its status as wait(2) gives it.
fn watch(mut child: Child, port: &mut File) -> anyhow::Result<i32> {
    let mut pipes = Pipes { stdout: child.stdout.take().map(Into::into), stderr: child.stderr.take().map(Into::into) };
    let process = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("no pidfd")?;
    let ended = loop {
        let [from_host, end] = pipes.wait(port, [Some(port.as_fd()), Some(process.as_fd())], None)?;
        if from_host {
            match Frame::read(port)?.context("the host is gone")? {
                Frame::Kill => kill_all(),
                Frame::Ping => pulse::answer(port)?,
                frame => Frame::Fatal(format!("expected no {frame:?} during a command")).write(port)?,
            }
        }
        if end {
            break child.wait().context("cannot wait for the command")?;
        }
    };
    // What it left behind would hold the pipes open, and be in the next command's way.
    kill_all();
    while pipes.any() && pipes.wait(port, [None, None], Some(&DRAIN)).is_ok() {}
    // Orphans are PID 1's to reap.
    while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    Ok(ended.into_raw())
}

impl Pipes {
    fn any(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits for output, which it passes on, or for one of `others`; says which of them are ready.
    ///
    /// # Errors
    /// The port's, or time is up.
    fn wait(
        &mut self,
        mut port: &File,
        others: [Option<rustix::fd::BorrowedFd<'_>>; 2],
        patience: Option<&Timespec>,
    ) -> anyhow::Result<[bool; 2]> {
        let sources =
            [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd), others[0], others[1]];
        let mut fds: Vec<_> = sources.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if rustix::event::poll(&mut fds, patience)? == 0 {
            anyhow::bail!("time is up");
        }
        let mut polled = fds.iter().map(|fd| !fd.revents().is_empty());
        let ready = sources.map(|source| source.is_some() && polled.next().unwrap_or_default());
        for (pipe, frame, ready) in [
            (&mut self.stdout, Frame::Stdout as fn(Vec<u8>) -> Frame, ready[0]),
            (&mut self.stderr, Frame::Stderr as fn(Vec<u8>) -> Frame, ready[1]),
        ] {
            if !ready {
                continue;
            }
            let Some(fd) = pipe.take() else { continue };
            let mut file = File::from(fd);
            let mut bytes = vec![0; CHUNK];
            let length = file.read(&mut bytes)?;
            bytes.truncate(length);
            if length > 0 {
                frame(bytes).write(&mut port)?;
                *pipe = Some(file.into());
            }
        }
        Ok([ready[2], ready[3]])
    }
}

/// Sends SIGKILL to every process but this one.
fn kill_all() {
    // SAFETY: kill has no memory effects here; this process is PID 1 of its own machine (checked at start), and -1
    // never means the caller.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}
