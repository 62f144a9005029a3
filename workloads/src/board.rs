//! Operation counters that all processes of a workload share.

use crate::ledger::shared_words;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations that every workload counts, before its own.
pub const COMMON: &[&str] =
    &["spawn", "oom-kill", "enomem", "unsupported", "pages-filled", "pages-verified", "refused"];

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
    /// A request that this kernel does not know, was built without, or does not let this user make.
    pub const UNSUPPORTED: Self = Self(3);
    /// A page was written to.
    pub const FILL: Self = Self(4);
    /// A page was read back and held what it should.
    pub const VERIFY: Self = Self(5);
    /// A call said no in a way that its documentation allows while others race with it.
    pub const REFUSED: Self = Self(6);

    /// The place on the board, where the operations of the workload that counts begin `own` places after the common ones.
    pub fn place(self, own: usize) -> usize {
        if self.0 < COMMON.len() {
            self.0
        } else {
            self.0 + own
        }
    }
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
    names: Vec<String>,
}

impl Board {
    /// Counters for [`COMMON`] and `own`.
    ///
    /// # Errors
    /// If the kernel refuses the page or two that they take.
    pub fn new(own: &[String]) -> rustix::io::Result<Self> {
        let names: Vec<_> = COMMON.iter().map(|&name| name.to_owned()).chain(own.iter().cloned()).collect();
        let counts = shared_words(names.len())?;
        // A count must not wait for a swap-in. Beyond RLIMIT_MEMLOCK it has to.
        // SAFETY: the range is a mapping of its own, which lives as long as the process.
        let _ = unsafe { rustix::mm::mlock(counts.as_ptr().cast_mut().cast(), size_of_val(counts)) };
        Ok(Self { counts, names })
    }

    /// Counts `n` at `place`.
    pub fn add(&self, place: usize, n: u64) {
        self.counts[place].fetch_add(n, Ordering::Relaxed);
    }

    /// All counts by name, those at zero included.
    pub fn ops(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        self.names.iter().cloned().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    ops!(OWN: ALPHA = "alpha", BETA = "beta");

    #[test]
    fn counts_go_under_their_names() {
        let board = Board::new(&OWN.iter().map(|&op| op.to_owned()).collect::<Vec<_>>()).unwrap();
        board.add(BETA.place(0), 3);
        board.add(Op::SPAWN.place(0), 2);
        board.add(ALPHA.place(0), 1);
        board.add(ALPHA.place(1), 1);
        let moved: Vec<_> = board.ops().into_iter().filter(|&(_, n)| n > 0).collect();
        assert_eq!(moved, [("alpha", 1), ("beta", 4), ("spawn", 2)].map(|(name, n)| (name.to_owned(), n)));
        assert_eq!(board.ops().len(), COMMON.len() + 2, "what did not happen is told, too");
        board.add(Op::REFUSED.place(1), 1);
        assert_eq!(board.ops()["refused"], 1, "the last of COMMON, wherever a workload's own begin");
    }
}
