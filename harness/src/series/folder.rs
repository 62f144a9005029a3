//! Reads a series from a folder of patches without a `series` file, as `git format-patch` and `b4 am -Q` leave them: in
//! the order of their names.

use super::mail;
use super::patch::{load, name_of, Patch, Series, SeriesError, MAX_PATCH};
use std::path::Path;

/// What the names of patches end in. Anything else in the folder, a README for instance, is none.
const SUFFIXES: [&str; 4] = [".patch", ".diff", ".eml", ".mbox"];

/// Reads the folder `dir`. A cover letter is skipped.
///
/// # Errors
/// The first patch that is wrong, or there is none.
pub fn read(dir: &Path) -> Result<Series, SeriesError> {
    let io = |error| SeriesError::Io { file: dir.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            names.push(name);
        }
    }
    names.sort();
    let mut texts = Vec::new();
    for name in names {
        let file = dir.join(&name);
        let text = load(&file).map_err(|error| SeriesError::Io { file: file.clone(), error })?;
        if text.len() as u64 > MAX_PATCH {
            return Err(SeriesError::Io { file, error: std::io::Error::other("longer than 32 MiB") });
        }
        if !mail::is_cover_letter(&text) {
            texts.push((name, text));
        }
    }
    if texts.is_empty() {
        return Err(SeriesError::NoPatches(dir.to_owned()));
    }
    let of = texts.len();
    let parse = |(i, (name, text)): (usize, (String, Vec<u8>))| {
        Patch::parse(&name, i + 1, of, 1, text).map_err(|error| SeriesError::Patch { file: dir.join(&name), error })
    };
    let patches = texts.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    Ok(Series { name: name_of(dir), patches })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_come_in_the_order_of_their_names_without_the_cover_letter() {
        let dir = tempfile::tempdir().unwrap();
        let diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        for (name, text) in [
            ("0002-b.patch", format!("Subject: [PATCH 2/2] b\n\n{diff}")),
            ("0001-a.eml", format!("Subject: [PATCH 1/2] a\n\n{diff}")),
            ("0000-cover-letter.patch", "Subject: [PATCH 0/2] both\n\nWhy.\n".to_owned()),
            ("README.md", "no patch".to_owned()),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let series = read(dir.path()).unwrap();
        let shown: Vec<_> = series.patches.iter().map(|p| (p.number, p.stem.as_str(), p.subject.as_str())).collect();
        assert_eq!(shown, [(1, "0001-a", "a"), (2, "0002-b", "b")]);
        std::fs::write(dir.path().join("0003-c.patch"), "Subject: [PATCH 3/3] c\n\nnothing\n").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().ends_with(
            "/0003-c.patch:1: no diff found in this patch \
            (no `diff --git`, no `---`/`+++` pair)"
        ));
        let empty = tempfile::tempdir().unwrap();
        let error = read(empty.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("in this folder; expected a quilt folder, a folder of patches, a mailbox or git:PATH@A..B")
        );
    }
}
