//! Reading git repositories: never written to, never fetched into.

use crate::error::{Error, Result};
use crate::process;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// git in `repository`, so that it does not write to it and takes nothing from our environment.
///
/// `-C` finds the repository from a linked work tree as well.
pub fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("--no-optional-locks").arg("-C").arg(repository);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
        git.env_remove(variable);
    }
    // A partial clone would fetch, and store, what it lacks.
    git.env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C");
    git
}

/// Splits `PATH@REVISION` at the last `@` that is not git's own (`HEAD@{1}`). `None` unless both are there, or if git
/// would take the revision for an option.
pub fn split_revision(text: &str) -> Option<(&str, &str)> {
    let (at, _) = text.match_indices('@').rfind(|(at, _)| !text[at + 1..].starts_with('{'))?;
    let (path, revision) = (&text[..at], &text[at + 1..]);
    (!path.is_empty() && !revision.is_empty() && !revision.starts_with('-')).then_some((path, revision))
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its full name, in hexadecimal.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
    /// The commits that it was made on; several for a merge, the one that was merged into first.
    pub parents: Vec<String>,
}

impl Commit {
    /// Its name for people.
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

/// A commit's name for people.
pub fn short(id: &str) -> &str {
    &id[..id.len().min(12)]
}

/// What [`parse`] reads.
const FORMAT: &str = "--format=%H%x09%P%x09%s";

/// The commit that `revision` names in `repository`.
///
/// # Errors
/// There is no such repository or commit.
pub fn commit(repository: &Path, revision: &str) -> Result<Commit> {
    let wrong = |why: &str| Error::request(format!("git:{}@{revision}: {why}", repository.display()));
    if !repository.is_dir() {
        return Err(wrong("no such folder"));
    }
    let mut command = git(repository);
    let named = format!("{revision}^{{commit}}");
    command.args(["rev-list", "--no-walk", "--max-count=1", FORMAT, "--end-of-options", &named]);
    let text = process::output(command).map_err(|e| wrong(&format!("there is no such commit: {e}")))?;
    parse(&text).pop().ok_or_else(|| wrong("there is no such commit"))
}

/// The commits from `from` to `to` on the first-parent way, oldest first: those that `to` has and `from` has not.
///
/// # Errors
/// One of them is missing.
pub fn first_parents(repository: &Path, from: &str, to: &str) -> Result<Vec<Commit>> {
    let mut command = git(repository);
    command.args(["rev-list", "--first-parent", "--reverse", FORMAT, "--end-of-options", to]);
    command.arg(format!("^{from}"));
    Ok(parse(&process::output(command)?))
}

/// Whether `ancestor` is one of `commit`, or the same.
///
/// # Errors
/// git fails.
pub fn is_ancestor(repository: &Path, ancestor: &str, commit: &str) -> Result<bool> {
    let mut command = git(repository);
    command.args(["rev-list", "--count", "--max-count=1", "--end-of-options", ancestor]).arg(format!("^{commit}"));
    Ok(process::output(command)?.trim() == "0")
}

/// The name of a commit's tree, which is a source's identity.
///
/// # Errors
/// It is missing.
pub fn tree(repository: &Path, commit: &str) -> Result<String> {
    let mut command = git(repository);
    command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{commit}^{{tree}}")]);
    Ok(process::output(command)?.trim().to_owned())
}

/// Reads what `git rev-list` prints in [`FORMAT`], between lines that say `commit`.
fn parse(text: &str) -> Vec<Commit> {
    let commit = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let (id, parents, subject) = (fields.next()?, fields.next()?, fields.next()?);
        let parents = parents.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        Some(Commit { id: id.to_owned(), subject: subject.to_owned(), parents })
    };
    text.lines().filter_map(commit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_as_git_lists_them() {
        let text = "commit aa\naa\t\tone\ttab\ncommit bb\nbb\taa cc\tMerge\ncommit dd\ndd\tbb\t\n";
        let commits = parse(text);
        let read: Vec<_> = commits.iter().map(|c| (c.id.as_str(), c.parents.len(), c.subject.as_str())).collect();
        assert_eq!(read, [("aa", 0, "one\ttab"), ("bb", 2, "Merge"), ("dd", 1, "")]);
    }
}
