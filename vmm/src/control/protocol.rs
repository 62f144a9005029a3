//! What is said on the control socket.

pub use crate::dump::Dumped;
use serde::{Deserialize, Serialize};

/// A command: a line from the client.
// Variants without fields have braces: serde lets a unit variant have unknown fields, whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Stop all vCPUs.
    Pause {},
    /// Let all vCPUs run.
    Resume {},
    /// Inject a non-maskable interrupt, for which Linux has a use: a backtrace of each CPU, or a panic.
    Nmi {
        /// Into this vCPU, from 0 on; into all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vcpu: Option<u8>,
    },
    /// Write an ELF core to the file that comes along.
    Dump {},
    /// Say what the machine is doing.
    Status {},
    /// End the machine.
    Quit {},
}

/// The reply to a command: a line from the machine. There is nothing but `ok` in it where nothing else is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// Why not, and what was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// To `dump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dumped: Option<Dumped>,
    /// To `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What a machine is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Whether the guest runs.
    pub state: State,
    /// What each vCPU does.
    pub vcpus: Vec<State>,
    /// Milliseconds since the first vCPU ran, pauses included.
    pub uptime_ms: u64,
    /// The guest's memory, in bytes.
    pub memory: u64,
    /// What this process has of the host's memory (its resident set), in bytes.
    pub resident: u64,
    /// Whether the guest told pvpanic that it panicked.
    pub panicked: bool,
}

/// What a machine or a vCPU is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In the guest, or waiting in KVM: for an interrupt, for its start-up.
    Running,
    /// Stopped by `pause`.
    Paused,
    /// It will not run again.
    Ended,
}

impl Reply {
    /// Done.
    pub const OK: Self = Self { ok: true, error: None, dumped: None, status: None };

    /// Not done. `why` says what is wrong, and what was expected.
    pub fn error(why: impl Into<String>) -> Self {
        Self { ok: false, error: Some(why.into()), ..Self::OK }
    }
}

impl Command {
    /// Reads a line, without its newline.
    ///
    /// # Errors
    /// What is wrong with it, and what was expected.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        // A JSON text that is not an object can be a struct too, says serde: an array of its fields.
        let brace = line.iter().find(|byte| !byte.is_ascii_whitespace());
        if brace != Some(&b'{') {
            return Err(r#"not an object, expected {"do":"status"} or the like"#.to_owned());
        }
        serde_json::from_slice(line).map_err(|error| format!(r#"{error}, expected {{"do":"status"}} or the like"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_is_written() {
        let all = [
            (Command::Pause {}, r#"{"do":"pause"}"#),
            (Command::Resume {}, r#"{"do":"resume"}"#),
            (Command::Nmi { vcpu: None }, r#"{"do":"nmi"}"#),
            (Command::Nmi { vcpu: Some(3) }, r#"{"do":"nmi","vcpu":3}"#),
            (Command::Dump {}, r#"{"do":"dump"}"#),
            (Command::Status {}, r#"{"do":"status"}"#),
            (Command::Quit {}, r#"{"do":"quit"}"#),
        ];
        for (command, text) in all {
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
            assert_eq!(Command::parse(text.as_bytes()), Ok(command));
        }
    }

    #[test]
    fn what_is_no_command_is_told_why() {
        for (line, why) in [
            ("", "not an object"),
            (r#"["pause"]"#, "not an object"),
            (r#""pause""#, "not an object"),
            ("{", "EOF"),
            ("{}", "missing field `do`"),
            (r#"{"do":"stop"}"#, "unknown variant `stop`, expected one of `pause`, `resume`"),
            (r#"{"do":"pause","now":true}"#, "unknown field `now`"),
            (r#"{"do":"pause","do":"quit"}"#, "duplicate field `do`"),
            (r#"{"do":"nmi","vcpu":256}"#, "invalid value: integer `256`, expected u8"),
            (r#"{"do":"nmi","vcpu":1,"vcpu":2}"#, "duplicate field"),
            (r#"{"do":"dump","file":"/tmp/core"}"#, "unknown field `file`"),
            (r#"{"do":"quit"} {"do":"quit"}"#, "trailing characters"),
        ] {
            let error = Command::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
            assert!(error.contains("expected"), "{line}: {error}");
        }
        assert!(Command::parse(b"{\"do\":\"quit\xff\"}").is_err());
    }

    #[test]
    fn a_reply_has_what_there_is_to_say() {
        assert_eq!(serde_json::to_string(&Reply::OK).unwrap(), r#"{"ok":true}"#);
        assert_eq!(serde_json::to_string(&Reply::error("no")).unwrap(), r#"{"ok":false,"error":"no"}"#);
        let status = Status {
            state: State::Paused,
            vcpus: vec![State::Paused],
            uptime_ms: 1,
            memory: 2,
            resident: 3,
            panicked: false,
        };
        let text = serde_json::to_string(&Reply { status: Some(status), ..Reply::OK }).unwrap();
        assert_eq!(
            text,
            r#"{"ok":true,"status":{"state":"paused","vcpus":["paused"],"uptime_ms":1,"memory":2,"resident":3,"panicked":false}}"#
        );
    }
}
