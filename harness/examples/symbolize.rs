//! The figure of docs/symbols.md: how long it takes to symbolize a report of 60 frames, the first time and the second.
//!
//! `cargo run --release --example symbolize -- VMLINUX [FRAMES]`; with `MMTORTURE_REPORT` set to a file, the report is
//! left there for `mmtorture scan`.

use anyhow::{Context, Result};
use mmtorture_harness::cache::Cache;
use mmtorture_harness::symbolize::{Query, Symbolizer, Vmlinux};
use std::path::Path;
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("usage: symbolize VMLINUX [FRAMES]")?;
    let count: usize = args.next().map_or(Ok(60), |n| n.parse())?;
    let path = Path::new(&path);
    let frames = frames(&Vmlinux::open(path)?, count)?;
    if let Some(report) = std::env::var_os("MMTORTURE_REPORT") {
        std::fs::write(report, text(&Vmlinux::open(path)?, &frames))?;
    }
    let dir = tempfile::tempdir()?;
    let cache = Cache::at(dir.path().to_owned()).map_err(|e| anyhow::anyhow!("{e}"))?;

    forget(path)?;
    for what in ["first, file not in the page cache", "second"] {
        let (took, resolved) = symbolize(path, &frames, &cache)?;
        println!("{what}: {resolved} of {} frames in {took:.3?}", frames.len());
    }
    std::fs::remove_dir_all(cache.path("symbols", ""))?;
    for what in ["first, file in the page cache", "second"] {
        let (took, resolved) = symbolize(path, &frames, &cache)?;
        println!("{what}: {resolved} of {} frames in {took:.3?}", frames.len());
    }
    forget(path)?;
    let (took, resolved) = symbolize(path, &frames, &cache)?;
    println!("second, file not in the page cache: {resolved} of {} frames in {took:.3?}", frames.len());
    Ok(())
}

/// Return addresses in the middle of functions of all parts of the kernel.
fn frames(file: &Vmlinux, count: usize) -> Result<Vec<(String, u64, u64)>> {
    let mut functions: Vec<_> =
        file.symbols()?.into_iter().filter(|(_, symbol)| symbol.function && symbol.size > 64).collect();
    functions.sort_unstable_by_key(|(_, symbol)| symbol.address);
    let step = (functions.len() / count.max(1)).max(1);
    let every = functions.into_iter().step_by(step).take(count);
    Ok(every.map(|(name, symbol)| (name.to_owned(), symbol.size / 2, symbol.size)).collect())
}

fn symbolize(path: &Path, frames: &[(String, u64, u64)], cache: &Cache) -> Result<(Duration, usize)> {
    let start = Instant::now();
    let file = Vmlinux::open(path)?;
    let mut symbols = Symbolizer::new(&file, Some(cache));
    let resolve = |(name, offset, size): &(String, u64, u64)| symbols.resolve(&Query::new(name, *offset).size(*size));
    let resolved = frames.iter().map(resolve).filter(Result::is_ok).count();
    symbols.save()?;
    Ok((start.elapsed(), resolved))
}

/// The frames as a kernel of that name prints them.
fn text(file: &Vmlinux, frames: &[(String, u64, u64)]) -> String {
    let banner = file.banner().unwrap_or_default();
    let mut text = format!(
        "{banner}\n------------[ cut here ]------------\nkernel BUG at mm/migrate.c:1!\n\
         invalid opcode: 0000 [#1] SMP NOPTI\nCPU: 1 PID: 100 Comm: torture Not tainted {} #1\n",
        banner.split(' ').nth(2).unwrap_or("0.0")
    );
    for (at, (name, offset, size)) in frames.iter().enumerate() {
        let line = match at {
            0 => format!("RIP: 0010:{name}+{offset:#x}/{size:#x}\nCall Trace:\n <TASK>\n"),
            _ => format!(" {name}+{offset:#x}/{size:#x}\n"),
        };
        text.push_str(&line);
    }
    text + " </TASK>\n---[ end trace 0000000000000000 ]---\n"
}

/// Drops the file from the page cache, as if it had just been copied here by somebody else.
fn forget(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
