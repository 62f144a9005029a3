//! What the guest was given, and what happened to it: lines on standard error.

/// Writes a line to standard error, with the time since the process started.
macro_rules! log {
    ($($arg:tt)*) => { $crate::log::line(format_args!($($arg)*)) };
}
pub(crate) use log;

use std::sync::OnceLock;
use std::time::Instant;

/// Sets the zero of the log's times. The first line does it where nobody did.
pub fn start() {
    started();
}

fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// The line behind `log!`. Nobody may be reading: that is no reason to end a machine.
pub fn line(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let at = started().elapsed();
    let line = format!("[{:>4}.{:03}] {text}\n", at.as_secs(), at.subsec_millis());
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
