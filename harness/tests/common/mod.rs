//! What the end-to-end tests share: the program as built, and matrices made for one test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod small_kernel;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

/// One guest at a time: two of them on two cores would time each other out.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness is a folder of the repository").to_owned()
}

/// The kernel of `matrices/dump.yaml`, which has all that a machine can have; as a line of a matrix.
pub const FULL_KERNEL: &str =
    "kernel: {source: 'debian:linux-source-6.1', kconfig: [base, guest, mm, debug, acpi, virtio, dump, dwarf]}";

/// A folder with a matrix in it, and room for its results.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In a folder of its own below that one.
    pub fn within(folder: &Path) -> Self {
        let dir = tempfile::tempdir_in(folder).unwrap();
        std::fs::create_dir(dir.path().join("kconfig")).unwrap();
        for entry in std::fs::read_dir(repository().join("matrices/kconfig")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join("kconfig").join(path.file_name().unwrap())).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `m.yaml`: `lines` on top of a small matrix; a key in `lines` replaces the small matrix's.
    pub fn matrix(&self, lines: &str) -> PathBuf {
        let defaults = [
            "mmtorture: 1",
            "kernel: {source: 'debian:linux-source-6.1', kconfig: [base, guest, mm, debug]}",
            "workloads: [anon-churn]",
            "seconds: 5",
            "dimensions: {thp: always, cpus: 2, memory: 320M, swap: 'zram:1G'}",
        ];
        let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let given: Vec<_> = lines.lines().map(key).collect();
        let kept = defaults.iter().filter(|line| !given.contains(&key(line)));
        let text: String = kept.copied().chain(lines.lines()).map(|line| format!("{line}\n")).collect();
        let path = self.path("m.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// mmtorture with these arguments, its results in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mmtorture"));
        command.args(args).env("MMTORTURE_RESULTS", self.path("results")).env_remove("MMTORTURE_LOG");
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        Said::of(self.command(args).output().unwrap())
    }
}

/// What a command said.
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts the exit status, and that stderr has all these words.
    #[track_caller]
    pub fn expect(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no '{word}' in:\n{}", self.stderr);
        }
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}:\n{}", self.stdout))
    }
}

/// A series made for tests.
pub fn test_series(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

/// What drgn sees in a trial's core: see `vmm/tests/core.py`. `None`, and a word, where there is no drgn.
pub fn drgn(folder: &Path, trial: &serde_json::Value) -> Option<serde_json::Value> {
    let cache = mmtorture_harness::cache::Cache::open().unwrap();
    let python = cache.root().join("drgn/bin/python");
    if !python.exists() {
        println!("skipped: drgn is missing, `make drgn` installs it");
        return None;
    }
    let core = folder.join("core.elf");
    let packed = std::fs::File::open(folder.join("core.elf.zst")).unwrap();
    let mut unpacked = std::fs::File::create(&core).unwrap();
    std::io::copy(&mut ruzstd::decoding::StreamingDecoder::new(packed).unwrap(), &mut unpacked).unwrap();
    let vmlinux = cache.root().join("kernels").join(trial["kernel"].as_str().unwrap()).join("vmlinux");
    let script = repository().join("vmm/tests/core.py");
    let said = Said::of(Command::new(python).arg(script).args([&core, &vmlinux]).output().unwrap());
    Some(said.expect(0, &[]).json())
}

/// Asserts that drgn walked the stacks of a guest that panicked over `swapon`, and listed its tasks.
#[track_caller]
pub fn assert_swapon_panicked(seen: &serde_json::Value) {
    let crashed = seen["crashed"]["stack"].to_string();
    assert!(crashed.contains("panic") && crashed.contains("swapon"), "{seen:#}");
    let sleeper = seen["sleeper"]["stack"].to_string();
    assert!(sleeper.contains("schedule"), "{seen:#}");
    assert!(seen["tasks"].as_array().unwrap().iter().any(|task| task["comm"] == "kthreadd"), "{seen:#}");
}
