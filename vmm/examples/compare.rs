//! mmtorture-vmm beside QEMU's microvm, with KVM, same kernel and initramfs, in turn: how soon a guest's first event
//! comes, and how fast its virtio disk is. Meant for the testbed, where there is a KVM for both:
//!
//!     testbed run --memory 3072 --seconds 900 -- compare --init guest-init --boot KERNEL --disk KERNEL
//!
//! `make figures-vmm` does so. In a guest, as PID 1, this same program measures the disk.

use clap::Parser;
use mmtorture_bootkit::cpio::Cpio;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The disk's size.
const DISK: u64 = 128 << 20;
/// The size of a request.
const REQUEST: usize = 4096;
/// How long each kind of request is measured, in the guest.
const WINDOW: Duration = Duration::from_secs(2);
/// How long a guest may say nothing. A disk's takes a window for each of its measurements between two lines, on an
/// emulated CPU.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many guests may be lost in a row: the testbed's CPUs are emulated, and some are (docs/testbed.md).
const ATTEMPTS: usize = 5;

#[derive(Parser)]
struct Args {
    /// guest-init, for the time to its first event
    #[arg(long)]
    init: PathBuf,
    /// A kernel for that time: vmlinux or bzImage; several are measured one after the other
    #[arg(long)]
    boot: Vec<PathBuf>,
    /// A kernel with virtio-mmio and virtio-blk
    #[arg(long)]
    disk: Option<PathBuf>,
    /// mmtorture-vmm
    #[arg(long)]
    vmm: PathBuf,
    /// Rounds, each with both machines
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() {
    if std::process::id() == 1 {
        guest::main();
    }
    let args = Args::parse();
    let dir = tempfile::tempdir().expect("a temporary folder");
    for kernel in &args.boot {
        boots(&args, kernel, dir.path());
    }
    if let Some(kernel) = &args.disk {
        disks(&args, kernel, dir.path());
    }
}

/// The machines.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Machine {
    Vmm,
    Qemu,
}

/// What a machine is given.
struct Guest<'a> {
    kernel: &'a Path,
    initramfs: &'a Path,
    cmdline: &'a str,
    disk: Option<&'a Path>,
}

/// A machine's process, ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Machine {
    const BOTH: [Self; 2] = [Self::Vmm, Self::Qemu];

    /// Starts it; yields it with the lines that it writes to ttyS1.
    fn start(self, args: &Args, guest: &Guest<'_>) -> (Running, mpsc::Receiver<String>) {
        let (events, end) = std::io::pipe().expect("a pipe");
        let mut command = match self {
            Self::Vmm => vmm(&args.vmm, guest),
            Self::Qemu => qemu(guest),
        };
        // The child's standard output is where its events go: both open /proc/self/fd/1.
        command.stdin(Stdio::null()).stdout(end).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("{self:?}: {e}"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Nobody wants more: so be it.
            BufReader::new(events).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        (Running(child), lines)
    }

    /// Boots guests until one writes a line with `word`, kills it, and yields the line and the time that it took.
    /// Guests that are lost are told on standard error.
    fn line(self, args: &Args, guest: &Guest<'_>, word: &str) -> (String, f64) {
        for _ in 0..ATTEMPTS {
            let started = Instant::now();
            let (_running, lines) = self.start(args, guest);
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) if line.contains(word) => return (line, started.elapsed().as_secs_f64()),
                    // Of our machine's own events there is one before.
                    Ok(_) => {}
                    Err(how) => {
                        eprintln!("{self:?}: lost a guest ({how}) after {:.0} s", started.elapsed().as_secs_f64());
                        break;
                    }
                }
            }
        }
        panic!("{self:?}: lost {ATTEMPTS} guests in a row")
    }
}

const EVENTS: &str = "/proc/self/fd/1";

fn vmm(program: &Path, guest: &Guest<'_>) -> Command {
    let mut vmm = Command::new(program);
    vmm.arg("--kernel").arg(guest.kernel).arg("--initramfs").arg(guest.initramfs);
    vmm.args(["--cmdline", guest.cmdline, "--cpus", "2", "--memory", "512", "--events", EVENTS]);
    // As QEMU's `-cpu host,-xsave` below: the emulated SVM does not intercept XSETBV.
    vmm.args(["--mask-cpuid", "1:ecx:26", "--virtio-by", "cmdline"]);
    if let Some(disk) = guest.disk {
        vmm.arg("--disk").arg(disk);
    }
    vmm
}

fn qemu(guest: &Guest<'_>) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "microvm,acpi=off,rtc=on", "-accel", "kvm", "-cpu", "host,-xsave", "-smp", "2", "-m", "512M"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(guest.kernel).arg("-initrd").arg(guest.initramfs).args(["-append", guest.cmdline]);
    qemu.args(["-chardev", "null,id=console", "-serial", "chardev:console"]);
    qemu.args(["-chardev", &format!("file,id=events,path={EVENTS}"), "-device", "isa-serial,chardev=events"]);
    if let Some(disk) = guest.disk {
        qemu.args(["-drive", &format!("if=none,id=disk,format=raw,file={}", disk.display())]);
        qemu.args(["-device", "virtio-blk-device,drive=disk"]);
    }
    qemu
}

/// Writes an initramfs with `init` in it.
fn initramfs(init: &Path, to: &Path) {
    let mut cpio = Cpio::default();
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/bin"] {
        cpio.directory(folder);
    }
    cpio.device("/dev/console", 5, 1);
    cpio.device("/dev/ttyS1", 4, 65);
    cpio.program("/init", &std::fs::read(init).expect("the guest's init"));
    std::fs::write(to, cpio.finish()).expect("a temporary file");
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn boots(args: &Args, kernel: &Path, dir: &Path) {
    let initramfs_path = dir.join("boot.cpio");
    initramfs(&args.init, &initramfs_path);
    let cmdline = "console=ttyS0,115200 panic=-1 no_timer_check reboot=t";
    let guest = Guest { kernel, initramfs: &initramfs_path, cmdline, disk: None };
    let mut times = [vec![], vec![]];
    for _ in 0..args.rounds {
        for (times, machine) in times.iter_mut().zip(Machine::BOTH) {
            times.push(machine.line(args, &guest, "hello").1);
        }
    }
    println!("{}: spawn to first event, {:?} {:.2?} s", kernel.display(), Machine::BOTH, times);
    let [ours, qemus] = times.each_mut().map(|times| median(times));
    println!("medians {ours:.2} s and {qemus:.2} s, ratio {:.2}", ours / qemus);
}

/// Requests a second, as the guest measures them.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    requests: Vec<(String, f64)>,
}

fn disks(args: &Args, kernel: &Path, dir: &Path) {
    let (image, initramfs_path) = (dir.join("disk.img"), dir.join("disk.cpio"));
    let me = std::env::current_exe().expect("this program");
    initramfs(&me, &initramfs_path);
    // Written in full, so that no first write pays for a page.
    std::fs::write(&image, vec![1; DISK as usize]).expect("room for a disk");
    let cmdline = "console=ttyS0,115200 panic=-1 no_timer_check reboot=t acpi=off quiet";
    let guest = Guest { kernel, initramfs: &initramfs_path, cmdline, disk: Some(&image) };
    let mut all: [Vec<Measured>; 2] = [vec![], vec![]];
    for _ in 0..args.rounds {
        for (measured, machine) in all.iter_mut().zip(Machine::BOTH) {
            let (line, _) = machine.line(args, &guest, "requests");
            measured.push(serde_json::from_str(&line).expect("our own line"));
        }
    }
    for kind in 0..all[0][0].requests.len() {
        let [ours, qemus] =
            all.each_ref().map(|runs| median(&mut runs.iter().map(|run| run.requests[kind].1).collect::<Vec<_>>()));
        let name = &all[0][0].requests[kind].0;
        println!("{name}: medians {ours:.0} and {qemus:.0} requests/s, ratio {:.2}", ours / qemus);
    }
}

/// What runs in a guest as PID 1.
mod guest {
    use super::*;

    pub fn main() -> ! {
        std::panic::set_hook(Box::new(|info| {
            say(&format!("{info}"));
            restart()
        }));
        mount();
        let disk = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open("/dev/vda");
        let disk = disk.expect("a disk");
        let mut requests = Vec::new();
        for threads in [1, 8] {
            for (name, write, random) in [
                ("sequential read", false, false),
                ("random read", false, true),
                ("sequential write", true, false),
                ("random write", true, true),
            ] {
                requests.push((format!("{name}, {threads} at once"), measure(&disk, threads, write, random)));
            }
        }
        say(&serde_json::to_string(&Measured { requests }).expect("JSON"));
        restart()
    }

    fn measure(disk: &File, threads: u64, write: bool, random: bool) -> f64 {
        let started = Instant::now();
        let work = |thread: u64| {
            // O_DIRECT wants aligned memory.
            let mut pages = vec![0; 2 * REQUEST];
            let at = pages.as_ptr().align_offset(REQUEST);
            let page = &mut pages[at..at + REQUEST];
            let blocks = DISK / REQUEST as u64 / threads;
            let (mut state, mut done) = (thread + 1, 0u64);
            while started.elapsed() < WINDOW {
                // xorshift64: the next place is not the point, only that it is not the next one on the disk.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let block = thread * blocks + if random { state } else { done } % blocks;
                let offset = block * REQUEST as u64;
                match write {
                    true => disk.write_all_at(page, offset),
                    false => disk.read_exact_at(page, offset),
                }
                .expect("the disk works");
                done += 1;
            }
            done
        };
        let done: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            workers.into_iter().map(|worker| worker.join().expect("it counts")).sum()
        });
        done as f64 / started.elapsed().as_secs_f64()
    }

    fn mount() {
        let (kind, at) = (c"devtmpfs", c"/dev");
        // SAFETY: NUL-terminated strings that outlive the call; no options.
        unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    }

    fn say(line: &str) {
        if let Ok(mut port) = OpenOptions::new().write(true).open("/dev/ttyS1") {
            let _ = writeln!(port, "\n{line}");
            // SAFETY: waits until a terminal's output is sent.
            unsafe { libc::tcdrain(std::os::fd::AsRawFd::as_raw_fd(&port)) };
        }
    }

    fn restart() -> ! {
        // SAFETY: ends the machine; nothing of it is left to be wrong.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
        loop {
            std::thread::park();
        }
    }
}
