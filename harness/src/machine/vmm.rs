//! `mmtorture-vmm`, our own machine, on KVM.

use super::ending::Ending;
use super::monitor::{Board, Monitor, Said, PATIENCE};
use super::{control, Machine, Ports, Spec};
use crate::error::Result;
use anyhow::Context;
use mmtorture_vmm::control::{Command as Ask, Reply};
use mmtorture_vmm::ending;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest line that is read of what it says, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Our VMM.
#[derive(Debug, Clone)]
pub struct Vmm {
    program: PathBuf,
    /// CPUID bits that guests do not see.
    masks: &'static [&'static str],
}

impl Vmm {
    /// The VMM that `program` is, with guests that do not see the CPUID bits `masks`.
    pub fn new(program: &Path, masks: &'static [&'static str]) -> Self {
        Self { program: program.to_owned(), masks }
    }
}

impl Machine for Vmm {
    fn command(&self, spec: &Spec, ports: &Ports<'_>) -> Command {
        let mut vmm = Command::new(&self.program);
        // What is not compressed need not be unpacked by a guest that is paid for by the millisecond.
        let kernel = spec.vmlinux.as_ref().filter(|path| path.is_file()).unwrap_or(&spec.kernel);
        vmm.arg("--kernel").arg(kernel).arg("--initramfs").arg(&spec.initramfs);
        vmm.args(["--cmdline", &spec.cmdline]);
        vmm.args(["--cpus", &spec.cpus.to_string(), "--memory", &spec.memory_mib.to_string()]);
        if spec.nodes > 1 {
            vmm.args(["--nodes", &spec.nodes.to_string()]);
        }
        for disk in &spec.disks {
            let mut value = disk.path.clone().into_os_string();
            value.push(if disk.read_only { ",ro" } else { "" });
            vmm.arg("--disk").arg(value);
        }
        for mask in self.masks {
            vmm.args(["--mask-cpuid", mask]);
        }
        vmm.arg("--console").arg(ports.console).arg("--events").arg(ports.events);
        vmm.arg("--control").arg(ports.control);
        vmm
    }

    fn monitor(&self, stdout: ChildStdout, control: &Path) -> Result<Box<dyn Monitor>> {
        Ok(Box::new(Controlled::new(stdout, control)?))
    }

    fn describe(&self) -> String {
        "mmtorture-vmm with KVM".to_owned()
    }

    fn overhead_mib(&self) -> u64 {
        // Promised are 4 MiB of its own; the page tables of KVM and the kernel image in the page cache come on top.
        32
    }

    fn slowness(&self) -> u32 {
        1
    }
}

/// A VMM that runs: what it says comes on its standard output, what it is told goes to its control socket.
struct Controlled {
    board: Board,
    listener: Option<JoinHandle<()>>,
    control: PathBuf,
}

impl Controlled {
    fn new(stdout: impl Read + Send + 'static, control: &Path) -> Result<Self> {
        let board = Board::default();
        let listener = std::thread::Builder::new().name("vmm".into()).spawn({
            let board = board.clone();
            move || listen(stdout, &board)
        });
        let listener = Some(listener.context("cannot start a thread")?);
        Ok(Self { board, listener, control: control.to_owned() })
    }

    fn ask(&self, word: &str, command: Ask) -> Result<Reply> {
        control::ask(&self.control, word, command, None, PATIENCE)
    }
}

impl Monitor for Controlled {
    fn pause(&mut self) -> Result<()> {
        self.ask("pause", Ask::Pause {}).map(drop)
    }

    fn resume(&mut self) -> Result<()> {
        self.ask("resume", Ask::Resume {}).map(drop)
    }

    fn nmi(&mut self) -> Result<()> {
        self.ask("nmi", Ask::Nmi { vcpu: None }).map(drop)
    }

    fn dump(&mut self, path: &Path, patience: Duration) -> Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        control::ask(&self.control, "dump", Ask::Dump {}, Some(&file), patience).map(drop)
    }

    fn status(&mut self) -> Result<String> {
        let state = self.ask("status", Ask::Status {})?.status.map(|status| status.state);
        // Its own spelling, as on the socket.
        let word = state.and_then(|state| serde_json::to_value(state).ok());
        Ok(word.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    fn quit(&mut self) -> Result<()> {
        self.ask("quit", Ask::Quit {}).map(drop)
    }

    fn said(&mut self) -> Said {
        self.board.read()
    }

    fn last_words(&mut self) -> Said {
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        self.board.read()
    }
}

/// Reads machine events to their end. A line that is neither an event nor an ending that we know is passed over.
fn listen(stdout: impl Read, board: &Board) {
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    while lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let said: Value = serde_json::from_slice(&line).unwrap_or_default();
        line.clear();
        if said["event"] == "panicked" {
            board.write(|said| said.panicked = true);
        } else if let Ok(ending) = serde_json::from_value::<ending::Ending>(said) {
            board.write(|said| said.panicked |= ending == ending::Ending::Panicked);
            board.end(Ending::from(ending));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{tests::spec, Disk};
    use std::io::{IoSliceMut, Write};
    use std::os::unix::net::UnixListener;

    fn argv(spec: &Spec) -> Vec<String> {
        let ports = Ports {
            console: Path::new("/dev/fd/5"),
            events: Path::new("/dev/fd/6"),
            control: Path::new("/tmp/mmt-x/control"),
        };
        let command = Vmm::new(Path::new("/x/mmtorture-vmm"), &["1:ecx:26"]).command(spec, &ports);
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_command_line_is_one_that_the_vmm_takes() {
        let disks =
            vec![Disk { path: "swap.img".into(), read_only: false }, Disk { path: "root.img".into(), read_only: true }];
        let argv = argv(&Spec { disks, nodes: 2, ..spec() });
        let text = argv.join(" ");
        assert_eq!(
            text,
            "--kernel /k/bzImage --initramfs /k/initramfs.cpio --cmdline console=ttyS0 panic=-1 --cpus 2 --memory 320 \
             --nodes 2 --disk swap.img --disk root.img,ro --mask-cpuid 1:ecx:26 --console /dev/fd/5 --events /dev/fd/6 --control \
             /tmp/mmt-x/control"
        );
        use clap::Parser;
        let config = mmtorture_vmm::config::Config::try_parse_from(["vmm".to_owned()].into_iter().chain(argv)).unwrap();
        config.check().unwrap();
        assert_eq!((config.cpus, config.memory, config.nodes, config.disks.len()), (2, 320, 2, 2));
        assert!(config.disks[1].read_only);
    }

    #[test]
    fn a_kernel_that_was_kept_uncompressed_is_preferred() {
        let vmlinux = tempfile::NamedTempFile::new().unwrap();
        let there = argv(&Spec { vmlinux: Some(vmlinux.path().to_owned()), ..spec() });
        assert_eq!(there[1], vmlinux.path().to_string_lossy());
        assert_eq!(argv(&Spec { vmlinux: Some("/absent/vmlinux".into()), ..spec() })[1], "/k/bzImage");
    }

    #[test]
    fn events_and_the_ending_are_read_off_its_output() {
        let said = |text: &'static str| Controlled::new(text.as_bytes(), Path::new("/absent")).unwrap().last_words();
        let panicked = said("{\"event\":\"panicked\"}\n{\"ending\":\"reset\",\"by\":\"i8042\"}\n");
        assert!(panicked.panicked);
        assert_eq!(panicked.ending, Some(Ending::Reset { by: Some("i8042".into()) }));
        let other = said("noise\n{\"event\":\"of-a-later-version\"}\n{\"ending\":\"power-off\"}\n");
        assert_eq!((other.panicked, other.ending), (false, Some(Ending::PowerOff)));
        let graceful = said("{\"ending\":\"panicked\"}\n");
        assert_eq!((graceful.panicked, graceful.ending), (true, Some(Ending::Panicked)));
        assert_eq!(said("{\"ending\":\"something-new\"}\n"), Said::default());
    }

    const STATUS: &str = concat!(
        r#"{"ok":true,"status":{"state":"paused","vcpus":["paused"],"uptime_ms":1,"memory":2,"resident":3,"#,
        "\"panicked\":false}}\n"
    );

    /// The control socket's other end: answers each connection's command, and takes the file of a dump.
    #[test]
    fn commands_go_to_the_control_socket() {
        use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let mut words = Vec::new();
            for stream in listener.incoming().take(5) {
                let mut stream = stream.unwrap();
                let (mut bytes, mut space) = ([0; 256], [std::mem::MaybeUninit::uninit(); 64]);
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let n = recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty());
                let text = String::from_utf8(bytes[..n.unwrap().bytes].to_vec()).unwrap();
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        fds.for_each(|fd| File::from(fd).write_all(b"\x7fELF").unwrap());
                    }
                }
                let reply = match text.trim() {
                    "{\"do\":\"status\"}" => STATUS,
                    "{\"do\":\"nmi\"}" => "{\"ok\":false,\"error\":\"no vCPU runs\"}\n",
                    _ => "{\"ok\":true}\n",
                };
                stream.write_all(reply.as_bytes()).unwrap();
                words.push(text);
            }
            words.concat()
        });
        let mut machine = Controlled::new(&b""[..], &socket).unwrap();
        machine.pause().unwrap();
        assert_eq!(machine.status().unwrap(), "paused");
        assert_eq!(machine.nmi().unwrap_err().to_string(), "the machine refuses nmi: no vCPU runs");
        let core = dir.path().join("core");
        machine.dump(&core, PATIENCE).unwrap();
        assert_eq!(std::fs::read(core).unwrap(), b"\x7fELF");
        machine.quit().unwrap();
        let words = "{\"do\":\"pause\"}\n{\"do\":\"status\"}\n{\"do\":\"nmi\"}\n{\"do\":\"dump\"}\n{\"do\":\"quit\"}\n";
        assert_eq!(server.join().unwrap(), words);
        assert!(machine.pause().is_err(), "nobody listens any more");
    }
}
