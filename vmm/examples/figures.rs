//! The figures of `docs/vmm.md` that tiny guests give, on this host's KVM: how soon a vCPU runs, what the process takes
//! beyond its guest's memory, and that a thousand boots leave nothing behind.
//!
//! `cargo run --release -p mmtorture-vmm --example figures -- target/x86_64-unknown-linux-gnu/release/mmtorture-vmm`

#[path = "../tests/tiny/code.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod code;

use clap::Parser;
use mmtorture_vmm::config::Config;
use mmtorture_vmm::ending::{Ending, ResetBy};
use mmtorture_vmm::machine;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BOOTS: usize = 1000;
const STARTS: usize = 50;

fn main() {
    let program = std::env::args().nth(1).expect("usage: figures PATH-OF-mmtorture-vmm");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let kernel = |name: &str, code: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, code::elf(code)).expect("a temporary file");
        path
    };
    let spin = kernel("spin", code::spin());
    let hello = kernel("hello", code::hello());

    let mut starts: Vec<Duration> = (0..STARTS).map(|_| start(&program, &spin).0).collect();
    starts.sort();
    let [least, median, most] = [0, STARTS / 2, STARTS - 1].map(|n| starts[n].as_secs_f64() * 1e3);
    println!("spawn to running vCPUs, 2 vCPUs, 512 MiB: median {median:.1} ms of {STARTS} ({least:.1} to {most:.1})");

    let (_, beyond, guest) = start(&program, &spin);
    println!("resident beyond the guest's memory: {beyond} KiB (the guest has {guest} KiB)");

    let began = Instant::now();
    let mut before = None;
    for n in 0..BOOTS {
        boot(&hello);
        // The first boots warm up allocator and kernel.
        if n == BOOTS / 10 {
            before = Some(Process::now());
        }
    }
    println!("{BOOTS} boots in one process: {:.1} ms each", began.elapsed().as_secs_f64() * 1e3 / BOOTS as f64);
    println!("after {}: {:?}", BOOTS / 10, before.expect("it is in range"));
    println!("after {BOOTS}: {:?}", Process::now());
}

/// Starts a machine; yields how soon its vCPUs run, and after half a second its resident memory in KiB, without and
/// only the guest's.
fn start(program: &str, kernel: &Path) -> (Duration, u64, u64) {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["--cpus", "2", "--memory", "512", "--kernel"])
        .arg(kernel)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let took = began.elapsed();
    assert!(line.contains("running"), "{line}");
    let (all, guest) = resident(&child);
    child.kill().and_then(|()| child.wait()).expect("it ends");
    (took, all - guest, guest)
}

/// The resident memory of a process, and what of it is the mapping of 512 MiB, in KiB.
fn resident(child: &Child) -> (u64, u64) {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", child.id())).expect("smaps");
    let kib = |line: &str, key: &str| {
        line.strip_prefix(key)
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .map(|n| n.trim().parse::<u64>().expect("KiB"))
    };
    let (mut all, mut guest, mut size) = (0, 0, 0);
    for line in maps.lines() {
        size = kib(line, "Size:").unwrap_or(size);
        if let Some(rss) = kib(line, "Rss:") {
            all += rss;
            guest += if size == 512 << 10 { rss } else { 0 };
        }
    }
    (all, guest)
}

fn boot(kernel: &Path) {
    let config =
        Config::parse_from(["vmm", "--no-confinement", "--memory", "16", "--kernel", &kernel.to_string_lossy()]);
    let ending = machine::run(&config, &mut |_| {}).expect("the host works");
    assert_eq!(ending, Ending::Reset { by: ResetBy::I8042 });
}

/// What a leak would show in.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Process {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
    mappings: usize,
}

impl Process {
    fn now() -> Self {
        let count = |path| std::fs::read_dir(path).expect("/proc").count();
        let pages = std::fs::read_to_string("/proc/self/statm").expect("/proc");
        let pages: u64 = pages.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm");
        let mappings = std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
        Self {
            resident_kib: pages * 4,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            mappings,
        }
    }
}
