//! A series and its patches, whatever they are read from.

use super::diff::{self, DiffError, FilePatch};
use super::mail;
use super::mbox::MailboxProblem;
use super::quilt::LineProblem;
use super::select::{Selection, SelectionError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What a series may be, for error messages.
const EXPECTED: &str = "expected a quilt folder, a folder of patches, a mailbox or git:PATH@A..B";

/// What the names of patches and mailboxes end in.
const SUFFIXES: [&str; 6] = [".patch", ".diff", ".eml", ".mbox", ".mbx", ".txt"];

/// Longest patch, in bytes. The largest ever merged (generated register headers) are about half of it.
pub const MAX_PATCH: u64 = 32 << 20;

/// Patches in the order in which they apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The folder's, the mailbox's or the revision's name.
    pub name: String,
    /// At least one.
    pub patches: Vec<Patch>,
}

/// One patch of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// As the `series` file names it, below the folder; of a mail or a commit, as `git format-patch` would call it.
    pub name: String,
    /// `name` without folders and without `.patch`, `.diff`, `.eml` or `.mbox`.
    pub stem: String,
    /// Its place in the series, 1-based; the K of [`Selection`].
    pub number: usize,
    /// How many patches the series has.
    pub of: usize,
    /// What its `Subject:` says without `[PATCH n/m]`, else `stem`.
    pub subject: String,
    /// What it changes, in its order.
    pub files: Vec<FilePatch>,
    /// The patch file, byte for byte but for the encoding of a mail: what a variant's hash is made of.
    pub text: Vec<u8>,
    /// Leading path components that its paths lose; changes what `text` means, so it belongs into the hash too.
    pub strip: usize,
}

/// Why a series cannot be read. The text names the file and the line.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// No such file or folder.
    #[error("series {}: no such file or folder; {EXPECTED}", .0.display())]
    Absent(PathBuf),
    /// The folder has neither a `series` file nor patches.
    #[error("series {}: neither a `series` file nor a .patch, .diff, .eml or .mbox file in this folder; {EXPECTED}", .0.display())]
    NoPatches(PathBuf),
    /// The `series` file names no patch.
    #[error("{}: names no patch", .0.display())]
    Nothing(PathBuf),
    /// A mailbox whose mails do not make a series.
    #[error("{}: {problem}", file.display())]
    Mailbox {
        /// The mailbox.
        file: PathBuf,
        /// What is wrong.
        problem: MailboxProblem,
    },
    /// A range of commits that cannot be had.
    #[error("series {0}")]
    Range(String),
    /// A line of the `series` file that is wrong.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The `series` file.
        file: PathBuf,
        /// 1-based.
        line: usize,
        /// What is wrong.
        problem: LineProblem,
    },
    /// A patch that does not parse.
    #[error("{}:{}: {}", file.display(), error.line, error.problem)]
    Patch {
        /// The patch file.
        file: PathBuf,
        /// Where and what.
        error: DiffError,
    },
    /// A file that is there and cannot be read.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Series {
    /// The patches that `selection` takes, in order, as [`super::apply()`] wants them.
    ///
    /// # Errors
    /// K is out of the series' range.
    pub fn select(&self, selection: &Selection) -> Result<Vec<&Patch>, SelectionError> {
        let indices = selection.resolve(self.patches.len())?;
        Ok(indices.into_iter().filter_map(|i| self.patches.get(i)).collect())
    }
}

impl Patch {
    /// Makes a patch of the bytes of its file. `number` is its place among `of`, 1-based.
    ///
    /// # Errors
    /// Its diff does not parse.
    pub fn parse(name: &str, number: usize, of: usize, strip: usize, text: Vec<u8>) -> Result<Self, DiffError> {
        let text = mail::decode(text);
        let files = diff::parse(&text, strip)?;
        let last = name.rsplit('/').next().unwrap_or(name);
        let subject = mail::subject(&text[..diff::message_end(&text)]).map(|subject| subject.text);
        let (stem, subject) = (stem(last), subject.filter(|text| !text.is_empty()));
        let subject = subject.unwrap_or_else(|| stem.to_owned());
        Ok(Self { name: name.to_owned(), stem: stem.to_owned(), number, of, subject, files, text, strip })
    }
}

/// A name without what says which kind of file it is.
pub fn stem(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// The name of the series at `path`.
pub fn name_of(path: &Path) -> String {
    // `series/x/.` and `.` have their name only in the real path.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().map_or_else(|| "series".into(), |name| name.to_string_lossy().into_owned());
    stem(&name).to_owned()
}

/// At most one byte more than [`MAX_PATCH`].
pub fn load(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_PATCH + 1).read_to_end(&mut text)?;
    Ok(text)
}
