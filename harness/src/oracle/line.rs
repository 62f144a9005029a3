//! One console line: where it begins and ends in the stream, and its text without what printk and terminals put around it.

use std::borrow::Cow;

/// Bytes kept of one line; the kernel's own limit is about 1 KiB (`LOG_LINE_MAX`), the rest is noise.
pub(super) const MAX_LINE: usize = 4096;

/// Who printed a line, as `CONFIG_PRINTK_CALLER` says: `[ T123]` in task context, `[ C1]` in interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A task, by its pid.
    Task(u32),
    /// Interrupt context of a CPU.
    Cpu(u32),
}

/// A line of the stream before anything was stripped.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawLine<'a> {
    /// At most [`MAX_LINE`] bytes, without the newline.
    pub bytes: &'a [u8],
    /// 1-based number in the stream.
    pub number: u64,
    /// Offset of its first byte.
    pub first_byte: u64,
    /// Offset past its newline.
    pub end_byte: u64,
    /// False for the last line of a stream that does not end in a newline.
    pub terminated: bool,
}

/// Cuts a stream to lines, however its bytes arrive; holds at most one line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
    number: u64,
    line_start: u64,
    position: u64,
}

impl Splitter {
    /// Feeds bytes; `each` is called for every line that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(RawLine<'_>)) {
        while let Some(newline) = memchr::memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(newline);
            bytes = &rest[1..];
            self.position += newline as u64 + 1;
            if self.partial.is_empty() {
                self.emit(&head[..head.len().min(MAX_LINE)], true, &mut each);
            } else {
                self.keep(head);
                let line = std::mem::take(&mut self.partial);
                self.emit(&line, true, &mut each);
                self.partial = line;
                self.partial.clear();
            }
        }
        self.keep(bytes);
        self.position += bytes.len() as u64;
    }

    /// Whether the next byte begins a line.
    pub fn at_line_start(&self) -> bool {
        self.line_start == self.position
    }

    /// Passes over bytes that are whole lines, at the start of a line.
    pub fn skip(&mut self, lines: &[u8]) {
        self.number += memchr::memchr_iter(b'\n', lines).count() as u64;
        self.position += lines.len() as u64;
        self.line_start = self.position;
    }

    /// The stream is over: hands out the unterminated last line, if there is one.
    pub fn finish(&mut self, mut each: impl FnMut(RawLine<'_>)) {
        if self.position > self.line_start {
            let line = std::mem::take(&mut self.partial);
            self.emit(&line, false, &mut each);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.partial.len().min(MAX_LINE);
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn emit(&mut self, bytes: &[u8], terminated: bool, each: &mut impl FnMut(RawLine<'_>)) {
        self.number += 1;
        let first_byte = std::mem::replace(&mut self.line_start, self.position);
        each(RawLine { bytes, number: self.number, first_byte, end_byte: self.position, terminated });
    }
}

/// A line's text and what its prefixes said.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// The message, trailing blanks stripped.
    pub text: Cow<'a, str>,
    /// Who printed it.
    pub caller: Option<Caller>,
    /// Bore a printk prefix (level or timestamp): the kernel printed it, not a program on the same terminal.
    pub stamped: bool,
    /// `** 12 printk messages dropped **` stood before or instead of it.
    pub dropped: bool,
    /// 1-based number in the stream.
    pub number: u64,
    /// Offset of its first byte.
    pub first_byte: u64,
    /// Offset past its newline.
    pub end_byte: u64,
    /// False where the stream ended inside this line.
    pub terminated: bool,
}

impl<'a> Line<'a> {
    /// Strips terminal noise and printk's prefixes.
    pub fn parse(raw: &RawLine<'a>) -> Line<'a> {
        let mut prefix = Prefix::default();
        let text = match clean(raw.bytes) {
            Cow::Borrowed(text) => Cow::Borrowed(prefix.strip(text).trim_end()),
            Cow::Owned(text) => Cow::Owned(prefix.strip(&text).trim_end().to_owned()),
        };
        Line {
            text,
            caller: prefix.caller,
            stamped: prefix.stamped,
            dropped: prefix.dropped,
            number: raw.number,
            first_byte: raw.first_byte,
            end_byte: raw.end_byte,
            terminated: raw.terminated,
        }
    }
}

/// Text without carriage returns, NULs, escape sequences and other control characters; invalid UTF-8 becomes U+FFFD.
fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.iter().fold(true, |clean, &b| clean & !is_noise(b)) {
        return String::from_utf8_lossy(bytes);
    }
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        if b == 0x1b {
            rest = skip_escape(tail);
        } else if !is_noise(b) {
            kept.push(b);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&kept).into_owned())
}

fn is_noise(b: u8) -> bool {
    (b < 0x20 && b != b'\t') || b == 0x7f
}

/// ECMA-48: `ESC [ params final` and `ESC ] text BEL`; any other escape is two bytes.
fn skip_escape(after: &[u8]) -> &[u8] {
    let end = match after.first() {
        Some(b'[') => after.iter().skip(1).position(|b| (0x40..=0x7e).contains(b)).map(|at| at + 2),
        Some(b']') => after.iter().position(|&b| b == 0x07).map(|at| at + 1),
        Some(_) => Some(1),
        None => None,
    };
    &after[end.unwrap_or(after.len())..]
}

#[derive(Default)]
struct Prefix {
    caller: Option<Caller>,
    stamped: bool,
    dropped: bool,
}

impl Prefix {
    /// Strips syslog's, then printk's prefixes, in any number: a log that was logged again carries both.
    fn strip<'t>(&mut self, text: &'t str) -> &'t str {
        let mut text = strip_logger(text);
        if let Some(rest) = strip_dropped(text) {
            self.dropped = true;
            text = rest;
        }
        while let Some(rest) = self.strip_one(text) {
            text = rest;
        }
        if !self.stamped {
            // A program on the same terminal left its line without an end: `host login: [   12.345678] BUG: ...`.
            if let Some(mut rest) = find_stamp(text) {
                while let Some(next) = self.strip_one(rest) {
                    rest = next;
                }
                return rest;
            }
        }
        text
    }

    fn strip_one<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some((inside, rest)) = text.strip_prefix('<').and_then(|t| t.split_once('>')) {
            // Facility and level share the number (`<30>`), three digits at the most.
            if inside.len() <= 3 && is_digits(inside) {
                self.stamped = true;
                return Some(rest);
            }
        }
        // Only the first blank after a bracket belongs to the prefix: a frame's indentation does not.
        let inner = text.strip_prefix('[').or_else(|| text.strip_prefix(" ["))?;
        let (inside, rest) = inner.split_once(']')?;
        let inside = inside.trim();
        if is_timestamp(inside) {
            self.stamped = true;
        } else if let Some(caller) = parse_caller(inside) {
            self.caller.get_or_insert(caller);
        } else if !is_vendor_caller(inside) {
            return None;
        }
        Some(if rest.starts_with(" [") || rest.starts_with('[') {
            rest
        } else {
            rest.strip_prefix(' ').unwrap_or(rest)
        })
    }
}

/// Strips what loggers put before the kernel's own prefix: `Nov  6 12:00:00 host kernel: ` of syslog and journal, the same with
/// an ISO date, `[Sun Nov  6 12:00:00 2022] ` of `dmesg -T`, `2022-11-06T12:00:00,123456+01:00 ` of `dmesg --time-format iso`,
/// `kern  :info  : ` of `dmesg -x`, `6,339,5140900,-;` of `/dev/kmsg`.
fn strip_logger(text: &str) -> &str {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let text = strip_facility(text);
    let head = |names: &[&str], text: &str| text.get(..4).is_some_and(|h| h.ends_with(' ') && names.contains(&&h[..3]));
    let iso = |t: &str| matches!(t.as_bytes(), [b'1'..=b'2', _, _, _, b'-', _, _, b'-', _, _, b'T' | b' ', ..]);
    let after_kernel = |text: &'_ str| -> Option<usize> {
        text.find(" kernel: ").filter(|&at| at < 128).map(|at| at + " kernel: ".len())
    };
    if head(&MONTHS, text) || iso(text) {
        if let Some(at) = after_kernel(text) {
            return &text[at..];
        }
        let stamp = text.bytes().position(|b| b == b' ').unwrap_or(0);
        return if iso(text) && text[..stamp].contains(['.', ',']) { text[stamp..].trim_start() } else { text };
    }
    if let Some(inner) = text.strip_prefix('[') {
        if head(&DAYS, inner) || iso(inner) {
            return inner.split_once(']').map_or(text, |(_, rest)| rest.strip_prefix(' ').unwrap_or(rest));
        }
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return text;
    }
    let record = text.split_once(';').filter(|(fields, _)| fields.len() < 64 && fields.matches(',').count() >= 3);
    match record {
        Some((fields, message)) if fields.split(',').take(3).all(is_digits) => message,
        _ => text,
    }
}

/// `kern  :warn  : `, facility and level in words.
fn strip_facility(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("kern") else { return text };
    let Some(level) = rest.trim_start().strip_prefix(':') else { return text };
    match level.split_once(':') {
        Some((word, message)) if word.len() <= 8 && word.trim_end().bytes().all(|b| b.is_ascii_lowercase()) => {
            message.strip_prefix(' ').unwrap_or(message)
        }
        _ => text,
    }
}

/// `** 12 printk messages dropped ** `; what follows is another message.
fn strip_dropped(text: &str) -> Option<&str> {
    let (count, rest) = text.strip_prefix("** ")?.split_once(" printk messages dropped **")?;
    is_digits(count).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// The text from the first time stamp on, where one stands within it.
fn find_stamp(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = text.get(from..256.min(text.len()))?.find('[').map(|at| at + from) {
        let inside = text[at + 1..].split_once(']').map_or("", |(inside, _)| inside);
        if inside.len() >= 12 && is_timestamp(inside.trim_start()) {
            return Some(&text[at..]);
        }
        from = at + 1;
    }
    None
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_timestamp(text: &str) -> bool {
    text.split_once('.').is_some_and(|(s, us)| is_digits(s) && (3..=9).contains(&us.len()) && is_digits(us))
}

fn parse_caller(text: &str) -> Option<Caller> {
    let number = |digits: &str| if is_digits(digits) { digits.parse().ok() } else { None };
    match text.split_at_checked(1)? {
        ("T", pid) => number(pid).map(Caller::Task),
        ("C", cpu) => number(cpu).map(Caller::Cpu),
        _ => None,
    }
}

/// `[4:  system_server: 3344]`, a vendor's kernels' own caller id: cpu, task, pid.
fn is_vendor_caller(text: &str) -> bool {
    text.split_once(':')
        .and_then(|(cpu, rest)| Some((cpu, rest.rsplit_once(':')?.1)))
        .is_some_and(|(cpu, pid)| is_digits(cpu) && is_digits(pid.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> (String, Option<Caller>, bool) {
        let raw = RawLine { bytes, number: 1, first_byte: 0, end_byte: 0, terminated: true };
        let line = Line::parse(&raw);
        (line.text.into_owned(), line.caller, line.stamped)
    }

    #[test]
    fn prefixes_are_stripped() {
        let cases: &[(&[u8], &str, Option<Caller>, bool)] = &[
            (b"[    1.250000] BUG: x\r", "BUG: x", None, true),
            (b"[    1.250000][  T77]  foo+0x1/0x2", " foo+0x1/0x2", Some(Caller::Task(77)), true),
            (b"[    1.250000] [   C3] x", "x", Some(Caller::Cpu(3)), true),
            (b"<4>[    1.250000][T9] x", "x", Some(Caller::Task(9)), true),
            (b"<3>x", "x", None, true),
            (b"\x1b[1;31m[    1.250000]\x1b[0m x\x1b[m", "x", None, true),
            (b"Nov  6 10:00:00 host kernel: [   12.500000] x", "x", None, true),
            (b"[   38.018742]  [4:  system_server: 3344] x", "x", None, true),
            (b"a\0b\xff", "ab\u{fffd}", None, false),
            (b"[ BUG: Invalid wait context ]", "[ BUG: Invalid wait context ]", None, false),
            (b"[<ffffffff81000000>] foo+0x1/0x2", "[<ffffffff81000000>] foo+0x1/0x2", None, false),
            (b"Note\xc3", "Note\u{fffd}", None, false),
        ];
        for (bytes, text, caller, stamped) in cases {
            assert_eq!(parse(bytes), ((*text).to_owned(), *caller, *stamped), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn lines_are_bounded_and_numbered_however_they_arrive() {
        let mut log = vec![b'x'; 3 * MAX_LINE];
        log.extend_from_slice(b"\n\nabc\nlast");
        let read = |cut: usize| {
            let (mut splitter, mut seen) = (Splitter::default(), Vec::new());
            let mut each =
                |l: RawLine<'_>| seen.push((l.number, l.bytes.len(), l.first_byte, l.end_byte, l.terminated));
            for chunk in log.chunks(cut) {
                splitter.feed(chunk, &mut each);
            }
            splitter.finish(&mut each);
            assert!(splitter.partial.capacity() <= 2 * MAX_LINE);
            seen
        };
        let long = 3 * MAX_LINE as u64;
        let expected = vec![
            (1, MAX_LINE, 0, long + 1, true),
            (2, 0, long + 1, long + 2, true),
            (3, 3, long + 2, long + 6, true),
            (4, 4, long + 6, long + 10, false),
        ];
        for cut in [1, 7, 4096, 1 << 20] {
            assert_eq!(read(cut), expected, "chunks of {cut}");
        }
    }
}
