//! A 16550 serial port that writes to a stream of the host, byte by byte as the guest does.
//!
//! A reader that is slow makes the guest wait, and nothing is lost or kept in memory. A reader that is gone ends the
//! machine.

mod stream;

pub use stream::{open, Stream};

use super::irq::Line;
use crate::bus::Device;
use crate::ending::{End, Ending};
use crate::log::log;
use std::io::Write;
use std::sync::Arc;
use vm_superio::serial::{Error, NoEvents};
use vmm_sys_util::eventfd::EventFd;

/// A serial port.
pub struct Serial {
    /// `console` or `events`.
    name: &'static str,
    port: vm_superio::Serial<Line, NoEvents, Box<dyn Write + Send>>,
    end: Arc<End>,
}

impl Serial {
    /// A port that writes to `stream` and raises `irq`.
    pub fn new(name: &'static str, irq: EventFd, stream: Box<dyn Write + Send>, end: Arc<End>) -> Self {
        Self { name, port: vm_superio::Serial::new(Line(irq), stream), end }
    }
}

impl Device for Serial {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        // Eight registers of a byte each; wider accesses are not decoded.
        if let (Ok(offset), [byte]) = (u8::try_from(offset), data) {
            *byte = self.port.read(offset);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (Ok(offset), &[byte]) = (u8::try_from(offset), data) else { return };
        match self.port.write(offset, byte) {
            Ok(()) => {}
            Err(Error::IOError(e)) => {
                if self.end.get().is_none() {
                    log!("{}: cannot write: {e}", self.name);
                }
                self.end.say(Ending::StreamClosed { stream: self.name.to_owned() });
            }
            Err(e) => log!("{}: {e}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Sink(Arc<Mutex<Vec<u8>>>, bool);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.1 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn port(broken: bool) -> (Serial, Arc<Mutex<Vec<u8>>>, Arc<End>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(End::new(EventFd::new(0).unwrap()));
        let sink = Box::new(Sink(said.clone(), broken));
        (Serial::new("console", EventFd::new(libc::EFD_NONBLOCK).unwrap(), sink, end.clone()), said, end)
    }

    #[test]
    fn what_is_written_to_the_data_register_comes_out() {
        let (mut serial, said, end) = port(false);
        for byte in b"ok" {
            serial.write(0, &[*byte]);
        }
        serial.write(0, b"wide");
        serial.write(1 << 40, b"x");
        assert_eq!(*said.lock().unwrap(), b"ok");
        assert_eq!(end.get(), None);
        // Line status: transmitter empty, nothing received.
        let mut status = [0];
        serial.read(5, &mut status);
        assert_eq!(status, [0x60]);
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_machine() {
        let (mut serial, _, end) = port(true);
        serial.write(0, b"x");
        assert_eq!(end.get(), Some(Ending::StreamClosed { stream: "console".to_owned() }));
    }
}
