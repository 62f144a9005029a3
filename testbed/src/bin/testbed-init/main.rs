//! `testbed-init`: PID 1 of the outer guest.
//!
//! It loads the modules, makes the host's file system its root, says hello, and runs the commands that come down the
//! port, one at a time, until the host kills the machine. If it dies the kernel panics, which ends QEMU.

mod command;
mod keys;
mod pulse;
mod root;

use anyhow::{ensure, Context as _};
use mmtorture_testbed::wire::{Frame, Hello, Module, Setup, SETUP_PATH, VERSION};
use rustix::system::RebootCommand;
use rustix::time::ClockId;
use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The one port of the one virtio-serial controller (drivers/char/virtio_console.c, add_port: `vport%up%u`).
const PORT: &str = "/dev/vport0p1";

/// How long it may take to come up: the driver learns of it by a message from the host.
const PORT_PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "testbed-init: this is PID 1 of the testbed's guest, and mounts file systems and kills every process; \
             expected to be started by a kernel as /init, not as process {}",
            std::process::id()
        );
        return ExitCode::from(2);
    }
    if let Err(error) = live() {
        // The console goes to a log on the host.
        eprintln!("testbed-init: {error:#}");
    }
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn live() -> anyhow::Result<()> {
    let init_ms = uptime_ms();
    let setup = std::fs::read(SETUP_PATH).with_context(|| format!("cannot read {SETUP_PATH}"))?;
    let setup: Setup = serde_json::from_slice(&setup).with_context(|| format!("cannot parse {SETUP_PATH}"))?;
    ensure!(setup.version == VERSION, "{SETUP_PATH} is version {}, this speaks {VERSION}", setup.version);
    root::mount("devtmpfs", "devtmpfs", "/dev", "")?;
    for module in &setup.modules {
        // One that is refused is missed later, with a better message: kvm_amd where there is no SVM, for instance.
        if let Err(error) = load(module) {
            eprintln!("testbed-init: {}: {error}", module.path);
        }
    }
    let kvm_ms = Path::new("/dev/kvm").exists().then(uptime_ms);
    // What fails here is what a command is to find out for itself.
    let _held = kvm_ms.map(|_| keys::hold().inspect_err(|error| eprintln!("testbed-init: /dev/kvm: {error}")));
    let mut port = open_port()?;
    if let Err(error) = root::enter(&setup) {
        Frame::Fatal(format!("{error:#}")).write(&mut port)?;
        return Err(error);
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Frame::Hello(Hello { version: VERSION, release, init_ms, kvm_ms, ready_ms: uptime_ms() }).write(&mut port)?;
    while let Some(frame) = Frame::read(&mut port)? {
        match frame {
            Frame::Run(run) => command::run(&run, &mut port)?,
            // It came too late: the command had ended.
            Frame::Kill => {}
            Frame::Ping => pulse::answer(&mut port)?,
            frame => Frame::Fatal(format!("expected a command, not {frame:?}")).write(&mut port)?,
        }
    }
    Ok(())
}

fn load(module: &Module) -> anyhow::Result<()> {
    let object = File::open(&module.path)?;
    rustix::system::finit_module(&object, &CString::new(module.parameters.as_str())?, 0)?;
    // Its place in the initramfs is memory.
    Ok(std::fs::remove_file(&module.path)?)
}

fn open_port() -> anyhow::Result<File> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        match File::options().read(true).write(true).open(PORT) {
            Ok(port) => return Ok(port),
            Err(error) if Instant::now() > deadline => return Err(error).context(PORT),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Milliseconds since the kernel began to keep time.
fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}
