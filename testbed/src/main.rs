//! The binary `testbed`.

use clap::{Parser, Subcommand};
use mmtorture_testbed::{Job, Kernel, Options, Stream, Testbed};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Exit status when the command ran out of its time, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// Exit status when there was no bed to run the command in, as timeout(1) has it for its own failures.
const NO_BED: u8 = 125;

/// A host with a real KVM, on any machine: QEMU with emulated SVM, Debian's kernel, this host's file system
#[derive(Debug, Parser)]
#[command(name = "testbed", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Boot a bed, run a command in it, exit with its status (124: out of time, 125: no bed)
    Run {
        /// The outer guest's memory
        #[arg(long, value_name = "MIB", default_value_t = 2048)]
        memory: u64,
        /// Its processors
        #[arg(long, value_name = "N", default_value_t = 2)]
        cpus: u32,
        /// The command is killed after this long
        #[arg(long, value_name = "N", default_value_t = 120)]
        seconds: u64,
        /// A folder that it may write to; anything else that it writes is lost
        #[arg(long, value_name = "DIR")]
        share: Vec<PathBuf>,
        /// Where the outer kernel's console goes
        #[arg(long, value_name = "FILE")]
        console: Option<PathBuf>,
        /// The command, and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Get the kernel package, if the cache has none
    Fetch,
}

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(e) => {
            eprintln!("testbed: {e}");
            ExitCode::from(NO_BED)
        }
    }
}

fn act(action: Action) -> Result<u8, mmtorture_testbed::Error> {
    match action {
        Action::Fetch => Kernel::fetch(|what| eprintln!("testbed: {what}")).map(|_| 0),
        Action::Run { memory, cpus, seconds, share, console, command } => {
            let options = Options { memory_mib: memory, cpus, shares: share, console, ..Options::default() };
            let bed = Testbed::boot(&options)?;
            let hello = bed.hello();
            eprintln!(
                "testbed: Linux {} is ready after {:.1} s (its own clock: PID 1 at {:.1} s, /dev/kvm at {:.1} s)",
                hello.release,
                bed.boot_time().as_secs_f64(),
                seconds_of(hello.init_ms),
                seconds_of(hello.kvm_ms.unwrap_or_default()),
            );
            let job = Job::new(command).limit(Duration::from_secs(seconds));
            let output = bed.run_with(&job, |stream, bytes| {
                // Whoever closed our end does not want it, and the command's status still counts.
                let _ = match stream {
                    Stream::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
                    Stream::Stderr => std::io::stderr().write_all(bytes),
                };
            })?;
            if output.timed_out {
                eprintln!("testbed: killed after {seconds} s");
                return Ok(TIMED_OUT);
            }
            let signal = output.status.signal().map(|signal| 128 + signal);
            let status = output.status.code().or(signal).unwrap_or_default();
            Ok(u8::try_from(status).unwrap_or(u8::MAX))
        }
    }
}

fn seconds_of(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
