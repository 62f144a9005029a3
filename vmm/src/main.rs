//! `mmtorture-vmm`: runs one guest to its end.

use clap::Parser;
use mmtorture_vmm::config::Config;
use mmtorture_vmm::machine;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let config = Config::parse();
    match machine::run(&config, &mut |event| tell(&event)) {
        Ok(ending) => {
            tell(&ending);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("mmtorture-vmm: {e}");
            ExitCode::from(e.exit_status())
        }
    }
}

/// Writes a line of JSON to standard output. Nobody may be listening.
fn tell(what: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(what) {
        line.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}
