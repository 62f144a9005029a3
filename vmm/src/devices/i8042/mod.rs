//! The keyboard controller, of which only the reset is there: Linux restarts a PC by pulsing its reset line
//! (arch/x86/kernel/reboot.c, `reboot=k`).

use crate::bus::Device;
use crate::ending::{End, Ending, ResetBy};
use std::sync::Arc;

/// The command port's offset from the data port.
const COMMAND: u64 = 4;
/// Pulses output line 0, which is wired to the processor's reset.
const PULSE_RESET: u8 = 0xfe;

/// The controller.
pub struct I8042 {
    end: Arc<End>,
}

impl I8042 {
    /// A controller that resets by ending the machine.
    pub fn new(end: Arc<End>) -> Self {
        Self { end }
    }
}

impl Device for I8042 {
    fn read(&mut self, _: u64, data: &mut [u8]) {
        // Status: nothing to read, ready for a command. A driver that waits for an answer gives up in time.
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if (offset, data) == (COMMAND, &[PULSE_RESET]) {
            self.end.say(Ending::Reset { by: ResetBy::I8042 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::eventfd::EventFd;

    #[test]
    fn only_the_pulse_resets() {
        let end = Arc::new(End::new(EventFd::new(0).unwrap()));
        let mut i8042 = I8042::new(end.clone());
        i8042.write(0, &[PULSE_RESET]);
        i8042.write(COMMAND, &[0xad]);
        i8042.write(COMMAND, &[PULSE_RESET, 0]);
        assert_eq!(end.get(), None);
        i8042.write(COMMAND, &[PULSE_RESET]);
        assert_eq!(end.get(), Some(Ending::Reset { by: ResetBy::I8042 }));
    }
}
