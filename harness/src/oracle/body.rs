//! What a line inside of a report is: the parts that `show_regs()`, `dump_stack()` and the sanitizers print for every report alike.

use super::finding::{Context as Cpu, Frame};
use super::frames::{callee, parse_frame, parse_ip, Ip};

/// A line's role in a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Stack trace entry.
    Frame(Frame),
    /// arm's, which names both ends of the call: who was called, and from where.
    Call(String, Frame),
    /// `Call Trace:` and its kin.
    TraceStart,
    /// `stack backtrace:`, after which lockdep prints the reporting task's own trace.
    OwnTraceAhead,
    /// `NMI backtrace for cpu 1`: what follows is another CPU's, from its registers on.
    NmiBacktrace,
    /// `</TASK>`: x86's unwinder reached the end of the task's stack, the outermost there is.
    TraceEnd,
    /// `<IRQ>` and other marks within a trace: on whose stack the entries that follow stand.
    TraceMark(Option<Cpu>),
    /// Instruction pointer.
    Ip(Ip),
    /// `CPU: 1 PID: 2 Comm: ...`.
    Context(Context),
    /// Registers, code bytes, hardware, modules.
    Registers,
    /// Heading of a trace that is not the report's main one.
    SideTrace(Side),
    /// `---[ end trace`.
    EndTrace,
    /// `---[ end Kernel panic`, `Rebooting in`.
    EndPanic,
    /// A line of `=` or `-`.
    Separator,
    /// `** 12 printk messages dropped **`.
    Dropped,
    /// Anything else.
    Other,
}

/// Whose trace it is, if not the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Who allocated the page or object.
    Owner,
    /// RCU's own kthread; its `Call Trace:` is still to come.
    Kthread,
    /// The one entry in it is the function that the report is about.
    Culprit,
    /// Who freed it, took the lock earlier, ...
    Other,
}

/// What `dump_stack_print_info()` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// CPU number.
    pub cpu: Option<u32>,
    /// The task's pid.
    pub pid: Option<u32>,
    /// Its name.
    pub process: Option<String>,
    /// Taint letters, blanks removed; none where not tainted.
    pub taint: Option<String>,
}

/// Beginnings of headings after which a side trace follows.
const SIDE: &[(&str, Side)] = &[
    ("Allocated by", Side::Owner),
    ("allocated by", Side::Owner),
    ("page last allocated", Side::Owner),
    ("Allocated in", Side::Owner),
    ("Uninit was", Side::Other),
    ("Freed by", Side::Other),
    ("freed by", Side::Other),
    ("Freed in", Side::Other),
    ("page last free", Side::Other),
    ("page has been migrated", Side::Other),
    ("Last potentially related", Side::Other),
    ("Second to last", Side::Other),
    ("Local variable", Side::Other),
    ("-> #", Side::Other),
    ("rcu: RCU grace-period kthread stack dump", Side::Kthread),
    ("RCU grace-period kthread stack dump", Side::Kthread),
    ("last function", Side::Other),
];

/// Classifies a line.
pub(super) fn classify(text: &str) -> Part {
    let text = text.trim();
    if let Some(part) = classify_mark(text) {
        return part;
    }
    if let Some((_, side)) = SIDE.iter().find(|(heading, _)| text.starts_with(heading)) {
        return Part::SideTrace(*side);
    }
    // Lockdep's `IN-SOFTIRQ-W at:`, `... state was registered at:`, the scheduler's `Preemption disabled at:`.
    if text.ends_with(" at:") {
        // Kernels before 4.13: `is trying to release lock (...) at:`, the function on the next line.
        let culprit = text.contains(" is trying to ");
        // Who takes the lock in an interrupt: the other end of the deadlock.
        let safe = text.contains("-irq-safe at:");
        return Part::SideTrace(match (culprit, safe) {
            (true, _) => Side::Culprit,
            (_, true) => Side::Owner,
            _ => Side::Other,
        });
    }
    if let Some(frame) = parse_frame(text) {
        return match callee(text) {
            Some(callee) => Part::Call(callee, frame),
            None => Part::Frame(frame),
        };
    }
    if let Some(ip) = parse_ip(text) {
        return Part::Ip(ip);
    }
    if let Some(context) = parse_context(text) {
        return Part::Context(context);
    }
    if is_registers(text) {
        return Part::Registers;
    }
    Part::Other
}

fn classify_mark(text: &str) -> Option<Part> {
    const STARTS: [&str; 5] = ["Call Trace:", "Call trace:", "Backtrace:", "Stack trace:", "Trace:"];
    if STARTS.iter().any(|s| text.starts_with(s)) || (text.starts_with("backtrace") && text.ends_with(':')) {
        return Some(Part::TraceStart);
    }
    if text.starts_with("stack backtrace:") {
        return Some(Part::OwnTraceAhead);
    }
    if text.starts_with("NMI backtrace for cpu ") {
        return Some(Part::NmiBacktrace);
    }
    if text == "</TASK>" {
        return Some(Part::TraceEnd);
    }
    if text.len() <= 24 && text.starts_with('<') && text.ends_with('>') {
        return Some(Part::TraceMark(match text {
            "<TASK>" => Some(Cpu::Task),
            "<IRQ>" | "<SOFTIRQ>" => Some(Cpu::Interrupt),
            "<NMI>" => Some(Cpu::Nmi),
            "<#DF>" | "<#DB>" | "<#MC>" | "<#VC>" | "<ENTRY_TRAMPOLINE>" => Some(Cpu::Exception),
            _ => None,
        }));
    }
    if text.starts_with("---[ end trace") {
        return Some(Part::EndTrace);
    }
    if text.starts_with("---[ end Kernel panic") || text.starts_with("Rebooting in ") {
        return Some(Part::EndPanic);
    }
    if text.starts_with("** ") && text.ends_with("printk messages dropped **") {
        return Some(Part::Dropped);
    }
    let first = *text.as_bytes().first()?;
    if matches!(first, b'=' | b'-') && text.len() >= 20 && text.bytes().all(|b| b == first) {
        return Some(Part::Separator);
    }
    None
}

/// `CPU: 1 UID: 0 PID: 2 Comm: name Tainted: G        W          6.1.0 #1`; the UID is there since 6.12.
fn parse_context(text: &str) -> Option<Context> {
    if !text.starts_with(['C', 'P']) {
        return None;
    }
    let (before, rest) = text.split_once("Comm: ")?;
    let number = |mark: &str| {
        let digits = before.split_once(mark)?.1;
        let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    };
    let (process, taint) = match rest.split_once(" Tainted: ") {
        Some((process, flags)) => (process, parse_taint(flags)),
        None => (rest.split(" Not tainted").next().unwrap_or(rest), None),
    };
    // Were the tail lost, the kernel's release would be taken for a part of the name, which has at most 15 bytes.
    let process = process.trim().chars().take(32).collect::<String>();
    Some(Context {
        cpu: number("CPU: "),
        pid: number("PID: "),
        process: (!process.is_empty()).then_some(process),
        taint,
    })
}

/// Letters in fixed columns, then the release.
fn parse_taint(flags: &str) -> Option<String> {
    let letters: String =
        flags.chars().take_while(|c| c.is_ascii_uppercase() || *c == ' ').filter(|c| *c != ' ').take(32).collect();
    (!letters.is_empty()).then_some(letters)
}

fn is_registers(text: &str) -> bool {
    const STARTS: [&str; 9] = [
        "Code: ",
        "Modules linked in:",
        "Hardware name: ",
        "Workqueue: ",
        "task: ",
        "RSP: ",
        "PKRU: ",
        "Tainted: ",
        "CR2: ",
    ];
    if STARTS.iter().any(|s| text.starts_with(s)) {
        return true;
    }
    // `RAX: 0000000000000000 RBX: ...`, `x29: ffff8000...`, `x9 : 00...`, `FS:  00007f...`
    text.split_once(':').is_some_and(|(name, rest)| {
        let value = rest.trim_start();
        let hex = value.bytes().take_while(u8::is_ascii_hexdigit).count();
        name.len() <= 4
            && name.trim_end().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'x')
            && hex >= 4
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_lines() {
        let context = |text| parse_context(text).map(|c| (c.cpu, c.pid, c.process.unwrap_or_default(), c.taint));
        assert_eq!(
            context("CPU: 1 PID: 77 Comm: kworker/1:2 Tainted: G    B   W          6.1.0-rc3+ #7"),
            Some((Some(1), Some(77), "kworker/1:2".into(), Some("GBW".into())))
        );
        assert_eq!(
            context("CPU: 0 UID: 0 PID: 9 Comm: a b Not tainted 6.12.0 #1"),
            Some((Some(0), Some(9), "a b".into(), None))
        );
        assert_eq!(context("Comm: "), Some((None, None, String::new(), None)));
    }

    #[test]
    fn roles() {
        assert_eq!(classify("Call Trace:"), Part::TraceStart);
        assert_eq!(classify(" </TASK>"), Part::TraceEnd);
        assert_eq!(classify(" <IRQ>"), Part::TraceMark(Some(Cpu::Interrupt)));
        assert_eq!(classify("RAX: 0000000000000000 RBX: 0000000000000001"), Part::Registers);
        assert_eq!(classify("x29: ffff800080003a10 x28: 0000000000000001"), Part::Registers);
        assert_eq!(classify("** 12 printk messages dropped **"), Part::Dropped);
        assert_eq!(classify("page last free pid 1 tgid 1 stack trace:"), Part::SideTrace(Side::Other));
        assert_eq!(classify(&"=".repeat(60)), Part::Separator);
        assert_eq!(classify("---[ end trace 0000000000000000 ]---"), Part::EndTrace);
        assert_eq!(classify("note: gcc[123] exited with preempt_count 1"), Part::Other);
    }
}
