//! Operation counters that all processes of a workload share.

use rustix::mm::{self, MapFlags, ProtFlags};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations that every workload counts, before its own.
pub const COMMON: &[&str] = &["spawn", "oom-kill", "enomem", "unsupported-advice", "pages-filled", "pages-verified"];

/// One operation: its place on the [`Board`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op(pub usize);

impl Op {
    /// A process was forked and began its life.
    pub const SPAWN: Self = Self(0);
    /// A process was killed by the OOM killer.
    pub const OOM_KILL: Self = Self(1);
    /// A system call said ENOMEM or EAGAIN, as it may under pressure.
    pub const ENOMEM: Self = Self(2);
    /// An madvise(2) advice that this kernel does not know, or was built without.
    pub const UNSUPPORTED: Self = Self(3);
    /// A page was written to.
    pub const FILL: Self = Self(4);
    /// A page was read back and held what it should.
    pub const VERIFY: Self = Self(5);
}

/// Declares a workload's operations: constants to count by, and the list of their names.
macro_rules! ops {
    ($list:ident: $($id:ident = $name:literal),+ $(,)?) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Place { $($id),+ }
        $(const $id: $crate::board::Op = $crate::board::Op($crate::board::COMMON.len() + Place::$id as usize);)+
        const $list: &[&str] = &[$($name),+];
    };
}
pub(crate) use ops;

/// The counters, in memory shared with every process forked after this was made.
#[derive(Debug)]
pub struct Board {
    counts: &'static [AtomicU64],
    names: Vec<&'static str>,
}

impl Board {
    /// Counters for [`COMMON`] and `own`.
    ///
    /// # Errors
    /// If the kernel refuses the page or two that they take.
    pub fn new(own: &[&'static str]) -> rustix::io::Result<Self> {
        let names: Vec<_> = COMMON.iter().chain(own).copied().collect();
        let bytes = names.len() * size_of::<AtomicU64>();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let at = unsafe {
            mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
            )
        }?;
        // A count must not wait for a swap-in. Beyond RLIMIT_MEMLOCK it has to.
        // SAFETY: the range is the mapping made above.
        let _ = unsafe { mm::mlock(at, bytes) };
        // SAFETY: the mapping is zeroed, page aligned, large enough, never unmapped, and only ever accessed as
        // atomics, by this process and those forked from it.
        let counts = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), names.len()) };
        Ok(Self { counts, names })
    }

    /// Counts `n` of `op`.
    pub fn add(&self, op: Op, n: u64) {
        self.counts[op.0].fetch_add(n, Ordering::Relaxed);
    }

    /// All counts by name, those at zero included.
    pub fn ops(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        self.names.iter().map(|&name| name.to_owned()).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ops!(OWN: ALPHA = "alpha", BETA = "beta");

    #[test]
    fn counts_go_under_their_names() {
        let board = Board::new(OWN).unwrap();
        board.add(BETA, 3);
        board.add(Op::SPAWN, 2);
        board.add(ALPHA, 1);
        board.add(BETA, 1);
        let moved: Vec<_> = board.ops().into_iter().filter(|&(_, n)| n > 0).collect();
        assert_eq!(moved, [("alpha", 1), ("beta", 4), ("spawn", 2)].map(|(name, n)| (name.to_owned(), n)));
        assert_eq!(board.ops().len(), COMMON.len() + 2, "what did not happen is told, too");
        board.add(Op::VERIFY, 1);
        assert_eq!(board.ops()["pages-verified"], 1, "the last of COMMON");
    }
}
