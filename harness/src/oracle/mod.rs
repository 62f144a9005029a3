//! The oracle: reads a kernel's console as bytes and says what failed.
//!
//! Pure and streaming: bytes go in ([`Oracle::feed`]), notices come out, memory stays bounded whatever the guest prints, and the
//! result does not depend on how the bytes were cut. A report is announced at its first line ([`Notice::Opened`]) and handed out
//! whole when it is over ([`Notice::Completed`]): at its end marker, at the next report, or when the caller says that the console
//! has been silent ([`Oracle::quiet`]).
//!
//! | file | job |
//! |---|---|
//! | `line` | cuts the stream to lines and strips what printk and terminals put around their text |
//! | `formats` | what the oracle knows: a table of formats, **the place to add one** |
//! | `pattern` | the language of that table |
//! | `trigger` | finds the few lines of a log that may begin a report |
//! | `body`, `frames` | registers, contexts, traces: what all reports have in common |
//! | `plumbing` | which functions are never guilty |
//! | `naming` | what must not get into titles and signatures |
//! | `report` | one report, from its head to its finding |
//! | `assemble` | which line belongs to which report, what is a consequence of what |
//! | `finding` | the result's types |
//! | `group` | which findings of a run are likely one bug |
//! | `witness` | findings that no console line shows |
//! | `expect` | which findings somebody has declared to be no failures |

mod assemble;
mod body;
pub mod expect;
mod finding;
mod formats;
mod frames;
mod group;
mod line;
mod naming;
mod pattern;
mod plumbing;
mod report;
mod trigger;
mod witness;

#[cfg(test)]
mod tests;

pub use finding::{Class, Context, Finding, Frame, Notice, Severity};
pub use group::{group, Group};
pub use witness::{unprinted, violation};

use assemble::Engine;
use line::Splitter;
use report::Over;

/// Reads one console.
#[derive(Debug)]
pub struct Oracle {
    splitter: Splitter,
    engine: Engine,
}

impl Default for Oracle {
    fn default() -> Self {
        Oracle::new()
    }
}

impl Oracle {
    /// An oracle at the beginning of a console.
    pub fn new() -> Oracle {
        Oracle { splitter: Splitter::default(), engine: Engine::new() }
    }

    /// The same, but it tells also of what a healthy kernel under pressure says: [`Class::is_noise`].
    pub fn with_noise() -> Oracle {
        let mut oracle = Oracle::new();
        oracle.engine.noise = true;
        oracle
    }

    /// The next bytes of the console, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Notice> {
        let mut notices = Vec::new();
        let engine = &mut self.engine;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.splitter.at_line_start() {
                let idle = engine.idle_over(rest);
                if idle > 0 {
                    self.splitter.skip(&rest[..idle]);
                    rest = &rest[idle..];
                    continue;
                }
            }
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            self.splitter.feed(&rest[..line], |line| engine.line(&line, &mut notices));
            rest = &rest[line..];
        }
        notices
    }

    /// The console has been silent for so long that an open report is as complete as it will be. Reading may go on.
    pub fn quiet(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.engine.close_all(Over::Superseded, &mut notices);
        notices
    }

    /// The console is over: reads its unterminated last line and closes open reports, as corrupted where they had not ended.
    /// Call [`Oracle::quiet`] before, where the log is known to be whole.
    pub fn finish(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let engine = &mut self.engine;
        self.splitter.finish(|line| engine.line(&line, &mut notices));
        engine.close_all(Over::LogEnd, &mut notices);
        notices
    }

    /// Reports left out of the current boot because it had more than 256.
    pub fn suppressed(&self) -> u64 {
        self.engine.suppressed()
    }
}

/// All findings of a whole log.
pub fn scan(log: &[u8]) -> Vec<Finding> {
    let mut oracle = Oracle::new();
    let mut notices = oracle.feed(log);
    notices.extend(oracle.finish());
    notices.into_iter().filter_map(|n| if let Notice::Completed(finding) = n { Some(*finding) } else { None }).collect()
}
