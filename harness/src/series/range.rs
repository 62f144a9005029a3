//! Reads a series from a range of commits in a git repository: each commit on the first-parent way from A to B is a
//! patch, a merge as what it brought to that way.

use super::mbox::patch_name;
use super::patch::{Patch, Series, SeriesError, MAX_PATCH};
use crate::error::Error;
use crate::files;
use crate::git::{git, split_revision};
use crate::process;
use std::path::Path;

/// More commits than this are no series under review.
const MOST: usize = 1000;

/// Reads `PATH@A..B`, for a matrix in the folder `here`.
///
/// # Errors
/// There is no such repository or range, it is empty or too long, or a commit's diff does not parse.
pub fn read(here: &Path, range: &str) -> Result<Series, SeriesError> {
    let wrong = |why: &str| SeriesError::Range(format!("git:{range}: {why}"));
    let expected = "expected git:PATH@A..B, two revisions";
    let (path, revisions) = split_revision(range).ok_or_else(|| wrong(expected))?;
    let (from, to) =
        revisions.split_once("..").filter(|(a, b)| !a.is_empty() && !b.is_empty()).ok_or_else(|| wrong(expected))?;
    if to.starts_with(['.', '-']) {
        return Err(wrong(expected));
    }
    let repository = files::resolve(here, Path::new(path));
    if !repository.is_dir() {
        return Err(wrong("no such folder"));
    }
    let ask = |args: &[&str]| {
        let mut command = git(&repository);
        command.args(args);
        // A tool that is missing is told as what it is.
        process::output_bytes(command).map_err(|e: Error| wrong(&e.to_string()))
    };
    ask(&["rev-parse", "--git-dir"])?;
    for revision in [from, to] {
        let commit = format!("{revision}^{{commit}}");
        ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).map_err(|_| {
            wrong(&format!("there is no commit {revision} in the repository; fetch it, or see `git rev-parse`"))
        })?;
    }
    let listed = ask(&["rev-list", "--reverse", "--first-parent", "--end-of-options", revisions])?;
    let commits: Vec<_> = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect();
    if commits.is_empty() {
        return Err(wrong(&format!("no commit is in {to} and not in {from}")));
    }
    if commits.len() > MOST {
        return Err(wrong(&format!("{} commits, expected at most {MOST}", commits.len())));
    }
    let of = commits.len();
    let mut patches = Vec::new();
    for (i, commit) in commits.iter().enumerate() {
        // Whatever the user's configuration would make of a diff.
        let text = ask(&[
            "-c",
            "core.quotePath=false",
            "-c",
            "diff.noprefix=false",
            "-c",
            "diff.mnemonicPrefix=false",
            "show",
            "--format=email",
            "--first-parent",
            "-m",
            "--no-renames",
            "--full-index",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--unified=3",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--no-relative",
            "--end-of-options",
            commit,
        ])?;
        let short = &commit[..commit.len().min(12)];
        if text.len() as u64 > MAX_PATCH {
            return Err(wrong(&format!("commit {short} changes more than {} MiB", MAX_PATCH >> 20)));
        }
        let subject = super::mail::subject(&text).unwrap_or_default().text;
        let name = format!("{}.patch", patch_name(i + 1, &subject));
        let patch = Patch::parse(&name, i + 1, of, 1, text)
            .map_err(|e| wrong(&format!("commit {short} ({subject}), line {} of its diff: {}", e.line, e.problem)))?;
        patches.push(patch);
    }
    Ok(Series { name: name_of(to, &repository), patches })
}

/// The revision's own name; of the usual ones, which say nothing, the repository's.
fn name_of(to: &str, repository: &Path) -> String {
    let last = to.rsplit('/').next().unwrap_or(to);
    let plain: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let plain = plain.trim_matches(['-', '.']);
    match plain {
        "" | "HEAD" => super::patch::name_of(repository),
        plain if to.starts_with("HEAD") => format!("{}-{plain}", super::patch::name_of(repository)),
        plain => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_called_as_its_end() {
        let name = |to: &str| name_of(to, Path::new("/src/linux"));
        assert_eq!(
            ["mm/delay-rmap", "v6.1", "HEAD", "HEAD~2", "@{u}"].map(name),
            ["delay-rmap", "v6.1", "linux", "linux-HEAD-2", "u"]
        );
    }

    #[test]
    fn what_is_no_range_is_told() {
        let refuse = |range: &str| read(Path::new("/"), range).unwrap_err().to_string();
        for range in ["linux", "linux@v6.1", "linux@..v6.1", "linux@v6.1..", "linux@a...b", "linux@a..--output=x"] {
            assert_eq!(refuse(range), format!("series git:{range}: expected git:PATH@A..B, two revisions"));
        }
        assert_eq!(refuse("nonexistent@a..b"), "series git:nonexistent@a..b: no such folder");
    }
}
