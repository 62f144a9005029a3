//! Work trees: a source hard-linked from its pristine tree, patched by rewriting the files that differ, built in place.
//!
//! Built in place because kbuild's dependency files then hold relative paths, so that the compiler cache and a tree's
//! own objects serve whatever the tree is called. Every rewritten file gets the time of its rewriting: make compares
//! times, and a pristine file put back with its old time would not be compiled again.

use super::source::Source;
use super::{BuildError, Step};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::interrupt::Interrupt;
use crate::plan::Fragment;
use crate::process;
use crate::series::Applied;
use anyhow::Context;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lists the files that may differ from the pristine tree. Written before they are touched.
const PATCHED: &str = ".mmtorture-patched.json";

/// How many objects the tree's first build compiled.
const OBJECTS: &str = ".mmtorture-objects";

/// make's output.
const LOG: &str = ".mmtorture-build.log";

/// A compiler cache of this size holds some thirty whole builds.
const CCACHE_SIZE: &str = "4G";

/// What has to be printed of a failed build for its reader to see why.
const EXCERPT_LINES: usize = 30;

/// A work tree. The caller holds its lock.
pub struct Tree<'a> {
    source: &'a Source,
    root: PathBuf,
}

impl<'a> Tree<'a> {
    /// The tree at `root`, made if missing.
    pub fn open(source: &'a Source, root: PathBuf, interrupt: &Interrupt, watch: &dyn Fn(Step)) -> Result<Self> {
        files::publish_dir(&root, |half| {
            watch(Step::Tree);
            // cp links 80,000 files in seconds, and knows symbolic links; the pristine files are never opened for
            // writing: `sync` renames new files over the links.
            let mut cp = Command::new("cp");
            cp.args(["--recursive", "--link", "--no-dereference", "--no-target-directory"]).arg(&source.tree).arg(half);
            let log = half.with_extension("log");
            let status = process::run(cp, &log, interrupt, |_| {});
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let _ = std::fs::remove_file(&log);
            if !status?.success() {
                return Err(Error::host(format!("cannot link {}: {}", source.tree.display(), said.trim())));
            }
            Ok(())
        })?;
        Ok(Self { source, root })
    }

    /// A path in the tree.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Makes the tree the pristine one with `files` as given (`None`: deleted). What already is so is not touched.
    pub fn sync(&self, applied: &Applied) -> Result<()> {
        let files = &applied.files;
        let record = self.path(PATCHED);
        let before: BTreeSet<String> = if record.exists() { files::read_json(&record)? } else { BTreeSet::new() };
        let all: BTreeSet<String> = before.union(&files.keys().cloned().collect()).cloned().collect();
        // Killed between here and the end, the next sync looks at every file that this one may have changed.
        files::write_json(&record, &all)?;
        for path in &all {
            let want = match files.get(path) {
                Some(content) => content.clone(),
                None => self.source.read(path).with_context(|| format!("cannot read {path}"))?,
            };
            match want {
                Some(bytes) => {
                    self.write_if_changed(path, &bytes)?;
                    if applied.executable.contains(path) {
                        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                        std::fs::set_permissions(self.path(path), mode)
                            .with_context(|| format!("cannot chmod {path}"))?;
                    }
                }
                None => match std::fs::remove_file(self.path(path)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::host(format!("cannot remove {path}: {e}")))
                    }
                    _ => {}
                },
            }
        }
        Ok(files::write_json(&record, &files.keys().collect::<Vec<_>>())?)
    }

    /// Writes a file, breaking its link to the pristine tree, unless it is so already.
    pub fn write_if_changed(&self, relative: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(relative);
        if std::fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            files::create_dir(parent)?;
        }
        // kbuild runs scripts of the tree: a patched one stays executable, and so does one put back.
        let mode = [&path, &self.source.tree.join(relative)]
            .into_iter()
            .find_map(|p| std::fs::metadata(p).ok())
            .map(|meta| meta.permissions());
        files::write(&path, bytes)?;
        if let Some(mode) = mode {
            std::fs::set_permissions(&path, mode).with_context(|| format!("cannot chmod {relative}"))?;
        }
        Ok(())
    }

    /// How many objects a build from nothing compiles here, if one was made.
    pub fn objects_of_full_build(&self) -> Option<usize> {
        std::fs::read_to_string(self.path(OBJECTS)).ok()?.trim().parse().ok()
    }
}

/// Runs make in a tree.
pub struct Make<'a> {
    /// The tree.
    pub tree: &'a Tree<'a>,
    /// Where the compiler cache is.
    pub cache: &'a Cache,
    /// Whether ccache is installed.
    pub ccache: bool,
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

    /// Builds the image; `progress` is told the number of objects compiled so far. Yields how many they were.
    pub fn build(
        &self,
        jobs: usize,
        version: &str,
        progress: impl Fn(usize),
    ) -> std::result::Result<usize, BuildError> {
        let log = self.tree.path(LOG);
        let _ = std::fs::remove_file(&log);
        let first = !self.tree.path("vmlinux").exists();
        let mut command = self.command("bzImage");
        command.arg(format!("-j{jobs}")).env("KBUILD_BUILD_VERSION", version);
        let mut objects = 0;
        let status = process::run(command, &log, self.interrupt, |line| {
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
        if first {
            files::write(&self.tree.path(OBJECTS), objects.to_string().as_bytes())?;
        }
        Ok(objects)
    }

    fn run_quietly(&self, target: &str) -> Result<()> {
        let log = self.tree.path(LOG);
        let _ = std::fs::remove_file(&log);
        let status = process::run(self.command(target), &log, self.interrupt, |_| {})?;
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Err(Error::host(format!("make {target} failed:\n{}", excerpt(&said))))
    }

    /// make with everything that would make two builds of one key differ, pinned.
    fn command(&self, target: &str) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(&self.tree.root).args(["--no-print-directory", "ARCH=x86_64", target]);
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
        if self.ccache {
            make.args(["CC=ccache gcc", "HOSTCC=ccache gcc"]);
            make.env("CCACHE_DIR", self.cache.root().join("ccache")).env("CCACHE_MAXSIZE", CCACHE_SIZE);
            // By dependency files instead of preprocessing everything first: a miss then costs no second cpp.
            make.env("CCACHE_DEPEND", "1");
        }
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
    use std::time::{Duration, SystemTime};

    fn source() -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("mm")).unwrap();
        for name in ["mm/rmap.c", "mm/memory.c"] {
            std::fs::write(tree.join(name), format!("pristine {name}")).unwrap();
            // As a release tarball's files are: old.
            let file = std::fs::File::options().write(true).open(tree.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
        }
        (dir, Source { id: "0".repeat(64), tree })
    }

    fn files(all: &[(&str, Option<&str>)]) -> Applied {
        let files = all.iter().map(|(p, c)| ((*p).to_owned(), c.map(|c| c.as_bytes().to_vec()))).collect();
        Applied { files, ..Applied::default() }
    }

    #[test]
    fn a_tree_goes_from_variant_to_variant_and_the_source_stays_pristine() {
        let (dir, source) = source();
        let tree = Tree::open(&source, dir.path().join("work"), &Interrupt::default(), &|_| {}).unwrap();
        let read = |name: &str| std::fs::read_to_string(tree.path(name)).ok();
        let modified = |name: &str| std::fs::metadata(tree.path(name)).unwrap().modified().unwrap();
        let old = modified("mm/memory.c");

        tree.sync(&files(&[("mm/rmap.c", Some("patched")), ("mm/new.c", Some("new"))])).unwrap();
        assert_eq!(read("mm/rmap.c").unwrap(), "patched");
        assert_eq!(modified("mm/memory.c"), old, "what does not change keeps its time, or all would be rebuilt");
        let patched_at = modified("mm/rmap.c");

        tree.sync(&files(&[("mm/memory.c", None)])).unwrap();
        assert_eq!(read("mm/rmap.c").unwrap(), "pristine mm/rmap.c");
        assert!(modified("mm/rmap.c") >= patched_at, "put back with a new time, or make would not see it");
        assert_eq!((read("mm/new.c"), read("mm/memory.c")), (None, None));

        tree.sync(&Applied::default()).unwrap();
        assert_eq!(read("mm/memory.c").unwrap(), "pristine mm/memory.c");
        for name in ["mm/rmap.c", "mm/memory.c"] {
            let pristine = std::fs::read_to_string(source.tree.join(name)).unwrap();
            assert_eq!(pristine, format!("pristine {name}"));
        }
    }

    #[test]
    fn an_excerpt_begins_where_the_trouble_does() {
        let log = "  CC      mm/a.o\nIn file included from mm/b.c:3:\nmm/b.h:7:1: error: unknown type name 'foo'\n  CC  c.o\nmake: *** [mm/b.o] Error 1\n";
        assert!(excerpt(log).starts_with("In file included from mm/b.c:3:\nmm/b.h:7:1: error"));
        assert_eq!(excerpt("a\nb\n"), "a\nb");
    }
}
