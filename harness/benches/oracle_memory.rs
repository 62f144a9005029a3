//! How much memory the oracle takes on a stream of 2 GiB: ordinary output with oopses in between, in one boot and in many, without a
//! newline, and of eight CPUs that never finish their reports. Prints the growth of the process's peak; fails beyond the promise.

mod text;

use mmtorture_harness::oracle::{Notice, Oracle};

/// The promise, in KiB.
const PROMISE: u64 = 8 << 10;
const STREAM: usize = 2 << 30;

/// `VmHWM`: the most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let ordinary = text::ordinary(4 << 20);
    let oopses = text::oopses(1 << 20);
    let banner = b"[    0.000000] Linux version 6.1.192 (me@here) (gcc 12) #3 SMP PREEMPT\n".as_slice();
    let endless = vec![b'x'; 1 << 20];
    let open: String = (0..4000)
        .map(|n| format!("[    9.000000][ C{:>4}] BUG: KASAN: use-after-free in f{n}+0x1/0x2\n[    9.000000][ C{0:>4}]  g+0x1/0x2\n", n % 64))
        .collect();
    let mix: [&[u8]; 5] = [&ordinary, &oopses, banner, &endless, open.as_bytes()];

    let before = peak();
    let start = cpu_seconds();
    let (mut oracle, mut fed, mut findings) = (Oracle::new(), 0_usize, 0_usize);
    'stream: loop {
        for piece in mix {
            for chunk in piece.chunks(64 << 10) {
                findings += oracle.feed(chunk).iter().filter(|n| matches!(n, Notice::Completed(_))).count();
                fed += chunk.len();
            }
            if fed >= STREAM {
                break 'stream;
            }
        }
    }
    let seconds = cpu_seconds() - start;
    let grown = peak() - before;
    println!(
        "{} MiB in {seconds:.1} s of processor time ({:.0} MB/s), {findings} findings, peak memory grew by {grown} KiB of {PROMISE} promised",
        fed >> 20,
        fed as f64 / 1e6 / seconds
    );
    assert!(grown <= PROMISE, "{grown} KiB");
}
