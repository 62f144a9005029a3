//! Which device answers at which address: one bus for I/O ports, one for memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What a vCPU can read from and write to. The guest chooses offset, size and data: any of them may make no sense.
pub trait Device: Send {
    /// Answers a read of `data.len()` bytes at `offset` from the device's base. What is not written stays 0xff.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Takes a write of `data.len()` bytes at `offset` from the device's base.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// A device that several vCPUs may access.
pub type Shared = Arc<Mutex<dyn Device>>;

/// Devices by address. It is complete before the first vCPU runs, and never changes.
#[derive(Default)]
pub struct Bus {
    devices: Vec<(Range<u64>, Shared)>,
}

impl Bus {
    /// Puts `device` at `size` addresses from `base` on. Ranges do not overlap: [`crate::layout`] says so.
    pub fn attach(&mut self, base: u64, size: u64, device: Shared) {
        let range = base..base + size;
        debug_assert!(self.devices.iter().all(|(other, _)| other.end <= range.start || range.end <= other.start));
        self.devices.push((range, device));
    }

    /// Reads. Where no device is, all bits are set, as on a PC.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((offset, device)) = self.find(address, data.len()) {
            device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, data);
        }
    }

    /// Writes. Where no device is, nothing happens.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address, data.len()) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, data);
        }
    }

    /// The device that has all of the access. A poisoned one goes on: what it holds is the guest's own state.
    fn find(&self, address: u64, size: usize) -> Option<(u64, &Mutex<dyn Device>)> {
        let end = address.checked_add(size as u64)?;
        let (range, device) = self.devices.iter().find(|(range, _)| range.contains(&address))?;
        (end <= range.end).then(|| (address - range.start, &**device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(Vec<u8>);

    impl Device for Echo {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data[0] = offset as u8;
        }
        fn write(&mut self, _: u64, data: &[u8]) {
            self.0 = data.to_vec();
        }
    }

    #[test]
    fn an_access_finds_its_device_whole_or_not_at_all() {
        let echo = Arc::new(Mutex::new(Echo(vec![])));
        let mut bus = Bus::default();
        bus.attach(0x100, 4, echo.clone());
        let mut data = [0; 2];
        bus.read(0x102, &mut data);
        assert_eq!(data, [2, 0xff]);
        for outside in [0xff, 0x103, 0x104, u64::MAX] {
            bus.read(outside, &mut data);
            assert_eq!(data, [0xff, 0xff], "{outside:#x}");
            bus.write(outside, &[1, 2]);
        }
        assert!(echo.lock().unwrap().0.is_empty());
        bus.write(0x100, &[1, 2, 3, 4]);
        assert_eq!(echo.lock().unwrap().0, [1, 2, 3, 4]);
    }
}
