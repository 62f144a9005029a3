//! Reads a patch series from a quilt folder: a `series` file that names one patch a line, the patches beside it.

use super::patch::{load, name_of, Patch, Series, SeriesError, MAX_PATCH};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

/// The file that lists the patches.
pub const SERIES_FILE: &str = "series";

/// What can be wrong with a line of a `series` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// The patch is not there.
    #[error("no patch `{0}` in this folder")]
    Missing(String),
    /// The patch file is empty.
    #[error("patch `{0}` is empty")]
    Empty(String),
    /// The patch file is longer than [`MAX_PATCH`].
    #[error("patch `{0}` is longer than {max} MiB", max = MAX_PATCH >> 20)]
    TooLong(String),
    /// `../x` or `/x`.
    #[error("patch `{0}` is outside this folder")]
    Outside(String),
    /// Listed twice.
    #[error("patch `{name}` is listed on line {line} already")]
    Twice {
        /// As listed.
        name: String,
        /// Where it stands first, 1-based.
        line: usize,
    },
    /// An option of quilt's that we do not know.
    #[error("`{0}` is not supported; expected a patch and at most one `-pN` (N a digit)")]
    Option(String),
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
}

/// Reads the quilt folder `dir`, which has a `series` file.
///
/// # Errors
/// The first thing that is wrong with it: nothing is skipped.
pub fn read(dir: &Path) -> Result<Series, SeriesError> {
    let file = dir.join(SERIES_FILE);
    let list = match std::fs::read(&file) {
        Ok(list) => list,
        Err(error) => return Err(SeriesError::Io { file, error }),
    };
    let entries = entries(&list).map_err(|(line, problem)| SeriesError::Line { file: file.clone(), line, problem })?;
    if entries.is_empty() {
        return Err(SeriesError::Nothing(file));
    }
    let of = entries.len();
    let patches = entries.into_iter().enumerate().map(|(i, entry)| {
        let path = dir.join(&entry.name);
        let at = |problem| SeriesError::Line { file: file.clone(), line: entry.line, problem };
        let text = match load(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(at(LineProblem::Missing(entry.name))),
            Err(error) => return Err(SeriesError::Io { file: path, error }),
        };
        if text.len() as u64 > MAX_PATCH {
            return Err(at(LineProblem::TooLong(entry.name)));
        }
        if text.trim_ascii().is_empty() {
            return Err(at(LineProblem::Empty(entry.name)));
        }
        Patch::parse(&entry.name, i + 1, of, entry.strip, text)
            .map_err(|error| SeriesError::Patch { file: path, error })
    });
    let patches = patches.collect::<Result<_, _>>()?;
    Ok(Series { name: name_of(dir), patches })
}

/// A line of a `series` file.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    name: String,
    strip: usize,
}

fn entries(list: &[u8]) -> Result<Vec<Entry>, (usize, LineProblem)> {
    let mut entries = Vec::new();
    let mut seen = BTreeMap::new();
    for (i, raw) in list.split(|b| *b == b'\n').enumerate() {
        let line = i + 1;
        let raw = std::str::from_utf8(raw).map_err(|_| (line, LineProblem::Utf8))?;
        // As in quilt, `#` starts a comment at the line's start or behind a blank; a name may contain one.
        let mut words = raw.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(name) = words.next() else { continue };
        let mut strip = 1;
        if let Some(option) = words.next() {
            strip = match option.strip_prefix("-p").map(str::as_bytes) {
                Some([digit @ b'0'..=b'9']) => usize::from(digit - b'0'),
                // `-pab` is quilt's name for patches made with `a/` and `b/`, which are stripped by -p1.
                Some(b"ab") => 1,
                _ => return Err((line, LineProblem::Option(option.to_owned()))),
            };
        }
        if let Some(more) = words.next() {
            return Err((line, LineProblem::Option(more.to_owned())));
        }
        if Path::new(name).components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err((line, LineProblem::Outside(name.to_owned())));
        }
        if let Some(first) = seen.insert(name, line) {
            return Err((line, LineProblem::Twice { name: name.to_owned(), line: first }));
        }
        entries.push(Entry { line, name: name.to_owned(), strip });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Selection;

    const PATCH: &str = "\
From 1234 Mon Sep 17 00:00:00 2001
From: A Developer <a@example.org>
Subject: [PATCH v2 1/4] mm: delay rmap removal until
 after the TLB flush

Because.
---
 mm/rmap.c | 2 +-

diff --git a/mm/rmap.c b/mm/rmap.c
--- a/mm/rmap.c
+++ b/mm/rmap.c
@@ -1 +1 @@
-old
+new
";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    /// The error's text, with the folder as `DIR`.
    fn refusal(files: &[(&str, &str)]) -> String {
        let dir = folder(files);
        let error = super::super::load_folder(dir.path()).unwrap_err().to_string();
        error.replace(dir.path().to_str().unwrap(), "DIR")
    }

    #[test]
    fn reads_patches_in_order() {
        let plain = "--- x/mm/a.c\n+++ x/mm/a.c\n@@ -1 +1 @@\n-a\n+b\n";
        let dir = folder(&[
            ("series", "# the series\n\n0001-rmap.patch # why\r\nsub/a#b.diff -p0\n  last -pab\n"),
            ("0001-rmap.patch", PATCH),
            ("sub/a#b.diff", plain),
            ("last", plain),
        ]);
        let series = read(dir.path()).unwrap();
        assert_eq!(series.name, dir.path().file_name().unwrap().to_str().unwrap());
        let [first, second, third] = &series.patches[..] else { panic!("{series:?}") };
        assert_eq!((first.name.as_str(), first.stem.as_str()), ("0001-rmap.patch", "0001-rmap"));
        assert_eq!(first.subject, "mm: delay rmap removal until after the TLB flush");
        assert_eq!((first.number, first.of, first.strip), (1, 3, 1));
        assert_eq!(first.text, PATCH.as_bytes());
        assert_eq!(first.files[0].path, "mm/rmap.c");
        assert_eq!((second.name.as_str(), second.stem.as_str()), ("sub/a#b.diff", "a#b"));
        assert_eq!((second.subject.as_str(), second.strip), ("a#b", 0));
        assert_eq!(second.files[0].path, "x/mm/a.c");
        assert_eq!((third.number, third.files[0].path.as_str()), (3, "mm/a.c"));
        let names = |s| series.select(&s).unwrap().iter().map(|p| p.number).collect::<Vec<_>>();
        assert_eq!(names(Selection::Without(2)), [1, 3]);
        assert!(series.select(&Selection::Prefix(4)).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(refusal(&[("series", "# nothing\n")]), "DIR/series: names no patch");
        assert_eq!(refusal(&[("series", "#\nb.patch\n")]), "DIR/series:2: no patch `b.patch` in this folder");
        assert_eq!(refusal(&[("series", "a\n"), ("a", "\n \n")]), "DIR/series:1: patch `a` is empty");
        assert_eq!(refusal(&[("series", "../x\n")]), "DIR/series:1: patch `../x` is outside this folder");
        assert_eq!(refusal(&[("series", "a/../../x\n")]), "DIR/series:1: patch `a/../../x` is outside this folder");
        assert_eq!(refusal(&[("series", "/etc/x\n")]), "DIR/series:1: patch `/etc/x` is outside this folder");
        let option = "DIR/series:1: `-R` is not supported; expected a patch and at most one `-pN` (N a digit)";
        assert_eq!(refusal(&[("series", "a -R\n"), ("a", PATCH)]), option);
        assert_eq!(refusal(&[("series", "a -p1 -R\n"), ("a", PATCH)]), option);
        let twice = "DIR/series:3: patch `a` is listed on line 1 already";
        assert_eq!(refusal(&[("series", "a\n\na -p0\n"), ("a", PATCH)]), twice);
        let bad = "DIR/a:1: no diff found in this patch (no `diff --git`, no `---`/`+++` pair)";
        assert_eq!(refusal(&[("series", "a\n"), ("a", "Subject: nothing\n")]), bad);
    }
}
