//! The event port: one JSON object a line on a serial line of the machine, untouched by the tty layer.

use mmtorture_protocol::{Event, EventKind, EVENT_TTY, MAX_LINE};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{tcdrain, tcgetattr, tcsetattr, OptionalActions};
use rustix::time::{clock_gettime, ClockId};
use std::os::fd::OwnedFd;

/// The longest text that an event carries, in bytes: JSON may escape each into six, and the line must stay below
/// [`MAX_LINE`].
const MAX_TEXT: usize = MAX_LINE / 8;

/// Where events go.
#[derive(Debug)]
pub struct Port {
    tty: OwnedFd,
    line: Vec<u8>,
}

impl Port {
    /// Opens the port and takes echo, newline translation and flow control from it.
    ///
    /// # Errors
    /// If the machine has no second serial port, or the kernel no driver for it.
    pub fn open() -> rustix::io::Result<Self> {
        let tty = rustix::fs::open(EVENT_TTY, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut termios = tcgetattr(&tty)?;
        termios.make_raw();
        // At the default of 9600 tcdrain() of a real or a faithfully emulated UART takes seconds.
        termios.set_speed(115_200)?;
        tcsetattr(&tty, OptionalActions::Now, &termios)?;
        Ok(Self { tty, line: Vec::with_capacity(4096) })
    }

    /// Sends one event. A port that fails has nobody to tell it to.
    pub fn send(&mut self, kind: EventKind) {
        self.line.clear();
        encode(&mut self.line, kind, uptime_ms());
        let mut rest = &self.line[..];
        while !rest.is_empty() {
            match rustix::io::write(&self.tty, rest) {
                Ok(0) => return,
                Ok(n) => rest = &rest[n..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Waits until the last byte has left.
    pub fn drain(&self) {
        let _ = tcdrain(&self.tty);
    }
}

/// Guest time since boot, in milliseconds.
pub fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Appends `kind` as one line, its free texts cut so that the line is not dropped for its length.
fn encode(line: &mut Vec<u8>, mut kind: EventKind, uptime_ms: u64) {
    match &mut kind {
        EventKind::Violation { detail: text, .. } | EventKind::Error { message: text } => cut(text),
        EventKind::Knob { got, error, .. } => {
            cut(got);
            error.iter_mut().for_each(cut);
        }
        _ => {}
    }
    // Writing to a Vec cannot fail, and the types hold nothing that JSON cannot say.
    let _ = serde_json::to_writer(&mut *line, &Event { uptime_ms, kind });
    line.push(b'\n');
}

fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_makes_a_line_too_long() {
        for text in ["\u{1}", "é", "\\"] {
            let mut line = Vec::new();
            encode(&mut line, EventKind::Error { message: text.repeat(MAX_LINE) }, u64::MAX);
            assert!(line.len() <= MAX_LINE + 1, "{}", line.len());
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let event: Event = serde_json::from_slice(&line).unwrap();
            assert!(matches!(event.kind, EventKind::Error { message } if message.ends_with('…')));
        }
    }

    #[test]
    fn a_short_event_is_sent_as_it_is() {
        let mut line = Vec::new();
        encode(&mut line, EventKind::Violation { kind: "k".into(), detail: "d\n".into() }, 7);
        assert_eq!(line, b"{\"uptime_ms\":7,\"event\":\"violation\",\"kind\":\"k\",\"detail\":\"d\\n\"}\n");
    }
}
