//! What a process of a workload has at hand: its random numbers, the counters, and a way to complain.

use crate::board::{Board, Op};
use crate::process;
use crate::rng::Rng;
use mmtorture_protocol::Report;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::BorrowedFd;

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
}

impl<'a> Life<'a> {
    /// A life that counts on `board` and complains to the pipe `violations`.
    pub fn new(rng: Rng, who: String, id: u64, slot: u32, board: &'a Board, violations: BorrowedFd<'a>) -> Self {
        Self { rng, who, id, slot, board, violations }
    }

    /// Counts one `op`.
    pub fn did(&self, op: Op) {
        self.board.add(op, 1);
    }

    /// Counts `n` times `op`.
    pub fn did_n(&self, op: Op, n: u64) {
        self.board.add(op, n);
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

    /// Reports what must not be.
    pub fn violation(&self, kind: &str, detail: &str) {
        let mut detail = format!("{}: {detail}", self.who);
        let end = (0..=MAX_DETAIL.min(detail.len())).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or(0);
        detail.truncate(end);
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
}
