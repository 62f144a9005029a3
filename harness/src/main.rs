//! The binary `mmtorture`.

use clap::Parser;
use mmtorture_harness::cmd::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A closed pipe (`mmtorture plan ... | head`) is an end, not a panic: Rust ignores SIGPIPE at start, and this puts
    // the default back before any thread exists.
    // SAFETY: no other thread runs yet, and SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MMTORTURE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(
            std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                && std::io::IsTerminal::is_terminal(&std::io::stderr()),
        )
        .with_target(false)
        .without_time()
        .init();
    match cmd::dispatch(&cli) {
        Ok(status) => ExitCode::from(status),
        Err(e) => {
            eprintln!("mmtorture: {e}");
            ExitCode::from(e.exit_status())
        }
    }
}
