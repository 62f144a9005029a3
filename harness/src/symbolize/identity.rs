//! Whether a log and a vmlinux are of the same kernel.
//!
//! A kernel names itself in its banner (`Linux version RELEASE (USER) (COMPILER) #N REST`) and in the `CPU:` line of every
//! report (`... Not tainted RELEASE #N [BUILD-ID]`, the last with `CONFIG_STACKTRACE_BUILD_ID`).

use super::elf::BANNER;
use std::collections::VecDeque;
use std::fmt;

/// Bytes of a line that are looked at.
const MAX_LINE: usize = 4096;
/// Kernels remembered of one log; the oldest go first.
const MAX_NAMES: usize = 1024;
/// Digits of a build id: SHA-1 commonly, 16 to 32 bytes with other linkers.
const BUILD_ID_DIGITS: std::ops::RangeInclusive<usize> = 32..=64;

/// What tells one kernel build from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `uname -r`.
    pub release: Option<String>,
    /// The build's number or name, `#1`.
    pub number: Option<String>,
    /// What follows the number in the banner: `SMP PREEMPT_DYNAMIC` and the time of the build.
    pub rest: Option<String>,
    /// The GNU build id in hexadecimal.
    pub build_id: Option<String>,
}

impl Identity {
    /// Of a text that holds a banner.
    pub fn of_banner(text: &str) -> Option<Self> {
        let text = &text[text.find(BANNER)? + BANNER.len()..];
        let (release, rest) = text.split_once(' ').unwrap_or((text, ""));
        let release = is_release(release).then(|| release.to_owned())?;
        // The last one: a compiler's or a user's name may hold a `#` too.
        let at = rest.match_indices(" #").map(|(at, _)| at).filter(|&at| is_number(word(&rest[at + 1..]))).last();
        let (number, rest) = match at {
            Some(at) => {
                let number = word(&rest[at + 1..]);
                (Some(number.to_owned()), rest[at + 1 + number.len()..].trim())
            }
            None => (None, ""),
        };
        let rest = (!rest.is_empty()).then(|| rest.to_owned());
        Some(Self { release: Some(release), number, rest, build_id: None })
    }

    /// Of a report's `CPU:` line.
    pub fn of_cpu_line(text: &str) -> Option<Self> {
        let text = &text[text.find("CPU: ")?..];
        // Behind the taint, for a task may be called anything. Taint letters are no release: those begin with a digit.
        let text = &text[text.find("ainted")?..];
        let words: Vec<&str> = text.split_whitespace().take(64).collect();
        let at = words.windows(2).position(|pair| is_release(pair[0]) && is_number(pair[1]))?;
        let is_id = |word: &&&str| BUILD_ID_DIGITS.contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self {
            release: Some(words[at].to_owned()),
            number: Some(words[at + 1].to_owned()),
            rest: None,
            build_id: words[at + 2..].iter().find(is_id).map(|id| id.to_ascii_lowercase()),
        })
    }

    /// Whether a log of `self` is of the kernel `vmlinux`.
    pub fn compare(&self, vmlinux: &Self) -> Verdict {
        let different = || Verdict::Different(format!("the log is of {self}, the vmlinux is {vmlinux}"));
        if let (Some(a), Some(b)) = (&self.build_id, &vmlinux.build_id) {
            return if a == b { Verdict::Same("build id") } else { different() };
        }
        for (a, b) in [(&self.release, &vmlinux.release), (&self.number, &vmlinux.number)] {
            if matches!((a, b), (Some(a), Some(b)) if a != b) {
                return different();
            }
        }
        match (&self.rest, &vmlinux.rest) {
            // A console may have cut the line off.
            (Some(a), Some(b)) if !b.starts_with(a.as_str()) => different(),
            (Some(_), Some(_)) => Verdict::Same("banner"),
            _ if self.release.is_some() && vmlinux.release.is_some() => Verdict::Same("release"),
            _ => Verdict::Unknown,
        }
    }
}

/// `6.1.0 #1 SMP Tue ... (build id 0123)`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.release.as_deref().unwrap_or("an unknown release"))?;
        for part in [&self.number, &self.rest].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        self.build_id.as_ref().map_or(Ok(()), |id| write!(f, " (build id {id})"))
    }
}

/// What [`Identity::compare`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same, as far as this tells: `build id`, `banner`, or merely the `release` and build number.
    Same(&'static str),
    /// Two kernels; says which.
    Different(String),
    /// The log or the vmlinux does not say what it is.
    Unknown,
}

fn word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn is_release(word: &str) -> bool {
    word.len() <= 64 && word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
}

/// `#1` commonly, but `KBUILD_BUILD_VERSION` may be anything; our own kernels have their content's hash there.
fn is_number(word: &str) -> bool {
    word.strip_prefix('#').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Collects the names of the kernels that speak in a log, as its bytes pass.
#[derive(Debug, Default)]
pub struct Identities {
    /// The unfinished line.
    line: Vec<u8>,
    /// Where it begins in the log.
    line_start: u64,
    offset: u64,
    banners: VecDeque<(u64, Identity)>,
    cpu_lines: VecDeque<(u64, Identity)>,
}

impl Identities {
    /// The next bytes of the log, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.offset += part.len() as u64;
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// The log is over.
    pub fn finish(&mut self) {
        self.end_line();
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        for (names, name) in
            [(&mut self.banners, Identity::of_banner(&text)), (&mut self.cpu_lines, Identity::of_cpu_line(&text))]
        {
            let Some(name) = name.filter(|name| names.back().map(|(_, last)| last) != Some(name)) else { continue };
            if names.len() == MAX_NAMES {
                names.pop_front();
            }
            names.push_back((self.line_start, name));
        }
        self.line.clear();
        self.line_start = self.offset;
    }

    /// The kernel of a report that ends before byte `end` of the log: by its boot's banner and its `CPU:` line.
    pub fn at(&self, end: u64) -> Identity {
        let last = |names: &VecDeque<(u64, Identity)>| names.iter().rev().find(|(at, _)| *at < end).cloned();
        let banner = last(&self.banners);
        let booted = banner.as_ref().map_or(0, |(at, _)| *at);
        // One from before the boot is another kernel's.
        let cpu_line = last(&self.cpu_lines).filter(|(at, _)| *at >= booted);
        match (banner, cpu_line) {
            (Some((_, banner)), Some((_, cpu_line))) => Identity { build_id: cpu_line.build_id, ..banner },
            (Some((_, name)), None) | (None, Some((_, name))) => name,
            (None, None) => Identity::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "[    0.000000] Linux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org) \
        (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC \
        Debian 6.1.176-1 (2026-07-02)";
    const ID: &str = "bb603a9147d3efe4744bf83c83eee397c591cc20";

    fn cpu(text: &str) -> Option<String> {
        Identity::of_cpu_line(text).map(|name| name.to_string())
    }

    #[test]
    fn kernels_name_themselves() {
        let banner = Identity::of_banner(DEBIAN).unwrap();
        assert_eq!(banner.to_string(), "6.1.0-50-cloud-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)");
        let line = "[   4.0][  T100] CPU: 1 PID: 100 Comm: a #1 b Not tainted 6.1.192 #2";
        assert_eq!(cpu(line).as_deref(), Some("6.1.192 #2"));
        let line =
            "CPU: 0 UID: 0 PID: 1 Comm: x Kdump: loaded Tainted: G    B   W          6.12.0-rc1+ #3 PREEMPT(full) ";
        assert_eq!(cpu(line).as_deref(), Some("6.12.0-rc1+ #3"));
        let line = format!("CPU: 0 PID: 1 Comm: x Tainted: G    B   W  OE      6.1.0 #1  {ID}");
        assert_eq!(cpu(&line), Some(format!("6.1.0 #1 (build id {ID})")));
        for line in
            ["WARNING: CPU: 0 PID: 25919 at kernel/locking/lockdep.c:704", "tainted CPU: ", "CPU: tainted #1", ""]
        {
            assert_eq!(cpu(line), None, "{line}");
        }
        assert_eq!(Identity::of_banner("Linux version of events"), None);
    }

    #[test]
    fn a_log_is_compared_with_a_vmlinux() {
        let vmlinux = Identity { build_id: Some(ID.to_owned()), ..Identity::of_banner(DEBIAN).unwrap() };
        let log = |text: &str| Identity::of_banner(text).or_else(|| Identity::of_cpu_line(text)).unwrap_or_default();
        let verdict = |text: &str| log(text).compare(&vmlinux);
        assert_eq!(verdict(DEBIAN), Verdict::Same("banner"));
        assert_eq!(verdict(&DEBIAN[..DEBIAN.len() - 8]), Verdict::Same("banner"), "cut off");
        assert_eq!(verdict("nothing"), Verdict::Unknown);
        let line = "CPU: 0 PID: 1 Comm: x Not tainted 6.1.0-50-cloud-amd64 #1";
        assert_eq!(verdict(line), Verdict::Same("release"));
        assert_eq!(verdict(&format!("{line} {ID}")), Verdict::Same("build id"));
        let other = ID.replace('b', "c");
        for text in [
            line.replace("-50-", "-49-"),
            line.replace("#1", "#2"),
            format!("{line} {other}"),
            DEBIAN.replace("2026", "2025"),
        ] {
            assert!(matches!(verdict(&text), Verdict::Different(_)), "{text}");
        }
        let Verdict::Different(why) = verdict(&line.replace("#1", "#7")) else { panic!("they differ") };
        assert!(why.starts_with("the log is of 6.1.0-50-cloud-amd64 #7, the vmlinux is 6.1.0-50-cloud-amd64 #1 SMP"));
    }

    #[test]
    fn every_boot_of_a_log_has_its_kernel() {
        let other = DEBIAN.replace("6.1.0-50", "6.1.0-49");
        let line = format!("CPU: 0 PID: 1 Comm: x Not tainted 6.1.0-50-cloud-amd64 #1 {ID}");
        let log = format!("firmware\n{DEBIAN}\n{line}\nbug\n{other}\nbug\n");
        let first = log.find("bug").unwrap() as u64;
        for step in 1..log.len() {
            let mut names = Identities::default();
            for part in log.as_bytes().chunks(step) {
                names.feed(part);
            }
            names.finish();
            assert_eq!(names.at(3), Identity::default());
            assert_eq!(names.at(first).build_id.as_deref(), Some(ID));
            assert_eq!(names.at(first).rest, Identity::of_banner(DEBIAN).unwrap().rest);
            let last = names.at(log.len() as u64);
            assert_eq!((last.release.as_deref(), last.build_id), (Some("6.1.0-49-cloud-amd64"), None));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Identities::default();
        for n in 0..2 * MAX_NAMES {
            names.feed(format!("Linux version 6.{n}.0 x #1\n").as_bytes());
        }
        names.feed(&[b'x'; 3 * MAX_LINE]);
        assert_eq!((names.banners.len(), names.line.len()), (MAX_NAMES, MAX_LINE));
    }
}
