//! A role for many workloads: compaction of all memory, again and again, so that migration walks the pages that the
//! others are playing with.

use crate::board::Op;
use crate::host::{Host, COMPACT_MEMORY};
use crate::job::Role;
use rustix::io::Errno;
use std::io::Write as _;

/// The role, where `host` lets us; each compaction counts as `op`.
///
/// Two of them: while one waits for a page's lock or its copy, the other migrates.
pub fn role(host: &Host, op: Op) -> Option<Role> {
    let live = move |life: &mut crate::life::Life<'_>| loop {
        let written =
            std::fs::OpenOptions::new().write(true).open(COMPACT_MEMORY).and_then(|mut file| file.write_all(b"1"));
        let written = written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        if life.check(op, COMPACT_MEMORY, written).is_none() {
            return;
        }
    };
    host.can_compact.then(|| Role { name: "compact", count: 2, live: Box::new(live) })
}
