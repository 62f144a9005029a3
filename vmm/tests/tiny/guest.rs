//! A tiny guest: its code, wrapped up as an ELF kernel, and the program that runs it.

use crate::code::elf;
use mmtorture_vmm::control::{Client, Command as Ask, Reply};
use mmtorture_vmm::ending::Ending;
use mmtorture_vmm::probe::Verdict;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything here may take: on a software KVM an instruction takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is missing to run guests at all, if something is.
pub fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| match mmtorture_vmm::probe().verdict {
        Verdict::Absent { reason } => Some(reason.to_string()),
        _ => None,
    });
    missing.as_deref()
}

/// A guest, and how it is to be run.
pub struct Guest {
    dir: tempfile::TempDir,
    args: Vec<String>,
    control: bool,
}

impl Guest {
    /// A guest of this code, with 16 MiB.
    pub fn new(code: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kernel"), elf(code)).unwrap();
        Self { dir, args: vec![], control: false }
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// With a control socket.
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mmtorture-vmm"));
        command.arg("--kernel").arg(self.path("kernel")).args(["--memory", "16"]);
        command.arg("--console").arg(self.path("console")).arg("--events").arg(self.path("events"));
        if self.control {
            command.arg("--control").arg(self.path("control"));
        }
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { guest: self, child, stdout, started: Instant::now() }
    }

    /// The exit status and standard error of a request that is refused.
    pub fn refused(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mmtorture-vmm"));
        if !args.contains(&"--kernel") {
            command.arg("--kernel").arg(self.path("kernel"));
        }
        let output = command.args(args).output().unwrap();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// Runs a guest to its end.
pub fn vmm(guest: Guest) -> Ended {
    guest.start().end()
}

/// A guest that runs.
pub struct Running {
    guest: Guest,
    child: Child,
    stdout: BufReader<ChildStdout>,
    started: Instant,
}

impl Running {
    /// Reads standard output up to the event.
    pub fn wait_for(&mut self, event: &str) {
        let mut line = String::new();
        while !line.contains(&format!(r#""event":"{event}""#)) {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "no {event}: {}", self.stderr());
        }
    }

    /// Waits until the console says so.
    pub fn wait_for_console(&self, text: &str) {
        let path = self.guest.path("console");
        while std::fs::read_to_string(&path).unwrap() != text {
            assert!(self.started.elapsed() < PATIENCE, "no {text}");
            std::thread::yield_now();
        }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Each of its threads: its name, and whether it is confined. KVM's own (`kvm-nx-lpage-recovery`) is not counted.
    pub fn threads(&self) -> BTreeMap<String, bool> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
        let thread = |status: String| {
            let name = status.lines().find_map(|line| line.strip_prefix("Name:\t")).unwrap().to_owned();
            // Seccomp 2 is a filter (proc(5)).
            (name, status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"))
        };
        statuses.map(thread).filter(|(name, _)| !name.starts_with("kvm-")).collect()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: takes integers only.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    fn client(&self) -> Client {
        Client::connect(&self.guest.path("control")).unwrap()
    }

    pub fn ask(&self, command: Ask) -> Reply {
        let reply = self.client().request(&command, None, PATIENCE).unwrap();
        assert!(reply.ok, "{reply:?}");
        reply
    }

    /// The bytes of a dump.
    pub fn dump(&self) -> Vec<u8> {
        let path = self.guest.path("core");
        let file = File::create(&path).unwrap();
        let reply = self.client().request(&Ask::Dump {}, Some(&file), PATIENCE).unwrap();
        assert!(reply.ok && reply.dumped.is_some(), "{reply:?}");
        std::fs::read(path).unwrap()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let stderr = self.stderr();
        let status = self.child.wait().unwrap();
        assert!(self.started.elapsed() < PATIENCE, "{:?}", self.started.elapsed());
        assert_eq!(status.code(), Some(0), "{stderr}");
        let last = stdout.lines().last().unwrap_or_default();
        let ending = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {last}\n{stderr}"));
        let read = |name| std::fs::read_to_string(self.guest.path(name)).unwrap();
        Ended { ending, console: read("console"), events: read("events") }
    }
}

/// A test that fails must not leave a guest that spins.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// How a guest ended, and what it said.
pub struct Ended {
    pub ending: Ending,
    pub console: String,
    pub events: String,
}
