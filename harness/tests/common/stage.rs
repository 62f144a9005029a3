//! A small kernel, and mmtorture with a machine that plays its guest: see `data/fake-guest`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::common::Said;
use crate::yard::Yard;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small kernel, and mmtorture with a machine that plays guests.
pub struct Stage {
    pub yard: Yard,
    program: PathBuf,
}

impl Stage {
    pub fn new() -> Self {
        let yard = Yard::new();
        let (real, here) = (Path::new(env!("CARGO_BIN_EXE_mmtorture")), yard.path("bin"));
        std::fs::create_dir(&here).unwrap();
        for name in ["mmtorture", "guest-init", "torture"] {
            std::fs::copy(real.with_file_name(name), here.join(name)).unwrap();
        }
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fake-guest");
        std::fs::copy(fake, here.join("mmtorture-vmm")).unwrap();
        Self { yard, program: here.join("mmtorture") }
    }

    pub fn command(&self, args: &[&str]) -> Said {
        let template = self.yard.command(&[]);
        let mut command = Command::new(&self.program);
        command.args(args).args(["--machine", "vmm", "--accel", "kvm", "--jobs", "1"]);
        for (name, value) in template.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Said::of(command.output().unwrap())
    }

    /// Runs a matrix until its one cell has failed; `latest/CELL`.
    pub fn fail(&self, source: &str, lines: &str) -> String {
        let matrix = self.yard.matrix(source, lines);
        let said = self.command(&["run", &matrix, "--no-bisect"]).expect(1, &[]);
        assert!(said.stdout.contains("kernel BUG in do_c_page"), "{}", said.stdout);
        let run = self.yard.bench.run(&["show", "latest", "--format", "json"]).json();
        format!("latest/{}", run["trials"][0]["cell"].as_str().unwrap())
    }

    /// The trials that searches made.
    pub fn trials(&self) -> usize {
        let run =
            std::fs::read_dir(self.yard.path("results")).unwrap().flatten().map(|e| e.path().join("bisect/cells"));
        let cells = run.flat_map(|cells| std::fs::read_dir(cells).into_iter().flatten().flatten());
        cells.map(|cell| std::fs::read_dir(cell.path()).unwrap().count()).sum()
    }

    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        let mut git = Command::new("git");
        let said = Said::of(git.arg("-C").arg(self.yard.path(folder)).args(args).output().unwrap());
        said.stdout + &said.stderr
    }

    pub fn commit(&self, revision: &str) -> String {
        self.git("linux", &["rev-parse", revision]).trim().to_owned()
    }
}
