//! Starting a program with pipes to listen to it.
//!
//! By hand, because std::process::Command makes a socketpair, and a guest's kernel may have been built without
//! CONFIG_NET.

use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::Pid;
use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Exit status of a child that could not execute its program; a shell's own number for it. The reason is on its
/// standard error.
pub const NOT_EXECUTED: i32 = 127;

/// A running program.
#[derive(Debug)]
pub struct Started {
    /// Its process, leader of a process group of its own.
    pub pid: Pid,
    /// Where its standard output comes out.
    pub stdout: OwnedFd,
    /// Where its standard error comes out.
    pub stderr: OwnedFd,
}

/// Starts `args[0]` with `args`, without PID 1's privileges in scheduling and memory. Its standard input is what PID 1's is. With `procs`, the file of a control group, it joins that before it
/// runs.
///
/// # Errors
/// If there are no pipes or no process to be had, or an argument holds a NUL.
pub fn start(args: &[String], procs: Option<&Path>) -> io::Result<Started> {
    let args: Vec<CString> = args.iter().map(|arg| CString::new(arg.as_str())).collect::<Result<_, _>>()?;
    let mut argv: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: this program never starts a thread, so the child inherits no lock held by anyone else.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(pid) = Pid::from_raw(pid) {
        return Ok(Started { pid, stdout, stderr });
    }
    let error = match become_ordinary(&child_stdout, &child_stderr).and_then(|()| join(procs)) {
        Err(error) => error,
        Ok(()) => {
            // SAFETY: `argv` is a NULL-terminated array of pointers to NUL-terminated strings, alive still, and has a
            // first element because the caller names a program; an empty one makes execv fail.
            unsafe { libc::execv(argv[0], argv.as_ptr()) };
            io::Error::last_os_error()
        }
    };
    let _ = writeln!(io::stderr(), "cannot be executed: {error}");
    // SAFETY: _exit ends this copy of PID 1 without running any of its code.
    unsafe { libc::_exit(NOT_EXECUTED) }
}

/// What a child of PID 1 must not inherit.
fn become_ordinary(stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stderr(stderr)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::process::setpgid(None, None)?;
    rustix::process::setpriority_process(None, 0)?;
    // The workload is to feel what the kernel does under pressure. Lowering PID 1's score is optional, too.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    // SAFETY: `set` is initialised by sigemptyset before it is read, and outlives the call.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
    Ok(())
}

/// 0 is whoever writes it (Documentation/admin-guide/cgroup-v2.rst, cgroup.procs).
fn join(procs: Option<&Path>) -> io::Result<()> {
    procs.map_or(Ok(()), |procs| crate::knobs::write(procs, "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{waitpid, WaitOptions};
    use std::io::Read as _;

    /// Output, error output and status of a program.
    fn run(args: &[&str]) -> (String, String, Option<i32>) {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let started = start(&args, None).unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        std::fs::File::from(started.stdout).read_to_string(&mut out).unwrap();
        std::fs::File::from(started.stderr).read_to_string(&mut err).unwrap();
        let (_, status) = waitpid(Some(started.pid), WaitOptions::empty()).unwrap().unwrap();
        (out, err, status.exit_status())
    }

    #[test]
    fn a_program_is_heard_on_both_pipes() {
        let (out, err, status) = run(&["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!((out.as_str(), err.as_str(), status), ("out\n", "err\n", Some(3)));
    }

    #[test]
    fn a_program_is_in_the_group_before_it_runs() {
        let procs = std::env::temp_dir().join(format!("mmtorture-procs-{}", std::process::id()));
        std::fs::write(&procs, "").unwrap();
        let args = ["/bin/cat", procs.to_str().unwrap()].map(str::to_owned);
        let started = start(&args, Some(&procs)).unwrap();
        let mut said = String::new();
        std::fs::File::from(started.stdout).read_to_string(&mut said).unwrap();
        waitpid(Some(started.pid), WaitOptions::empty()).unwrap();
        std::fs::remove_file(&procs).unwrap();
        assert_eq!(said, "0");
    }

    #[test]
    fn what_is_not_there_says_so() {
        let (out, err, status) = run(&["/nowhere/torture"]);
        assert!(err.contains("No such file"), "{err}");
        assert_eq!((out.as_str(), status), ("", Some(NOT_EXECUTED)));
    }
}
