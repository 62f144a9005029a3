//! `torture`: the memory-management torture workloads, on any Linux host.
//!
//! `torture list` names them. A workload is a module here and a line in [`job::WORKLOADS`]. In an mmtorture guest PID 1
//! starts `torture NAME --seconds N --seed S --pressure full --json` and relays the reports.

mod anon_churn;
mod board;
mod cli;
mod compact;
mod gate;
mod host;
mod job;
mod life;
mod memory;
mod output;
mod pattern;
mod process;
mod region;
mod rng;
mod supervise;

use cli::Request;
use host::Host;
use job::{Pressure, WORKLOADS};
use output::Output;
use std::io::Write as _;
use std::process::ExitCode;
use supervise::{End, Verdict};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Request(message)) => fail(2, &message),
        Err(Failure::Machine(error)) => fail(3, &format!("{error:#}")),
    }
}

enum Failure {
    Request(String),
    Machine(anyhow::Error),
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Not eprintln!, which panics where standard error is gone.
    let _ = writeln!(std::io::stderr(), "torture: {message}");
    ExitCode::from(code)
}

fn run() -> Result<u8, Failure> {
    let (workload, ask, time, json) = match cli::parse(std::env::args_os()).map_err(Failure::Request)? {
        Request::Print(text) => return print(&text),
        Request::List { json } => return print(&list(json)),
        Request::Run { workload, ask, time, json } => (WORKLOADS[workload], ask, time, json),
    };
    let host = Host::read().map_err(|error| Failure::Machine(error.into()))?;
    let job = workload.prepare(&ask, &host).map_err(Failure::Request)?;
    let mut output = if json { Output::Json } else { Output::text(job.says.clone()) };
    let full = ask.pressure == Pressure::Full;
    let Verdict { end, violations } =
        supervise::run(workload, &job, ask.seed, time, full, &mut output).map_err(Failure::Machine)?;
    Ok(match end {
        _ if violations > 0 => 1,
        End::Signal(signal) => 128 + u8::try_from(signal).unwrap_or(0),
        End::Deadline | End::OutputGone => 0,
    })
}

fn print(text: &str) -> Result<u8, Failure> {
    // A reader that has seen enough is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(0)
}

fn list(json: bool) -> String {
    if json {
        let entries = WORKLOADS.iter().map(
            |workload| serde_json::json!({ "name": workload.name(), "about": workload.about(), "ops": workload.ops() }),
        );
        return format!("{:#}\n", serde_json::Value::from_iter(entries));
    }
    WORKLOADS.iter().map(|workload| format!("{:16} {}\n", workload.name(), workload.about())).collect()
}
