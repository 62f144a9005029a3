//! What the end-to-end tests share: the program as built, and matrices made for one test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

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

/// A folder with a matrix in it, and room for its results.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
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
