//! What the kernel tells of a memory cgroup in memory.stat, held against the pages that are charged to it.
//!
//! /proc/kpagecgroup says which cgroup each page of the machine is charged to, /proc/kpagecount how often it is mapped,
//! /proc/kpageflags what it is (Documentation/admin-guide/mm/pagemap.rst): together the truth, which the statistics are
//! only kept in step with. They are off for a moment whenever a page changes; an update that went to the wrong cgroup is
//! off for good. So a difference counts only if it stays as it is.

use crate::cgroup::Group;
use crate::region::PAGE;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
const DIRTY: u64 = 1 << 4;
const WRITEBACK: u64 = 1 << 8;
const ANON: u64 = 1 << 12;
const SWAPBACKED: u64 = 1 << 14;
const TAIL: u64 = 1 << 16;

/// A line of memory.stat.
struct Stat {
    /// Its name in v1 and in v2.
    names: [&'static str; 2],
    /// Whether a page counts for it: by its flags, and whether it is mapped.
    counts: fn(u64, bool) -> bool,
}

const STATS: [Stat; 4] = [
    Stat { names: ["rss", "anon"], counts: |flags, mapped| mapped && flags & ANON != 0 },
    Stat { names: ["mapped_file", "file_mapped"], counts: |flags, mapped| mapped && flags & ANON == 0 },
    // Neither anonymous memory nor shmem has dirty pages that anybody counts (mapping_can_writeback()).
    Stat { names: ["dirty", "file_dirty"], counts: |flags, _| flags & (ANON | SWAPBACKED) == 0 && flags & DIRTY != 0 },
    Stat { names: ["writeback", "file_writeback"], counts: |flags, _| flags & WRITEBACK != 0 },
];

/// Pages, for each of [`STATS`].
type Counts = [i64; STATS.len()];

/// Pages that are looked at in one go. No compound page reaches from one go into the next.
const CHUNK: usize = 8192;

/// How often a difference must have been seen.
const TIMES: u32 = 5;

/// Reads the truth.
#[derive(Debug)]
pub struct Auditor {
    groups: File,
    flags: File,
    mapped: File,
    buffers: [Vec<u8>; 3],
}

impl Auditor {
    /// Opens the files.
    ///
    /// # Errors
    /// This kernel has none of them (CONFIG_PROC_PAGE_MONITOR), or they are not for this user.
    pub fn open() -> io::Result<Self> {
        let open = |name: &str| File::open(format!("/proc/{name}"));
        let buffers = [(); 3].map(|()| vec![0; CHUNK * 8]);
        Ok(Self { groups: open("kpagecgroup")?, flags: open("kpageflags")?, mapped: open("kpagecount")?, buffers })
    }

    /// Looks at `group`, in which nothing is going on, for as long as it takes: what is off for good, a line each.
    ///
    /// # Errors
    /// The group is gone, or a file cannot be read.
    pub fn audit(&mut self, group: &Group) -> io::Result<Vec<String>> {
        let patience = patience(group.is_v1());
        let (start, inode) = (Instant::now(), group.inode()?);
        let mut seen = Seen::default();
        while start.elapsed() < patience * 3 {
            let before = self.truth(inode)?;
            let told = told(&group.stat()?, group.is_v1());
            let after = self.truth(inode)?;
            seen.take(start.elapsed(), before, told, after);
            if let Some(off) = seen.verdict(patience) {
                return Ok(off.into_iter().map(|at| seen.says(at, group.is_v1())).collect());
            }
            std::thread::sleep(patience / 20);
        }
        // Something goes on after all.
        Ok(Vec::new())
    }

    /// What is charged to the cgroup with this inode.
    fn truth(&mut self, inode: u64) -> io::Result<Counts> {
        let mut counts = Counts::default();
        let [groups, flags, mapped] = &mut self.buffers;
        for first in (0..).step_by(CHUNK * 8) {
            let pages = read(&self.groups, groups, first)?;
            if pages == 0 {
                break;
            }
            // Most of memory is not the group's.
            if !words(groups, pages).any(|group| group == inode) {
                continue;
            }
            let both = read(&self.flags, flags, first)?.min(read(&self.mapped, mapped, first)?);
            let pages = pages.min(both);
            tally(&mut counts, inode, words(groups, pages), words(flags, pages), words(mapped, pages));
        }
        Ok(counts)
    }
}

/// How long a difference must last. v1 adds up the counts of the CPUs; v2 has them gathered every two seconds
/// (mm/memcontrol.c, flush_memcg_stats_dwork()), by work that waits for its turn.
fn patience(v1: bool) -> Duration {
    Duration::from_secs(if v1 { 1 } else { 10 })
}

/// Words from byte `first` on; how many there are.
fn read(file: &File, into: &mut [u8], first: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], first + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done / 8)
}

fn words(bytes: &[u8], count: usize) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).take(count).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
}

/// Adds what of these pages is charged to the cgroup `inode`.
fn tally(
    counts: &mut Counts,
    inode: u64,
    groups: impl Iterator<Item = u64>,
    flags: impl Iterator<Item = u64>,
    mapped: impl Iterator<Item = u64>,
) {
    let mut head = (0, 0);
    for ((group, flags), mapped) in groups.zip(flags).zip(mapped) {
        // Of a compound page, the head alone is charged, dirty or under writeback, for all.
        let (group, flags) = if flags & TAIL == 0 {
            head = (group, flags);
            head
        } else {
            (head.0, flags | head.1 & (DIRTY | WRITEBACK | SWAPBACKED))
        };
        if group == inode {
            for (count, stat) in counts.iter_mut().zip(&STATS) {
                *count += i64::from((stat.counts)(flags, mapped > 0));
            }
        }
    }
}

/// What memory.stat says, in pages.
fn told(text: &str, v1: bool) -> Counts {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<i64>().ok()).unwrap_or_default() / PAGE as i64
    };
    STATS.each_ref().map(|stat| value(stat.names[usize::from(!v1)]))
}

/// What was seen of one line of memory.stat.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// It has told the truth.
    right: bool,
    /// The last difference, in pages; since when, how often, and the truth of the last time.
    off: i64,
    since: Duration,
    last: Duration,
    times: u32,
    truth: i64,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    lines: [Line; STATS.len()],
}

impl Seen {
    /// Takes what was told between two looks at the truth.
    fn take(&mut self, now: Duration, before: Counts, told: Counts, after: Counts) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            // It changed meanwhile: nothing can be said.
            if before[at] != after[at] {
                continue;
            }
            let off = told[at] - before[at];
            line.right |= off == 0;
            if line.times == 0 || line.off != off {
                *line = Line { off, since: now, times: 0, ..*line };
            }
            *line = Line { times: line.times + 1, last: now, truth: before[at], ..*line };
        }
    }

    /// Which lines are off for good; none, if all have told the truth; `None`, if it is too early to say.
    fn verdict(&self, patience: Duration) -> Option<Vec<usize>> {
        let lasting =
            |line: &Line| !line.right && line.off != 0 && line.times >= TIMES && line.last - line.since >= patience;
        let off: Vec<_> = (0..STATS.len()).filter(|&at| lasting(&self.lines[at])).collect();
        (!off.is_empty() || self.lines.iter().all(|line| line.right)).then_some(off)
    }

    fn says(&self, at: usize, v1: bool) -> String {
        let (line, name) = (&self.lines[at], STATS[at].names[usize::from(!v1)]);
        format!(
            "memory.stat has {} pages of {name}, {} charged pages are: {:+} for {} ms",
            line.truth + line.off,
            line.truth,
            line.off,
            (line.last - line.since).as_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pages_count_by_what_they_are_and_whose() {
        let mut counts = Counts::default();
        let groups = [7, 0, 7, 7, 9, 7];
        let flags = [ANON, ANON | TAIL, 0, DIRTY, ANON, SWAPBACKED | DIRTY | WRITEBACK];
        tally(&mut counts, 7, groups.into_iter(), flags.into_iter(), [1, 2, 1, 0, 1, 0].into_iter());
        assert_eq!(counts, [2, 1, 1, 1]);
    }

    #[test]
    fn lines_are_read_by_their_whole_name() {
        let v1 = "rss_huge 2097152\nrss 8192\nmapped_file 4096\ndirty 0\ntotal_rss 40960\n";
        assert_eq!(told(v1, true), [2, 1, 0, 0]);
        assert_eq!(told("anon 4096\nfile_mapped 0\nfile_dirty 12288\nfile_writeback 4096\n", false), [1, 0, 3, 1]);
    }

    fn after(looks: &[(i64, i64, i64)]) -> Option<Vec<usize>> {
        let mut seen = Seen::default();
        let line = |value| [value, 0, 0, 0];
        for (i, &(before, told, after)) in looks.iter().enumerate() {
            seen.take(SECOND / 2 * i as u32, line(before), line(told), line(after));
        }
        seen.verdict(SECOND * 2)
    }

    #[test]
    fn only_what_stays_off_by_as_much_is_off() {
        assert_eq!(after(&[(5, 6, 5); 5]), Some(vec![0]));
        assert_eq!(after(&[(5, 6, 5); 4]), None, "too early");
        assert_eq!(after(&[(5, 6, 5), (6, 7, 6), (5, 6, 5), (5, 6, 5), (9, 10, 9)]), Some(vec![0]), "of another truth");
        assert_eq!(after(&[(5, 6, 5), (5, 6, 5), (5, 5, 5)]), Some(vec![]), "right at last");
        assert_eq!(after(&[(5, 6, 5), (5, 7, 5), (5, 6, 5), (5, 7, 5), (5, 6, 5)]), None, "moves");
        assert_eq!(after(&[(5, 6, 6); 9]), None, "never quiet");
    }

    #[test]
    fn a_difference_is_told_in_pages() {
        let mut seen = Seen::default();
        seen.take(SECOND, [3, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]);
        seen.take(SECOND * 2, [3, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]);
        assert_eq!(seen.says(0, true), "memory.stat has 2 pages of rss, 3 charged pages are: -1 for 1000 ms");
    }
}
