//! A revision in a git repository. Only read: nothing is checked out, no index is refreshed, no object is fetched.
//!
//! Files come as git stores them, without what attributes would make of them (line ends, `$Id$`): a revision is then
//! the same source on every host.

use super::snapshot::{self, Entry, Manifest};
use super::{name_of, Setting, Source};
use crate::error::{Error, Result};
use crate::git::git;
use crate::process;
use anyhow::Context;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// The revision `revision` of the repository at `path`.
///
/// # Errors
/// There is no such repository or revision, or git fails.
pub fn get(path: &Path, revision: &str, with: &Setting<'_>) -> Result<Source> {
    let what = format!("git:{}@{revision}", path.display());
    let wrong = |why: &str| Error::request(format!("kernel source {what}: {why}"));
    if !path.is_dir() {
        return Err(wrong("no such folder"));
    }
    let ask = |args: &[&str]| {
        let mut command = git(path);
        command.args(args);
        process::output(command).map(|said| said.trim_end().to_owned())
    };
    let common =
        ask(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).map_err(|e| wrong(&e.to_string()))?;
    let tree = ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{tree}}")])
        .map_err(|_| wrong("there is no such revision in the repository; fetch it, or see `git rev-parse`"))?;
    let mut objects = None;
    let lineage = name_of(Path::new(&common));
    snapshot::get(
        (tree.clone(), lineage),
        &what,
        with,
        || {
            let listed = ask(&["ls-tree", "-r", "-z", "--full-tree", &tree])?;
            parse_tree(&listed).map_err(|line| wrong(&format!("git ls-tree says '{line}'")))
        },
        |file, entry| {
            let objects = match &mut objects {
                Some(objects) => objects,
                none => none.insert(Objects::open(path)?),
            };
            objects.read(&entry.hash).map_err(|e| wrong(&format!("{file}: {e}")))
        },
    )
}

/// What `git ls-tree -r -z` prints: `MODE TYPE HASH<tab>PATH<nul>`. Submodules are left out: their folders are empty.
fn parse_tree(text: &str) -> std::result::Result<Manifest, String> {
    let mut manifest = Manifest::default();
    for line in text.split('\0').filter(|line| !line.is_empty()) {
        let entry = || {
            let (fields, path) = line.split_once('\t')?;
            let mut fields = fields.split(' ');
            let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
            let (kind, hash) = (fields.next()?, fields.next()?);
            // `process::output` replaces what is not UTF-8.
            (!path.contains('\u{fffd}')).then(|| (kind, path.to_owned(), Entry { mode, hash: hash.to_owned() }))
        };
        match entry() {
            Some(("blob", path, entry)) => drop(manifest.0.insert(path, entry)),
            Some(("commit", ..)) => {}
            _ => return Err(line.to_owned()),
        }
    }
    Ok(manifest)
}

/// A `git cat-file --batch`, which reads objects for as long as it lives.
struct Objects {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Objects {
    fn open(repository: &Path) -> Result<Self> {
        let mut command = git(repository);
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        process::die_with_parent(&mut command);
        let mut child = process::spawn(&mut command, "git")?;
        let ask = child.stdin.take().context("git has no stdin")?;
        let answer = BufReader::new(child.stdout.take().context("git has no stdout")?);
        Ok(Self { child, ask, answer })
    }

    fn read(&mut self, hash: &str) -> std::io::Result<Vec<u8>> {
        writeln!(self.ask, "{hash}")?;
        let mut header = String::new();
        self.answer.read_line(&mut header)?;
        let size = header.trim_end().strip_prefix(&format!("{hash} blob ")).and_then(|size| size.parse::<usize>().ok());
        // A shallow clone has all files of what it has; a partial one may lack some.
        let size = size.ok_or_else(|| std::io::Error::other(format!("git cat-file says '{}'", header.trim_end())))?;
        let mut bytes = vec![0; size + 1];
        self.answer.read_exact(&mut bytes)?;
        bytes.pop();
        Ok(bytes)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        process::kill_group(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_git_lists_it() {
        let text =
            "100644 blob aa\tmm/a file.c\x00100755 blob bb\tscripts/x.sh\x00120000 blob cc\tlink\x00160000 commit dd\tsub\0";
        let manifest = parse_tree(text).unwrap();
        let modes: Vec<_> = manifest.0.iter().map(|(path, entry)| (path.as_str(), entry.mode)).collect();
        assert_eq!(modes, [("link", 0o120_000), ("mm/a file.c", 0o100_644), ("scripts/x.sh", 0o100_755)]);
        assert_eq!(parse_tree("100644 blob aa mm/a.c\0").unwrap_err(), "100644 blob aa mm/a.c");
    }
}
