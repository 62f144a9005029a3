//! QMP, QEMU's control protocol: JSON lines over a Unix socket.
//!
//! A thread connects, agrees on no capabilities, and listens: events change what stands on the [`Board`], replies go to
//! whoever asked. What is said before the agreement (docs/interop/qmp-spec.txt) is lost, so it is made at once.

use super::ending::Ending;
use super::monitor::{Board, Monitor, Said, PATIENCE};
use crate::error::{Error, Result};
use anyhow::Context;
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// Between two attempts to connect. QEMU makes its socket some 20 ms after it starts.
const RETRY: Duration = Duration::from_millis(3);

/// The state in which QEMU leaves a guest that KVM cannot go on with (`RunState` in qapi/run-state.json).
const INTERNAL_ERROR: &str = "internal-error";

/// The client.
#[derive(Debug)]
pub struct Qmp {
    board: Board,
    /// Set when QEMU is gone and nobody need try to connect any more.
    gone: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    agreed: Receiver<UnixStream>,
    writer: Option<UnixStream>,
    replies: Receiver<Value>,
    last_id: u64,
    /// We stopped the vCPUs.
    paused: bool,
}

impl Qmp {
    /// Talks to the QEMU that is about to listen at `path`. Does not wait for it.
    ///
    /// # Errors
    /// The host has no thread left.
    pub fn connect(path: PathBuf) -> Result<Self> {
        Self::new(move |gone| {
            let start = Instant::now();
            while !gone.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                if let Ok(stream) = UnixStream::connect(&path) {
                    return Some(stream);
                }
                std::thread::sleep(RETRY);
            }
            None
        })
    }

    fn new(connect: impl FnOnce(&AtomicBool) -> Option<UnixStream> + Send + 'static) -> Result<Self> {
        let (board, gone) = (Board::default(), Arc::new(AtomicBool::new(false)));
        let (say_agreed, agreed) = mpsc::channel();
        let (reply, replies) = mpsc::channel();
        let listener = std::thread::Builder::new().name("qmp".into()).spawn({
            let (board, gone) = (board.clone(), Arc::clone(&gone));
            move || {
                if let Some(stream) = connect(&gone) {
                    // It ends when QEMU does, and whoever waits sees the channels close.
                    let _ = listen(stream, &board, &say_agreed, &reply);
                }
            }
        });
        let listener = Some(listener.context("cannot start a thread")?);
        Ok(Self { board, gone, listener, agreed, writer: None, replies, last_id: 0, paused: false })
    }

    /// Has `command` done within `patience`.
    fn execute(&mut self, command: &str, arguments: &Value, patience: Duration) -> Result<Value> {
        let late = |_| Error::host(format!("QEMU does not answer to {command}"));
        let deadline = Instant::now() + patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.agreed.recv_timeout(left()).map_err(late)?),
        };
        self.last_id += 1;
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments, "id": self.last_id }));
        writer.write_all(line.as_bytes()).with_context(|| format!("cannot send {command} to QEMU"))?;
        loop {
            let mut reply = self.replies.recv_timeout(left()).map_err(late)?;
            // A reply that came too late for who asked.
            if reply["id"] != self.last_id {
                continue;
            }
            return match reply.get("error") {
                Some(error) => {
                    Err(Error::host(format!("QEMU refuses {command}: {}", error["desc"].as_str().unwrap_or_default())))
                }
                None => Ok(reply["return"].take()),
            };
        }
    }
}

impl Monitor for Qmp {
    fn pause(&mut self) -> Result<()> {
        self.paused = true;
        self.execute("stop", &json!({}), PATIENCE).map(drop)
    }

    fn resume(&mut self) -> Result<()> {
        self.execute("cont", &json!({}), PATIENCE)?;
        self.paused = false;
        Ok(())
    }

    fn nmi(&mut self) -> Result<()> {
        self.execute("inject-nmi", &json!({}), PATIENCE).map(drop)
    }

    fn dump(&mut self, path: &Path, patience: Duration) -> Result<()> {
        // QEMU takes a relative path from where it runs, which is here, but a strange one only as UTF-8.
        let path = path.to_str().context("QEMU writes no file whose name is not UTF-8")?;
        // Without paging: the guest's page tables are the guest's, and walking them allocates what they say.
        let arguments = json!({ "paging": false, "format": "elf", "protocol": format!("file:{path}") });
        self.execute("dump-guest-memory", &arguments, patience).map(drop)
    }

    fn status(&mut self) -> Result<String> {
        let reply = self.execute("query-status", &json!({}), PATIENCE)?;
        Ok(reply["status"].as_str().unwrap_or_default().to_owned())
    }

    fn quit(&mut self) -> Result<()> {
        self.execute("quit", &json!({}), PATIENCE).map(drop)
    }

    fn said(&mut self) -> Said {
        let said = self.board.read();
        if !said.stopped || self.paused || said.ending.is_some() {
            return said;
        }
        // It stopped by itself, and lives on for somebody to look at it.
        if self.status().is_ok_and(|status| status == INTERNAL_ERROR) {
            self.board.end(Ending::InternalError { suberror: None, instruction: String::new(), registers: None });
        }
        self.board.read()
    }

    fn last_words(&mut self) -> Said {
        self.gone.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        self.board.read()
    }
}

/// Makes the agreement and reads to the end.
fn listen(
    stream: UnixStream,
    board: &Board,
    agreed: &Sender<UnixStream>,
    replies: &Sender<Value>,
) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    writer.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream);
    let mut writer = Some(writer.write_all(b"{\"execute\":\"qmp_capabilities\",\"id\":0}\n").map(|()| writer)?);
    let mut line = Vec::new();
    while lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        let said: Value = serde_json::from_slice(&line).unwrap_or_default();
        line.clear();
        if let Some(event) = said["event"].as_str() {
            take(board, event, &said["data"]);
        } else if said["id"] == 0 {
            if let Some(writer) = writer.take() {
                let _ = agreed.send(writer);
            }
        } else if !said["id"].is_null() {
            let _ = replies.send(said);
        }
    }
    Ok(())
}

/// What an event (qapi/run-state.json) says of the machine.
fn take(board: &Board, event: &str, data: &Value) {
    let reason = data["reason"].as_str().unwrap_or_default();
    match event {
        // With -no-reboot a reset is a shutdown with that reason. A triple fault is one as well.
        "SHUTDOWN" => board.end(match reason {
            "guest-shutdown" => Ending::PowerOff,
            "guest-reset" | "subsystem-reset" => Ending::Reset { by: None },
            "guest-panic" => Ending::Panicked,
            _ => Ending::Failed { why: format!("QEMU was ended from outside ({reason})") },
        }),
        "RESET" => board.end(Ending::Reset { by: None }),
        "GUEST_PANICKED" => board.write(|said| said.panicked = true),
        "STOP" => board.write(|said| said.stopped = true),
        "RESUME" => board.write(|said| said.stopped = false),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU of few words: agrees, then answers each command with the next of `script`, in which `ID` is its id.
    fn fake(script: &'static [(&'static str, &'static str)]) -> (Qmp, JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qmp = Qmp::new(|_| Some(ours)).unwrap();
        let server = std::thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            let mut lines = BufReader::new(theirs).lines().map(|l| serde_json::from_str::<Value>(&l.unwrap()).unwrap());
            writer.write_all(b"{\"QMP\":{\"version\":{},\"capabilities\":[\"oob\"]}}\r\n").unwrap();
            assert_eq!(lines.next().unwrap()["execute"], "qmp_capabilities");
            writer.write_all(b"{\"return\":{},\"id\":0}\r\n").unwrap();
            for (command, reply) in script {
                if !command.is_empty() {
                    let got = lines.next().unwrap();
                    assert_eq!(got["execute"], *command, "{got}");
                    let reply = reply.replace("ID", &got["id"].to_string());
                    writer.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                } else {
                    writer.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                }
            }
        });
        (qmp, server)
    }

    #[test]
    fn commands_are_answered_and_refusals_are_told() {
        let (mut qmp, server) = fake(&[
            ("stop", "{\"return\":{},\"id\":ID}"),
            ("dump-guest-memory", "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no space\"},\"id\":ID}"),
            // A late answer to somebody else, an event, and noise come in between.
            ("inject-nmi", "{\"return\":{},\"id\":77}\r\n{\"event\":\"STOP\"}\r\nnoise\r\n{\"return\":{},\"id\":ID}"),
            ("query-status", "{\"return\":{\"status\":\"paused\",\"running\":false},\"id\":ID}"),
            ("cont", "{\"return\":{},\"id\":ID}"),
            ("quit", "{\"return\":{},\"id\":ID}"),
        ]);
        qmp.pause().unwrap();
        let error = qmp.dump(Path::new("/x/core"), PATIENCE).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refuses dump-guest-memory: no space");
        qmp.nmi().unwrap();
        assert_eq!(qmp.status().unwrap(), "paused");
        assert_eq!(qmp.said().ending, None, "we paused it ourselves");
        qmp.resume().unwrap();
        qmp.quit().unwrap();
        server.join().unwrap();
        assert!(qmp.last_words().stopped);
        assert!(qmp.pause().is_err(), "nobody is there any more");
    }

    #[test]
    fn endings_are_told_apart() {
        let ending = |event: &'static str| {
            let (mut qmp, server) = fake(Box::leak(Box::new([("", event)])));
            server.join().unwrap();
            qmp.last_words()
        };
        let shutdown = |reason: &str| -> &'static str {
            format!("{{\"event\":\"SHUTDOWN\",\"data\":{{\"guest\":true,\"reason\":\"{reason}\"}}}}").leak()
        };
        assert_eq!(ending(shutdown("guest-shutdown")).ending, Some(Ending::PowerOff));
        assert_eq!(ending(shutdown("guest-reset")).ending, Some(Ending::Reset { by: None }));
        assert_eq!(ending(shutdown("guest-panic")).ending, Some(Ending::Panicked));
        assert!(matches!(ending(shutdown("host-signal")).ending, Some(Ending::Failed { .. })));
        let reset = "{\"event\":\"RESET\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}";
        assert_eq!(ending(reset).ending, Some(Ending::Reset { by: None }));
        let panicked =
            "{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"run\"}}\r\n{\"event\":\"SHUTDOWN\",\"data\":\
                        {\"guest\":true,\"reason\":\"guest-reset\"}}";
        let said = ending(panicked);
        assert_eq!((said.panicked, said.ending), (true, Some(Ending::Reset { by: None })));
    }

    #[test]
    fn a_machine_that_stops_by_itself_is_asked_why() {
        let (mut qmp, server) = fake(&[
            ("", "{\"event\":\"STOP\"}"),
            ("query-status", "{\"return\":{\"status\":\"internal-error\",\"running\":false},\"id\":ID}"),
        ]);
        let start = Instant::now();
        while qmp.said().ending.is_none() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(RETRY);
        }
        assert!(matches!(qmp.said().ending, Some(Ending::InternalError { .. })));
        server.join().unwrap();
    }

    #[test]
    fn a_machine_that_does_not_answer_is_not_waited_for_for_ever() {
        let (mut qmp, server) = fake(&[("", "{\"event\":\"RESUME\"}")]);
        let patience = Duration::from_millis(50);
        assert!(qmp.execute("stop", &json!({}), patience).is_err());
        server.join().unwrap();
        // Nobody listens, and nobody ever will.
        let mut absent = Qmp::connect("/nonexistent/qmp".into()).unwrap();
        assert!(absent.execute("stop", &json!({}), patience).is_err());
        assert_eq!(absent.last_words(), Said::default());
    }
}
