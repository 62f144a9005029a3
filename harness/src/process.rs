//! Running a host tool: its output goes to a log and, line by line, to whoever watches; a signal ends it.

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use anyhow::Context;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The longest line handed on; the log keeps all of it.
const MAX_LINE: u64 = 4096;

/// Makes `command` die with the thread that starts it, whatever kills that thread, and stay clear of the terminal's
/// signals: Ctrl-C is ours to act on.
pub fn die_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: prctl(2) and getppid(2) are system calls.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}

/// Runs `command` to its end with stdout and stderr, merged, in the file `log`; `line` sees each line of them.
///
/// # Errors
/// It cannot be started ([`Error::Host`], naming the tool), the log cannot be written, or a signal came, in which case
/// its whole process group is killed.
pub fn run(command: Command, log: &Path, interrupt: &Interrupt, line: impl FnMut(&str)) -> Result<ExitStatus> {
    run_timed(command, log, interrupt, line).map(|(status, _)| status)
}

/// [`run()`], and how much CPU time, user's and system's, the command took with all that it waited for.
///
/// # Errors
/// As [`run()`].
pub fn run_timed(
    mut command: Command,
    log: &Path,
    interrupt: &Interrupt,
    mut line: impl FnMut(&str),
) -> Result<(ExitStatus, Duration)> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut log_file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let errors = writer.try_clone().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    die_with_parent(&mut command);
    let mut child = spawn(&mut command, &tool)?;
    // Our copies of the pipe's writing end live in `command`; without this the reader would never see its end.
    drop(command);

    let (send, lines) = mpsc::sync_channel(1024);
    let reading = std::thread::spawn(move || -> std::io::Result<()> {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? > 0 {
            log_file.write_all(&bytes)?;
            let _ = send.send(String::from_utf8_lossy(&bytes).trim_end().to_owned());
            bytes.clear();
        }
        Ok(())
    });
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(text) => line(&text),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) if interrupt.is_set() => {
                kill_group(&mut child);
                return Err(Error::Interrupted);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
    let logged = reading.join().unwrap_or_else(|_| Err(std::io::Error::other("the reader died")));
    if logged.is_err() {
        kill_group(&mut child);
    }
    logged.with_context(|| format!("cannot write {}", log.display()))?;
    let waited = wait_timed(&child).with_context(|| format!("cannot wait for {tool}"))?;
    Ok(waited)
}

/// Waits for a child that nothing else has waited for. Not `Child::wait`, which does not tell the time taken.
fn wait_timed(child: &Child) -> std::io::Result<(ExitStatus, Duration)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(std::io::Error::other)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to locals of the types that wait4(2) writes.
        if unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) } == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: wait4 has filled it, and all of its bytes were zero before, which is a valid value of its integers.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| {
        let (seconds, micros) = (u64::try_from(t.tv_sec).unwrap_or(0), u64::try_from(t.tv_usec).unwrap_or(0));
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    Ok((ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime)))
}

/// Runs `command` behind everything else that wants the CPU.
pub fn be_nice(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: setpriority(2) is a system call.
    unsafe {
        command.pre_exec(|| {
            // Best effort: a host may forbid even this.
            let _ = rustix::process::nice(NICE);
            Ok(())
        });
    }
}

/// Guests that wait for a compiler time out; compilers can wait for guests.
const NICE: i32 = 10;

/// Runs `command` and yields what it prints on stdout, as text.
///
/// # Errors
/// It cannot be started, or fails; the message has its stderr.
pub fn output(command: Command) -> Result<String> {
    output_bytes(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs `command` and yields what it prints on stdout.
///
/// # Errors
/// As [`output`].
pub fn output_bytes(mut command: Command) -> Result<Vec<u8>> {
    let tool = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(&mut command, &tool)?.wait_with_output().with_context(|| format!("cannot wait for {tool}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::host(format!("{tool}: {}: {stderr}", output.status)));
    }
    Ok(output.stdout)
}

/// Starts `command`.
///
/// # Errors
/// It cannot be started; for a tool that is missing the message says how to get it.
pub fn spawn(command: &mut Command, tool: &str) -> Result<Child> {
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::host(format!(
            "{tool} is not installed; `make setup` installs it, `mmtorture doctor` says what else is missing"
        )),
        _ => Error::host(format!("cannot start {tool}: {e}")),
    })
}

/// Kills a child started after [`die_with_parent`] and all that it started, and reaps it.
pub fn kill_group(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_goes_to_the_log_and_to_the_watcher() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let mut seen = Vec::new();
        let status = run(command, &log, &Interrupt::default(), |l| seen.push(l.to_owned())).unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(seen, ["one", "two"]);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn an_interrupt_kills_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The grandchild holds the pipe open: were it left alive, nothing would end for 60 s.
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        let interrupt = Interrupt::default();
        let mut grandchild = String::new();
        let result = run(command, &dir.path().join("log"), &interrupt, |pid| {
            grandchild = pid.to_owned();
            interrupt.set();
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        let pid = grandchild.parse().ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        // Gone already, or going: a pidfd becomes readable when its process ends.
        if let Ok(fd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            let mut ends = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            let patience = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut ends, Some(&patience)), Ok(1), "{pid:?} lives on");
        }
    }

    #[test]
    fn a_missing_tool_is_named() {
        let error = output(Command::new("mmtorture-no-such-tool")).unwrap_err();
        assert_eq!(error.exit_status(), 3);
        assert!(error.to_string().contains("mmtorture-no-such-tool is not installed"), "{error}");
    }
}
