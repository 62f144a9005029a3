//! `kbuild-lite`: what building a kernel does to memory, without a compiler: processes start, execute a program, read
//! headers that all of them read, fill a heap, write an object; a linker maps all objects and writes a large file; then the tree
//! is torn down, swap is emptied if it can be, and the next build begins. Two builds at a time.
//!
//! Kernel paths: fork, exec_mmap() and exit with page tables of all kinds, shmem_get_folio_gfp() and huge pages of tmpfs,
//! shmem_writepage() with the split of huge pages on their way to swap, shmem_swapin_folio(), filemap_map_pages() of shared
//! headers, shmem_evict_inode(), truncation, try_to_unuse(). Races: all of them at once under reclaim, as the mail describes
//! that this harness goes back to. Shown by: pswpout, and thp_file_alloc where tmpfs has huge pages.

use crate::board::{ops, Op};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pattern::Patterned;
use crate::pressure;
use crate::rng::{mix, Rng};
use crate::size::Size;
use crate::stamp::{self, Wrong};
use crate::swapping;
use crate::worker;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};

/// The table's entry.
pub struct KbuildLite;

ops!(OPS:
    BUILD = "builds",
    COMPILE = "compiles",
    EXEC = "compiles-by-exec",
    LINK = "links",
    WRITE = "files-written",
    TEAR_DOWN = "trees-torn-down",
    FORK = "forks",
    SWAPOFF = "swapoffs",
    RECLAIM = "reclaims",
    COMPACT = "compactions",
);

/// How many builds there are at a time.
const BUILDS: usize = 2;

/// Compilers of a build at a time.
const JOBS: usize = 3;

/// Headers of a tree, and how many of them a compiler reads.
const HEADERS: u64 = 10;
const INCLUDES: usize = 5;

/// The most sources of a tree.
const SOURCES: usize = 60;

/// The largest header, object and heap, in pages.
const HEADER: usize = 12;
const OBJECT: usize = 48;
const HEAP: usize = 400;

/// The least pages that a build makes sense with.
const LEAST: usize = 1536;

/// Exit statuses of a compiler: 0 is fine, anything else a crash.
const WRONG: u8 = 10;
const NO_MEMORY: u8 = 11;

/// The sizes of a build.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Sources, each of which becomes an object; few enough for a build to come to its end in seconds.
    sources: u64,
    /// The largest heap of a compiler, in pages.
    heap: usize,
}

impl Workload for KbuildLite {
    fn name(&self) -> &'static str {
        "kbuild-lite"
    }

    fn about(&self) -> &'static str {
        "synthetic kernel builds in tmpfs: compile, link, tear down, under swap"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each(BUILDS, LEAST)?;
        let heap = HEAP.min(pages / 4 / JOBS);
        // An object is half as large as can be on average, and is there twice once it is linked.
        let sources = ((pages - JOBS * heap) / (OBJECT + HEADER) / 2).clamp(JOBS, SOURCES) as u64;
        let shape = Shape { sources, heap };
        let tree = ask.scratch.tree();
        let mut says = vec![size.says(host)];
        says.push(format!("{BUILDS} builds of {sources} objects each in {}, {JOBS} jobs at a time", tree.display()));
        let seed = ask.seed;
        let swap = if ask.full() && size.swap { swapping::device() } else { None };
        let mut roles = vec![Role::new("make", BUILDS as u32, move |life| {
            let tree = tree.join(format!("build-{}", life.slot));
            make(life, &tree, shape, mix(seed, life.id));
            // Hugh Dickins' loop: an empty swap device after each build; leaks show as ENOMEM.
            if let Some(device) = swap.as_ref().filter(|_| swapping::fits()) {
                life.check_or(SWAPOFF, "swapoff and swapon", swapping::off_and_on(device), swapping::MAY);
            }
        })];
        roles.extend(pressure::reclaim(ask, RECLAIM));
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        let mut claims = vec![claim("compiles", &["compiles"], JOBS as u64)];
        if ask.full() {
            claims.push(claim("swap-out", &["pswpout", "zswpout"], 256));
            // In a tmpfs without huge pages there are none to be had, and the builds are a load all the same.
            if ask.scratch.huge() {
                claims.push(claim("shmem-thp", &["thp_file_alloc"], 4));
            }
        }
        Ok(Job { says, claims, roles })
    }
}

/// The files of a tree: their names, and what is in them.
#[derive(Debug)]
struct Tree<'a> {
    at: &'a Path,
    seed: u64,
}

impl Tree<'_> {
    fn path(&self, kind: &str, number: u64) -> PathBuf {
        self.at.join(format!("{kind}-{number}"))
    }

    /// Its key, and its pages.
    fn contents(&self, kind: &str, number: u64) -> (u64, usize) {
        let key = mix(self.seed, mix(number, kind.len() as u64));
        let most = match kind {
            HEADER_FILE => HEADER,
            SOURCE => 4,
            _ => OBJECT,
        };
        (key, 1 + (mix(key, 1) % most as u64) as usize)
    }

    fn write(&self, kind: &str, number: u64) -> Result<(), Errno> {
        let (key, pages) = self.contents(kind, number);
        stamp::write(&self.path(kind, number), key, pages)
    }

    fn check(&self, kind: &str, number: u64) -> Result<(), Wrong> {
        let (key, pages) = self.contents(kind, number);
        stamp::check(&self.path(kind, number), key, pages)
    }
}

const HEADER_FILE: &str = "header";
const SOURCE: &str = "source";
const OBJECT_FILE: &str = "object";

fn make(life: &mut Life<'_>, at: &Path, shape: Shape, seed: u64) {
    // Whatever a killed build has left.
    let _ = std::fs::remove_dir_all(at);
    let made = std::fs::create_dir_all(at).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    if life.check_or(BUILD, "mkdir", made, &[Errno::NOSPC]).is_none() {
        return;
    }
    let tree = Tree { at, seed };
    let write = |life: &Life<'_>, kind: &str, number: u64| {
        life.check_or(WRITE, "writing a file", tree.write(kind, number), &[Errno::NOSPC]).is_some()
    };
    if !(0..HEADERS).all(|number| write(life, HEADER_FILE, number)) {
        return;
    }
    let mut running: Vec<Pid> = Vec::new();
    for number in 0..shape.sources {
        if running.len() == JOBS {
            let done = running.remove(0);
            if !ended(life, &tree, done) {
                return;
            }
        }
        // As late as can be: on huge=always each of these few pages comes as a huge one, which takes its time.
        if !write(life, SOURCE, number) {
            return;
        }
        running.extend(start(life, &tree, number, shape.heap));
    }
    if running.into_iter().all(|pid| ended(life, &tree, pid)) && link(life, &tree, shape.sources).is_some() {
        life.did(LINK);
    }
    let gone = std::fs::remove_dir_all(at).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    life.check_or(TEAR_DOWN, "removing the tree", gone, &[Errno::NOENT]);
}

/// Starts a compiler: by exec, or in a hurry as a mere fork.
fn start(life: &mut Life<'_>, tree: &Tree<'_>, number: u64, heap: usize) -> Option<Pid> {
    let by_exec = life.rng.percent(60);
    let seed = life.rng.next();
    let compiler = Compiler { tree: tree.at.to_owned(), key: tree.seed, number, heap, seed };
    let forked = crate::process::fork(|| {
        if by_exec {
            // Returns only if it failed, as it may under pressure.
            compiler.exec();
        }
        compiler.run().into()
    });
    if by_exec {
        life.did(EXEC);
    }
    life.check(FORK, "fork", forked)
}

/// Waits for a compiler; false if the build is lost.
fn ended(life: &Life<'_>, tree: &Tree<'_>, pid: Pid) -> bool {
    let Ok(Some((_, status))) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) else { return false };
    match (status.terminating_signal(), status.exit_status()) {
        (None, Some(0)) => {
            life.did(COMPILE);
            true
        }
        (None, Some(code)) if code == i32::from(NO_MEMORY) => {
            life.did(Op::ENOMEM);
            false
        }
        (None, Some(code)) if code == i32::from(WRONG) => {
            // It cannot say more than that. We may see what it saw.
            let wrong = (0..HEADERS).find_map(|n| match tree.check(HEADER_FILE, n) {
                Err(Wrong::Contents(detail)) => Some(detail),
                _ => None,
            });
            let wrong = wrong.unwrap_or_else(|| "which no other process finds now".to_owned());
            life.violation("data-mismatch", &format!("a compiler read or wrote wrong contents: {wrong}"));
            false
        }
        // The OOM killer.
        (Some(libc::SIGKILL), _) => false,
        (signal, code) => {
            life.violation("workload-signal", &format!("a compiler ended with signal {signal:?}, status {code:?}"));
            false
        }
    }
}

/// Maps all objects, and writes what they make.
fn link(life: &Life<'_>, tree: &Tree<'_>, sources: u64) -> Option<()> {
    let mut pages = 0;
    for number in 0..sources {
        match tree.check(OBJECT_FILE, number) {
            Ok(()) => pages += tree.contents(OBJECT_FILE, number).1,
            Err(Wrong::Errno(errno)) => {
                return life.check_or(LINK, "reading an object", Err(errno), &[]);
            }
            Err(Wrong::Contents(detail)) => {
                life.violation("data-mismatch", &detail);
                return None;
            }
        }
    }
    let path = tree.at.join("vmlinux");
    let written = stamp::write_mapped(&path, tree.seed, pages);
    life.check_or(WRITE, "writing the linked file", written, &[Errno::NOSPC])?;
    match stamp::check(&path, tree.seed, pages) {
        Ok(()) => Some(()),
        Err(Wrong::Errno(errno)) => life.check_or(LINK, "reading the linked file", Err(errno), &[]),
        Err(Wrong::Contents(detail)) => {
            life.violation("data-mismatch", &detail);
            None
        }
    }
}

/// One compiler.
#[derive(Debug)]
struct Compiler {
    tree: PathBuf,
    key: u64,
    number: u64,
    heap: usize,
    seed: u64,
}

impl Compiler {
    fn exec(&self) {
        let numbers = [self.key, self.number, self.heap as u64, self.seed].map(|n| n.to_string());
        let Some(tree) = self.tree.to_str() else { return };
        let words = ["torture", worker::COMPILE, tree].map(str::to_owned).into_iter().chain(numbers);
        let words: Vec<_> = words.filter_map(|word| CString::new(word).ok()).collect();
        let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
        argv.push(std::ptr::null());
        // SAFETY: a NULL-terminated array of NUL-terminated strings that are alive still.
        unsafe { libc::execv(c"/proc/self/exe".as_ptr(), argv.as_ptr()) };
    }

    fn parse(args: &[OsString]) -> Option<Self> {
        let [tree, numbers @ ..] = args else { return None };
        let numbers: Option<Vec<u64>> = numbers.iter().map(|n| n.to_str()?.parse().ok()).collect();
        let [key, number, heap, seed] = numbers?[..] else { return None };
        Some(Self { tree: tree.into(), key, number, heap: usize::try_from(heap).ok()?, seed })
    }

    /// Reads, computes, writes. Returns the exit status.
    fn run(&self) -> u8 {
        let tree = Tree { at: &self.tree, seed: self.key };
        let mut rng = Rng::new(self.seed);
        let status = |wrong: Wrong| match wrong {
            Wrong::Contents(_) => WRONG,
            Wrong::Errno(_) => NO_MEMORY,
        };
        let read = (0..INCLUDES).map(|_| (HEADER_FILE, rng.next() % HEADERS)).collect::<Vec<_>>();
        for (kind, number) in read.into_iter().chain([(SOURCE, self.number)]) {
            if let Err(wrong) = tree.check(kind, number) {
                return status(wrong);
            }
        }
        let pages = rng.between(self.heap / 4, self.heap).max(1);
        let Ok(mut heap) = Patterned::map(pages, 1, self.seed) else { return NO_MEMORY };
        heap.fill_some(0..pages, 1);
        let looked = rng.span(pages, pages);
        if heap.verify(looked).is_err() {
            return WRONG;
        }
        std::mem::forget(heap);
        match tree.write(OBJECT_FILE, self.number) {
            Ok(()) => 0,
            Err(_) => NO_MEMORY,
        }
    }
}

/// What this program does as a compiler: arguments as [`Compiler`] has them. Returns the exit status.
pub fn compile(args: &[OsString]) -> u8 {
    Compiler::parse(args).map_or(2, |compiler| compiler.run())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_handed_over_by_its_arguments() {
        let folder = std::env::temp_dir().join(format!("torture-test-kbuild-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let tree = Tree { at: &folder, seed: 9 };
        (0..HEADERS).for_each(|n| tree.write(HEADER_FILE, n).unwrap());
        tree.write(SOURCE, 3).unwrap();
        let args: Vec<OsString> = [folder.to_str().unwrap(), "9", "3", "40", "5"].map(Into::into).to_vec();
        assert_eq!(compile(&args), 0);
        assert!(tree.check(OBJECT_FILE, 3).is_ok());
        // Another key: every header is wrong.
        let args: Vec<OsString> = [folder.to_str().unwrap(), "8", "3", "40", "5"].map(Into::into).to_vec();
        assert_eq!(compile(&args), WRONG);
        assert_eq!(compile(&args[..3]), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
