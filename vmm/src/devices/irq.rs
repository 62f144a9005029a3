//! An interrupt line: an eventfd that KVM turns into an edge.

use std::io;
use vm_superio::Trigger;
use vmm_sys_util::eventfd::EventFd;

/// Raises its interrupt when written to.
#[derive(Debug)]
pub struct Line(pub EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        // The counter is read by KVM at once; where it is not, one more edge on a line that is up changes nothing.
        match self.0.write(1) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }
}
