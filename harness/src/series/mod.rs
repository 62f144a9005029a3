//! Patch series: read a quilt folder, choose patches out of it, apply them to a tree in memory.
//!
//! Only [`quilt`] touches the file system, and only to read. The unified diff parser ([`diff`]) and the
//! applier ([`mod@apply`]) are pure: the tree comes in through a closure and the result is a map of files, so that a
//! variant's kernel is known (and named by its hash) before anything is written, and a series that does not apply is
//! told in the words of its patches, not in `.rej` files.

pub mod apply;
pub mod diff;
pub mod miss;
mod place;
pub mod quilt;
pub mod select;

pub use apply::{apply, Applied, ApplyError, Note};
pub use quilt::{Patch, Series, SeriesError};
pub use select::{Selection, SelectionError};
