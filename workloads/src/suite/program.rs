//! Running a program of a suite: in its root, heard line by line, killed when its time is over.
//!
//! By hand, because std::process::Command makes a socketpair, and a guest's kernel may have been built without CONFIG_NET.

use super::root::Root;
use crate::process;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How much of what a program said last is kept, in lines, and the longest of them, in bytes.
const KEPT: usize = 12;
const LONGEST: usize = 300;

/// Exit status of a process that could not become the program.
const NOT_EXECUTED: i32 = 127;

/// What a program's environment is. No locale, no home: what it says is for us.
const ENVIRONMENT: &[&str] = &["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=/tmp", "TMPDIR=/tmp"];

/// A program to run.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its path and its arguments.
    pub args: Vec<String>,
    /// Where it starts.
    pub dir: &'a str,
    /// How long it may run.
    pub limit: Duration,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status; `None` if it was killed because its time was over.
    pub status: Option<WaitStatus>,
    /// The last lines that it said.
    pub tail: VecDeque<String>,
}

impl Ended {
    /// Its exit status, if it has one.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(WaitStatus::exit_status)
    }

    /// The signal that killed it, unless that was ours.
    pub fn signal(&self) -> Option<i32> {
        self.status.and_then(WaitStatus::terminating_signal)
    }

    /// How it ended and what it said last, for people.
    pub fn says(&self) -> String {
        let how = match (self.code(), self.signal()) {
            (Some(NOT_EXECUTED), _) => "it could not be executed".to_owned(),
            (Some(code), _) => format!("exit status {code}"),
            (_, Some(signal)) => {
                Signal::from_named_raw(signal).map_or_else(|| format!("signal {signal}"), |s| format!("signal {s:?}"))
            }
            _ => "killed when its time was over".to_owned(),
        };
        let tail: Vec<_> = self.tail.iter().map(String::as_str).collect();
        format!("{how}; {}", tail.join(" | "))
    }
}

/// Runs `program` in `root`; `line` sees each line of its output and its errors.
///
/// # Errors
/// ENOMEM and EAGAIN under pressure, EMFILE.
pub fn run(root: &Root, program: &Program<'_>, mut line: impl FnMut(&str)) -> Result<Ended, Errno> {
    let (output, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let strings = |all: &[String]| all.iter().map(|s| CString::new(s.as_str())).collect::<Result<Vec<_>, _>>();
    let args = strings(&program.args).map_err(|_| Errno::INVAL)?;
    let env: Vec<String> = ENVIRONMENT.iter().map(|&s| s.to_owned()).collect();
    let env = strings(&env).map_err(|_| Errno::INVAL)?;
    let pid = process::fork(|| become_it(root, program.dir, &args, &env, &write))?;
    drop(write);
    // Both of us do it: whoever comes first, the group is there before it is killed.
    let _ = rustix::process::setpgid(Some(pid), Some(pid));
    let deadline = Instant::now() + program.limit;
    let mut ended = Ended { status: None, tail: VecDeque::new() };
    let mut lines = Lines::default();
    let mut hear = |text: &str, tail: &mut VecDeque<String>| {
        line(text);
        let end = (0..=LONGEST.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        tail.push_back(text[..end].to_owned());
        if tail.len() > KEPT {
            tail.pop_front();
        }
    };
    loop {
        let reaped = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        // Before the pipe is read: what a dead process wrote is in it by then. Who it left behind may hold it open.
        let over = matches!(reaped, Ok(Some(_)) | Err(_));
        lines.read(&output, |text| hear(text, &mut ended.tail));
        if over {
            ended.status = reaped.ok().flatten().map(|(_, status)| status);
            kill(pid);
            return Ok(ended);
        }
        if Instant::now() >= deadline {
            kill(pid);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            return Ok(ended);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut fds = [PollFd::new(&output, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            // An end of file is readable forever: what it leaves us to wait for is the process.
            Ok(n) if n > 0 && !fds[0].revents().contains(PollFlags::IN) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => {}
        }
    }
}

fn kill(group: Pid) {
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// Becomes the program. Returns an exit status if it cannot.
fn become_it(root: &Root, dir: &str, args: &[CString], env: &[CString], output: &OwnedFd) -> i32 {
    let entered = (|| -> rustix::io::Result<()> {
        rustix::process::setpgid(None, None)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(output)?;
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        if let Some(at) = root.at() {
            rustix::process::chroot(at)?;
        }
        rustix::process::chdir(dir)?;
        // The supervisor's are blocked.
        unblock_signals();
        Ok(())
    })();
    if let Err(errno) = entered {
        let _ = rustix::io::write(output, format!("cannot be started in {dir}: {errno}\n").as_bytes());
        return NOT_EXECUTED;
    }
    let pointers = |all: &[CString]| all.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both are NULL-terminated arrays of NUL-terminated strings that are alive still; there is a first argument, or
    // execve fails.
    unsafe { libc::execve(argv[0], argv.as_ptr(), envp.as_ptr()) };
    let error = std::io::Error::last_os_error();
    let _ = rustix::io::write(output, format!("cannot be executed: {error}\n").as_bytes());
    NOT_EXECUTED
}

fn unblock_signals() {
    // SAFETY: `set` is initialised by sigemptyset before it is read, and outlives the call.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Text cut into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Reads what is there now.
    fn read(&mut self, from: &OwnedFd, mut each: impl FnMut(&str)) {
        let mut buffer = [0; 4096];
        let ready = |fd: &OwnedFd| {
            let mut fds = [PollFd::new(fd, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().contains(PollFlags::IN)
        };
        while ready(from) {
            let Ok(n @ 1..) = rustix::io::read(from, &mut buffer) else { break };
            for &byte in &buffer[..n] {
                // Progress on one line is many lines to us.
                if matches!(byte, b'\n' | b'\r' | 8) || self.0.len() >= 4096 {
                    let line = std::mem::take(&mut self.0);
                    if !line.is_empty() {
                        each(&String::from_utf8_lossy(&line));
                    }
                } else if byte >= b' ' || byte == b'\t' {
                    self.0.push(byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::ask;
    use crate::job::Pressure;

    fn sh(script: &str, limit: Duration) -> (Ended, Vec<String>) {
        let root = Root::enter(&ask(Pressure::Polite, None)).unwrap();
        let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let mut lines = Vec::new();
        let ended = run(&root, &Program { args, dir: "/", limit }, |line| lines.push(line.to_owned())).unwrap();
        (ended, lines)
    }

    #[test]
    fn a_program_is_heard_and_its_status_told() {
        let (ended, lines) = sh("echo one; pwd >&2; exit 4", Duration::from_secs(20));
        assert_eq!((ended.code(), lines), (Some(4), vec!["one".to_owned(), "/".to_owned()]));
        assert_eq!(ended.says(), "exit status 4; one | /");
        let (ended, _) = sh("kill -SEGV $$", Duration::from_secs(20));
        assert_eq!((ended.code(), ended.signal()), (None, Some(libc::SIGSEGV)));
    }

    #[test]
    fn a_program_is_killed_when_its_time_is_over_with_those_that_it_started() {
        let (ended, lines) = sh("sleep 60 & echo $!; wait", Duration::from_millis(300));
        assert!(ended.status.is_none() && ended.says().starts_with("killed when"), "{ended:?}");
        let pid = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        let gone = || rustix::process::test_kill_process(pid).is_err() || state(pid) == Some('Z');
        assert!((0..100).any(|_| gone() || {
            std::thread::sleep(Duration::from_millis(50));
            false
        }));
    }

    fn state(pid: Pid) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        stat[stat.rfind(')')? + 2..].chars().next()
    }

    #[test]
    fn what_is_not_there_says_so() {
        let root = Root::enter(&ask(Pressure::Polite, None)).unwrap();
        let program = Program { args: vec!["/nowhere/x".into()], dir: "/", limit: Duration::from_secs(20) };
        let ended = run(&root, &program, |_| {}).unwrap();
        assert!(ended.says().contains("could not be executed"), "{}", ended.says());
    }
}
