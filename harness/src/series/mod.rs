//! Patch series: read them, choose patches out of them, apply those to a tree in memory.
//!
//! [`quilt`], [`folder`] and [`mbox`] read files, [`range`] asks git; none writes. The unified diff parser ([`diff`]) and
//! the applier ([`mod@apply`]) are pure: the tree comes in through a closure and the result is a map of files, so that
//! a variant's kernel is known (and named by its hash) before anything is written, and a series that does not apply is
//! told in the words of its patches, not in `.rej` files.

pub mod apply;
pub mod diff;
pub mod folder;
pub mod mail;
pub mod mbox;
pub mod miss;
pub mod patch;
mod place;
pub mod quilt;
pub mod range;
pub mod select;

pub use apply::{apply, Applied, ApplyError, Note};
pub use patch::{Patch, Series, SeriesError};
pub use select::{Selection, SelectionError};

use crate::files;
use std::path::Path;

impl Series {
    /// Reads what a matrix in the folder `here` calls `named`: a quilt folder, a folder of patches, a mailbox, or
    /// `git:PATH@A..B`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(here: &Path, named: &Path) -> Result<Self, SeriesError> {
        if let Some(range) = named.to_str().and_then(|text| text.strip_prefix("git:")) {
            return range::read(here, range);
        }
        let path = files::resolve(here, named);
        match () {
            () if path.is_dir() => load_folder(&path),
            () if path.is_file() => mbox::read(&path),
            () => Err(SeriesError::Absent(path)),
        }
    }
}

fn load_folder(path: &Path) -> Result<Series, SeriesError> {
    match path.join(quilt::SERIES_FILE).exists() {
        true => quilt::read(path),
        false => folder::read(path),
    }
}
