//! Killing mmtorture at moments that are drawn from a seed.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;
use std::time::{Duration, Instant};

/// A number of the environment's.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Moments to kill at.
pub struct Moments(u64);

impl Moments {
    /// Those of `MMTORTURE_KILL_SEED`.
    pub fn new() -> Self {
        Self(number("MMTORTURE_KILL_SEED", 1))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Processes of guests whose files are in `results`.
fn guests(results: &Path) -> Vec<String> {
    let results = results.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let cmdlines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
    let cmdlines = cmdlines.map(|c| String::from_utf8_lossy(&c).into_owned());
    cmdlines.filter(|c| c.starts_with("qemu") && c.contains(&results)).collect()
}

/// A killed process's children are killed by the kernel at once, but die in their own time.
#[track_caller]
pub fn no_guest_is_left(results: &Path) {
    let start = Instant::now();
    while !guests(results).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "orphans: {:?}", guests(results));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All that `pid` started and they started, children after their parents.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    all.split_off(1)
}

/// SIGKILL to a process, if it is still there.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
