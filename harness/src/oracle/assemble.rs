//! The engine: groups lines to reports. It holds a few open reports and a few lines' worth of what may precede one, no text.

use super::body::{classify, Part};
use super::finding::{Class, Notice};
use super::formats::{End, Table, COMPILED};
use super::line::{Caller, Line, RawLine};
use super::report::{Over, Report};

/// Reports open at once: one a caller, on a machine all of whose CPUs fail together.
const MAX_OPEN: usize = 8;
/// What precedes reports, at once.
const MAX_PREAMBLES: usize = 4;
/// Bytes looked at in one go while nothing is open; they should fit into the L1 cache.
const IDLE_BLOCK: usize = 16 << 10;
/// Findings of one boot; a broken kernel can print them for ever.
const MAX_FINDINGS: u64 = 256;

/// Lines that stand before a report's head and belong to it.
#[derive(Debug)]
struct Preamble {
    caller: Option<Caller>,
    first_line: u64,
    first_byte: u64,
    /// The last line at which a head may still take it.
    expires: u64,
    /// `VM_BUG_ON_VMA()` and `VM_BUG_ON_MM()` dump the thing and do not print the condition.
    condition: Option<&'static str>,
    /// The text of a `WARN()`, which x86 prints between the cut mark and the head.
    text: Option<String>,
    cut_here: bool,
}

/// State between lines.
#[derive(Debug)]
pub(super) struct Engine {
    table: &'static Table,
    open: Vec<Report>,
    preambles: Vec<Preamble>,
    boot: Boot,
    /// A finding that stops a trial was opened in this boot.
    failed: bool,
    findings: u64,
    suppressed: u64,
    /// The line that is being read is the log's last and has no end.
    cut: bool,
    /// Whether the caller wants to hear of noise.
    pub noise: bool,
}

/// What has been seen of the current boot.
#[derive(Debug, Default)]
struct Boot {
    /// `Linux version`.
    banner: bool,
    /// A line that the kernel stamped with a time other than zero: it ran before what comes now.
    ran: bool,
}

impl Engine {
    /// Before the first line.
    pub fn new() -> Engine {
        Engine {
            table: &COMPILED,
            open: Vec::new(),
            preambles: Vec::new(),
            boot: Boot::default(),
            cut: false,
            noise: false,
            failed: false,
            findings: 0,
            suppressed: 0,
        }
    }

    /// Heads that opened no report because the boot had too many.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// How many of these bytes, which begin a line, are whole lines that no report can begin with or go on in. What is passed over
    /// so would have been passed over line by line.
    pub fn idle_over(&self, bytes: &[u8]) -> usize {
        if !(self.open.is_empty() && self.preambles.is_empty() && self.boot.ran) {
            return 0;
        }
        let whole = |bytes: &[u8]| memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let bytes = &bytes[..whole(&bytes[..bytes.len().min(IDLE_BLOCK)])];
        let bytes = if is_plain(bytes) {
            bytes
        } else {
            let odd = bytes.iter().position(|b| !is_plain(std::slice::from_ref(b))).unwrap_or(0);
            &bytes[..whole(&bytes[..odd])]
        };
        self.table.first_that_may_matter(bytes).map_or(bytes.len(), |at| whole(&bytes[..at]))
    }

    /// One line of the stream.
    pub fn line(&mut self, raw: &RawLine<'_>, notices: &mut Vec<Notice>) {
        if !self.boot.ran {
            self.boot.ran = bears_a_time(raw.bytes);
        }
        if self.open.is_empty() && self.preambles.is_empty() && is_plain(raw.bytes) && !self.table.may_matter(raw.bytes)
        {
            return;
        }
        let line = Line::parse(raw);
        self.cut = !line.terminated;
        self.preambles.retain(|p| line.number <= p.expires);
        if line.dropped {
            self.open.iter_mut().for_each(|report| report.damaged("printk messages were dropped"));
        }
        match self.table.head(&line.text, line.stamped, self.open.is_empty()) {
            Some((row, captures)) => self.head(row, captures, &line, notices),
            None => self.body(&line, notices),
        }
    }

    /// The console is silent: what is open is over.
    pub fn close_all(&mut self, over: Over, notices: &mut Vec<Notice>) {
        for report in std::mem::take(&mut self.open) {
            self.complete(report, over, notices);
        }
    }

    fn complete(&self, report: Report, over: Over, notices: &mut Vec<Notice>) {
        // The whole of a line that is cut off may be something else, so nothing ends at it.
        let over = if self.cut && over == Over::Superseded { Over::LogEnd } else { over };
        if self.noise || !report.is_noise() {
            notices.push(Notice::Completed(report.close(over)));
        }
    }

    fn head(
        &mut self,
        row: &'static super::formats::Row,
        captures: super::pattern::Captures<'_>,
        line: &Line<'_>,
        notices: &mut Vec<Notice>,
    ) {
        let format = row.format;
        if let Some(report) = self.open.iter_mut().rev().find(|r| r.absorbs(row, line.caller)) {
            report.absorb(captures, line);
            return;
        }
        if format.class == Class::Reboot {
            let boot =
                std::mem::replace(&mut self.boot, Boot { banner: line.text.contains("Linux version"), ran: false });
            if !(boot.banner || boot.ran) {
                return;
            }
            self.close_all(Over::Reboot, notices);
            self.preambles.clear();
        } else {
            let panic = format.class == Class::Panic;
            let done = |r: &Report| !(panic && r.shares_trace_with_panic());
            let meets = |r: &Report| r.owns(line.caller) || line.caller.is_none();
            let meets = |r: &Report| meets(r) && r.may_own(line);
            // A report of one line stands between another's lines; one with a trace ends it.
            if format.end != End::Line {
                let noise = format.class.is_noise();
                // Nobody but noise prints a trace while the kernel panics.
                let ends = |r: &Report| meets(r) && done(r) && !(noise && r.is_panic());
                if noise {
                    self.open.iter_mut().filter(|r| meets(r)).for_each(Report::interrupted_by_noise);
                }
                if noise && self.open.iter().any(|r| meets(r) && r.is_panic()) {
                    return;
                }
                self.close_where(ends, notices);
            }
        }
        if self.findings >= MAX_FINDINGS && format.class != Class::Reboot {
            self.suppressed += 1;
            return;
        }
        if self.open.len() >= MAX_OPEN {
            let oldest = self.open.remove(0);
            self.complete(oldest, Over::Superseded, notices);
        }
        self.findings += u64::from(!format.class.is_noise());
        let mut report = Report::open(row, captures, line, !self.failed);
        self.failed |= format.severity.stops_trial();
        if let Some(at) = self.preambles.iter().position(|p| p.caller == line.caller) {
            let p = self.preambles.remove(at);
            let takes_condition = matches!(format.class, Class::KernelBug | Class::Warning);
            let condition = p.condition.filter(|_| takes_condition).map(|dump| {
                let verb = if format.class == Class::Warning { "VM_WARN_ON_" } else { "VM_BUG_ON_" };
                format!("{verb}{dump}")
            });
            report.precede(p.first_line, p.first_byte, condition, p.text.filter(|_| format.class == Class::Warning));
        }
        if self.noise || !format.class.is_noise() {
            notices.push(Notice::Opened {
                class: format.class,
                severity: format.severity,
                headline: line.text.trim().to_owned(),
            });
        }
        if format.end == End::Line {
            self.complete(report, Over::Itself, notices);
        } else {
            self.open.push(report);
        }
        if format.class == Class::Reboot {
            // Another kernel runs now; what it finds is not a consequence.
            (self.failed, self.findings, self.suppressed) = (false, 0, 0);
        }
    }

    fn body(&mut self, line: &Line<'_>, notices: &mut Vec<Notice>) {
        let part = if self.open.is_empty() { Part::Other } else { classify(&line.text) };
        let owned = self.open.iter().any(|r| r.owns(line.caller));
        let mut taken = false;
        let mut at = 0;
        while let Some(report) = self.open.get_mut(at) {
            let (over, own) = if !report.may_own(line) {
                (report.pass_by(), false)
            } else if report.owns(line.caller) || (!owned && report.borrows(line.caller)) {
                let result = report.take(line, &part);
                taken |= result.is_ok();
                (result != Ok(false), result == Ok(true))
            } else {
                (report.pass_by(), false)
            };
            if !over {
                at += 1;
                continue;
            }
            let report = self.open.remove(at);
            // Its end marker, the end of its trace; or that it was over before.
            self.complete(report, if own { Over::Itself } else { Over::Superseded }, notices);
        }
        // A separator inside a report is its own, everything else may begin the next report's preamble.
        if !(taken && part == Part::Separator) {
            self.preamble(line);
        }
    }

    fn close_where(&mut self, mut which: impl FnMut(&Report) -> bool, notices: &mut Vec<Notice>) {
        let mut at = 0;
        while at < self.open.len() {
            if which(&self.open[at]) {
                let report = self.open.remove(at);
                self.complete(report, Over::Superseded, notices);
            } else {
                at += 1;
            }
        }
    }

    fn preamble(&mut self, line: &Line<'_>) {
        let text = line.text.trim();
        let known = self.preambles.iter_mut().find(|p| p.caller == line.caller);
        let cut_here = text.contains("[ cut here ]");
        let Some((lifetime, condition)) = preamble_kind(text) else {
            if let Some(p) = known.filter(|p| p.cut_here && p.text.is_none() && !text.is_empty()) {
                p.text = Some(text.chars().take(200).collect());
            }
            return;
        };
        match known {
            Some(p) if cut_here => {
                p.expires = p.expires.max(line.number + lifetime);
                p.cut_here = true;
            }
            // `raw:`, `flags:` and a page's head all follow one `page:` line.
            Some(p) if p.condition.is_none() && condition.is_none() && p.expires > line.number + lifetime => {}
            known => {
                let fresh = Preamble {
                    caller: line.caller,
                    first_line: line.number,
                    first_byte: line.first_byte,
                    expires: line.number + lifetime,
                    condition,
                    text: None,
                    cut_here,
                };
                match known {
                    Some(p) => *p = fresh,
                    None => {
                        if self.preambles.len() >= MAX_PREAMBLES {
                            self.preambles.remove(0);
                        }
                        self.preambles.push(fresh);
                    }
                }
            }
        }
    }
}

/// For how many lines what begins here may precede a report's head, and what it says about the condition.
fn preamble_kind(text: &str) -> Option<(u64, Option<&'static str>)> {
    if text.contains("[ cut here ]") {
        return Some((40, None));
    }
    // dump_page(), with page_owner's traces before the head.
    if text.starts_with("page:") && text.contains("refcount:") {
        return Some((120, None));
    }
    if text.starts_with("vma ") && text.contains(" start ") {
        return Some((40, Some("VMA")));
    }
    if text.starts_with("mm ") && (text.contains(" mmap ") || text.contains(" task_size ")) {
        return Some((60, Some("MM")));
    }
    // Lockdep and the sanitizers begin with a line of `=` directly above their head.
    (text.len() >= 20 && text.bytes().all(|b| b == b'=')).then_some((2, None))
}

/// `[   12.345678]` with or without a level before it, and not `[    0.000000]`; or a program's `2022/11/06 12:00:00`.
fn bears_a_time(bytes: &[u8]) -> bool {
    if let [b'2', b'0', _, _, b'/', _, _, b'/', ..] = bytes {
        return true;
    }
    let bytes = if bytes.first() == Some(&b'<') { bytes.get(3..).unwrap_or_default() } else { bytes };
    let Some(inside) = bytes.strip_prefix(b"[") else { return false };
    let Some(end) = inside.iter().take(20).position(|&b| b == b']') else { return false };
    let time = &inside[..end];
    time.contains(&b'.')
        && time.iter().all(|b| matches!(b, b' ' | b'.' | b'0'..=b'9'))
        && time.iter().any(|b| (b'1'..=b'9').contains(b))
}

/// Whether a line's text is its bytes: no escape sequence or control character can hide a trigger in it.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &b| plain & (b >= 0x20 || matches!(b, b'\t' | b'\r' | b'\n')))
}
