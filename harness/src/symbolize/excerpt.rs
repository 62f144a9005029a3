//! Source lines around a place.

use super::path;
use anyhow::{bail, Context, Result};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Lines shown before and behind the marked one.
const AROUND: u32 = 3;
/// Bytes of a source file; the largest of the kernel's are generated headers of some MB.
const MAX_FILE: u64 = 32 << 20;
/// Folders that a file is looked for without.
const MAX_FOLDERS: usize = 32;
/// Characters shown of a line.
const MAX_WIDTH: usize = 160;

/// Some lines of a source file, one of them marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The first line's number, 1-based.
    pub first: u32,
    /// The lines, without their ends, fit for a terminal.
    pub lines: Vec<String>,
    /// The marked line's number, 1-based.
    pub marked: u32,
    /// The file was written after the vmlinux: the lines may be others than those that were compiled.
    pub newer: bool,
}

impl Excerpt {
    /// Reads the lines around `line` (1-based) of `file`, a path within the tree at `root`. `built` is when the vmlinux was.
    ///
    /// # Errors
    /// There is no such file or line, or `file` leads out of the tree.
    pub fn read(root: &Path, file: &str, line: u32, built: SystemTime) -> Result<Self> {
        let inner = || {
            let path = find(root, &path::normalize(file)).context("no such file in the tree")?;
            let metadata = std::fs::metadata(&path)?;
            let mut text = Vec::new();
            File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
            let newer = metadata.modified()? > built;
            Self::cut(&String::from_utf8_lossy(&text), line, newer)
        };
        inner().with_context(|| format!("{}: {file}", root.display()))
    }

    fn cut(text: &str, line: u32, newer: bool) -> Result<Self> {
        let first = line.saturating_sub(AROUND).max(1);
        let skip = usize::try_from(first - 1)?;
        let count = usize::try_from(line.saturating_add(AROUND) - first)? + 1;
        let lines: Vec<_> = text.lines().skip(skip).take(count).map(printable).collect();
        if line == 0 || lines.len() <= usize::try_from(line - first)? {
            bail!("it has no line {line}");
        }
        Ok(Self { first, lines, marked: line, newer })
    }
}

/// A file of the tree: `file`, or what is left of it without folders of the machine that built it. It is the vmlinux's
/// word, which may be anybody's, so it must not lead out of the tree.
fn find(root: &Path, file: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty()).collect();
    let suffixes = (0..parts.len()).take(MAX_FOLDERS).map(|skip| &parts[skip..]).filter(|rest| !rest.contains(&".."));
    suffixes.map(|rest| root.join(rest.join("/"))).find(|path| path.is_file())
}

/// Tabs become blanks, control characters marks: a source file must not steer a terminal.
fn printable(line: &str) -> String {
    let mut text = String::new();
    for c in line.trim_end().chars() {
        match c {
            '\t' => text.push_str(&" ".repeat(8 - text.chars().count() % 8)),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
        if text.chars().count() >= MAX_WIDTH {
            break;
        }
    }
    text
}

/// A line each: `> 1160  code` for the marked one.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in (self.first..).zip(&self.lines) {
            let mark = if number == self.marked { '>' } else { ' ' };
            writeln!(f, "{}", format!("{mark} {number:>6}  {line}").trim_end())?;
        }
        if self.newer {
            writeln!(f, "  (this file is newer than the vmlinux)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_around_are_shown_and_one_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let source: String = (1..=9).map(|n| format!("\tline {n};\x1b[31m\n")).collect();
        std::fs::create_dir(dir.path().join("mm")).unwrap();
        std::fs::write(dir.path().join("mm/x.c"), source).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let cut = |file: &str, line| Excerpt::read(dir.path(), file, line, later).map_err(|e| format!("{e:#}"));
        let text = cut("mm/./x.c", 2).unwrap().to_string();
        assert!(text.starts_with("       1          line 1;\u{fffd}[31m\n>      2          line 2;"), "{text}");
        assert_eq!(text.lines().count(), 5);
        assert_eq!(cut("mm/x.c", 9).unwrap().lines.len(), 4);
        for line in [0, 10, u32::MAX] {
            assert!(cut("mm/x.c", line).unwrap_err().ends_with(&format!("it has no line {line}")));
        }
        assert_eq!(cut("/build/linux-6.1/mm/x.c", 2), cut("mm/x.c", 2), "built elsewhere");
        std::fs::write(dir.path().join("outside.c"), "x").unwrap();
        for file in ["mm", "", "/etc/passwd", "../../../../../../../../etc/passwd", "mm/absent.c", "/"] {
            assert!(cut(file, 1).unwrap_err().ends_with("no such file in the tree"), "{file}");
        }
        let within = Excerpt::read(&dir.path().join("mm"), "../outside.c", 1, later);
        assert!(within.is_err(), "that leads out of the tree");
        let old = Excerpt::read(dir.path(), "mm/x.c", 2, SystemTime::UNIX_EPOCH).unwrap();
        assert!(old.newer && old.to_string().contains("newer than the vmlinux"));
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_WIDTH);
    }
}
