//! Stack trace entries and instruction pointer lines.

use super::finding::Frame;
use super::pattern::is_symbol_byte;

/// Parses a line that is a stack trace entry and nothing else:
/// `foo+0x1/0x2`, ` ? foo+0x1/0x2 [module]`, `[<ffffffff81234567>] foo+0x1/0x2`, symbolized `foo+0x1/0x2 mm/foo.c:12`,
/// `foo mm/foo.c:12 [inline]`, arm's `[<c0>] (foo) from [<c1>] (bar+0x1/0x2)`.
pub(super) fn parse_frame(text: &str) -> Option<Frame> {
    let mut text = text.trim();
    if let Some((callee, caller)) = text.strip_suffix(')').and_then(|_| text.split_once(" from ")) {
        // arm prints callee and caller of each step; the caller bears the offset.
        if callee.ends_with(')') && caller.ends_with(')') {
            text = caller;
        }
    }
    let inline = text.starts_with("[<") && text.contains(" inline ");
    text = strip_addresses(text);
    let (text, unreliable) = match text.strip_prefix("? ") {
        Some(rest) => (rest.trim_start(), true),
        None => (text, false),
    };
    let text = strip_addresses(text);
    let text = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let mut frame = parse_symbol(text, inline)?;
    frame.unreliable = unreliable || text.ends_with(" (unreliable)");
    Some(frame)
}

/// Who was called, in arm's entries.
pub(super) fn callee(text: &str) -> Option<String> {
    if !text.ends_with(')') {
        return None;
    }
    let name = strip_addresses(text.split_once(" from ")?.0.trim()).strip_prefix('(')?.strip_suffix(')')?;
    (!name.is_empty() && name.bytes().all(is_symbol_byte)).then(|| name.to_owned())
}

/// Skips `[<ffffffff81234567>]`, powerpc's `[c000000001234567]` and `[<     inline     >]`, which kernels before 4.11 and arm print, once or twice.
fn strip_addresses(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix("[<").and_then(|t| t.split_once(">]")).map(|(_, rest)| rest) {
        text = rest.trim_start();
    }
    while let Some((address, rest)) = text.strip_prefix('[').and_then(|t| t.split_once("] ")) {
        if address.len() < 8 || !address.bytes().all(|b| b.is_ascii_hexdigit()) {
            break;
        }
        text = rest.trim_start();
    }
    text
}

/// `foo+0x1/0x2 [module] mm/foo.c:12`, or `foo mm/foo.c:12 [inline]`.
fn parse_symbol(text: &str, inline: bool) -> Option<Frame> {
    let name_len = text.bytes().position(|b| !is_symbol_byte(b)).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_len);
    if name.is_empty() || name.len() > 255 || name.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let mut frame = Frame {
        function: name.to_owned(),
        offset: None,
        size: None,
        module: None,
        source: None,
        unreliable: false,
        inline: false,
        ip: false,
    };
    let rest = match rest.strip_prefix("+0x") {
        Some(numbers) => {
            let (offset, rest) = split_hex(numbers)?;
            let (size, rest) = split_hex(rest.strip_prefix("/0x")?)?;
            (frame.offset, frame.size) = (Some(offset), Some(size));
            rest
        }
        None => {
            frame.inline = true;
            match rest.strip_suffix("[inline]") {
                Some(source) => source,
                None if inline => rest,
                None => return None,
            }
        }
    };
    for word in rest.split_whitespace().take(8) {
        if let Some(module) = word.strip_prefix('[') {
            // `[module]`, or `[module build-id]` of 5.15 and later.
            frame.module.get_or_insert_with(|| module.trim_end_matches(']').to_owned());
        } else if is_source(word) {
            frame.source = Some(word.to_owned());
        } else {
            // `(P)`, `(L)`: arm64's and 6.12's marks of the unwinder's state. Anything else is not a trace entry.
            let build_id = word.ends_with(']') && frame.module.is_some();
            let mark = word.starts_with('(') && word.ends_with(')');
            if !build_id && !mark {
                return None;
            }
        }
    }
    if frame.inline && frame.source.is_none() {
        return None;
    }
    Some(frame)
}

fn split_hex(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.bytes().position(|b| !b.is_ascii_hexdigit()).unwrap_or(text.len()));
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

fn is_source(word: &str) -> bool {
    word.rsplit_once(':')
        .is_some_and(|(file, line)| file.contains('.') && !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
}

/// An instruction pointer line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ip {
    /// In the kernel, at this function.
    Kernel(Frame),
    /// In user space, or at no known function: the kernel's part of the trace ends here.
    Elsewhere,
}

/// Parses `RIP: 0010:foo+0x1/0x2`, `IP: [<...>] foo+0x1/0x2`, `EIP: foo+...`, `pc : foo+...`, `PC is at foo+...`, `epc : foo+...`.
pub(super) fn parse_ip(text: &str) -> Option<Ip> {
    const MARKS: [&str; 8] = ["RIP: ", "RIP:", "EIP: ", "IP: ", "pc : ", "PC is at ", "epc : ", "NIP "];
    let text = text.trim_start();
    if let Some(psw) = text.strip_prefix("Krnl PSW : ") {
        // s390: the PSW's two halves, then the symbol in brackets.
        let symbol = psw.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(symbol, _)| symbol);
        return Some(parse_frame(symbol).map_or(Ip::Elsewhere, |frame| Ip::Kernel(Frame { ip: true, ..frame })));
    }
    let rest = MARKS.iter().find_map(|mark| text.strip_prefix(mark))?.trim_start();
    // x86 puts the code segment before it; its two low bits are the privilege level (`0010:` kernel, `0033:` user).
    let rest = match rest.split_once(':') {
        Some((segment, after)) if segment.len() == 4 && segment.bytes().all(|b| b.is_ascii_hexdigit()) => {
            if segment.as_bytes()[3] & 3 == 3 {
                return Some(Ip::Elsewhere);
            }
            after.trim_start()
        }
        _ => rest,
    };
    match parse_frame(rest) {
        Some(frame) => Some(Ip::Kernel(Frame { ip: true, ..frame })),
        None => Some(Ip::Elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Function, offset, then whatever else is not as in a plain entry.
    fn frame(text: &str) -> Option<String> {
        let f = parse_frame(text)?;
        let offset = f.offset.map_or(String::new(), |o| format!("+{o:#x}"));
        let module = f.module.map_or(String::new(), |m| format!(" [{m}]"));
        let source = f.source.map_or(String::new(), |s| format!(" {s}"));
        let mark = if f.unreliable { "? " } else { "" };
        Some(format!("{mark}{}{offset}{module}{source}{}", f.function, if f.inline { " inline" } else { "" }))
    }

    #[test]
    fn frames_of_all_ages() {
        for (text, expected) in [
            ("  migrate_pages+0x48e/0x2cc0", "migrate_pages+0x48e"),
            (" ? migrate_pages+0x1/0x2 [zram]", "? migrate_pages+0x1 [zram]"),
            ("migrate_pages+0x1/0x2 [zram 0123abcd]", "migrate_pages+0x1 [zram]"),
            (" [<ffffffff81234567>] ? migrate_pages+0x1/0x2", "? migrate_pages+0x1"),
            ("[c000000001bb3530] [c000000001bb35a0] migrate_pages+0x8/0x8 (unreliable)", "? migrate_pages+0x8"),
            ("[<80492834>] (migrate_pages) from [<8049631c>] (kfree+0xfc/0x4b8)", "kfree+0xfc"),
            ("migrate_pages+0x1/0x2 mm/migrate.c:9", "migrate_pages+0x1 mm/migrate.c:9"),
            ("migrate_pages mm/migrate.c:9 [inline]", "migrate_pages mm/migrate.c:9 inline"),
            ("[<     inline     >] migrate_pages mm/migrate.c:9", "migrate_pages mm/migrate.c:9 inline"),
            (" migrate_pages+0x1/0x2 (P)", "migrate_pages+0x1"),
        ] {
            assert_eq!(frame(text).as_deref(), Some(expected), "{text}");
        }
        for other in [
            "#0: 00 (&mm->mmap_lock){++++}, at: foo+0x1/0x2",
            "foo+0x1/0x2 was called",
            "foo+0x1",
            "RAX: 00",
            "",
            "+0x1/0x2",
        ] {
            assert_eq!(frame(other), None, "{other}");
        }
    }

    #[test]
    fn ip_lines() {
        let function = |text| match parse_ip(text) {
            Some(Ip::Kernel(frame)) => frame.function,
            other => format!("{other:?}"),
        };
        assert_eq!(function("RIP: 0010:foo.cold+0x1/0x2"), "foo.cold");
        assert_eq!(function("RIP: 0010:[<ffffffff8>]  [<ffffffff8>] foo+0x1/0x2"), "foo");
        assert_eq!(function("IP: [<ffffffff8>] foo+0x1/0x2"), "foo");
        assert_eq!(function("pc : foo+0x1/0x2"), "foo");
        assert_eq!(function("NIP [c0000000000286fc] foo+0x1/0x2"), "foo");
        assert_eq!(function("Krnl PSW : 0704c00180000000 00000000001f9a3c (foo+0x1c/0x40)"), "foo");
        assert_eq!(function("RIP: 0033:0x7f9"), "Some(Elsewhere)");
        assert_eq!(function("RIP: 0010:0x0"), "Some(Elsewhere)");
        assert_eq!(function("zip: foo"), "None");
    }
}
