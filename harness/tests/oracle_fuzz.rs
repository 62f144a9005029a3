//! Feeds the oracle crash logs after mutation, for as long as `FUZZ_SECONDS` says: no panic, the same findings however the bytes are
//! cut, nothing whole announced in a prefix that the whole does not contain, and time that grows with the input only.
//!
//! Its seeds are the logs of `MMTORTURE_CORPUS` (default `../shared/corpus/oops` beside the repository) and the reports below. It runs
//! on stable Rust without instrumentation; `make fuzz-oracle` is ten minutes of it.

use mmtorture_harness::oracle::{Finding, Notice, Oracle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A report and what may stand around it, where there is no corpus.
const SEED: &str = "\
[    0.000000][    T0] Linux version 6.1.192 (me@here) (gcc 12) #3 SMP PREEMPT
[   12.000000][   T44] cc1 invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0
[   12.000000][   T44] BUG: Bad page state in process cc1  pfn:12345
[   12.000000][   T44] page dumped because: nonzero mapcount
[   12.000000][   T44] CPU: 0 PID: 44 Comm: cc1 Not tainted 6.1.192 #3
[   12.000000][   T44] Call Trace:
[   12.000000][   T44]  <TASK>
[   12.000000][   T44]  release_pages+0x13f/0x4a0
[   12.000000][   T44]  </TASK>
** 7 printk messages dropped **
[   13.000000][    C1] rcu: INFO: rcu_preempt self-detected stall on CPU
[   13.000000][    C1] NMI backtrace for cpu 0
[   13.000000][    C1] RIP: 0010:rmap_walk_anon+0x1/0x2
[   14.000000][   T44] kernel BUG at mm/rmap.c:1!
[   14.000000][   T44] ---[ end trace 0000000000000000 ]---
";

/// The most that a byte may cost on average, in nanoseconds, whatever it is: ten times a slow host's measure.
const MAX_NANOS_A_BYTE: u64 = 1_000;

/// A log so short that a page fault is most of its time is not judged.
const JUDGED_BYTES: usize = 4 << 10;

fn seeds() -> Vec<Vec<u8>> {
    let named = std::env::var_os("MMTORTURE_CORPUS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/oops");
    let mut seeds = vec![SEED.as_bytes().to_vec()];
    match [named, Some(beside)].into_iter().flatten().find(|p| p.is_dir()) {
        Some(folder) => {
            let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
            files.sort();
            seeds.extend(files.iter().map(|f| std::fs::read(f).unwrap()));
        }
        None => println!("skipped: no corpus at MMTORTURE_CORPUS or ../shared/corpus/oops; one seed of our own"),
    }
    seeds
}

/// A linear congruential generator: the same run for the same seed, without a dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// Cuts, splices, repeats, shuffles lines, flips bytes.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut log = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(log.len());
        match random.below(7) {
            0 => log.truncate(at),
            1 => {
                let other = &seeds[random.below(seeds.len())];
                let (a, b) = (random.below(other.len()), random.below(other.len()));
                log.splice(at..at, other[a.min(b)..a.max(b)].iter().copied());
            }
            2 => {
                let mut lines: Vec<&[u8]> = log.split_inclusive(|&b| b == b'\n').collect();
                for _ in 0..random.below(20) {
                    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
                    if !lines.is_empty() {
                        lines.swap(a, b);
                    }
                }
                log = lines.concat();
            }
            3 => {
                let line = log[at..].iter().position(|&b| b == b'\n').map_or(log.len(), |n| at + n + 1);
                let again = log[at..line].repeat(random.below(200));
                log.splice(at..at, again);
            }
            4 => {
                for _ in 0..=log.len() / 64 {
                    let at = random.below(log.len());
                    if let Some(byte) = log.get_mut(at) {
                        *byte = random.below(256) as u8;
                    }
                }
            }
            5 => log.retain(|&b| b != b'\n' || random.below(30) > 0),
            _ => {
                const SPECIAL: [&[u8]; 10] = [
                    b"\0",
                    b"\xff\xfe",
                    b"\r",
                    b"\x1b[",
                    b"\x1b]",
                    b"[",
                    b"** 9 printk messages dropped ** ",
                    b"+0x",
                    // Blanks and letters of several bytes, cut to pieces.
                    b"\xc2\x85",
                    b"\xe2\x80\x83\xf0\x9f\x92",
                ];
                let special = SPECIAL[random.below(SPECIAL.len())].repeat(1 + random.below(50));
                log.splice(at..at, special);
            }
        }
        log.truncate(1 << 20);
    }
    log
}

fn read(log: &[u8], mut cut: impl FnMut() -> usize) -> Vec<Notice> {
    let (mut oracle, mut notices, mut rest) = (Oracle::with_noise(), Vec::new(), log);
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(cut().clamp(1, rest.len()));
        notices.extend(oracle.feed(head));
        rest = tail;
    }
    notices.extend(oracle.finish());
    notices
}

/// This thread's processor time: a busy host must not fail the test.
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn completed(notices: &[Notice]) -> impl Iterator<Item = &Finding> {
    notices.iter().filter_map(|n| if let Notice::Completed(finding) = n { Some(&**finding) } else { None })
}

/// The log at hand; a failure writes it where a person can find it.
struct Kept(Vec<u8>);

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join("oracle-fuzz-failure.log");
            let _ = std::fs::write(&path, &self.0);
            eprintln!("the log is kept in {}", path.display());
        }
    }
}

#[test]
#[ignore = "runs for FUZZ_SECONDS, 600 of them by default"]
fn mutated_logs_do_no_harm() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(600);
    let seeds = seeds();
    let mut random = Random(std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1));
    let mut kept = Kept(Vec::new());
    let (start, mut logs, mut bytes, mut slowest) = (Instant::now(), 0_u64, 0_u64, 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        let log = mutate(&mut random, &seeds);
        kept.0.clone_from(&log);
        let began = cpu_nanos();
        let whole = read(&log, || usize::MAX);
        let nanos = (cpu_nanos() - began) / log.len().max(1) as u64;
        if log.len() >= JUDGED_BYTES {
            slowest = slowest.max(nanos);
            assert!(nanos <= MAX_NANOS_A_BYTE, "{nanos} ns a byte, after {logs} logs");
        }
        let chunked = read(&log, || 1 + random.below(700));
        assert!(whole == chunked, "the cut of the bytes matters");
        let prefix = &log[..random.below(log.len())];
        let content = |f: &Finding| (f.first_line, f.signature.clone(), f.title.clone(), f.primary);
        let known: Vec<_> = completed(&whole).map(content).collect();
        for finding in completed(&read(prefix, || usize::MAX)).filter(|f| !f.corrupted) {
            assert!(known.contains(&content(finding)), "a prefix knows {finding:?}");
        }
        logs += 1;
        bytes += log.len() as u64;
    }
    println!("{logs} logs, {} MiB, in {seconds} s: no harm; the slowest {slowest} ns a byte", bytes >> 20);
}
