//! The bed: booted once, asked many times.

use crate::image;
use crate::job::{Job, Output, Stream};
use crate::package::Kernel;
use crate::qemu::{Files, Qemu};
use crate::wire::{Exit, Frame, Hello, VERSION};
use crate::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after SIGKILL a command may take to be gone. One that does not go is stuck in the outer kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// How often a bed is asked whether it is still there.
const PULSE: Duration = Duration::from_secs(1);

/// How long it may leave that unanswered. On a busy host an emulated processor may get no time for seconds.
const FROZEN: Duration = Duration::from_secs(45);

/// How much of a log an error message quotes.
const QUOTED_LINES: usize = 20;

/// What kind of bed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The outer guest's memory in MiB.
    pub memory_mib: u64,
    /// Its processors, each a thread of this host.
    pub cpus: u32,
    /// Folders that the guest may write to; they are where they are here. All else that it writes is gone with it.
    pub shares: Vec<PathBuf>,
    /// Until when after its start it must be ready.
    pub boot_limit: Duration,
    /// Where the outer kernel's console goes, if it is to be kept.
    pub console: Option<PathBuf>,
    /// PID 1; if not given, `testbed-init` beside the running program or one folder up, where cargo puts it.
    pub init: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpus: 2,
            shares: Vec::new(),
            boot_limit: Duration::from_secs(120),
            console: None,
            init: None,
        }
    }
}

/// An outer guest with a `/dev/kvm`, ready for commands. It ends when dropped, and with the process.
#[derive(Debug)]
pub struct Testbed {
    link: Mutex<Link>,
    console: File,
    hello: Hello,
    boot_time: Duration,
}

#[derive(Debug)]
struct Link {
    qemu: Qemu,
    port: UnixStream,
    frames: mpsc::Receiver<Frame>,
    stderr: File,
    /// Why no more commands can be run.
    broken: Option<String>,
}

impl Testbed {
    /// Boots one and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Missing`]: QEMU, its SVM or 9p, or the kernel package is missing; the message says which and how to get
    /// it. [`Error::Failed`]: it was not ready in time, or died; the message has the end of its console.
    pub fn boot(options: &Options) -> Result<Self, Error> {
        let start = Instant::now();
        let kernel = Kernel::find()?;
        let init = options.init.clone().map_or_else(find_init, Ok)?;
        let shares = options.shares.iter().map(|share| canonical(share)).collect::<Result<Vec<_>, _>>()?;
        let failed = |e: std::io::Error| Error::failed(format!("cannot make the testbed's files: {e}"));
        let mut initramfs = tempfile::tempfile().map_err(failed)?;
        initramfs.write_all(&image::initramfs(&kernel, &init, &shares)?).map_err(failed)?;
        let console = match &options.console {
            None => tempfile::tempfile().map_err(failed)?,
            Some(path) => {
                File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?
            }
        };
        let stderr = tempfile::tempfile().map_err(failed)?;
        let (port, theirs) = UnixStream::pair().map_err(failed)?;
        let copy = |file: &File| file.try_clone().map_err(failed);
        let files = Files { initramfs, port: theirs.into(), console: copy(&console)?, stderr: copy(&stderr)? };
        let qemu = Qemu::start(options, &kernel, &shares, files)?;
        let frames = listen(port.try_clone().map_err(failed)?);
        let mut link = Link { qemu, port, frames, stderr, broken: None };
        let hello = link.hello(&console, start + options.boot_limit)?;
        Ok(Self { link: Mutex::new(link), console, hello, boot_time: start.elapsed() })
    }

    /// The bed of this process, booted with `options` by whoever comes first, and again when the last one broke. For the
    /// tests of one binary: `None` after a line `skipped: ...` on stderr if this host lacks something.
    ///
    /// # Panics
    /// If nothing is missing and it does not boot: that is a failure, not a reason to skip.
    pub fn shared(options: &Options) -> Option<Arc<Self>> {
        static SHARED: Mutex<Option<Arc<Testbed>>> = Mutex::new(None);
        // Poisoned: a boot failed, and the next one may not.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bed) = shared.as_ref().filter(|bed| !bed.is_broken()) {
            return Some(Arc::clone(bed));
        }
        match Self::boot(options) {
            Ok(bed) => Some(Arc::clone(shared.insert(Arc::new(bed)))),
            Err(Error::Missing(what)) => {
                eprintln!("skipped: {what}");
                None
            }
            Err(Error::Failed(why)) => panic!("{why}"),
        }
    }

    /// Whether it takes no more commands: it froze, or died.
    pub fn is_broken(&self) -> bool {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).broken.is_some()
    }

    /// Runs a command to its end. Commands of several threads wait for each other; what one leaves running is killed.
    ///
    /// # Errors
    /// [`Error::Failed`]: the outer guest is gone or no longer answers, and will not again. A command that fails or runs
    /// out of its time is no error.
    pub fn run(&self, job: &Job) -> Result<Output, Error> {
        self.run_with(job, |_, _| {})
    }

    /// As [`Testbed::run`], and `sink` sees what is printed as it comes.
    ///
    /// # Errors
    /// As [`Testbed::run`].
    pub fn run_with(&self, job: &Job, sink: impl FnMut(Stream, &[u8])) -> Result<Output, Error> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).run(job, &self.console, sink)
    }

    /// What the guest said of itself when it was ready.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// From the call to [`Testbed::boot`] to the guest's being ready.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// What the outer kernel's console has said so far.
    pub fn console(&self) -> String {
        read_all(&self.console)
    }
}

impl Link {
    fn hello(&mut self, console: &File, deadline: Instant) -> Result<Hello, Error> {
        match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Frame::Hello(hello)) if hello.version != VERSION => Err(Error::failed(format!(
                "testbed-init speaks version {}, expected {VERSION}: it is of another build",
                hello.version
            ))),
            Ok(Frame::Hello(hello)) if hello.kvm_ms.is_none() => {
                let console = read_all(console);
                // arch/x86/kvm/svm/svm.c, has_svm or kvm_is_svm_supported, says one of these.
                let why = console.lines().rfind(|line| line.to_lowercase().contains("svm")).unwrap_or("no word of SVM");
                Err(Error::missing(format!("kvm-amd does not load: this QEMU emulates no SVM ({})", why.trim())))
            }
            Ok(Frame::Hello(hello)) => Ok(hello),
            Ok(Frame::Fatal(why)) => Err(self.post_mortem(&format!("the outer guest gave up: {why}"), console)),
            Ok(frame) => Err(self.post_mortem(&format!("the outer guest began with {frame:?}"), console)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(self.post_mortem("the outer guest was not ready in time", console))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let stderr = read_all(&self.stderr);
                if stderr.contains("virtio-9p-pci") && stderr.contains("not a valid device") {
                    return Err(Error::missing(
                        "this QEMU has no virtio-9p, by which its guest would see this host's files",
                    ));
                }
                Err(self.post_mortem("the outer guest ended before it was ready", console))
            }
        }
    }

    fn run(&mut self, job: &Job, console: &File, mut sink: impl FnMut(Stream, &[u8])) -> Result<Output, Error> {
        if let Some(why) = &self.broken {
            return Err(Error::failed(why));
        }
        if let Err(e) = Frame::Run(job.run.clone()).write(&mut self.port) {
            return Err(self.post_mortem(&format!("the outer guest takes no command: {e}"), console));
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut timed_out = false;
        let mut deadline = Instant::now() + job.limit;
        let mut pulse = Pulse::new();
        loop {
            match self.frames.recv_timeout(deadline.min(pulse.next()).saturating_duration_since(Instant::now())) {
                Ok(Frame::Pong) => pulse.answered(),
                Ok(Frame::Stdout(bytes)) => {
                    sink(Stream::Stdout, &bytes);
                    stdout.extend_from_slice(&bytes);
                }
                Ok(Frame::Stderr(bytes)) => {
                    sink(Stream::Stderr, &bytes);
                    stderr.extend_from_slice(&bytes);
                }
                Ok(Frame::Exit(Exit { wait_status, elapsed_ms })) => {
                    let status = ExitStatus::from_raw(wait_status);
                    let elapsed = Duration::from_millis(elapsed_ms);
                    return Ok(Output { status, stdout, stderr, elapsed, timed_out });
                }
                Ok(frame) => {
                    return Err(self.post_mortem(&format!("expected what the command says, not {frame:?}"), console))
                }
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                    if pulse.is_lost() {
                        return Err(self.post_mortem("the outer guest froze", console));
                    }
                    pulse.asked();
                    // If this fails the guest is gone, which the next turn finds out.
                    let _ = Frame::Ping.write(&mut self.port);
                }
                Err(mpsc::RecvTimeoutError::Timeout) if !timed_out => {
                    timed_out = true;
                    deadline = Instant::now() + KILL_PATIENCE;
                    let _ = Frame::Kill.write(&mut self.port);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(self.post_mortem("the command does not die", console));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(self.post_mortem("the outer guest ended during the command", console));
                }
            }
        }
    }

    /// Ends the bed and tells all there is to tell.
    fn post_mortem(&mut self, what: &str, console: &File) -> Error {
        let status = self.qemu.stop().map(|status| format!(" (QEMU: {status})")).unwrap_or_default();
        let mut text = format!("{what}{status}");
        for (name, file) in [("QEMU", &self.stderr), ("its console", console)] {
            let said = read_all(file);
            let lines: Vec<_> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            if !lines.is_empty() {
                let end = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n  ");
                text.push_str(&format!("\n{name} said last:\n  {end}"));
            }
        }
        self.broken = Some(text.clone());
        Error::failed(text)
    }
}

/// Questions and answers.
#[derive(Debug)]
struct Pulse {
    /// When the last question went out that has no answer.
    unanswered: Option<Instant>,
    last: Instant,
}

impl Pulse {
    fn new() -> Self {
        Self { unanswered: None, last: Instant::now() }
    }

    /// When there is something to do: to ask, or to give up.
    fn next(&self) -> Instant {
        self.unanswered.map_or(self.last + PULSE, |since| since + FROZEN)
    }

    fn is_lost(&self) -> bool {
        self.unanswered.is_some()
    }

    fn asked(&mut self) {
        self.last = Instant::now();
        self.unanswered = Some(self.last);
    }

    fn answered(&mut self) {
        self.unanswered = None;
    }
}

/// A thread that reads frames until the port's end; the receiver is disconnected then.
fn listen(mut port: UnixStream) -> mpsc::Receiver<Frame> {
    let (send, frames) = mpsc::channel();
    std::thread::spawn(move || {
        // What is no frame is the stream's end, too: there is no way back into step.
        while let Ok(Some(frame)) = Frame::read(&mut port) {
            if send.send(frame).is_err() {
                break;
            }
        }
    });
    frames
}

fn find_init() -> Result<PathBuf, Error> {
    let me = std::env::current_exe().map_err(|e| Error::failed(format!("cannot tell where this program is: {e}")))?;
    let places = me.ancestors().skip(1).take(2).map(|folder| folder.join("testbed-init"));
    places.clone().find(|path| path.is_file()).ok_or_else(|| {
        let places: Vec<_> = places.map(|path| path.display().to_string()).collect();
        Error::failed(format!("no testbed-init at {}; `cargo build --release` makes it", places.join(" or ")))
    })
}

fn canonical(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|e| Error::failed(format!("cannot share {}: {e}", path.display())))
}

/// A file from its beginning, whoever else moved its offset.
fn read_all(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
