//! Applies patches to a tree in memory, the way `patch(1)` places hunks.
//!
//! A hunk may land at an offset, and may ignore up to [`MAX_FUZZ`] lines of context at its ends; either is reported
//! as a [`Note`], because a hunk that landed in the wrong function still builds. The tree is read through a closure
//! and never written: the result is a map of the files that differ.

use super::diff::{FilePatch, Hunk, Kind, Op};
use super::miss::Miss;
use super::patch::Patch;
use super::place::{first, lines, place, Place};
use std::collections::BTreeMap;
use std::{fmt, io};

/// How many lines of context at either end of a hunk may fail to match; `patch(1)`'s default.
pub const MAX_FUZZ: usize = 2;

/// Reads a file of the pristine tree by its path below the root; `None` if there is no such file.
pub type Read<'a> = dyn Fn(&str) -> io::Result<Option<Vec<u8>>> + 'a;

/// What a list of patches makes of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Every file touched, by its path below the root: its content, or `None` where it is to be deleted.
    pub files: BTreeMap<String, Option<Vec<u8>>>,
    /// Files among them whose mode a patch sets: whether they are executable then.
    pub executable: BTreeMap<String, bool>,
    /// Hunks that did not stand where their patch says.
    pub notes: Vec<Note>,
}

/// A hunk that applied, but not exactly as its patch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// [`Patch::name`].
    pub patch: String,
    /// The file it changes.
    pub file: String,
    /// Which hunk of that file in that patch, 1-based.
    pub hunk: usize,
    /// Line of the patch where the hunk's header stands, 1-based.
    pub patch_line: usize,
    /// Line of the file where it applied, 1-based, counted before this patch.
    pub file_line: usize,
    /// `file_line` less the line in the hunk's header.
    pub offset: isize,
    /// Lines of context that were ignored at the hunk's longer end; 0 to [`MAX_FUZZ`].
    pub fuzz: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patch, file, hunk, patch_line, file_line, offset, fuzz } = self;
        write!(f, "{patch}:{patch_line}: hunk {hunk} of {file} applied at line {file_line}")?;
        let (lines, way) = (offset.unsigned_abs(), if *offset < 0 { "above" } else { "below" });
        match lines {
            0 => (),
            1 => write!(f, ", 1 line {way} where it says")?,
            _ => write!(f, ", {lines} lines {way} where it says")?,
        }
        match fuzz {
            0 => Ok(()),
            1 => write!(f, ", ignoring the outermost line of its context (fuzz 1)"),
            _ => write!(f, ", ignoring the outermost {fuzz} lines of its context (fuzz {fuzz})"),
        }
    }
}

/// A patch that does not apply. The text is what the user reads.
#[derive(Debug)]
pub struct ApplyError {
    /// [`Patch::name`].
    pub patch: String,
    /// [`Patch::number`]: its place in the series, 1-based.
    pub number: usize,
    /// [`Patch::of`]: how many patches the series has.
    pub of: usize,
    /// The file that it could not change.
    pub file: String,
    /// Line of the patch that failed: of the file's header, or of the hunk's.
    pub patch_line: usize,
    /// An earlier patch changed the file, so that its lines are not those of the pristine tree.
    pub changed_before: bool,
    /// What stood in the way.
    pub why: Why,
}

/// What stands in a patch's way.
#[derive(Debug)]
pub enum Why {
    /// The tree could not be read.
    Read(io::Error),
    /// The file is not in the tree.
    Missing {
        /// The patch deletes it, so it may be applied already.
        deletes: bool,
        /// The path without its first component is there: the `-p` level is off by one.
        other_strip: Option<String>,
    },
    /// The file that the patch renames or copies is not in the tree.
    MissingOrigin {
        /// That file.
        from: String,
    },
    /// The patch creates a file that is there.
    Exists {
        /// With the very content that the patch gives it.
        same: bool,
    },
    /// The patch deletes a file which has lines that the patch does not know.
    LeftOver {
        /// How many.
        lines: usize,
    },
    /// A hunk fits nowhere.
    Hunk(Box<Miss>),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patch, number, of, file, patch_line, changed_before, why } = self;
        write!(f, "patch {number} of {of}, {patch}, does not apply: {file}")?;
        let at = |f: &mut fmt::Formatter<'_>| write!(f, "\n  {patch}:{patch_line}: ");
        match why {
            Why::Read(error) => write!(f, " cannot be read: {error}"),
            Why::Missing { deletes, other_strip } => {
                f.write_str(" is not in the tree")?;
                at(f)?;
                match (deletes, other_strip) {
                    (true, _) => f.write_str("the patch deletes this file; it looks already applied"),
                    (false, Some(path)) => write!(f, "the tree has {path}; is the series' -p one too small?"),
                    (false, None) => f.write_str("the patch changes this file"),
                }
            }
            Why::MissingOrigin { from } => {
                write!(f, " cannot be made")?;
                at(f)?;
                write!(f, "the patch makes it of {from}, which is not in the tree")
            }
            Why::Exists { same } => {
                f.write_str(" is in the tree already")?;
                at(f)?;
                f.write_str("the patch creates this file; ")?;
                f.write_str(match same {
                    true => "it looks already applied: the content is the same",
                    false => "the tree's has other content",
                })
            }
            Why::LeftOver { lines } => {
                at(f)?;
                write!(f, "the patch deletes this file, but {lines} of its lines are not in the patch")
            }
            Why::Hunk(miss) => miss.write(f, patch, *patch_line, file, *changed_before),
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// Applies `patches` in this order to the tree behind `read`. Each sees what those before it made.
///
/// # Errors
/// The first patch that does not apply, and why. Nothing is half done: there is no result then.
pub fn apply(read: &Read<'_>, patches: &[&Patch]) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for patch in patches {
        for change in &patch.files {
            let changed_before = applied.files.contains_key(&change.path);
            one(read, &mut applied, patch, change).map_err(|(patch_line, why)| ApplyError {
                patch: patch.name.clone(),
                number: patch.number,
                of: patch.of,
                file: change.path.clone(),
                patch_line,
                changed_before,
                why,
            })?;
        }
    }
    Ok(applied)
}

/// Applies the changes to one file; fails with the patch's line.
fn one(read: &Read<'_>, applied: &mut Applied, patch: &Patch, change: &FilePatch) -> Result<(), (usize, Why)> {
    let current = |applied: &Applied, path: &str| match applied.files.get(path) {
        Some(content) => Ok(content.clone()),
        None => read(path).map_err(|e| (change.line, Why::Read(e))),
    };
    let gone = || missing(read, applied, change);
    let now = current(applied, &change.path)?;
    let result = match (now, &change.kind) {
        (None, Kind::Modify) if change.hunks.iter().any(|h| h.old_count > 0) || change.hunks.len() != 1 => {
            return Err((change.line, gone()));
        }
        (None, Kind::Delete) => return Err((change.line, gone())),
        (Some(now), Kind::Create) if !now.is_empty() => {
            return Err((change.line, Why::Exists { same: now == created(change) }));
        }
        (Some(_), Kind::Move { .. }) => return Err((change.line, Why::Exists { same: false })),
        (_, Kind::Create) | (None, Kind::Modify) => Some(created(change)),
        (None, Kind::Move { from, copy }) => {
            let Some(old) = current(applied, from)? else { return Err((change.line, gone())) };
            let content = changed(applied, patch, change, &old)?;
            if let Some(executable) = applied.executable.get(from).copied() {
                applied.executable.insert(change.path.clone(), executable);
            }
            if !copy {
                settle(read, applied, from, None).map_err(|e| (change.line, Why::Read(e)))?;
            }
            Some(content)
        }
        (Some(now), kind) => {
            let content = changed(applied, patch, change, &now)?;
            match kind {
                Kind::Delete if content.is_empty() => None,
                Kind::Delete => return Err((change.line, Why::LeftOver { lines: lines(&content).len() })),
                _ => Some(content),
            }
        }
    };
    if let Some(executable) = change.executable {
        applied.executable.insert(change.path.clone(), executable);
    }
    settle(read, applied, &change.path, result).map_err(|e| (change.line, Why::Read(e)))
}

/// Notes what becomes of a file.
fn settle(read: &Read<'_>, applied: &mut Applied, path: &str, result: Option<Vec<u8>>) -> io::Result<()> {
    if result.is_none() {
        applied.executable.remove(path);
        // A file that one patch creates and a later one deletes is no difference to the pristine tree.
        if read(path)?.is_none() {
            applied.files.remove(path);
            return Ok(());
        }
    }
    applied.files.insert(path.to_owned(), result);
    Ok(())
}

/// `old` with the hunks of `change`, and notes on those that did not stand where they should.
fn changed(applied: &mut Applied, patch: &Patch, change: &FilePatch, old: &[u8]) -> Result<Vec<u8>, (usize, Why)> {
    let tree = lines(old);
    let placed = place(&tree, &change.hunks, MAX_FUZZ).map_err(|failed| {
        let why = Miss::new(&tree, &change.hunks, failed.hunk, failed.guess);
        (change.hunks[failed.hunk].line, Why::Hunk(Box::new(why)))
    })?;
    for (i, (hunk, at)) in change.hunks.iter().zip(&placed).enumerate() {
        let offset = at.line as isize - first(hunk);
        if offset != 0 || at.fuzz != 0 {
            applied.notes.push(Note {
                patch: patch.name.clone(),
                file: change.path.clone(),
                hunk: i + 1,
                patch_line: hunk.line,
                file_line: at.line + 1,
                offset,
                fuzz: at.fuzz,
            });
        }
    }
    Ok(splice(&tree, &change.hunks, &placed))
}

fn missing(read: &Read<'_>, applied: &Applied, change: &FilePatch) -> Why {
    let there = |path: &&str| match applied.files.get(*path) {
        Some(content) => content.is_some(),
        None => matches!(read(path), Ok(Some(_))),
    };
    if let Kind::Move { from, .. } = &change.kind {
        return Why::MissingOrigin { from: from.clone() };
    }
    let shorter = change.path.split_once('/').map(|(_, rest)| rest).filter(there);
    Why::Missing { deletes: change.kind == Kind::Delete, other_strip: shorter.map(str::to_owned) }
}

fn created(change: &FilePatch) -> Vec<u8> {
    change.hunks.iter().flat_map(Hunk::new_side).flatten().copied().collect()
}

/// The new content. The tree's own lines stand where context was, so that ignored context is not overwritten.
fn splice(tree: &[&[u8]], hunks: &[Hunk], places: &[Place]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tree.iter().map(|l| l.len()).sum());
    let mut done = 0;
    for (hunk, place) in hunks.iter().zip(places) {
        let mut at = place.line;
        for line in &hunk.lines {
            if line.op == Op::Context {
                at += 1;
                continue;
            }
            out.extend(tree.get(done..at).unwrap_or_default().iter().copied().flatten());
            done = at;
            match line.op {
                Op::Delete => {
                    at += 1;
                    done = at;
                }
                _ => out.extend_from_slice(&line.text),
            }
        }
    }
    out.extend(tree.get(done..).unwrap_or_default().iter().copied().flatten());
    out
}

#[cfg(test)]
mod tests;
