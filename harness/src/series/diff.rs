//! A unified diff parser for what kernel patches are made of: git and plain diffs of text files.
//!
//! It is stricter than `patch(1)` where leniency would hide a damaged patch: a hunk must be as long as its header
//! says, and lines left over behind it are an error, not prose. What a text patch cannot carry into a tree of plain
//! files (binary files, symbolic links, submodules) is refused by name.
//!
//! Bytes in, bytes out: kernel files are not all UTF-8. Memory is linear in the patch.

use std::fmt;

/// All changes that a patch makes to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePatch {
    /// Path below the tree's root, after stripping; never absolute, no `.` or `..` in it.
    pub path: String,
    /// Line of the patch (1-based) where this file's header starts.
    pub line: usize,
    /// What happens to the file as a whole.
    pub kind: Kind,
    /// Whether the file is executable afterwards, if the patch says.
    pub executable: Option<bool>,
    /// In the patch's order. Empty only where an empty file is created or deleted, or where nothing but a name or a mode
    /// changes.
    pub hunks: Vec<Hunk>,
}

/// What happens to a file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It exists before and after.
    Modify,
    /// It does not exist before.
    Create,
    /// It does not exist after.
    Delete,
    /// It does not exist before; its old lines are another file's.
    Move {
        /// That file.
        from: String,
        /// Whether that file stays.
        copy: bool,
    },
}

/// One hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Line of the patch (1-based) where the hunk's header stands.
    pub line: usize,
    /// The header as it stands in the patch, for messages.
    pub header: String,
    /// First line (1-based) in the old file; the line *before* the hunk if `old_count` is 0.
    pub old_start: usize,
    /// Lines of the old file that the hunk covers; verified against `lines`.
    pub old_count: usize,
    /// First line (1-based) in the new file; the line *before* the hunk if `new_count` is 0.
    pub new_start: usize,
    /// Lines of the new file that the hunk covers; verified against `lines`.
    pub new_count: usize,
    /// Its body.
    pub lines: Vec<Line>,
}

impl Hunk {
    /// The lines that the old file must have, with their newlines.
    pub fn old_side(&self) -> Vec<&[u8]> {
        self.lines.iter().filter(|l| l.op != Op::Add).map(|l| l.text.as_slice()).collect()
    }

    /// The lines that the new file has, with their newlines.
    pub fn new_side(&self) -> Vec<&[u8]> {
        self.lines.iter().filter(|l| l.op != Op::Delete).map(|l| l.text.as_slice()).collect()
    }
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it does.
    pub op: Op,
    /// Its bytes, with the newline unless the patch marks it as having none.
    pub text: Vec<u8>,
}

/// What a hunk's line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Stays.
    Context,
    /// Goes.
    Delete,
    /// Comes.
    Add,
}

/// What is wrong with a patch, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct DiffError {
    /// Line of the patch, 1-based.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No file header anywhere.
    #[error("no diff found in this patch (no `diff --git`, no `---`/`+++` pair)")]
    NoDiff,
    /// A thing of git's that a tree of plain text files cannot take.
    #[error("{0} are not supported")]
    NotSupported(&'static str),
    /// A path that leaves the tree, or is no path.
    #[error("path `{path}` {why}")]
    Path {
        /// As the patch has it.
        path: String,
        /// What is wrong with it.
        why: PathProblem,
    },
    /// `---` and `+++` name different files.
    #[error("the old file is `{old}` but the new file is `{new}`; a rename says so, as `git diff` does")]
    TwoNames {
        /// The old name, stripped.
        old: String,
        /// The new name, stripped.
        new: String,
    },
    /// A file header without a change.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A hunk that stands in no file.
    #[error("a hunk without a `---`/`+++` pair before it")]
    Orphan,
    /// A hunk header that does not parse.
    #[error("`{0}` is no hunk header; expected `@@ -LINE,COUNT +LINE,COUNT @@`")]
    Header(String),
    /// A body that is shorter or longer than its header says.
    #[error("the hunk's header says {old} old and {new} new lines, but {found}")]
    Count {
        /// Old lines announced.
        old: usize,
        /// New lines announced.
        new: usize,
        /// What was found instead.
        found: Found,
    },
    /// `\ No newline at end of file` where the file does not end.
    #[error("`\\ No newline at end of file` stands before a line that is not the file's last")]
    Newline,
    /// A file's header and its hunks disagree.
    #[error("the header says that the file is {0}")]
    Whole(&'static str),
}

/// How a hunk's body differs from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The patch or the hunk ends before.
    Short {
        /// Old lines seen.
        old: usize,
        /// New lines seen.
        new: usize,
    },
    /// More lines of the body follow.
    Long,
    /// A line that does not start with a blank, `-`, `+` or `\`.
    Stray(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { old, new } => write!(f, "the patch ends after {old} and {new}"),
            Self::Long => f.write_str("this line follows them"),
            Self::Stray(line) => write!(f, "this line is none of a hunk's: `{line}`"),
        }
    }
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathProblem {
    /// `/...`
    Absolute,
    /// A `..` in it.
    Escapes,
    /// Nothing left after stripping this many components.
    Stripped(usize),
    /// Not UTF-8, quoted by git, or with control characters.
    Unreadable,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute => f.write_str("is absolute"),
            Self::Escapes => f.write_str("leads out of the tree"),
            Self::Stripped(n) => write!(f, "has nothing left after -p{n}"),
            Self::Unreadable => f.write_str("is not plain text (quoted, not UTF-8, or with control characters)"),
        }
    }
}

/// Parses a patch. `strip` is the `-p` of `patch(1)`: how many leading components its paths lose.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(patch: &[u8], strip: usize) -> Result<Vec<FilePatch>, DiffError> {
    let mut parser = Parser { lines: patch.split_inclusive(|b| *b == b'\n').collect(), at: 0, strip };
    let mut files = Vec::new();
    while let Some(line) = parser.peek(0) {
        if line.starts_with(b"diff --git ") {
            files.push(parser.git_file()?);
        } else if line.starts_with(b"--- ") && parser.next_starts_with(1, b"+++ ") {
            let start = parser.number();
            files.push(parser.plain_file(start, &GitHeader::default())?);
        } else if line.starts_with(b"*** ") && parser.next_starts_with(1, b"--- ") {
            return Err(parser.error(Problem::NotSupported("context diffs")));
        } else if line.starts_with(b"Binary files ") && shown(line).ends_with(" differ") {
            return Err(parser.error(Problem::NotSupported("binary files")));
        } else if line.starts_with(b"@@ -") && header(line).is_some() {
            return Err(parser.error(Problem::Orphan));
        } else {
            parser.at += 1;
        }
    }
    match files.is_empty() {
        true => Err(DiffError { line: 1, problem: Problem::NoDiff }),
        false => Ok(files),
    }
}

/// The offset of the first line of `patch` that belongs to a diff: all before it is the patch's message.
pub fn message_end(patch: &[u8]) -> usize {
    let mut offset = 0;
    for line in patch.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b"diff --git ") || line.starts_with(b"--- ") || line.starts_with(b"Index: ") {
            break;
        }
        offset += line.len();
    }
    offset
}

/// What git's extended header lines say.
#[derive(Clone, Default)]
struct GitHeader {
    created: bool,
    deleted: bool,
    executable: Option<bool>,
    from: Option<String>,
    to: Option<String>,
    copy: bool,
}

/// One name of a `---`/`+++` pair.
struct Name {
    /// `None` is `/dev/null`.
    path: Option<String>,
    /// `diff -N` dates a missing file to the epoch.
    epoch: bool,
}

struct Parser<'a> {
    lines: Vec<&'a [u8]>,
    at: usize,
    strip: usize,
}

impl<'a> Parser<'a> {
    fn number(&self) -> usize {
        self.at + 1
    }

    fn peek(&self, ahead: usize) -> Option<&'a [u8]> {
        self.lines.get(self.at + ahead).copied()
    }

    fn next_starts_with(&self, ahead: usize, prefix: &[u8]) -> bool {
        self.peek(ahead).is_some_and(|line| line.starts_with(prefix))
    }

    fn error(&self, problem: Problem) -> DiffError {
        DiffError { line: self.number(), problem }
    }

    /// At `diff --git`.
    fn git_file(&mut self) -> Result<FilePatch, DiffError> {
        let start = self.number();
        let names = self.peek(0).unwrap_or_default();
        self.at += 1;
        let mut git = GitHeader::default();
        while let Some(line) = self.peek(0) {
            let refuse = |what| self.error(Problem::NotSupported(what));
            let mode = |mode: &[u8]| match mode.trim_ascii() {
                b"100644" => Ok(Some(false)),
                b"100755" => Ok(Some(true)),
                _ => Err(refuse("symbolic links and submodules")),
            };
            // These names have no `a/` or `b/` before them.
            let name = |name: &[u8]| {
                let name = stripped(name.trim_ascii_end(), self.strip.saturating_sub(1));
                name.map(Some).map_err(|problem| self.error(problem))
            };
            if line.starts_with(b"--- ") {
                return self.plain_file(start, &git);
            } else if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files ") {
                return Err(refuse("binary files"));
            } else if let Some(from) = line.strip_prefix(b"rename from ") {
                git.from = name(from)?;
            } else if let Some(from) = line.strip_prefix(b"copy from ") {
                (git.from, git.copy) = (name(from)?, true);
            } else if let Some(to) = line.strip_prefix(b"rename to ").or_else(|| line.strip_prefix(b"copy to ")) {
                git.to = name(to)?;
            } else if let Some(old) = line.strip_prefix(b"old mode ") {
                mode(old)?;
            } else if let Some(new) = line.strip_prefix(b"new mode ") {
                git.executable = mode(new)?;
            } else if let Some(new) = line.strip_prefix(b"new file mode ") {
                (git.executable, git.created) = (mode(new)?, true);
            } else if let Some(old) = line.strip_prefix(b"deleted file mode ") {
                mode(old)?;
                git.deleted = true;
            } else if ![&b"index "[..], b"similarity index ", b"dissimilarity index "]
                .iter()
                .any(|known| line.starts_with(known))
            {
                break;
            }
            self.at += 1;
        }
        // Git writes no `---`/`+++` pair where no line changes.
        let executable = git.executable;
        let at = |path, kind| Ok(FilePatch { path, line: start, kind, executable, hunks: Vec::new() });
        let kind = match git {
            GitHeader { from: Some(from), to: Some(to), copy, .. } => return at(to, Kind::Move { from, copy }),
            GitHeader { created: true, deleted: false, .. } => Kind::Create,
            GitHeader { created: false, deleted: true, .. } => Kind::Delete,
            GitHeader { created: false, deleted: false, executable: Some(_), .. } => Kind::Modify,
            _ => return Err(self.error(Problem::Expected("the file's `---` line, or a header line of git's"))),
        };
        // Without a pair, the name is in the first line only.
        at(self.twice(names).map_err(|problem| DiffError { line: start, problem })?, kind)
    }

    /// At `---`.
    fn plain_file(&mut self, start: usize, git: &GitHeader) -> Result<FilePatch, DiffError> {
        // A patch that went through a mail client as CRLF has the carriage returns in its headers too; there, they
        // are the transport's, not the file's. `patch(1)` makes the same distinction.
        let transport_crlf = self.next_starts_with(0, b"--- ") && self.peek(0).is_some_and(|l| l.ends_with(b"\r\n"));
        let old = self.name(b"--- ")?;
        if !self.next_starts_with(0, b"+++ ") {
            return Err(self.error(Problem::Expected("the file's `+++` line")));
        }
        let new = self.name(b"+++ ")?;
        let moved = match (&git.from, &git.to) {
            (Some(from), Some(to)) => Some((from.clone(), to.clone())),
            _ => None,
        };
        let path = match (&old.path, &new.path) {
            (Some(old), Some(new)) if moved.as_ref().is_some_and(|(from, to)| (old, new) == (from, to)) => new.clone(),
            (Some(old), Some(new)) if old == new && moved.is_none() => new.clone(),
            (Some(old), Some(new)) => {
                let problem = Problem::TwoNames { old: old.clone(), new: new.clone() };
                return Err(DiffError { line: start, problem });
            }
            (Some(path), None) | (None, Some(path)) => path.clone(),
            (None, None) => return Err(DiffError { line: start, problem: Problem::Expected("the name of a file") }),
        };
        if !self.next_starts_with(0, b"@@ ") {
            let what = match self.next_starts_with(0, b"@@@ ") {
                true => Problem::NotSupported("merges (combined diffs)"),
                false => Problem::Expected("a hunk header"),
            };
            return Err(self.error(what));
        }
        let mut hunks = Vec::new();
        while self.next_starts_with(0, b"@@ ") {
            hunks.push(self.hunk(transport_crlf)?);
        }
        let no_old = hunks.iter().all(|h| h.old_count == 0) && hunks[0].old_start == 0;
        let no_new = hunks.iter().all(|h| h.new_count == 0) && hunks[0].new_start == 0;
        let created = git.created || old.path.is_none() || (old.epoch && no_old);
        let deleted = git.deleted || new.path.is_none() || (new.epoch && no_new);
        let whole = |what| Err(DiffError { line: start, problem: Problem::Whole(what) });
        let kind = match (created, deleted) {
            (true, true) => return whole("both new and deleted"),
            (true, false) if !no_old || hunks.len() != 1 => return whole("new, but its hunks have old lines"),
            (false, true) if !no_new || hunks.len() != 1 => return whole("deleted, but its hunks leave lines"),
            (true, false) => Kind::Create,
            (false, true) => Kind::Delete,
            (false, false) => match moved {
                Some((from, _)) => Kind::Move { from, copy: git.copy },
                None => Kind::Modify,
            },
        };
        Ok(FilePatch { path, line: start, kind, executable: git.executable, hunks })
    }

    /// Reads a `---` or `+++` line.
    fn name(&mut self, prefix: &[u8]) -> Result<Name, DiffError> {
        let line = self.peek(0).and_then(|line| line.strip_prefix(prefix)).unwrap_or_default();
        // A tab separates the name from its time stamp; git writes a bare tab behind a name with blanks.
        let mut parts = line.splitn(2, |b| *b == b'\t');
        let name = parts.next().unwrap_or_default().trim_ascii_end();
        let stamp = parts.next().unwrap_or_default();
        let epoch = stamp.starts_with(b"1970-01-01 ") || stamp.starts_with(b"1969-12-31 ");
        let path = match name {
            b"/dev/null" => None,
            name => Some(stripped(name, self.strip).map_err(|problem| self.error(problem))?),
        };
        self.at += 1;
        Ok(Name { path, epoch })
    }

    /// The name in `diff --git a/NAME b/NAME`, whose blanks are not told from the one between the two.
    fn twice(&self, line: &[u8]) -> Result<String, Problem> {
        let names = line.strip_prefix(b"diff --git ").unwrap_or_default().trim_ascii_end();
        let mut problem = None;
        for (i, _) in names.iter().enumerate().filter(|(_, b)| **b == b' ') {
            let (old, new) = (stripped(&names[..i], self.strip), stripped(&names[i + 1..], self.strip));
            match (old, new) {
                (Ok(old), Ok(new)) if old == new => return Ok(new),
                (Err(p), _) | (_, Err(p)) => problem = Some(p),
                _ => (),
            }
        }
        Err(problem.unwrap_or(Problem::Expected("one name twice, as in `diff --git a/NAME b/NAME`")))
    }

    /// At `@@ `.
    fn hunk(&mut self, transport_crlf: bool) -> Result<Hunk, DiffError> {
        let first = self.peek(0).unwrap_or_default();
        let [old_start, old_count, new_start, new_count] =
            header(first).ok_or_else(|| self.error(Problem::Header(shown(first))))?;
        let line = self.number();
        self.at += 1;
        let (mut old, mut new) = (0, 0);
        let (mut old_ended, mut new_ended) = (false, false);
        let mut lines: Vec<Line> = Vec::new();
        let count = |found| Problem::Count { old: old_count, new: new_count, found };
        loop {
            let complete = old == old_count && new == new_count;
            let Some(mut text) = self.peek(0) else {
                match complete {
                    true => break,
                    false => return Err(self.error(count(Found::Short { old, new }))),
                }
            };
            if text.starts_with(b"\\ ") {
                let Some(last) = lines.last_mut() else { return Err(self.error(Problem::Newline)) };
                if last.text.last() == Some(&b'\n') {
                    last.text.pop();
                }
                old_ended |= last.op != Op::Add;
                new_ended |= last.op != Op::Delete;
                self.at += 1;
                continue;
            }
            if complete {
                match self.is_left_over(text) {
                    true => return Err(self.error(count(Found::Long))),
                    false => break,
                }
            }
            let op = match text {
                [b' ', ..] => Op::Context,
                [b'-', ..] => Op::Delete,
                [b'+', ..] => Op::Add,
                // Mail clients and editors strip the blank of an empty context line.
                b"\n" | b"\r\n" => Op::Context,
                _ => return Err(self.error(count(Found::Stray(shown(text))))),
            };
            if matches!(text[0], b' ' | b'-' | b'+') {
                text = &text[1..];
            }
            let (in_old, in_new) = (op != Op::Add, op != Op::Delete);
            if (in_old && old == old_count) || (in_new && new == new_count) {
                return Err(self.error(count(Found::Long)));
            }
            if (in_old && old_ended) || (in_new && new_ended) {
                return Err(self.error(Problem::Newline));
            }
            old += usize::from(in_old);
            new += usize::from(in_new);
            let body = text.strip_suffix(b"\n").unwrap_or(text);
            let body = if transport_crlf { body.strip_suffix(b"\r").unwrap_or(body) } else { body };
            // A patch whose very last newline is lost does not mean a file without one: that has its own mark.
            let mut text = Vec::with_capacity(body.len() + 1);
            text.extend_from_slice(body);
            text.push(b'\n');
            lines.push(Line { op, text });
            self.at += 1;
        }
        Ok(Hunk { line, header: shown(first), old_start, old_count, new_start, new_count, lines })
    }

    /// Whether `text`, behind a complete hunk, is a line of it that its header does not count.
    fn is_left_over(&self, text: &[u8]) -> bool {
        // `git format-patch` ends a mail with `-- ` and its version.
        let signature = text.trim_ascii_end() == b"--";
        let next_file = text.starts_with(b"--- ") && self.next_starts_with(1, b"+++ ");
        matches!(text, [b' ' | b'-' | b'+', ..]) && !signature && !next_file && !text.trim_ascii().is_empty()
    }
}

/// `[old start, old count, new start, new count]` of `@@ -S[,C] +S[,C] @@...`.
fn header(line: &[u8]) -> Option<[usize; 4]> {
    fn number(text: &[u8]) -> Option<(usize, &[u8])> {
        let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
        // Nine digits hold any line number of any patch below MAX_PATCH, and cannot overflow when added up.
        let value = (1..=9).contains(&digits).then(|| std::str::from_utf8(&text[..digits]).ok()?.parse().ok())??;
        Some((value, &text[digits..]))
    }
    fn range(text: &[u8]) -> Option<(usize, usize, &[u8])> {
        let (start, rest) = number(text)?;
        let (count, rest) = match rest.strip_prefix(b",") {
            Some(rest) => number(rest)?,
            None => (1, rest),
        };
        // Only an empty range may stand "behind line 0".
        (start > 0 || count == 0).then_some((start, count, rest))
    }
    let (old_start, old_count, rest) = range(line.strip_prefix(b"@@ -")?)?;
    let (new_start, new_count, rest) = range(rest.strip_prefix(b" +")?)?;
    rest.starts_with(b" @@").then_some([old_start, old_count, new_start, new_count])
}

/// `raw` without its first `strip` components and without `.` components.
fn stripped(raw: &[u8], strip: usize) -> Result<String, Problem> {
    let path = String::from_utf8_lossy(raw).into_owned();
    let check = || {
        let text = std::str::from_utf8(raw).map_err(|_| PathProblem::Unreadable)?;
        if text.starts_with('"') || text.chars().any(char::is_control) {
            return Err(PathProblem::Unreadable);
        }
        if text.starts_with('/') {
            return Err(PathProblem::Absolute);
        }
        let parts = text.split('/').filter(|p| !p.is_empty());
        if parts.clone().any(|p| p == "..") {
            return Err(PathProblem::Escapes);
        }
        let parts: Vec<&str> = parts.skip(strip).filter(|p| *p != ".").collect();
        match parts.is_empty() {
            true => Err(PathProblem::Stripped(strip)),
            false => Ok(parts.join("/")),
        }
    };
    check().map_err(|why| Problem::Path { path, why })
}

/// A line of the patch as a message shows it: one line, no control characters, not endless.
fn shown(line: &[u8]) -> String {
    const MOST: usize = 120;
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let short: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.chars().count() > MOST {
        true => short + "...",
        false => short,
    }
}

#[cfg(test)]
mod tests;
