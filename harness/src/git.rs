//! Reading git repositories: never written to, never fetched into.

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
