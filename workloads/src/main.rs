//! `torture`: the memory-management torture workloads, on any Linux host.
//!
//! `torture list` names them. A workload is a module here and a line in [`job::WORKLOADS`]. In an mmtorture guest PID 1
//! starts `torture NAME --seconds N --seed S --pressure full --json` and relays the reports.

mod anon_churn;
mod anon_exit;
mod audit;
mod board;
mod cgroup;
mod cli;
mod exit_storm;
mod file_thp;
mod fsx;
mod gate;
mod gup_pin;
mod host;
mod hot_pages;
mod idle;
mod job;
mod kbuild_lite;
mod ksm_merge_fork;
mod ledger;
mod left;
mod life;
mod memcg_audit;
mod memcg_move;
mod memory;
mod migrate_storm;
mod mix;
mod mremap_collapse;
mod oom_reap;
mod output;
mod pattern;
mod pressure;
mod process;
mod region;
mod rmap_walk;
mod rng;
mod scratch;
mod shared_dirty_zap;
mod shmem_punch;
mod size;
mod stamp;
mod suite;
mod supervise;
mod swap_thrash;
mod swapping;
mod sys;
mod thp_split_collapse;
mod uffd;
mod uffd_mix;
mod window;
mod worker;

use cli::{Asked, Request};
use host::Host;
use job::{Ask, Pressure, WORKLOADS};
use mmtorture_protocol::Suite;
use output::Output;
use scratch::Scratch;
use std::io::Write as _;
use std::process::ExitCode;
use supervise::{End, Verdict};

fn main() -> ExitCode {
    if let Some(code) = worker::run(&std::env::args_os().take(16).collect::<Vec<_>>()) {
        return code;
    }
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
    let run = match cli::parse(std::env::args_os()).map_err(Failure::Request)? {
        Request::Print(text) => return print(&text),
        Request::List { json } => return print(&list(json)),
        Request::Run(run) => run,
    };
    let host = Host::read(run.pressure).map_err(|error| Failure::Machine(error.into()))?;
    let full = run.pressure == Pressure::Full;
    let scratch = match &run.scratch {
        Some(folder) => Scratch::given(folder).map_err(Failure::Request)?,
        None if full => Scratch::own(host.available + host.swap_free),
        None => Scratch::default(),
    };
    let root = run.root.clone();
    let ask = Ask { seed: run.seed, memory: run.memory, pressure: run.pressure, scratch, root };
    let plan = match &run.what {
        Asked::Ours(what) => what.prepare(&ask, &host),
        Asked::Suite(name, suite) => suite::prepare(name, suite, &ask, &host),
    };
    let plan = plan.map_err(Failure::Request)?;
    let mut output = if run.json { Output::Json } else { Output::text(plan.says.clone()) };
    let verdict = supervise::run(&plan, ask.seed, run.time, full.then_some(&ask.scratch), &mut output);
    if full {
        cgroup::sweep();
    }
    ask.scratch.clean();
    let Verdict { end, violations } = verdict.map_err(Failure::Machine)?;
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
        let own = WORKLOADS.iter().map(|workload| {
            let (name, about, ops) = (workload.name(), workload.about(), workload.ops());
            serde_json::json!({ "name": name, "about": about, "ops": ops, "weight": mix::weight(name) })
        });
        let mix = serde_json::json!({ "name": mix::MIX, "about": mix::ABOUT, "ops": [] });
        let suite = |(name, takes, about): &(&str, &str, &str)| serde_json::json!({ "name": name, "about": about, "suite": takes });
        let entries = own.chain([mix]).chain(Suite::TABLE.iter().map(suite));
        return format!("{:#}\n", serde_json::Value::from_iter(entries));
    }
    let suites = Suite::TABLE.iter().map(|(name, takes, about)| (format!("{name}{takes}"), *about));
    let own = WORKLOADS.iter().map(|workload| (workload.name(), workload.about())).chain([(mix::MIX, mix::ABOUT)]);
    let rows = own.map(|(name, about)| (name.to_owned(), about)).chain(suites);
    rows.map(|(name, about)| format!("{name:28} {about}\n")).collect()
}
