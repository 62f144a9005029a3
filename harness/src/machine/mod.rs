//! Machines: a child process that runs a guest, with a console stream and an event stream, a [`monitor`] to take hold of
//! it, and an [`ending`].
//!
//! A machine is a way to make that child's command line, and a way to talk to it; how its streams are read and what its
//! ending means is the same for all. [`choose`] says which one a host is best served with.

pub mod choose;
mod control;
pub mod ending;
pub mod monitor;
pub mod qemu;
mod qmp;
pub mod vmm;

use crate::error::Result;
use crate::process;
use anyhow::Context;
use ending::Ending;
use monitor::{Monitor, Said};
use rustix::io::{fcntl_getfd, fcntl_setfd, FdFlags};
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// The longest name of a control socket, in bytes: `sun_path` has 108 with the NUL.
const MAX_SOCKET_NAME: usize = 107;

/// The most that is kept of a machine's own log, in bytes. A guest can make QEMU write a page at each reset of a CPU.
const MAX_LOG: u64 = 4 << 20;

/// What a machine is asked to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The kernel image: a bzImage.
    pub kernel: PathBuf,
    /// The same kernel as an ELF file, if it was kept.
    pub vmlinux: Option<PathBuf>,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// NUMA nodes that share CPUs and memory evenly.
    pub nodes: u32,
    /// Disks, `/dev/vda` first.
    pub disks: Vec<Disk>,
    /// Whether the guest's memory may be dumped: what a dump needs to be read is made ready.
    pub dump: bool,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its image, raw.
    pub path: PathBuf,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// Where a machine's ends are.
#[derive(Debug, Clone, Copy)]
pub struct Ports<'a> {
    /// What the guest writes to ttyS0 goes to this file, a pipe.
    pub console: &'a Path,
    /// What it writes to ttyS1 goes to this one, another pipe.
    pub events: &'a Path,
    /// Where the machine makes its control socket.
    pub control: &'a Path,
}

/// A way to run guests.
pub trait Machine: Send + Sync {
    /// The command that runs `spec`. It ends when the guest powers off or resets.
    fn command(&self, spec: &Spec, ports: &Ports<'_>) -> Command;

    /// Takes hold of the machine that [`Machine::command`] started, by its standard output and its control socket. The
    /// machine may need a while to make that, which is not waited for.
    ///
    /// # Errors
    /// The host fails.
    fn monitor(&self, stdout: ChildStdout, control: &Path) -> Result<Box<dyn Monitor>>;

    /// What the machine's own log adds to an ending.
    fn refine(&self, ending: Ending, _log: &str) -> Ending {
        ending
    }

    /// What in the machine's own log says why it failed.
    fn complaint(&self, log: &str) -> String {
        log.trim().to_owned()
    }

    /// The machine and accelerator, for people.
    fn describe(&self) -> String;

    /// Host memory that a guest takes beyond its own, in MiB.
    fn overhead_mib(&self) -> u64;

    /// How much slower than native the guest is, at least roughly: what waits for the guest waits so much longer.
    fn slowness(&self) -> u32;
}

/// A machine that runs.
pub struct Running {
    child: Child,
    /// The hand on it.
    pub monitor: Box<dyn Monitor>,
    /// What was run, for a person who wants to run it again.
    pub argv: Vec<String>,
    log: Option<JoinHandle<Vec<u8>>>,
    /// Where its control socket is; removed with this.
    _control: tempfile::TempDir,
}

impl Running {
    /// Starts `machine` with `spec`; its own messages go to the file `log`. Yields the console and event streams.
    ///
    /// The machine dies with the calling thread.
    ///
    /// # Errors
    /// The machine is not installed or cannot be started.
    pub fn start(machine: &dyn Machine, spec: &Spec, log: &Path) -> Result<(Self, PipeReader, PipeReader)> {
        let (console, console_end) = stream()?;
        let (events, events_end) = stream()?;
        // Not /dev/fd, which udev makes: a host without it, in a container or an initramfs, has /proc all the same.
        let path = |end: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", end.as_raw_fd()));
        let folder = control_folder(&std::env::temp_dir())?;
        let control = folder.path().join("control");
        let ports = Ports { console: &path(&console_end), events: &path(&events_end), control: &control };
        let mut command = machine.command(spec, &ports);
        let log_file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process::die_with_parent(&mut command);
        let tool = command.get_program().to_string_lossy().into_owned();
        let argv = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        let mut child = spawn_with(&mut command, &tool, [&console_end, &events_end])?;
        let stdout = child.stdout.take().context("the machine's output is a pipe")?;
        let stderr = child.stderr.take().context("the machine's messages are a pipe")?;
        let log = std::thread::Builder::new().name("machine log".into()).spawn(move || keep_log(stderr, log_file));
        let log = log.context("cannot start a thread").inspect_err(|_| process::kill_group(&mut child))?;
        let monitor = machine.monitor(stdout, &control).inspect_err(|_| process::kill_group(&mut child))?;
        Ok((Self { child, monitor, argv, log: Some(log), _control: folder }, console, events))
    }

    /// Ends it at once. Harmless where it has ended.
    pub fn kill(&mut self) {
        process::kill_group(&mut self.child);
    }

    /// Waits for its end, and says how `machine` ended; `by_us` if we [killed](Running::kill) it. Call it once both
    /// streams have ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn finish(&mut self, machine: &dyn Machine, by_us: bool) -> Result<(Said, Ending)> {
        let status = self.child.wait().context("cannot wait for the machine")?;
        let mut said = self.monitor.last_words();
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let ending = match said.ending.take() {
            Some(Ending::Failed { .. }) if by_us => Ending::Stopped,
            Some(ending) => machine.refine(ending, &log),
            None if by_us => Ending::Stopped,
            None if status.success() => Ending::Unknown,
            None => {
                let complaint = machine.complaint(&log);
                Ending::Failed { why: format!("{} failed ({status}): {complaint}", machine.describe()) }
            }
        };
        Ok((said, ending))
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

/// Reads a machine's messages to their end; the first of them go to `file`, and are returned.
fn keep_log(mut stderr: impl Read, mut file: std::fs::File) -> Vec<u8> {
    let mut log = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        if (log.len() as u64) < MAX_LOG {
            log.extend_from_slice(&buffer[..n]);
            // On a full disk the log is the least that is lost.
            let _ = file.write_all(&buffer[..n]);
        }
    }
    log
}

/// A folder for a control socket, whose name must be short: in `preferred`, or in /tmp.
fn control_folder(preferred: &Path) -> Result<tempfile::TempDir> {
    let mut places = [preferred, Path::new("/tmp")].into_iter().map(|place| {
        tempfile::Builder::new()
            .prefix("mmt-")
            .tempdir_in(place)
            .with_context(|| format!("cannot create a folder in {}", place.display()))
    });
    let short = |folder: &tempfile::TempDir| folder.path().join("control").as_os_str().len() <= MAX_SOCKET_NAME;
    match places.next() {
        Some(Ok(folder)) if short(&folder) => Ok(folder),
        _ => Ok(places.next().context("there is a second place")??),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine to make command lines for.
    pub(super) fn spec() -> Spec {
        Spec {
            kernel: "/k/bzImage".into(),
            vmlinux: None,
            initramfs: "/k/initramfs.cpio".into(),
            cmdline: "console=ttyS0 panic=-1".into(),
            cpus: 2,
            memory_mib: 320,
            nodes: 1,
            disks: Vec::new(),
            dump: false,
        }
    }

    #[test]
    fn a_machine_is_started_followed_and_asked_how_it_ended() {
        let vmm = vmm::Vmm::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fake-vmm")), &[]);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("machine.log");
        let run = |how: &str| {
            let spec = Spec { cmdline: how.into(), ..spec() };
            let (mut running, mut console, mut events) = Running::start(&vmm, &spec, &log).unwrap();
            let killed = how == "hang";
            let mut said = [0; 13];
            console.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"Linux version");
            if killed {
                running.kill();
            }
            let mut rest = String::new();
            events.read_to_string(&mut rest).unwrap();
            let (said, ending) = running.finish(&vmm, killed).unwrap();
            assert!(rest == "{}\n" || killed, "{rest}");
            (said.panicked, ending)
        };
        assert_eq!(run("off"), (false, Ending::PowerOff));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "a log line\n");
        assert_eq!(run("panic"), (true, Ending::Reset { by: Some("i8042".into()) }));
        assert_eq!(run("hang"), (false, Ending::Stopped));
        assert_eq!(run("nothing"), (false, Ending::Unknown));
        let why = "mmtorture-vmm with KVM failed (exit status: 2): a log line\nno such kernel".to_owned();
        assert_eq!(run("fail"), (false, Ending::Failed { why }));
    }

    #[test]
    fn a_log_without_end_is_read_and_not_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = keep_log(std::io::repeat(b'x').take(3 * MAX_LOG), file.reopen().unwrap());
        assert_eq!((log.len() as u64, file.as_file().metadata().unwrap().len()), (MAX_LOG, MAX_LOG));
    }

    #[test]
    fn a_control_socket_has_a_short_name_wherever_temporary_files_are() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100));
        std::fs::create_dir(&deep).unwrap();
        let length = |place: &Path| control_folder(place).unwrap().path().join("control").as_os_str().len();
        assert!(length(&deep) <= MAX_SOCKET_NAME);
        assert!(length(Path::new("/nonexistent")) <= MAX_SOCKET_NAME);
        let folder = control_folder(dir.path()).unwrap();
        assert_eq!(folder.path().parent(), Some(dir.path()), "the user's own choice, where it will do");
    }
}
