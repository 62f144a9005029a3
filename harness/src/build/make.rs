//! Running make in a work tree.

use super::recover;
use super::toolchain::Tools;
use super::tree::Tree;
use super::BuildError;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::interrupt::Interrupt;
use crate::plan::Fragment;
use crate::process;
use anyhow::Context;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// make's output.
const LOG: &str = ".mmtorture-build.log";

/// Objects that are little but an `.incbin`, of which no dependency file tells: the compiler cache would take one of
/// another kernel whose compressed size is the same, and the image would hold that kernel. So each kernel has flags of
/// its own.
const INCLUDES_BINARIES: [&str; 3] = ["piggy.o", "rmpiggy.o", "kexec-purgatory.o"];

/// A compiler cache of this size holds some thirty whole builds.
const CCACHE_SIZE: &str = "4G";

/// What has to be printed of a failed build for its reader to see why.
const EXCERPT_LINES: usize = 30;

/// What a build took.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Objects compiled.
    pub objects: usize,
    /// User's and system's time of make and all that it started.
    pub cpu: Duration,
}

/// Runs make in a tree.
pub struct Make<'a> {
    /// The tree.
    pub tree: &'a Tree<'a>,
    /// Where the compiler cache is.
    pub cache: &'a Cache,
    /// The compiler.
    pub tools: &'a Tools,
    /// The tree's lock: it is to be held for as long as a compiler runs, whatever becomes of us.
    pub lock: &'a Lock,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

impl Make<'_> {
    /// The final .config: `tinyconfig`, the fragments, `olddefconfig`.
    pub fn configure(&self, fragments: &[Fragment]) -> Result<String> {
        let dot_config = self.tree.path(".config");
        self.run_quietly("tinyconfig")?;
        let mut text = read(&dot_config)?;
        for fragment in fragments {
            text.push_str(&fragment.text);
            text.push('\n');
        }
        self.tree.write_if_changed(".config", text.as_bytes())?;
        self.run_quietly("olddefconfig")?;
        read(&dot_config)
    }

    /// Builds the image; `progress` is told the number of objects compiled so far.
    pub fn build(
        &self,
        jobs: usize,
        version: &str,
        progress: impl Fn(usize),
    ) -> std::result::Result<Effort, BuildError> {
        let log = self.tree.path(LOG);
        let _ = std::fs::remove_file(&log);
        let mut command = self.command("bzImage");
        command.arg(format!("-j{jobs}")).env("KBUILD_BUILD_VERSION", version);
        command.args(INCLUDES_BINARIES.map(|object| format!("AFLAGS_{object}=-DMMTORTURE_VERSION={version}")));
        let mut objects = 0;
        let (status, cpu) = self.run(command, |line| {
            if line.starts_with("  CC ") || line.starts_with("  AS ") {
                objects += 1;
                progress(objects);
            }
        })?;
        if !status.success() {
            // The tree's log goes with the next build; a failed one is worth keeping.
            let kept = self.cache.path("logs", &format!("{version}.build.log"));
            files::create_dir(&self.cache.root().join("logs"))?;
            let text = std::fs::read(&log).context("cannot read the build's log")?;
            files::write(&kept, &text)?;
            return Err(BuildError::Failed { excerpt: excerpt(&String::from_utf8_lossy(&text)), log: kept });
        }
        Ok(Effort { objects, cpu })
    }

    /// Builds what builds of the selftests in `folder` into `output`, linked statically: guests have no libraries.
    pub fn selftests(&self, folder: &str, output: &Path, jobs: usize) -> Result<()> {
        self.run_quietly("headers")?;
        let log = self.tree.path(LOG);
        let _ = std::fs::remove_file(&log);
        let mut command = self.command("all");
        // A second -C goes on from the first.
        command.args(["-C", folder, "--keep-going", "EXTRA_CFLAGS=-static", &format!("-j{jobs}")]);
        command.arg(format!("OUTPUT={}", output.display()));
        // Some want libraries that are not there: what they make is looked at, not make's status.
        self.run(command, |_| {}).map(drop)
    }

    fn run_quietly(&self, target: &str) -> Result<()> {
        let log = self.tree.path(LOG);
        let _ = std::fs::remove_file(&log);
        let (status, _) = self.run(self.command(target), |_| {})?;
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Err(Error::host(format!("make {target} failed:\n{}", excerpt(&said))))
    }

    fn run(&self, mut command: Command, line: impl FnMut(&str)) -> Result<(ExitStatus, Duration)> {
        process::be_nice(&mut command);
        self.lock.give(&mut command);
        recover::begin(&self.tree.path(""))?;
        // An interrupt kills make as well, so its mark stays.
        let result = process::run_timed(command, &self.tree.path(LOG), self.interrupt, line)?;
        recover::end(&self.tree.path(""))?;
        Ok(result)
    }

    /// make with everything that would make two builds of one key differ, pinned.
    fn command(&self, target: &str) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(self.tree.path("")).args(["--no-print-directory", "ARCH=x86_64", target]);
        // The user's environment must not reach the kernel's configuration or its flags.
        for variable in ["MAKEFLAGS", "MFLAGS", "KCFLAGS", "KCONFIG_CONFIG", "KBUILD_OUTPUT", "LLVM", "CROSS_COMPILE"] {
            make.env_remove(variable);
        }
        make.envs([
            ("LC_ALL", "C"),
            ("LOCALVERSION", ""),
            ("KBUILD_BUILD_USER", "mmtorture"),
            ("KBUILD_BUILD_HOST", "mmtorture"),
            ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
        ]);
        self.tools.choose(&mut make);
        make.env("CCACHE_DIR", self.cache.root().join("ccache")).env("CCACHE_MAXSIZE", CCACHE_SIZE);
        // By dependency files instead of preprocessing everything first: a miss then costs no second cpp.
        make.env("CCACHE_DEPEND", "1");
        make
    }
}

fn read(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// The lines of a build log that say what went wrong: from the first error on, or else the end.
fn excerpt(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let is_error = |line: &str| {
        let words = [": error: ", ": fatal error: ", "undefined reference to", "multiple definition of", "error: "];
        words.iter().any(|w| line.contains(w))
    };
    // "In file included from" and "In function" lines before an error are part of it.
    let start = match lines.iter().position(|l| is_error(l)) {
        Some(at) => (0..at)
            .rev()
            .take_while(|&i| lines[i].contains("from ") || lines[i].contains(": In function"))
            .last()
            .unwrap_or(at),
        None => lines.len().saturating_sub(EXCERPT_LINES),
    };
    lines[start..].iter().take(EXCERPT_LINES).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_begins_where_the_trouble_does() {
        let log = "  CC      mm/a.o\nIn file included from mm/b.c:3:\nmm/b.h:7:1: error: unknown type name 'foo'\n  CC  c.o\nmake: *** [mm/b.o] Error 1\n";
        assert!(excerpt(log).starts_with("In file included from mm/b.c:3:\nmm/b.h:7:1: error"));
        assert_eq!(excerpt("a\nb\n"), "a\nb");
    }
}
