//! ACPI's fixed hardware (ACPI 6.4, section 4.8): enough to switch off, to reset, and to read a timer. There are no
//! events, so the system control interrupt is never raised.

use crate::bus::Device;
use crate::ending::{End, Ending, ResetBy};
use crate::layout::{PM1A_CONTROL, PM1A_EVENT, PM_RESET, PM_RESET_VALUE, PM_TIMER, SLEEP_TYPE_S5};
use std::sync::Arc;
use std::time::Instant;

const ENABLE: u64 = 2;
const CONTROL: u64 = (PM1A_CONTROL - PM1A_EVENT) as u64;
const TIMER: u64 = (PM_TIMER - PM1A_EVENT) as u64;
const RESET: u64 = (PM_RESET - PM1A_EVENT) as u64;

/// PM1 control: ACPI, not the firmware, owns the hardware. Always set.
const SCI_EN: u16 = 1 << 0;
/// PM1 control: where the sleep type stands.
const SLP_TYP: u16 = 10;
/// PM1 control: sleep now.
const SLP_EN: u16 = 1 << 13;

/// The timer's rate in Hz.
const TIMER_HZ: u128 = 3_579_545;

/// The fixed hardware.
pub struct Pm {
    end: Arc<End>,
    started: Instant,
    enable: u16,
    control: u16,
}

impl Pm {
    /// Hardware that ends the machine.
    pub fn new(end: Arc<End>) -> Self {
        Self { end, started: Instant::now(), enable: 0, control: 0 }
    }

    fn register(&self, offset: u64) -> [u8; 4] {
        match offset {
            ENABLE => u32::from(self.enable).to_le_bytes(),
            CONTROL => u32::from(self.control | SCI_EN).to_le_bytes(),
            // 32 bits of it, which wrap.
            TIMER => ((self.started.elapsed().as_nanos() * TIMER_HZ / 1_000_000_000) as u32).to_le_bytes(),
            // Status: no event.
            _ => [0; 4],
        }
    }
}

impl Device for Pm {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let register = self.register(offset);
        for (byte, value) in data.iter_mut().zip(register) {
            *byte = value;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (ENABLE, &[low, high]) => self.enable = u16::from_le_bytes([low, high]),
            (CONTROL, &[low, high]) => {
                let control = u16::from_le_bytes([low, high]);
                // SLP_EN reads as zero.
                self.control = control & !SLP_EN;
                if control & SLP_EN != 0 && (control >> SLP_TYP) & 7 == u16::from(SLEEP_TYPE_S5) {
                    self.end.say(Ending::PowerOff);
                }
            }
            (RESET, &[PM_RESET_VALUE]) => self.end.say(Ending::Reset { by: ResetBy::Acpi }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EventFd;

    fn pm() -> (Pm, Arc<End>) {
        let end = Arc::new(End::new(EventFd::new(0).unwrap()));
        (Pm::new(end.clone()), end)
    }

    #[test]
    fn s5_switches_off_and_no_other_sleep_does() {
        let (mut pm, end) = pm();
        for asleep in [SLP_EN, SLP_EN | 3 << SLP_TYP, u16::from(SLEEP_TYPE_S5) << SLP_TYP] {
            pm.write(CONTROL, &asleep.to_le_bytes());
            assert_eq!(end.get(), None);
        }
        let mut control = [0; 2];
        pm.read(CONTROL, &mut control);
        assert_eq!(u16::from_le_bytes(control), SCI_EN | u16::from(SLEEP_TYPE_S5) << SLP_TYP);
        pm.write(CONTROL, &(SLP_EN | u16::from(SLEEP_TYPE_S5) << SLP_TYP).to_le_bytes());
        assert_eq!(end.get(), Some(Ending::PowerOff));
    }

    #[test]
    fn the_reset_register_resets() {
        let (mut pm, end) = pm();
        pm.write(RESET, &[0]);
        assert_eq!(end.get(), None);
        pm.write(RESET, &[PM_RESET_VALUE]);
        assert_eq!(end.get(), Some(Ending::Reset { by: ResetBy::Acpi }));
    }

    #[test]
    fn the_timer_counts_up() {
        let (mut pm, _) = pm();
        let mut read = || {
            let mut data = [0; 4];
            pm.read(TIMER, &mut data);
            u32::from_le_bytes(data)
        };
        let before = read();
        while read() == before {}
    }
}
