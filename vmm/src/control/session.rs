//! What the bytes of one connection mean. Pure but for the files that come along: [`super::server`] has the socket.

use super::protocol::{Command, Reply};
use super::Handler;
use crate::fuzz::Digest;
use std::fs::File;
use std::os::fd::AsRawFd;

/// The longest line from a client, in bytes, with its newline.
pub const MAX_LINE: usize = 4096;

/// The most of an error's text that is sent, in bytes. It may quote the client's line.
const MAX_ERROR: usize = 512;

/// What a client is told that sends more files than one.
pub(super) const SEVERAL: &str = "several files, expected one with each dump";

/// One client's connection, apart from its socket.
///
/// A command is looked at only once the reply to the one before it is sent, and more is read only when all that is here
/// is looked at: so a client that sends and never reads costs one line and one reply.
#[derive(Debug, Default)]
pub struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
    /// What came along with the bytes in `input`.
    file: Option<File>,
    /// Why nothing more is read.
    over: bool,
}

impl Session {
    /// How many bytes of input there is room for: none while there is output, or once it is over.
    pub fn room(&self) -> usize {
        if self.over || !self.output.is_empty() {
            0
        } else {
            MAX_LINE - self.input.len()
        }
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Whether there is nothing more to come from it.
    pub fn is_over(&self) -> bool {
        self.over && self.output.is_empty()
    }

    /// Takes what came: at most [`Self::room`] bytes, no byte at the end of the stream, and the file with them.
    pub fn receive(&mut self, bytes: &[u8], file: Option<File>) {
        debug_assert!(bytes.len() <= self.room());
        if bytes.is_empty() {
            // Without its newline, what is left is no line.
            self.over = true;
        }
        self.input.extend_from_slice(bytes);
        match (&self.file, file) {
            (Some(_), Some(_)) => self.refuse(SEVERAL),
            (None, Some(file)) => self.file = Some(file),
            (_, None) => {}
        }
    }

    /// Does what the lines say, until there is something to send, or no whole line left.
    pub fn step(&mut self, handler: &mut dyn Handler) {
        while self.output.is_empty() && !self.over {
            let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
                if self.input.len() >= MAX_LINE {
                    self.refuse(&format!("a line of more than {MAX_LINE} bytes, expected a command"));
                }
                break;
            };
            let reply = match Command::parse(&self.input[..end]) {
                Ok(command) => self.obey(command, handler),
                Err(why) => Reply::error(why),
            };
            self.input.drain(..=end);
            if self.input.is_empty() {
                // All lines that it can have come with are done.
                self.file = None;
            }
            self.reply(reply);
        }
    }

    fn obey(&mut self, command: Command, handler: &mut dyn Handler) -> Reply {
        let done = match command {
            Command::Pause {} => handler.pause(),
            Command::Resume {} => handler.resume(),
            Command::Nmi { vcpu } => handler.nmi(vcpu),
            Command::Dump {} => {
                let dumped = self
                    .file
                    .take()
                    .ok_or_else(|| "no file came along, expected one in the same sendmsg (SCM_RIGHTS)".to_owned());
                match dumped.and_then(writable).and_then(|file| handler.dump(file)) {
                    Ok(dumped) => return Reply { dumped: Some(dumped), ..Reply::OK },
                    Err(why) => Err(why),
                }
            }
            Command::Status {} => return Reply { status: Some(handler.status()), ..Reply::OK },
            Command::Quit {} => {
                handler.quit();
                self.over = true;
                Ok(())
            }
        };
        done.map_or_else(Reply::error, |()| Reply::OK)
    }

    /// Takes `bytes` of the output as sent.
    pub fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes.min(self.output.len()));
    }

    /// Ends the connection with an error: the client does not speak this protocol.
    pub fn refuse(&mut self, why: &str) {
        self.over = true;
        self.file = None;
        self.input.clear();
        self.reply(Reply::error(why));
    }

    fn reply(&mut self, mut reply: Reply) {
        if let Some(error) = reply.error.as_mut().filter(|error| error.len() > MAX_ERROR) {
            let end = (0..=MAX_ERROR).rev().find(|&at| error.is_char_boundary(at)).unwrap_or(0);
            error.truncate(end);
            error.push_str("...");
        }
        // A struct of numbers and strings has nothing that JSON lacks.
        if serde_json::to_writer(&mut self.output, &reply).is_ok() {
            self.output.push(b'\n');
        }
    }
}

/// Refuses what a dump could hang on (a pipe that nobody reads), or which would put it in the wrong place.
fn writable(file: File) -> Result<File, String> {
    const EXPECTED: &str = "expected a regular file, open for writing and not for appending";
    let metadata = file.metadata().map_err(|error| format!("the file that came along: {error}, {EXPECTED}"))?;
    if !metadata.is_file() {
        return Err(format!("what came along is no regular file, {EXPECTED}"));
    }
    // SAFETY: asks for the flags of a descriptor that is open; touches no memory.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    // O_PATH descriptors are of mode O_RDONLY. An error is -1: all flags set.
    if flags & libc::O_ACCMODE == libc::O_RDONLY || flags & libc::O_APPEND != 0 {
        return Err(format!("the file that came along cannot be written to anywhere, {EXPECTED}"));
    }
    Ok(file)
}

/// Feeds a session `data`, cut as its own bytes say, and checks what it answers. For the fuzz driver.
pub fn fuzz(data: &[u8]) -> u64 {
    let mut digest = Digest::default();
    let (mut session, mut handler) = (Session::default(), Idle);
    let mut rest = data;
    while let Some((&cut, tail)) = rest.split_first() {
        let (piece, tail) = tail.split_at(usize::from(cut).min(tail.len()).min(session.room()));
        rest = tail;
        session.receive(piece, None);
        while {
            session.step(&mut handler);
            !session.output().is_empty()
        } {
            assert!(session.output().len() <= 8 * MAX_ERROR);
            let reply = session.output().strip_suffix(b"\n").map(serde_json::from_slice::<Reply>);
            assert!(matches!(reply, Some(Ok(reply)) if reply.ok == reply.error.is_none()));
            // Answers differ in numbers that they repeat; what they say is told by their first words.
            digest.add(&session.output()[..session.output().len().min(48)]);
            session.sent(session.output().len());
        }
        if session.is_over() {
            session = Session::default();
        }
    }
    digest.0
}

/// Whole commands, in pieces of up to 255 bytes.
pub fn fuzz_seeds() -> Vec<Vec<u8>> {
    let lines = ["{\"do\":\"status\"}\n", "{\"do\":\"nmi\",\"vcpu\":1}\n{\"do\":\"quit\"}\n", "{\"do\":\"dump\"}\n"];
    lines.map(|line| [&[line.len() as u8], line.as_bytes()].concat()).to_vec()
}

/// A machine that does nothing, for [`fuzz`].
struct Idle;

impl Handler for Idle {
    fn pause(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn resume(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn nmi(&mut self, vcpu: Option<u8>) -> Result<(), String> {
        vcpu.map_or(Ok(()), |vcpu| Err(format!("no vCPU {vcpu}, expected none")))
    }
    fn dump(&mut self, _: File) -> Result<super::Dumped, String> {
        Err("nothing to dump, expected no dump".to_owned())
    }
    fn status(&self) -> super::Status {
        let state = super::State::Running;
        super::Status { state, vcpus: vec![state], uptime_ms: 0, memory: 0, resident: 0, panicked: false }
    }
    fn quit(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::tests::Machine;
    use super::*;
    use proptest::prelude::*;
    use std::fs::OpenOptions;

    /// What a session answers to `bytes` at once.
    fn answers(machine: &mut Machine, bytes: &[u8], file: Option<File>) -> Vec<Reply> {
        let (mut session, mut replies) = (Session::default(), vec![]);
        session.receive(bytes, file);
        while {
            session.step(machine);
            !session.output().is_empty()
        } {
            replies.push(serde_json::from_slice(session.output()).unwrap());
            session.sent(session.output().len());
        }
        replies
    }

    fn error(reply: &Reply) -> &str {
        reply.error.as_deref().unwrap_or_default()
    }

    #[test]
    fn each_line_has_its_reply() {
        let mut machine = Machine::default();
        let lines =
            b"{\"do\":\"pause\"}\nnonsense\n\n{\"do\":\"nmi\",\"vcpu\":9}\r\n{\"do\":\"status\"}\n{\"do\":\"qui";
        let replies = answers(&mut machine, lines, None);
        assert_eq!(machine.done, ["pause", "nmi Some(9)"]);
        assert_eq!(replies.iter().map(|reply| reply.ok).collect::<Vec<_>>(), [true, false, false, false, true]);
        assert_eq!(error(&replies[3]), "no vCPU 9, expected 0 to 1");
        assert_eq!(replies[4].status, Some(machine.status()));
    }

    #[test]
    fn nothing_is_done_after_quit() {
        let mut machine = Machine::default();
        let replies = answers(&mut machine, b"{\"do\":\"quit\"}\n{\"do\":\"pause\"}\n", None);
        assert_eq!((replies, machine.done), (vec![Reply::OK], vec!["quit".to_owned()]));
    }

    #[test]
    fn a_dump_takes_the_file_that_came_along() {
        let mut machine = Machine::default();
        let file = tempfile::tempfile().unwrap();
        let lines = b"{\"do\":\"status\"}\n{\"do\":\"dump\"}\n{\"do\":\"dump\"}\n";
        let replies = answers(&mut machine, lines, Some(file));
        assert_eq!(replies[1].dumped.map(|dumped| dumped.bytes), Some(4));
        assert!(error(&replies[2]).starts_with("no file came along, expected"));
    }

    #[test]
    fn a_file_does_not_outlive_the_lines_it_came_with() {
        let mut session = Session::default();
        session.receive(b"{\"do\":\"status\"}\n", Some(tempfile::tempfile().unwrap()));
        session.step(&mut Machine::default());
        assert!(session.file.is_none());
        // A line that is not whole yet may want it.
        let mut session = Session::default();
        session.receive(b"{\"do\":\"status\"}\n{", Some(tempfile::tempfile().unwrap()));
        session.step(&mut Machine::default());
        assert!(session.file.is_some());
        session.sent(usize::MAX);
        session.receive(b"\"do\"", Some(tempfile::tempfile().unwrap()));
        assert!(session.file.is_none() && !session.is_over() && session.room() == 0);
        assert!(std::str::from_utf8(session.output()).unwrap().contains("several files, expected one"));
    }

    #[test]
    fn a_dump_is_not_written_to_what_it_could_hang_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("core");
        std::fs::write(&path, b"").unwrap();
        let (_reader, pipe) = std::io::pipe().unwrap();
        for (file, why) in [
            (File::from(std::os::fd::OwnedFd::from(pipe)), "no regular file"),
            (File::open("/").unwrap(), "no regular file"),
            (OpenOptions::new().write(true).open("/dev/null").unwrap(), "no regular file"),
            (File::open(&path).unwrap(), "cannot be written to"),
            (OpenOptions::new().append(true).open(&path).unwrap(), "cannot be written to"),
        ] {
            let replies = answers(&mut Machine::default(), b"{\"do\":\"dump\"}\n", Some(file));
            assert!(error(&replies[0]).contains(why), "{replies:?}");
        }
    }

    #[test]
    fn a_line_without_end_ends_the_connection() {
        let mut session = Session::default();
        session.receive(&[b' '; MAX_LINE - 1], None);
        session.step(&mut Machine::default());
        assert!(session.output().is_empty() && session.room() == 1);
        session.receive(b" ", None);
        session.step(&mut Machine::default());
        assert!(std::str::from_utf8(session.output()).unwrap().contains("a line of more than 4096 bytes, expected"));
        assert_eq!((session.room(), session.is_over()), (0, false));
        session.sent(session.output().len());
        assert!(session.is_over());
    }

    #[test]
    fn an_error_quotes_little() {
        let line = format!("{{\"do\":\"{}\"}}\n", "\\u0001ü".repeat(400));
        let replies = answers(&mut Machine::default(), line.as_bytes(), None);
        assert!(error(&replies[0]).len() <= MAX_ERROR + 3 && error(&replies[0]).ends_with("..."));
    }

    /// Bytes that often are commands, or nearly.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"{\"do\":\"status\"}\n".to_vec()),
            Just(b"{\"do\":\"nmi\",\"vcpu\":".to_vec()),
            Just(b"{\"do\":\"dump\"}".to_vec()),
            Just(b"\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
            Just(vec![b'['; 3000]),
        ];
        proptest::collection::vec(word, 0..20).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_cuts_get_replies(bytes in input()) {
            fuzz(&bytes);
        }

        #[test]
        fn cuts_change_nothing(bytes in input(), cuts in proptest::collection::vec(1..50_usize, 1..20)) {
            let whole = |cuts: &mut dyn Iterator<Item = usize>| {
                let (mut session, mut sent) = (Session::default(), vec![]);
                let mut rest = &bytes[..];
                while !rest.is_empty() && !session.is_over() {
                    let cut = cuts.next().unwrap_or(MAX_LINE).min(rest.len()).min(session.room());
                    session.receive(&rest[..cut], None);
                    rest = &rest[cut..];
                    while {
                        session.step(&mut Idle);
                        !session.output().is_empty()
                    } {
                        sent.extend_from_slice(session.output());
                        session.sent(session.output().len());
                    }
                }
                sent
            };
            prop_assert_eq!(whole(&mut std::iter::empty()), whole(&mut cuts.into_iter().cycle()));
        }
    }
}
