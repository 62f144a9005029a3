//! What host and guest say to each other on the bed's virtio-serial port.
//!
//! A frame is one byte that tells its kind, four bytes of payload length (little-endian), and the payload: JSON where
//! there is structure, the bytes themselves where a command printed them.

use serde::{de::DeserializeOwned, Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Which form of this protocol both sides speak. The guest's side is built into an initramfs by the host's, so a
/// difference means that `testbed-init` is of another build.
pub const VERSION: u32 = 3;

/// The longest payload. Output comes in pieces far shorter; a longer length is a stream that went wrong.
const MAX_PAYLOAD: usize = 1 << 20;

/// Where the host puts what the guest must know before it can ask, in the initramfs.
pub const SETUP_PATH: &str = "/testbed.json";

/// What PID 1 finds at [`SETUP_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// [`VERSION`].
    pub version: u32,
    /// Modules, dependencies first.
    pub modules: Vec<Module>,
    /// 9p mount tag of the host's root.
    pub root: String,
    /// 9p mount tags of the read-write folders, and where they belong.
    pub shares: Vec<(String, String)>,
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its file in the initramfs.
    pub path: String,
    /// Its parameters, as `insmod` takes them.
    pub parameters: String,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Program, looked for along PATH, and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
}

/// The guest is ready. Times are milliseconds since its kernel began to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The guest kernel's release.
    pub release: String,
    /// When PID 1 began.
    pub init_ms: u64,
    /// When `/dev/kvm` was there, if it is.
    pub kvm_ms: Option<u64>,
    /// When the file systems were mounted.
    pub ready_ms: u64,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// As wait(2) gives it.
    pub wait_status: i32,
    /// By the guest's clock, from fork to exit.
    pub elapsed_ms: u64,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Host: run this. One command at a time.
    Run(Run),
    /// Host: kill what runs. Nothing may run any more by the time it arrives.
    Kill,
    /// Host: are you there? To be answered at once, whatever runs.
    Ping,
    /// Guest: here, and every processor of mine, too.
    Pong,
    /// Guest: ready.
    Hello(Hello),
    /// Guest: the command printed this.
    Stdout(Vec<u8>),
    /// Guest: the command printed this on standard error.
    Stderr(Vec<u8>),
    /// Guest: the command and all that it started are gone.
    Exit(Exit),
    /// Guest: this bed is of no use, and why.
    Fatal(String),
}

impl Frame {
    /// Writes it whole.
    ///
    /// # Errors
    /// What the stream says, or a payload above 1 MiB.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, payload) = match self {
            Self::Run(run) => (b'r', serde_json::to_vec(run)?),
            Self::Kill => (b'k', Vec::new()),
            Self::Ping => (b'?', Vec::new()),
            Self::Pong => (b'!', Vec::new()),
            Self::Hello(hello) => (b'h', serde_json::to_vec(hello)?),
            Self::Stdout(bytes) => (b'o', bytes.clone()),
            Self::Stderr(bytes) => (b'e', bytes.clone()),
            Self::Exit(exit) => (b'x', serde_json::to_vec(exit)?),
            Self::Fatal(why) => (b'f', why.clone().into_bytes()),
        };
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD);
        let length = length.ok_or_else(|| io::Error::other(format!("a frame of {} bytes", payload.len())))?;
        // One write: the port sends a buffer for each, and the reader is woken for each.
        let mut bytes = Vec::with_capacity(5 + payload.len());
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&payload);
        to.write_all(&bytes)
    }

    /// Reads one; `None` at the stream's end.
    ///
    /// # Errors
    /// What the stream says, an end within a frame, or what is no frame.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload)?;
        Ok(Some(match kind[0] {
            b'r' => Self::Run(json(&payload)?),
            b'k' => Self::Kill,
            b'?' => Self::Ping,
            b'!' => Self::Pong,
            b'h' => Self::Hello(json(&payload)?),
            b'o' => Self::Stdout(payload),
            b'e' => Self::Stderr(payload),
            b'x' => Self::Exit(json(&payload)?),
            b'f' => Self::Fatal(String::from_utf8_lossy(&payload).into_owned()),
            other => return Err(io::Error::other(format!("a frame of kind {other:#04x}"))),
        }))
    }
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let frames = [
            Frame::Run(Run {
                argv: vec!["sh".into(), "-c".into(), "echo \"ä\"\n".into()],
                env: vec![("A".into(), "b=c".into())],
                cwd: "/".into(),
            }),
            Frame::Kill,
            Frame::Ping,
            Frame::Pong,
            Frame::Hello(Hello { version: 1, release: "6.1".into(), init_ms: 1, kvm_ms: None, ready_ms: 3 }),
            Frame::Stdout(vec![0, 255, b'\n']),
            Frame::Stderr(Vec::new()),
            Frame::Exit(Exit { wait_status: 0x300, elapsed_ms: 5 }),
            Frame::Fatal("no root".into()),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut from = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"#\0\0\0\0"[..], b"o\xff\xff\xff\xff", b"o\x05\0\0\0abc", b"x\x02\0\0\0{}", b"k\0"] {
            assert!(Frame::read(&mut &*bytes).is_err(), "{bytes:?}");
        }
        let long = Frame::Stdout(vec![0; MAX_PAYLOAD + 1]);
        assert!(long.write(&mut Vec::new()).is_err());
    }
}
