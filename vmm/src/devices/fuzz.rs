//! Any sequence of accesses to the ports of a PC.

use super::cmos::Cmos;
use super::i8042::I8042;
use super::pm::Pm;
use super::pvpanic::Pvpanic;
use super::serial::Serial;
use crate::bus::{Bus, Device};
use crate::ending::End;
use crate::fuzz::{Digest, Input};
use crate::layout;
use std::sync::{Arc, Mutex};
use vmm_sys_util::eventfd::EventFd;

/// Where something answers, from the first port of each device on.
const PORTS: [u16; 8] = [
    layout::COM1,
    layout::COM2,
    layout::I8042,
    layout::CMOS,
    layout::PVPANIC,
    layout::PM1A_EVENT,
    layout::PM_TIMER,
    layout::PM_RESET,
];

/// Accesses of four bytes each: device and direction, offset, size, value.
pub fn ports(data: &[u8]) -> u64 {
    let event = || EventFd::new(libc::EFD_NONBLOCK);
    let (Ok(said), Ok(irq), Ok(other)) = (event(), event(), event()) else { return 0 };
    let end = Arc::new(End::new(said));
    let mut bus = Bus::default();
    let mut attach = |at: u16, count: u16, device: Arc<Mutex<dyn Device>>| bus.attach(at.into(), count.into(), device);
    let serial = |name, irq| Arc::new(Mutex::new(Serial::new(name, irq, Box::new(std::io::sink()), Arc::clone(&end))));
    attach(layout::COM1, layout::COM_PORTS, serial("console", irq));
    attach(layout::COM2, layout::COM_PORTS, serial("events", other));
    attach(layout::I8042, layout::I8042_PORTS, Arc::new(Mutex::new(I8042::new(Arc::clone(&end)))));
    attach(layout::CMOS, layout::CMOS_PORTS, Arc::new(Mutex::new(Cmos::default())));
    attach(layout::PM1A_EVENT, layout::PM_PORTS, Arc::new(Mutex::new(Pm::new(Arc::clone(&end)))));
    attach(layout::PVPANIC, 1, Arc::new(Mutex::new(Pvpanic::new(Arc::clone(&end)))));

    let (mut input, mut digest) = (Input(data), Digest::default());
    while !input.is_empty() {
        let [which, offset, size, value] = input.take();
        let port = PORTS[usize::from(which) % PORTS.len()] + u16::from(offset % 16);
        // One, two or four bytes: an access has no other size.
        let mut access = vec![value; 1 << (size % 3)];
        match which & 0x80 == 0 {
            true => bus.write(port.into(), &access),
            false => {
                bus.read(port.into(), &mut access);
                // The clock's ports say something new each time.
                if !(layout::CMOS..layout::CMOS + 2).contains(&port) && !(layout::PM_TIMER..).contains(&port) {
                    digest.add(&access);
                }
            }
        }
    }
    digest.add(format!("{:?}", end.get()).as_bytes());
    digest.0
}

/// A character written and the line status read; a reset; a power-off.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![vec![0, 0, 0, b'x', 0x80, 5, 0, 0, 0x80, 2, 0, 0], vec![2, 4, 0, 0xfe], vec![5, 4, 1, 0x34]]
}
