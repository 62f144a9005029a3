//! `kbuild:OBJECTS`: gcc compiles kernel objects, and ld links them, in two builds at a time, with more to hold than there is
//! memory; then the trees are torn down, swap is emptied if it can be, and the next pair begins.
//!
//! Sources, headers and objects are in the scratch folder. Where that is ext4, one of the two builds is in a tmpfs. Every
//! object must be what the same compiler makes of it on the host: what differs is a `data-mismatch`. A compiler that dies, or
//! finds an error in what it reads, is a violation; one that gets no memory or no room is not.

use super::program::{self, Ended, Program};
use super::root::{Root, TMP};
use super::Job;
use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Role};
use crate::life::Life;
use crate::rng::Rng;
use crate::swapping;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

ops!(OPS:
    BUILD = "builds",
    OBJECT = "objects-identical",
    COPY = "files-copied",
    LINK = "links",
    GIVEN_UP = "builds-given-up",
    TEAR_DOWN = "trees-torn-down",
    SWAPOFF = "swapoffs",
);

/// Where the root has what is to be built (the host's side documents it).
const KBUILD: &str = "/kbuild";

/// How many builds there are at a time.
const BUILDS: u32 = 2;

/// A build that takes longer than this is stuck: a compiler needs some seconds for an object where all is emulated.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// Compilers of a build at a time, for each processor: enough of them to wait for swap beside those that compute.
const JOBS_PER_CPU: usize = 2;

/// What a compiler says when it gets no memory or no room, or was taken by the OOM killer.
const PRESSURE: &[&str] = &[
    "Cannot allocate memory",
    "out of memory",
    "virtual memory exhausted",
    "No space left on device",
    "Killed",
    "Resource temporarily unavailable",
];

/// Looks at what there is to build.
///
/// # Errors
/// One line: the root has nothing to build.
pub fn prepare(root: Root, objects: usize, ask: &Ask, host: &Host) -> Result<Job, String> {
    let all = list(&root.path(KBUILD).join("deps")).map_err(|e| format!("kbuild: --root has no {KBUILD}/deps: {e}"))?;
    if all.is_empty() || root.at().is_none() {
        return Err(format!("kbuild: expected a --root with {KBUILD}"));
    }
    let objects = objects.min(all.len());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = (cpus * JOBS_PER_CPU).to_string();
    let on_tmpfs = is_tmpfs(root.tmp());
    let places = if on_tmpfs { "in the scratch folder" } else { "one in the scratch folder, one in a tmpfs" };
    let says = vec![format!("{BUILDS} builds of {objects} objects each, {jobs} jobs at a time, {places}")];
    // The mount is the supervisor's, so that it is there whichever process builds.
    if !on_tmpfs {
        root.tmpfs("tmpfs", host.available + host.swap_free).ok_or("kbuild: no tmpfs can be mounted in --root")?;
    }
    let swap = if ask.full() { swapping::device() } else { None };
    let role = Role::new("make", BUILDS, move |life| {
        let below = if on_tmpfs || life.slot != 0 { TMP.to_owned() } else { format!("{TMP}/tmpfs") };
        let chosen = choose(&all, objects, &mut life.rng);
        build(life, &root, &format!("{below}/build-{}", life.slot), &chosen, &jobs);
        // Hugh Dickins' loop: an empty swap device after each build; leaks show as ENOMEM.
        if let Some(device) = swap.as_ref().filter(|_| swapping::fits()) {
            life.check_or(SWAPOFF, "swapoff and swapon", swapping::off_and_on(device), swapping::MAY);
        }
    });
    let mut claims = vec![claim("builds", &["builds"], 1), claim("objects", &["objects-identical"], 1)];
    if ask.full() && host.swap_free > 0 {
        claims.push(claim("swap-out", &["pswpout", "zswpout"], 16));
    }
    Ok(Job { says, ops: OPS.iter().map(|&op| op.to_owned()).collect(), claims, roles: vec![role] })
}

/// TMPFS_MAGIC (include/uapi/linux/magic.h).
fn is_tmpfs(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|fs| fs.f_type == 0x0102_1994)
}

/// The objects that there are files for below `folder`, in order.
fn list(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// So many of them, drawn.
fn choose(all: &[String], objects: usize, rng: &mut Rng) -> Vec<String> {
    let mut left: Vec<&String> = all.iter().collect();
    let mut chosen = Vec::new();
    while chosen.len() < objects && !left.is_empty() {
        let at = (rng.next() % left.len() as u64) as usize;
        chosen.push(left.swap_remove(at).clone());
    }
    chosen
}

/// One build in the folder `inside`, as programs of the root see it.
fn build(life: &mut Life<'_>, root: &Root, inside: &str, objects: &[String], jobs: &str) {
    let at = root.path(inside);
    // Whatever a killed build has left.
    let _ = std::fs::remove_dir_all(&at);
    if let Some(()) = copy(life, root, &at, objects) {
        let objects_are = format!("OBJECTS={}", objects.join(" "));
        let makefile = format!("{KBUILD}/Makefile");
        let args = ["/usr/bin/make", "-s", "-j", jobs, "-f", &makefile, &objects_are, "linked.o"];
        let program = Program { args: args.map(str::to_owned).to_vec(), dir: inside, limit: LIMIT };
        let oom_before = crate::supervise::oom_kills();
        let mut pressed = false;
        let ended = program::run(root, &program, |line| pressed |= PRESSURE.iter().any(|word| line.contains(word)));
        match ended {
            Ok(ended) if ended.code() == Some(0) => {
                life.did(LINK);
                if compare(life, root, &at, objects) {
                    life.did(BUILD);
                }
            }
            Ok(ended) => judge(life, &ended, pressed || crate::supervise::oom_kills() > oom_before),
            Err(errno) => drop(life.check::<()>(BUILD, "fork", Err(errno))),
        }
    }
    let gone = std::fs::remove_dir_all(&at).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    life.check_or(TEAR_DOWN, "removing the tree", gone, &[Errno::NOENT]);
}

/// What it means that make failed.
fn judge(life: &Life<'_>, ended: &Ended, pressed: bool) {
    match ended.status {
        None => life.violation("kbuild-stuck", &format!("a build took {} s: {}", LIMIT.as_secs(), ended.says())),
        Some(_) if pressed => life.did(GIVEN_UP),
        Some(_) => {
            let crashed = ["internal compiler error", "Segmentation fault", "Bus error", "Illegal instruction"];
            let crashed = ended.tail.iter().any(|line| crashed.iter().any(|word| line.contains(word)));
            let kind = if crashed || ended.signal().is_some() { "kbuild-compiler-crashed" } else { "kbuild-failed" };
            life.violation(kind, &ended.says());
        }
    }
}

/// Copies all that the objects are made of. `None`: there is no room for it, or it was told what is wrong.
fn copy(life: &Life<'_>, root: &Root, at: &Path, objects: &[String]) -> Option<()> {
    let kbuild = root.path(KBUILD);
    let may = [Errno::NOSPC];
    let errno = |error: &std::io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    let mut files = BTreeSet::new();
    for object in objects {
        let read = std::fs::read_to_string(kbuild.join("deps").join(object)).map_err(|e| errno(&e));
        let text = life.check_or(COPY, "reading the root", read, &[])?;
        files.extend(text.lines().map(str::to_owned));
    }
    let mut made = PathBuf::new();
    let folders = objects.iter().map(PathBuf::from).chain(files.iter().map(PathBuf::from));
    for folder in folders.filter_map(|path| path.parent().map(|folder| at.join(folder))) {
        if folder != made {
            let result = std::fs::create_dir_all(&folder).map_err(|e| errno(&e));
            life.check_or(COPY, "mkdir", result, &may)?;
            made = folder;
        }
    }
    for file in &files {
        let copied = std::fs::copy(kbuild.join("tree").join(file), at.join(file)).map_err(|e| errno(&e));
        life.check_or(COPY, "copying a file", copied, &may)?;
    }
    Some(())
}

/// Whether every object is as it must be.
fn compare(life: &Life<'_>, root: &Root, at: &Path, objects: &[String]) -> bool {
    let mut all = true;
    for object in objects {
        let read = |path: PathBuf| std::fs::read(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
        let want = read(root.path(KBUILD).join("objects").join(object));
        let (want, got) = match (want, read(at.join(object))) {
            (Ok(want), Ok(got)) => (want, got),
            (Err(errno), _) | (_, Err(errno)) => {
                life.check_or::<()>(OBJECT, "reading an object", Err(errno), &[]);
                all = false;
                continue;
            }
        };
        match difference(&want, &got) {
            None => life.did(OBJECT),
            Some(what) => {
                life.violation("data-mismatch", &format!("{object}: {what}"));
                all = false;
            }
        }
    }
    all
}

/// How two objects differ.
fn difference(want: &[u8], got: &[u8]) -> Option<String> {
    if want == got {
        return None;
    }
    let at = want.iter().zip(got).position(|(a, b)| a != b).unwrap_or(want.len().min(got.len()));
    let byte = |of: &[u8]| of.get(at).map_or("the end".to_owned(), |byte| format!("{byte:#04x}"));
    let (wanted, found, from, to) = (byte(want), byte(got), want.len(), got.len());
    let count = want.iter().zip(got).filter(|(a, b)| a != b).count();
    Some(format!("{count} bytes differ, the first at {at:#x}: {found}, expected {wanted}; {to} bytes, expected {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_objects_once_each() {
        let all: Vec<_> = (0..20).map(|n| format!("mm/{n}.o")).collect();
        let drawn = |seed| choose(&all, 8, &mut Rng::new(seed));
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
        assert_eq!(drawn(3).iter().collect::<BTreeSet<_>>().len(), 8);
        assert_eq!(choose(&all, 99, &mut Rng::new(1)).len(), 20);
    }

    #[test]
    fn objects_that_differ_say_where() {
        assert_eq!(difference(b"same", b"same"), None);
        let said = difference(b"\x01\x02\x03", b"\x01\x09\x03").unwrap();
        assert_eq!(said, "1 bytes differ, the first at 0x1: 0x09, expected 0x02; 3 bytes, expected 3");
        assert!(difference(b"ab", b"a").unwrap().contains("the end, expected 0x62"));
    }
}
