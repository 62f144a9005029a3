//! The control socket: JSON lines over a Unix stream socket, one reply a command.
//!
//! ```text
//! > {"do":"nmi","vcpu":1}
//! < {"ok":true}
//! > {"do":"dump"}                       with the file to write to, open, in the same sendmsg (SCM_RIGHTS)
//! < {"ok":true,"dumped":{"bytes":536875008,"written":40960000,"vmcoreinfo":true}}
//! > {"do":"dump"}
//! < {"ok":false,"error":"no file came along, expected one in the same sendmsg (SCM_RIGHTS)"}
//! ```
//!
//! The confined process may not open files, so a dump's comes from the client. [`protocol`] has the types, [`Server`]
//! the socket, [`Session`] what a connection's bytes mean, [`Client`] the other end.
//!
//! System calls of [`Server::serve`]: accept4, ioctl(FIONBIO), epoll_ctl, epoll_wait, recvmsg, sendto, statx,
//! fcntl(F_GETFL), close.

mod client;
pub mod protocol;
mod server;
mod session;

pub use client::{Client, ClientError};
pub use protocol::{Command, Dumped, Reply, State, Status};
pub use server::{Server, DESCRIPTORS, MAX_CONNECTIONS};
pub use session::{fuzz, fuzz_seeds, Session, MAX_LINE};

use std::fs::File;

/// What the control socket commands: a machine.
pub trait Handler {
    /// Stops all vCPUs and returns once they stand. A paused machine stays paused.
    ///
    /// # Errors
    /// Why not.
    fn pause(&mut self) -> Result<(), String>;

    /// Lets all vCPUs run. A running machine goes on.
    ///
    /// # Errors
    /// Why not.
    fn resume(&mut self) -> Result<(), String>;

    /// Injects a non-maskable interrupt into a vCPU, or into all.
    ///
    /// # Errors
    /// Why not; there is no such vCPU.
    fn nmi(&mut self, vcpu: Option<u8>) -> Result<(), String>;

    /// Writes an ELF core of the guest to `file`, a regular file open for writing. A running machine is paused meanwhile.
    ///
    /// # Errors
    /// Why not, and what the file holds then.
    fn dump(&mut self, file: File) -> Result<Dumped, String>;

    /// What the machine is doing.
    fn status(&self) -> Status;

    /// Ends the machine, once the replies are sent.
    fn quit(&mut self);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A machine of two vCPUs that notes what it is told.
    #[derive(Default)]
    pub struct Machine {
        pub done: Vec<String>,
    }

    impl Handler for Machine {
        fn pause(&mut self) -> Result<(), String> {
            self.done.push("pause".to_owned());
            Ok(())
        }
        fn resume(&mut self) -> Result<(), String> {
            self.done.push("resume".to_owned());
            Ok(())
        }
        fn nmi(&mut self, vcpu: Option<u8>) -> Result<(), String> {
            self.done.push(format!("nmi {vcpu:?}"));
            match vcpu {
                Some(vcpu @ 2..) => Err(format!("no vCPU {vcpu}, expected 0 to 1")),
                _ => Ok(()),
            }
        }
        fn dump(&mut self, mut file: File) -> Result<Dumped, String> {
            file.write_all(b"core").map_err(|error| error.to_string())?;
            Ok(Dumped { bytes: 4, written: 4, vmcoreinfo: false })
        }
        fn status(&self) -> Status {
            let state = State::Running;
            Status { state, vcpus: vec![state; 2], uptime_ms: 5, memory: 1 << 29, resident: 1 << 20, panicked: false }
        }
        fn quit(&mut self) {
            self.done.push("quit".to_owned());
        }
    }
}
