//! A small kernel, and a cache of its own.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::common::{small_kernel, Bench, Said};
use std::path::PathBuf;
use std::process::Command;

/// A bench with a small kernel in it, and a cache of its own.
pub struct Yard {
    pub bench: Bench,
}

impl Yard {
    pub fn new() -> Self {
        let bench = Bench::new();
        std::fs::write(bench.path("kconfig/small.config"), "CONFIG_TINY=y\n").unwrap();
        small_kernel::write(&bench.path("linux"));
        Self { bench }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bench.command(args);
        command.env("XDG_CACHE_HOME", self.path("cache")).env("COMPILED", self.path("compiled"));
        command.env_remove("MMTORTURE_CACHE_SIZE");
        command
    }

    /// A matrix with this source and these lines.
    pub fn matrix(&self, source: &str, lines: &str) -> String {
        let kernel = format!("kernel: {{source: '{source}', kconfig: [small]}}\n{lines}");
        self.bench.matrix(&kernel).display().to_string()
    }

    pub fn build(&self, source: &str, lines: &str) -> Said {
        let matrix = self.matrix(source, lines);
        Said::of(self.command(&["build", &matrix]).output().unwrap())
    }

    /// The objects compiled since this was asked last, sorted.
    pub fn compiled(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("compiled")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("compiled"));
        let mut objects: Vec<_> = text.lines().map(str::to_owned).collect();
        objects.sort();
        objects
    }

    pub fn sh(&self, script: &str) {
        let mut sh = Command::new("sh");
        sh.args(["-ec", script]).current_dir(self.path("")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for (name, value) in [("AUTHOR", "A Developer"), ("COMMITTER", "A Developer")] {
            sh.env(format!("GIT_{name}_NAME"), value).env(format!("GIT_{name}_EMAIL"), "a@example.org");
        }
        let said = Said::of(sh.output().unwrap());
        assert_eq!(said.status, Some(0), "{script}\n{}{}", said.stdout, said.stderr);
    }
}
