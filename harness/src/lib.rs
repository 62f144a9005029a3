//! mmtorture's host side: plan, build, boot, watch, judge, record, bisect.
//!
//! Data flows one way: a [`matrix`] is [`plan`]ned into cells; [`build`] makes their kernels and [`image`] their
//! initramfs; a [`machine`] boots them; a [`trial`] watches its console through the [`oracle`] and its events, and comes
//! to an [`outcome`]; [`record`] keeps it. [`run`] drives all of that, and asks [`bisect`] for more trials where one
//! failed.

pub mod bisect;
pub mod build;
pub mod cache;
pub mod clock;
pub mod cmd;
pub mod cover;
pub mod decoded;
pub mod error;
pub mod ext4;
pub mod files;
pub mod git;
pub mod hash;
pub mod history;
pub mod image;
pub mod interrupt;
pub mod machine;
pub mod matrix;
pub mod oracle;
pub mod outcome;
pub mod plan;
pub mod process;
pub mod progress;
pub mod prune;
pub mod record;
pub mod report;
pub mod reproduce;
pub mod root;
pub mod run;
pub mod series;
pub mod size;
pub mod stats;
pub mod suggest;
pub mod symbolize;
pub mod table;
pub mod trial;
pub mod zstd;
