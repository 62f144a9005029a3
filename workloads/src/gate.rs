//! A gate that a group of processes waits at until the last of them has come: what they do next they do all at once.
//!
//! Two pipes that nothing is ever written to. A pipe reads as ended when the last process has closed its writing end,
//! by arriving or by dying; so nobody has to be counted, and nobody is waited for in vain.

use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use std::os::fd::OwnedFd;

/// The gate. Made by the leader before it forks the members.
#[derive(Debug)]
pub struct Gate {
    all_here: OwnedFd,
    opened: OwnedFd,
    /// The writing ends: of one who has still to come, and of one who keeps the gate shut.
    shut: Option<(OwnedFd, OwnedFd)>,
}

impl Gate {
    /// A gate, shut.
    ///
    /// # Errors
    /// If there are no pipes to be had.
    pub fn new() -> Result<Self, Errno> {
        let (all_here, to_come) = pipe_with(PipeFlags::CLOEXEC)?;
        let (opened, keeps_shut) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { all_here, opened, shut: Some((to_come, keeps_shut)) })
    }

    /// In a member: arrives, and waits until the gate opens.
    pub fn pass(&mut self) {
        self.shut = None;
        end_of(&self.opened);
    }

    /// In the leader, when it has forked the last member: waits until all have arrived or died, and opens.
    pub fn open(mut self) {
        if let Some((to_come, keeps_shut)) = self.shut.take() {
            drop(to_come);
            end_of(&self.all_here);
            drop(keeps_shut);
        }
    }
}

/// Waits for the end of a pipe that nothing is written to.
fn end_of(pipe: &OwnedFd) {
    while let Ok(1..) | Err(Errno::INTR) = rustix::io::read(pipe, &mut [0; 16]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use rustix::process::{waitpid, WaitOptions};

    #[test]
    fn nobody_passes_before_the_last_has_come_and_the_dead_are_not_waited_for() {
        let mut gate = Gate::new().unwrap();
        let (log, line) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let pids: Vec<_> = (0..6)
            .map(|member| {
                process::fork(|| {
                    let _ = rustix::io::write(&line, b"a");
                    // A member that never comes.
                    if member == 3 {
                        return 0;
                    }
                    gate.pass();
                    let _ = rustix::io::write(&line, b"z");
                    0
                })
                .unwrap()
            })
            .collect();
        drop(line);
        gate.open();
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(log), &mut text).unwrap();
        assert_eq!(text, b"aaaaaazzzzz");
        for pid in pids {
            let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        }
    }
}
