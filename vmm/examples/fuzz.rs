//! Feeds mutated bytes to everything that a guest or a stranger can reach: `mmtorture_vmm::fuzz::TARGETS`.
//!
//!     cargo run --release -p mmtorture-vmm --example fuzz -- --executions 1000000
//!
//! It needs no instrumentation: a target digests what an input came to, and inputs that came to something new are
//! mutated further. A panic in any thread, an execution that takes too long or allocates too much ends it with exit
//! status 1, and leaves the input as a file that `--replay` runs again.

use clap::Parser;
use mmtorture_vmm::fuzz::{Target, TARGETS};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Args {
    /// The target; all of them, one after the other, if not given
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How many executions of each target
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    executions: u64,
    /// Where the sequence of mutations begins
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A folder with a folder for each target: read at the start, and given what is new
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// The most MiB that one execution may allocate
    #[arg(long, value_name = "MIB", default_value_t = 4)]
    allocation: u64,
    /// The most seconds that one execution may take
    #[arg(long, value_name = "S", default_value_t = 10)]
    time: u64,
    /// Run one input of --target and nothing else
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
}

/// Inputs of one target that are mutated further; when there are more, new ones replace others.
const KEPT: usize = 2000;
/// What inputs have come to, and after which nothing counts as new.
const SEEN: usize = 50_000;
/// The longest input.
const LONGEST: usize = 4096;

/// Bytes allocated since the start, by all threads.
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
/// Executions begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// What is being executed.
static CURRENT: Mutex<(&str, Vec<u8>)> = Mutex::new(("", Vec::new()));

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is done by the system's allocator; only its calls are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        fail("panic");
    }));
    let chosen: Vec<_> = TARGETS.iter().filter(|t| args.target.as_deref().is_none_or(|name| name == t.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no such target, expected one of {}", names.join(", "));
        return ExitCode::from(2);
    }
    if let Some(file) = &args.replay {
        let Ok(input) = std::fs::read(file) else {
            eprintln!("cannot read {}", file.display());
            return ExitCode::from(2);
        };
        chosen.iter().for_each(|target| println!("{}: {:#018x}", target.name, execute(target, &input, &args).0));
        return ExitCode::SUCCESS;
    }
    let limit = Duration::from_secs(args.time);
    std::thread::spawn(move || watch(limit));
    for target in chosen {
        fuzz(target, &args);
    }
    ExitCode::SUCCESS
}

fn fuzz(target: &'static Target, args: &Args) {
    let folder = args.corpus.as_ref().map(|corpus| corpus.join(target.name));
    let mut random = Random(args.seed);
    let mut inputs = (target.seeds)();
    inputs.extend(folder.iter().flat_map(|folder| read_corpus(folder)));
    let (mut seen, mut most, mut input) = (HashSet::new(), 0, vec![]);
    for known in &inputs {
        seen.insert(execute(target, known, args).0);
    }
    let (started, known) = (Instant::now(), inputs.len());
    for _ in 0..args.executions {
        // What makes sense reaches farthest: it is a parent more often than what was found on the way.
        let parents = if random.below(2) == 0 { known } else { inputs.len() };
        mutate(&inputs, parents, &mut input, &mut random);
        let (digest, allocated) = execute(target, &input, args);
        most = most.max(allocated);
        if seen.len() < SEEN && seen.insert(digest) {
            if let Some(folder) = folder.as_ref().filter(|_| inputs.len() < KEPT) {
                let path = folder.join(format!("{digest:016x}"));
                if let Err(error) = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &input)) {
                    eprintln!("{}: {error}", path.display());
                }
            }
            match inputs.len() < KEPT {
                true => inputs.push(input.clone()),
                false => inputs[known + random.below(KEPT - known)] = input.clone(),
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}: {} executions in {seconds:.1} s from {known} inputs to {} outcomes, at most {most} bytes allocated by one",
        target.name,
        args.executions,
        seen.len(),
    );
}

/// Runs one input: its digest, and the bytes that it allocated.
fn execute(target: &'static Target, input: &[u8], args: &Args) -> (u64, u64) {
    {
        let mut current = CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.0 = target.name;
        current.1.clear();
        current.1.extend_from_slice(input);
    }
    BEGUN.fetch_add(1, Ordering::Relaxed);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let digest = (target.run)(input);
    let allocated = ALLOCATED.load(Ordering::Relaxed) - before;
    if allocated > args.allocation << 20 {
        eprintln!("{allocated} bytes allocated");
        fail("allocation");
    }
    (digest, allocated)
}

/// Ends the process when one execution takes longer than `limit`.
fn watch(limit: Duration) {
    let mut last = 0;
    loop {
        std::thread::sleep(limit);
        let begun = BEGUN.load(Ordering::Relaxed);
        if begun == last {
            eprintln!("no end after {limit:?}");
            fail("hang");
        }
        last = begun;
    }
}

/// Saves the current input and ends the process.
fn fail(why: &str) -> ! {
    // Whoever panics does not hold this lock, but may be many.
    let current = CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = format!("{why}-{}-{}", current.0, BEGUN.load(Ordering::Relaxed));
    match std::fs::write(&path, &current.1) {
        Ok(()) => eprintln!("the input is in {path}; run it again with --target {} --replay {path}", current.0),
        Err(error) => eprintln!("cannot write {path}: {error}; the input is {:02x?}", current.1),
    }
    std::process::exit(1)
}

fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Values at which something changes.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000_0000_0000];

/// Makes a new input out of one of the first so many of `inputs`, and of any other.
fn mutate(inputs: &[Vec<u8>], parents: usize, input: &mut Vec<u8>, random: &mut Random) {
    input.clear();
    if let Some(parent) = inputs.get(random.below(parents)) {
        input.extend_from_slice(parent);
    }
    for _ in 0..=random.below(4) {
        let at = random.below(input.len());
        match random.below(8) {
            0 => input.truncate(at),
            1 => input.insert(at, random.next() as u8),
            2 if !input.is_empty() => drop(input.remove(at)),
            3 => {
                let bytes = EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64).to_le_bytes();
                let width = 1 << random.below(4);
                for (slot, byte) in input.iter_mut().skip(at).zip(&bytes[..width]) {
                    *slot = *byte;
                }
            }
            4 => {
                // The end of another.
                let other = inputs.get(random.below(inputs.len())).map_or(&[][..], Vec::as_slice);
                input.truncate(at);
                input.extend_from_slice(other.get(at..).unwrap_or_default());
            }
            5 if !input.is_empty() => {
                let from = random.below(input.len());
                let len = random.below(32).min(input.len() - at.max(from));
                input.copy_within(from..from + len, at);
            }
            6 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            _ if !input.is_empty() => input[at] = random.next() as u8,
            _ => input.push(random.next() as u8),
        }
    }
    input.truncate(LONGEST);
}
