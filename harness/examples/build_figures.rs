//! What the kernels of a matrix cost to build, one after the other, in an empty cache: the figures of docs/kernels.md.
//!
//! Usage: `build_figures MMTORTURE MATRIX CACHE`. CACHE is a folder for the cache; where it has the kernels already, what
//! they cost when they were built is shown.

use mmtorture_harness::build::{Meta, META};
use mmtorture_harness::files;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [mmtorture, matrix, cache] = &args[..] else {
        eprintln!("usage: build_figures MMTORTURE MATRIX CACHE");
        return ExitCode::from(2);
    };
    let build = || {
        let mut command = Command::new(mmtorture);
        command.args(["build", matrix]).env("XDG_CACHE_HOME", cache).stdin(Stdio::null()).stderr(Stdio::inherit());
        command.output().ok().filter(|output| output.status.success())
    };
    let Some(built) = build() else { return ExitCode::from(3) };
    let start = Instant::now();
    let Some(_) = build() else { return ExitCode::from(3) };
    let unchanged = start.elapsed();

    let mut first = None;
    let mut all = 0.0;
    println!("{:<20} {:>8} {:>8} {:>8}", "VARIANT", "OBJECTS", "CPU S", "OF FIRST");
    for line in String::from_utf8_lossy(&built.stdout).lines().skip(1) {
        let mut words = line.split_whitespace();
        let (Some(variant), Some(dir)) = (words.next(), words.next()) else { continue };
        let meta: Meta = match files::read_json(&Path::new(dir).join(META)) {
            Ok(meta) => meta,
            Err(e) => {
                eprintln!("{e:#}");
                return ExitCode::from(3);
            }
        };
        let one = *first.get_or_insert(meta.cpu_seconds);
        all += meta.cpu_seconds;
        let share = 100.0 * meta.cpu_seconds / one;
        println!("{variant:<20} {:>8} {:>8.1} {share:>7.1} %", meta.objects, meta.cpu_seconds);
    }
    println!("all of them: {all:.1} s of CPU time, {:.2} x the first", all / first.unwrap_or(all));
    println!("known to be there again in {:.2} s", unchanged.as_secs_f64());
    ExitCode::SUCCESS
}
