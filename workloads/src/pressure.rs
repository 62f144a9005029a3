//! Roles for many workloads that walk the pages which the others are playing with: compaction and reclaim, on demand
//! rather than by filling memory, so that they run from the first moment and at any size.

use crate::board::Op;
use crate::cgroup;
use crate::host::{Host, COMPACT_MEMORY};
use crate::job::{Ask, Role};
use crate::life::Life;
use rustix::io::Errno;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Two processes that compact all memory, again and again; each time counts as `op`. None where `host` does not let us.
///
/// Two of them: while one waits for a page's lock or its copy, the other migrates.
pub fn compact(host: &Host, op: Op) -> Option<Role> {
    let live = move |life: &mut Life<'_>| while life.check(op, COMPACT_MEMORY, write(COMPACT_MEMORY, "1")).is_some() {};
    host.can_compact.then(|| Role::new("compact", 2, live))
}

/// A process that has the kernel reclaim a little memory, again and again (memory.reclaim of cgroup v2, since 5.19); each time
/// counts as `op`. None where that cannot be asked for.
///
/// A little: where a page takes a tenth of a millisecond to compress, some MiB at a time leave no processor to those whose
/// pages they are.
pub fn reclaim(ask: &Ask, op: Op) -> Option<Role> {
    let file = cgroup::v2_root()?.join("memory.reclaim");
    let live = move |life: &mut Life<'_>| loop {
        let bytes = life.rng.between(1, 16) << 16;
        // EAGAIN: it found less than that.
        life.check_or(op, "memory.reclaim", write(&file, &bytes.to_string()), &[Errno::INTR]);
        std::thread::sleep(Duration::from_millis(life.rng.between(5, 40) as u64));
    };
    (ask.full() && crate::host::writable(cgroup::v2_root()?.join("memory.reclaim")))
        .then(|| Role::new("reclaim", 1, live))
}

/// Writes to a control file.
///
/// # Errors
/// What the file makes of it.
pub fn write(path: impl AsRef<Path>, text: &str) -> Result<(), Errno> {
    let written =
        std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
