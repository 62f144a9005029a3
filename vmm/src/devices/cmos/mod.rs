//! The CMOS with its real-time clock (Motorola MC146818): the host's time in UTC, which the guest cannot set, and
//! memory. A guest without kvm-clock reads its boot time here.

use crate::bus::Device;
use std::time::{SystemTime, UNIX_EPOCH};

/// Registers. The index port's top bit masks NMIs on a PC; here it is ignored.
const SIZE: usize = 128;

const STATUS_B: u8 = 0x0b;
const STATUS_D: u8 = 0x0d;
/// Where ACPI's FADT says that the century is.
pub const CENTURY: u8 = 0x32;
/// Status B: 24 hours, binary-coded decimal.
const HOURS_24: u8 = 1 << 1;
/// Status D: the battery is good.
const VALID: u8 = 1 << 7;

const SECONDS_A_DAY: u64 = 86_400;

/// The CMOS.
pub struct Cmos {
    index: u8,
    memory: [u8; SIZE],
    now: fn() -> u64,
}

impl Default for Cmos {
    fn default() -> Self {
        // A host before 1970 has worse problems.
        Self::at(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl Cmos {
    /// A clock that asks `now` for the seconds since 1970.
    fn at(now: fn() -> u64) -> Self {
        Self { index: 0, memory: [0; SIZE], now }
    }

    fn register(&self) -> u8 {
        let now = (self.now)();
        let (days, second) = (now / SECONDS_A_DAY, now % SECONDS_A_DAY);
        let (year, month, day) = date(days);
        let number = match self.index {
            0x00 => second % 60,
            0x02 => second / 60 % 60,
            0x04 => second / 3600,
            // Sunday is 1; 1970 began on a Thursday.
            0x06 => (days + 4) % 7 + 1,
            0x07 => day,
            0x08 => month,
            0x09 => year % 100,
            CENTURY => year / 100,
            STATUS_B => return HOURS_24,
            STATUS_D => return VALID,
            // Status A is 0, too: no update is ever in progress.
            index => return self.memory[usize::from(index)],
        };
        bcd(number)
    }
}

fn bcd(number: u64) -> u8 {
    ((number / 10 % 10) * 16 + number % 10) as u8
}

/// Year, month and day of a day since 1970. Counts in years from March on, so that the leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    // Days from 1 March 0000, and whole cycles of 400 years.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months of 31, 30, 31, 30, 31 days, over and over.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + carry, month, day)
}

impl Device for Cmos {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let (1, [byte]) = (offset, data) {
            *byte = self.register();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (0, &[index]) => self.index = index & (SIZE as u8 - 1),
            // The clock's registers are computed: what is written to them is not read back.
            (1, &[value]) => self.memory[usize::from(self.index)] = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cmos: &mut Cmos, index: u8) -> u8 {
        let mut data = [0];
        cmos.write(0, &[index]);
        cmos.read(1, &mut data);
        data[0]
    }

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_088), (2024, 12, 31));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }

    #[test]
    fn the_clock_shows_utc_in_decimal() {
        // 2024-12-31 23:59:58, a Tuesday.
        let mut cmos = Cmos::at(|| 20_088 * SECONDS_A_DAY + SECONDS_A_DAY - 2);
        let shown = [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| read(&mut cmos, index));
        assert_eq!(shown, [0x20, 0x24, 0x12, 0x31, 3, 0x23, 0x59, 0x58]);
        assert_eq!(read(&mut cmos, STATUS_D), VALID);
    }

    #[test]
    fn the_rest_is_memory() {
        let mut cmos = Cmos::default();
        cmos.write(0, &[0xff]);
        cmos.write(1, &[7]);
        assert_eq!(read(&mut cmos, 0x7f), 7);
        assert_eq!(read(&mut cmos, 0x40), 0);
    }
}
