//! What a process of a workload has at hand: its random numbers, the counters, and a way to complain.

use crate::board::{Board, Op};
use crate::process;
use crate::rng::Rng;
use mmtorture_protocol::Report;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest detail of a violation, in bytes. With the rest of its line well below PIPE_BUF (4096), so that lines of
/// several processes never mix in the pipe.
const MAX_DETAIL: usize = 1500;

/// The context of one process from fork to exit.
#[derive(Debug, Clone)]
pub struct Life<'a> {
    /// Drawn from the run's seed and the process's place in it.
    pub rng: Rng,
    /// Which process this is, for messages: role, slot, how many were there before.
    pub who: String,
    /// A number that no other process of the run has.
    pub id: u64,
    /// Which of its role's processes it is, from 0.
    pub slot: u32,
    board: &'a Board,
    violations: BorrowedFd<'a>,
    /// Where on the board its workload's operations begin, after the common ones.
    own: usize,
}

impl<'a> Life<'a> {
    /// A life that counts on `board`, its workload's operations from `own` on, and complains to the pipe `violations`.
    pub fn new(
        rng: Rng,
        who: String,
        (id, slot): (u64, u32),
        (board, own): (&'a Board, usize),
        violations: BorrowedFd<'a>,
    ) -> Self {
        Self { rng, who, id, slot, board, violations, own }
    }

    /// Counts one `op`.
    pub fn did(&self, op: Op) {
        self.did_n(op, 1);
    }

    /// Counts `n` times `op`.
    pub fn did_n(&self, op: Op, n: u64) {
        self.board.add(op.place(self.own), n);
    }

    /// Counts `op` if `result` is fine. ENOMEM and EAGAIN are what pressure is expected to bring and are counted as
    /// `enomem`; any other errno is a violation.
    pub fn check<T>(&self, op: Op, what: &str, result: Result<T, Errno>) -> Option<T> {
        match result {
            Ok(value) => {
                self.did(op);
                Some(value)
            }
            Err(Errno::NOMEM | Errno::AGAIN) => {
                self.did(Op::ENOMEM);
                None
            }
            Err(errno) => {
                self.violation("unexpected-errno", &format!("{what}: {errno}"));
                None
            }
        }
    }

    /// As [`Self::check`], but the errnos of `may` are no violation: the call's documentation has them for what others do at
    /// the same time, or for a kernel that lacks it. They are counted as `refused`.
    pub fn check_or<T>(&self, op: Op, what: &str, result: Result<T, Errno>, may: &[Errno]) -> Option<T> {
        match result {
            Err(errno) if may.contains(&errno) => {
                self.did(Op::REFUSED);
                None
            }
            result => self.check(op, what, result),
        }
    }

    /// Reports what must not be.
    pub fn violation(&self, kind: &str, detail: &str) {
        let detail = clipped(format!("{}: {detail}", self.who));
        let report = Report::Violation { kind: kind.to_owned(), detail };
        if let Ok(mut line) = serde_json::to_vec(&report) {
            line.push(b'\n');
            // Non-blocking: where the pipe is full there are violations enough.
            let _ = rustix::io::write(self.violations, &line);
        }
    }

    /// Forks a process that goes on from this point with random numbers of its own.
    ///
    /// # Errors
    /// See [`process::fork`].
    pub fn fork(&mut self, body: impl FnOnce(&mut Life<'a>)) -> Result<Pid, Errno> {
        let seed = self.rng.next();
        process::fork(|| {
            let mut life = Life { rng: Rng::new(seed), who: format!("{} forked", self.who), id: seed, ..self.clone() };
            body(&mut life);
            0
        })
    }

    /// Waits until these children are dead. How they died is for the supervisor to judge where it is not for the caller; a
    /// signal that nobody sent is a violation.
    pub fn reap(&self, children: &[Pid]) {
        for &child in children {
            let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            let Ok(Some((_, status))) = status else { continue };
            match (status.terminating_signal(), status.exit_status()) {
                // The OOM killer's, and that of a parent who died in between.
                (Some(libc::SIGKILL), _) | (None, Some(0)) => {}
                (Some(signal), _) => {
                    self.violation("workload-signal", &format!("a child was killed by signal {signal}"));
                }
                (None, code) => self.violation("workload-exit", &format!("a child ended with {code:?}")),
            }
        }
    }

    /// Runs each of `owners` in a thread of its own, over the same page tables, and beside them `helpers`, each again and
    /// again until the last owner has returned.
    pub fn crew<'s>(&mut self, owners: Vec<Owner<'a, 's>>, helpers: Vec<Helper<'a, 's>>) {
        let left = AtomicUsize::new(owners.len());
        let left = &left;
        let owners = owners.into_iter().map(|owner| -> Owner<'a, '_> {
            let leaves = Leaves(left);
            Box::new(move |life| {
                let _leaves = leaves;
                owner(life);
            })
        });
        let helpers = helpers.into_iter().map(|mut helper| -> Owner<'a, '_> {
            Box::new(move |life| {
                while left.load(Ordering::Relaxed) > 0 {
                    helper(life);
                }
            })
        });
        std::thread::scope(|scope| {
            for (at, body) in owners.chain(helpers).enumerate() {
                let seed = self.rng.next();
                let who = format!("{} thread {at}", self.who);
                let mut life = Life { rng: Rng::new(seed), who, id: seed, ..self.clone() };
                let thread = std::thread::Builder::new().stack_size(128 << 10);
                let spawned = thread.spawn_scoped(scope, move || body(&mut life));
                let spawned = spawned.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN));
                self.check(Op::SPAWN, "clone", spawned.map(|_| ()));
            }
        });
    }
}

/// A detail, cut off where it is too long for a violation.
pub fn clipped(mut detail: String) -> String {
    let end = (0..=MAX_DETAIL.min(detail.len())).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or(0);
    detail.truncate(end);
    detail
}

/// A thread that does its work and returns.
pub type Owner<'a, 's> = Box<dyn FnOnce(&mut Life<'a>) + Send + 's>;

/// A step of a thread that goes on for as long as owners do.
pub type Helper<'a, 's> = Box<dyn FnMut(&mut Life<'a>) + Send + 's>;

/// Says that an owner is done, however it ends, and also if its thread could not be had.
struct Leaves<'s>(&'s AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
