//! Reports: from a run as it was read to text for people and for other programs.
//!
//! [`read`] is the one part that touches files. What it yields, an [`Account`], holds all that any format tells; the
//! formats are pure functions of it, one file each, and stand in one table, [`FORMATS`]: **the place to add one**.
//! Titles, reasons and console text come from a guest that may have lost its mind: each format escapes what it prints
//! in its own way, and [`text::visible`] has taken the control characters out of it before.

pub mod account;
mod counters;
mod course;
pub(crate) mod decode;
mod dimensions;
mod html;
mod json;
mod junit;
mod kcidb;
mod ktap;
mod mail;
mod markdown;
pub mod read;
pub mod text;

pub use account::Account;
pub use html::history::render as history_page;

/// A format of reports.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    /// Makes it.
    pub render: fn(&Account) -> String,
}

/// All formats, the default first.
pub const FORMATS: &[Format] = &[
    Format { name: "html", about: "one self-contained page for a browser", render: html::render },
    Format { name: "markdown", about: "a summary for a CI job's page", render: markdown::render },
    Format { name: "junit", about: "JUnit XML, which most CI systems show", render: junit::render },
    Format { name: "ktap", about: "KTAP version 1, the kernel's own test format", render: ktap::render },
    Format { name: "kcidb", about: "KCIDB v5.3 JSON, for the kernel community's database", render: kcidb::render },
    Format { name: "mail", about: "plain text, as one writes to linux-mm", render: mail::render },
    Format { name: "json", about: "all of it for programs of one's own, versioned", render: json::render },
];

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}
