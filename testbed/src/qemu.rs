//! The outer guest's machine, and the process that it is.

use crate::bed::Options;
use crate::image::{share_tag, ROOT_TAG};
use crate::package::Kernel;
use crate::Error;
use mmtorture_bootkit::tsc;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The program.
const PROGRAM: &str = "qemu-system-x86_64";

/// What it is started with beyond its arguments.
#[derive(Debug)]
pub struct Files {
    /// The initramfs.
    pub initramfs: File,
    /// Our port's other end: a connected socket.
    pub port: OwnedFd,
    /// Where the outer kernel's console goes.
    pub console: File,
    /// Where QEMU's own words go.
    pub stderr: File,
}

/// A running QEMU.
#[derive(Debug)]
pub struct Qemu {
    process: OwnedFd,
    keeper: Option<JoinHandle<Option<ExitStatus>>>,
}

impl Qemu {
    /// Starts it.
    ///
    /// # Errors
    /// [`Error::Missing`]: it is not installed. [`Error::Failed`]: it cannot be started.
    pub fn start(options: &Options, kernel: &Kernel, shares: &[PathBuf], files: Files) -> Result<Self, Error> {
        let mut command = command(options, kernel, shares, &files);
        let (report, started) = mpsc::channel();
        // PR_SET_PDEATHSIG takes the death of the *thread* that forked for the parent's (kernel/exit.c,
        // reparent_leader). A bed may outlive the thread that booted it, the first of many tests for instance, so a
        // thread of its own starts QEMU and lives as long.
        let keeper = std::thread::spawn(move || {
            let spawned = command.spawn();
            // Our copy of the port must go, or its end would never be seen.
            drop((command, files));
            match spawned {
                Ok(mut child) => {
                    let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
                    if pidfd.is_err() {
                        let _ = child.kill();
                    }
                    let _ = report.send(pidfd.map_err(std::io::Error::from));
                    child.wait().ok()
                }
                Err(e) => {
                    let _ = report.send(Err(e));
                    None
                }
            }
        });
        let process = started.recv().unwrap_or_else(|_| Err(std::io::Error::other("its thread died")));
        let process = process.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::missing(format!("{PROGRAM} is not installed; `make setup` does it")),
            _ => Error::failed(format!("cannot start {PROGRAM}: {e}")),
        })?;
        Ok(Self { process, keeper: Some(keeper) })
    }

    /// Kills it, if it still runs, and says how it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        self.keeper.take()?.join().ok()?
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command(options: &Options, kernel: &Kernel, shares: &[PathBuf], files: &Files) -> Command {
    let mut qemu = Command::new(PROGRAM);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"]);
    // A panic of the outer kernel ends QEMU, and by that the wait for an answer.
    qemu.arg("-no-reboot");
    // q35 rather than microvm, which hung in delay calibration under TCG.
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,+svm"]);
    qemu.args(["-smp", &options.cpus.to_string(), "-m", &format!("{}M", options.memory_mib)]);
    qemu.arg("-kernel").arg(kernel.image()).args(["-append", &command_line()]);
    qemu.args(["-initrd", &format!("/proc/self/fd/{}", files.initramfs.as_raw_fd())]);
    // stdio rather than a file by name: the file may have none.
    qemu.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    qemu.args(["-chardev", &format!("socket,id=port,fd={}", files.port.as_raw_fd())]);
    qemu.args(["-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=port"]);
    qemu.args(["-device", "virtio-rng-pci"]);
    let mut folder = |tag: &str, path: &Path, rights: &str| {
        // Inode numbers of several host file systems come together in one: unmapped they could collide.
        let escaped = path.display().to_string().replace(',', ",,");
        qemu.args(["-fsdev", &format!("local,id={tag},path={escaped},security_model=none,multidevs=remap{rights}")]);
        qemu.args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    };
    folder(ROOT_TAG, Path::new("/"), ",readonly=on");
    for (index, share) in shares.iter().enumerate() {
        folder(&share_tag(index), share, "");
    }
    let copy = |file: &File| file.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
    qemu.stdin(Stdio::null()).stdout(copy(&files.console)).stderr(copy(&files.stderr));
    let inherited = [files.initramfs.as_raw_fd(), files.port.as_raw_fd()];
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: prctl(2) and fcntl(2) are system calls.
    // The descriptors are open until the child has been made: the caller keeps `files` until spawn is done.
    unsafe {
        qemu.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            for fd in inherited {
                let fd = rustix::fd::BorrowedFd::borrow_raw(fd);
                rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
    // Ctrl-C is for whoever waits for the bed, not for the bed.
    qemu.process_group(0);
    qemu
}

fn command_line() -> String {
    // Calibration against the PIT under TCG is off by as much as the host is busy, and a delay loop's is a guess: both
    // are told. mitigations=off: there is no hardware here to protect, and each mitigation would be emulated.
    format!(
        "console=ttyS0 panic=-1 tsc=reliable tsc_early_khz={} lpj=10000000 mitigations=off random.trust_cpu=on",
        tsc::khz()
    )
}
