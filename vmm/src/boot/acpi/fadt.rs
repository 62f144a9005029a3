//! The FADT: where the fixed registers are, and what the machine does not have.

use super::{table, HEADER_SIZE};
use crate::layout::{PM1A_CONTROL, PM1A_EVENT, PM_RESET, PM_RESET_VALUE, PM_TIMER, SCI_IRQ};

/// ACPI 6.5.
const REVISION: (u8, u8) = (6, 5);
const SIZE: usize = 276;

// Flags, table 5.10: no buttons to press, no alarm to wake up by.
const WBINVD: u32 = 1;
const PROC_C1: u32 = 1 << 2;
const PWR_BUTTON: u32 = 1 << 4;
const SLP_BUTTON: u32 = 1 << 5;
const FIX_RTC: u32 = 1 << 6;
/// The timer has 32 bits.
const TMR_VAL_EXT: u32 = 1 << 8;
const RESET_REG_SUP: u32 = 1 << 10;

// Boot architecture flags, table 5.11. Bit 1, a keyboard controller, stays clear: see the DSDT.
const LEGACY_DEVICES: u16 = 1;
const VGA_NOT_PRESENT: u16 = 1 << 2;

/// Longer than this, in microseconds, C2 and C3 do not exist.
const NO_C2: u16 = 101;
const NO_C3: u16 = 1001;

/// A generic address structure for `bytes` bytes at an I/O port, to be accessed as a whole.
fn port(port: u16, bytes: u8, access: u8) -> [u8; 12] {
    let [low, high] = port.to_le_bytes();
    [1, 8 * bytes, 0, access, low, high, 0, 0, 0, 0, 0, 0]
}

/// The FADT. SMI_CMD is 0: there is no other mode than ACPI's to switch from.
pub(super) fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    let mut contents = [0; SIZE - HEADER_SIZE];
    let mut put = |offset: usize, bytes: &[u8]| {
        contents[offset - HEADER_SIZE..][..bytes.len()].copy_from_slice(bytes);
    };
    // Both tables are below 4 GiB. The 32-bit FACS pointer stays 0, as a FACS is to be told of once only.
    put(40, &(dsdt as u32).to_le_bytes());
    put(46, &(SCI_IRQ as u16).to_le_bytes());
    put(56, &u32::from(PM1A_EVENT).to_le_bytes());
    put(64, &u32::from(PM1A_CONTROL).to_le_bytes());
    put(76, &u32::from(PM_TIMER).to_le_bytes());
    // The lengths of PM1 event and control block, of PM2 control, and of the timer.
    put(88, &[4, 2, 0, 4]);
    put(96, &[NO_C2, NO_C3].map(u16::to_le_bytes).concat());
    put(109, &(LEGACY_DEVICES | VGA_NOT_PRESENT).to_le_bytes());
    let flags = WBINVD | PROC_C1 | PWR_BUTTON | SLP_BUTTON | FIX_RTC | TMR_VAL_EXT | RESET_REG_SUP;
    put(112, &flags.to_le_bytes());
    put(116, &port(PM_RESET, 1, 1));
    put(128, &[PM_RESET_VALUE]);
    put(131, &[REVISION.1]);
    put(132, &facs.to_le_bytes());
    put(140, &dsdt.to_le_bytes());
    put(148, &port(PM1A_EVENT, 4, 2));
    put(172, &port(PM1A_CONTROL, 2, 2));
    put(208, &port(PM_TIMER, 4, 3));
    table(b"FACP", REVISION.0, &contents)
}
