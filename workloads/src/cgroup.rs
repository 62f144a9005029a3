//! Memory cgroups: found where they are mounted, made, entered, left and removed.

use crate::pressure::write;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A hierarchy with the memory controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v1, mounted here.
    V1(PathBuf),
    /// cgroup v2, mounted here.
    V2(PathBuf),
}

/// Finds one in which this process may make cgroups; v1 if both are there, for nothing but tests mounts it.
pub fn find() -> Option<Hierarchy> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (v1, v2) = parse(&mounts);
    if let Some(v1) = v1.filter(|at| may_make(at)) {
        return Some(Hierarchy::V1(v1));
    }
    let v2 = v2.filter(|at| may_make(at))?;
    // Controllers of a cgroup are those that its parent hands down.
    let _ = write(v2.join("cgroup.subtree_control"), "+memory");
    let handed = std::fs::read_to_string(v2.join("cgroup.subtree_control")).ok()?;
    handed.split_whitespace().any(|name| name == "memory").then_some(Hierarchy::V2(v2))
}

/// Where cgroup v2 is mounted.
pub fn v2_root() -> Option<PathBuf> {
    parse(&std::fs::read_to_string("/proc/self/mountinfo").ok()?).1
}

fn may_make(at: &Path) -> bool {
    rustix::fs::access(at, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Mount points of cgroup v1 with the memory controller and of v2 (proc(5), /proc/PID/mountinfo).
fn parse(mounts: &str) -> (Option<PathBuf>, Option<PathBuf>) {
    let (mut v1, mut v2) = (None, None);
    for line in mounts.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let Some(at) = mount.split(' ').nth(4) else { continue };
        match kind.split(' ').collect::<Vec<_>>()[..] {
            ["cgroup", _, options, ..] if options.split(',').any(|option| option == "memory") => v1 = Some(at.into()),
            ["cgroup2", ..] => v2 = Some(at.into()),
            _ => {}
        }
    }
    (v1, v2)
}

/// A cgroup of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    at: PathBuf,
    v1: bool,
}

/// Removes the cgroups that killed processes have left.
pub fn sweep() {
    let Some(Hierarchy::V1(root) | Hierarchy::V2(root)) = find() else { return };
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // Not empty: another run's.
            let _ = rustix::fs::rmdir(entry.path());
        }
    }
}

/// How the names of ours begin.
const PREFIX: &str = "torture-";

impl Hierarchy {
    /// Whether it is one of v1.
    pub fn is_v1(&self) -> bool {
        matches!(self, Self::V1(_))
    }

    /// Makes a cgroup, named `name` after a prefix; one of that name that is there already is as good.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn make(&self, name: &str) -> Result<Group, Errno> {
        let (root, v1) = match self {
            Self::V1(root) => (root, true),
            Self::V2(root) => (root, false),
        };
        let at = root.join(format!("{PREFIX}{name}"));
        match rustix::fs::mkdir(&at, rustix::fs::Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        if v1 {
            // Charges move along with tasks (mem_cgroup_can_attach()): anonymous pages and swap, and mapped file pages.
            let _ = write(at.join("memory.move_charge_at_immigrate"), "3");
        }
        Ok(Group { at, v1 })
    }
}

impl Group {
    /// Limits memory, and swap to `swap` where the kernel can.
    ///
    /// # Errors
    /// EBUSY if v1 cannot shrink it so far.
    pub fn limit(&self, memory: u64, swap: Option<u64>) -> Result<(), Errno> {
        let names = if self.v1 {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        } else {
            ("memory.max", "memory.swap.max")
        };
        write(self.at.join(names.0), &memory.to_string())?;
        if let Some(swap) = swap {
            // v1 counts memory and swap together. Without swap accounting the file is not there.
            let _ = write(self.at.join(names.1), &if self.v1 { memory + swap } else { swap }.to_string());
        }
        Ok(())
    }

    /// Moves a process here; 0 is the caller.
    ///
    /// # Errors
    /// ESRCH if it is gone, EBUSY or EAGAIN if others move it.
    pub fn enter(&self, pid: u32) -> Result<(), Errno> {
        write(self.at.join("cgroup.procs"), &pid.to_string())
    }

    /// Has the kernel reclaim from it: as much as `bytes` (v2), or all (v1).
    ///
    /// # Errors
    /// EAGAIN if there is less, EBUSY if v1 cannot.
    pub fn reclaim(&self, bytes: u64) -> Result<(), Errno> {
        if self.v1 {
            write(self.at.join("memory.force_empty"), "0")
        } else {
            write(self.at.join("memory.reclaim"), &bytes.to_string())
        }
    }

    /// Whether it is one of v1.
    pub fn is_v1(&self) -> bool {
        self.v1
    }

    /// Its name, for messages.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        self.at.file_name().unwrap_or_default().to_string_lossy()
    }

    /// What its memory.stat says.
    ///
    /// # Errors
    /// It is gone.
    pub fn stat(&self) -> std::io::Result<String> {
        std::fs::read_to_string(self.at.join("memory.stat"))
    }

    /// The number by which /proc/kpagecgroup knows it.
    ///
    /// # Errors
    /// It is gone.
    pub fn inode(&self) -> std::io::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(std::fs::metadata(&self.at)?.ino())
    }

    /// Removes it.
    ///
    /// # Errors
    /// EBUSY while processes are in it.
    pub fn remove(&self) -> Result<(), Errno> {
        rustix::fs::rmdir(&self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_kind_and_controller() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 24 0:27 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 24 0:28 / /cg/mem rw shared:9 - cgroup none rw,memory\ngarbage\n";
        assert_eq!(parse(mounts), (Some("/cg/mem".into()), Some("/sys/fs/cgroup".into())));
        assert_eq!(parse("1 2 0:1 / / rw - ext4 /dev/vda rw\n"), (None, None));
    }
}
