//! The memory control group that the workload runs in: two levels below the root, because the root's is never charged
//! to its limit and hides bugs in what is.

use crate::knobs;
use mmtorture_protocol::{EventKind, Memcg};
use std::path::{Path, PathBuf};

const DIMENSION: &str = "memcg";

/// Where the hierarchy is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// A group that was made.
#[derive(Debug)]
pub struct Group {
    /// Where a process writes 0 to be in it.
    pub procs: PathBuf,
    /// Where the most that it ever held is shown, in bytes.
    peak: PathBuf,
}

/// The file system of the hierarchy, and its options.
pub fn hierarchy(memcg: Memcg) -> (&'static str, Option<&'static str>) {
    match memcg {
        Memcg::V1 { .. } => ("cgroup", Some("memory")),
        Memcg::None | Memcg::V2 { .. } => ("cgroup2", None),
    }
}

/// Makes the group; what is to be told of it, and the group unless it could not be had.
pub fn make(memcg: Memcg) -> (Option<EventKind>, Option<Group>) {
    let dir = Path::new(Memcg::DIR);
    let (mib, limit, peak) = match memcg {
        Memcg::None => return (None, None),
        Memcg::V1 { mib } => (mib, "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        // Peak is of 5.19 and later.
        Memcg::V2 { mib } => (mib, "memory.max", "memory.peak"),
    };
    let asked = mib.saturating_mul(1 << 20).to_string();
    let path = dir.join(limit);
    let tell = |got: &str, error| Some(knobs::told(DIMENSION, &path.to_string_lossy(), &asked, got, error));
    let parent = dir.parent().unwrap_or(dir);
    let made = std::fs::create_dir_all(dir).and_then(|()| {
        if matches!(memcg, Memcg::V2 { .. }) {
            // A controller is handed down level by level (Documentation/admin-guide/cgroup-v2.rst).
            for level in [Path::new(ROOT), parent] {
                knobs::write(level.join("cgroup.subtree_control"), "+memory")?;
            }
        }
        knobs::write(&path, &asked)?;
        std::fs::read_to_string(&path)
    });
    match made {
        Err(error) => (tell("", Some(format!("{} cannot be set: {error}", path.display()))), None),
        Ok(text) => {
            let got = text.trim();
            let group = Group { procs: dir.join("cgroup.procs"), peak: dir.join(peak) };
            // A limit is rounded down to pages, of which a MiB is a whole number.
            let error = (got != asked).then(|| format!("{} shows {got:?}", path.display()));
            (tell(got, error), Some(group))
        }
    }
}

impl Group {
    /// Says whether anything was ever charged to it: that the workload was in it.
    pub fn used(&self) -> EventKind {
        let path = self.peak.to_string_lossy();
        let tell = |got: &str, error| knobs::told(DIMENSION, &path, "more than 0", got, error);
        match std::fs::read_to_string(&self.peak) {
            // Not every kernel has it; that a process could not join would have been told.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => tell("absent", None),
            Err(error) => tell("", Some(format!("{path} cannot be read: {error}"))),
            Ok(text) => match text.trim() {
                "0" => tell("0", Some("nothing was charged to the workload's group".to_owned())),
                got => tell(got, None),
            },
        }
    }
}
