//! One report while it is being read.

mod close;

use super::body::{Context, Part, Side};
use super::finding::{Class, Context as Cpu, Frame};
use super::formats::{End, Guilt, Row};
use super::frames::Ip;
use super::line::{Caller, Line};
use super::naming::{cut, headline};
use super::pattern::{Captures, Field, FIELDS};

/// Lines of one report; what follows is not part of it. The longest that end by themselves, lockdep's, have about 300; that of an
/// overflown stack may have a line for every 16 bytes of it, and is cut.
const MAX_LINES: u32 = 1500;
/// Bytes of one report.
const MAX_BYTES: usize = 192 << 10;
/// Entries kept of the main trace; those marked `?` only up to half as many, since a deep recursion's outer end matters too.
const MAX_FRAMES: usize = 384;
/// Entries kept of the owner's trace.
const MAX_OWNER_FRAMES: usize = 24;
/// Lines that are not the trace's, after which it is over: without caller ids, other CPUs' lines stand between its entries.
const MAX_TAIL: u32 = 4;
/// Lines of others, after which a report whose own lines stopped is over.
const MAX_FOREIGN: u32 = 200;
/// Functions kept that a report names besides its first.
const MAX_NAMED: usize = 8;
/// Bytes kept of a captured text.
const MAX_FIELD: usize = 256;

/// Where in a report its reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before the main trace.
    Head,
    /// In the main trace.
    Main,
    /// In a trace of someone else.
    Side(Side),
    /// Behind the main trace.
    After,
    /// Behind the end marker; only registers may follow.
    Ended,
}

/// Why a report is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It ended as its format ends.
    Itself,
    /// Another one began, or nothing came any more.
    Superseded,
    /// The log ended.
    LogEnd,
    /// The machine rebooted.
    Reboot,
}

/// A report being read.
#[derive(Debug)]
pub(super) struct Report {
    row: &'static Row,
    caller: Option<Caller>,
    fields: [Option<String>; FIELDS],
    context: Context,
    /// On whose stack the main trace begins.
    cpu: Option<Cpu>,
    section: Section,
    /// Who prints the main trace, where several callers' lines may belong to the report.
    trace_caller: Option<Caller>,
    frames: Vec<Frame>,
    owner: Vec<Frame>,
    /// Functions that the report named after the first: lockdep's other locks.
    named: Vec<String>,
    primary: bool,
    first_line: u64,
    first_byte: u64,
    last_line: u64,
    end_byte: u64,
    lines: u32,
    bytes: usize,
    tail: u32,
    foreign: u32,
    damage: Option<&'static str>,
    /// The first line is the kernel's beyond doubt.
    stamped: bool,
    /// The first line as a title.
    headline: String,
}

impl Report {
    /// Opens a report at its head.
    pub fn open(row: &'static Row, captures: Captures<'_>, line: &Line<'_>, primary: bool) -> Report {
        let mut report = Report {
            row,
            caller: line.caller,
            fields: Default::default(),
            context: Context::default(),
            cpu: None,
            section: Section::Head,
            trace_caller: None,
            frames: Vec::new(),
            owner: Vec::new(),
            named: Vec::new(),
            primary,
            first_line: line.number,
            first_byte: line.first_byte,
            last_line: line.number,
            end_byte: line.end_byte,
            lines: 1,
            bytes: line.text.len(),
            tail: 0,
            foreign: 0,
            stamped: line.stamped,
            headline: cut(&headline(&line.text), MAX_FIELD).to_owned(),
            damage: (!line.terminated).then_some("the log ends inside its first line"),
        };
        report.keep(captures);
        report
    }

    /// Takes on what stood before the head.
    pub fn precede(&mut self, first_line: u64, first_byte: u64, condition: Option<String>, reason: Option<String>) {
        (self.first_line, self.first_byte) = (first_line, first_byte);
        for (field, value) in [(Field::Condition, condition), (Field::Reason, reason)] {
            let slot = &mut self.fields[field as usize];
            *slot = slot.take().or(value);
        }
    }

    /// Whether lines of that caller are this report's own. A line without a caller among lines with one is not the kernel's.
    pub fn owns(&self, caller: Option<Caller>) -> bool {
        self.caller.is_none() || self.caller == caller
    }

    /// Whether a line can be this report's at all: programs that print to the same terminal bear no time stamp.
    pub fn may_own(&self, line: &Line<'_>) -> bool {
        line.stamped || !self.stamped
    }

    /// Whether it is about what a healthy kernel says as well.
    pub fn is_noise(&self) -> bool {
        self.row.format.class.is_noise()
    }

    /// Whether it is about a panic.
    pub fn is_panic(&self) -> bool {
        self.row.format.end == End::Panic
    }

    /// A report with a trace of its own, by the same caller as far as can be told: what follows is that one's.
    pub fn interrupted_by_noise(&mut self) {
        if self.is_young() || (self.caller.is_none() && self.section == Section::Main) {
            self.damaged("another report's trace was printed into it");
        }
    }

    /// Something happened to the log inside of this report.
    pub fn damaged(&mut self, why: &'static str) {
        self.damage.get_or_insert(why);
    }

    /// Whether a line of that caller may be printed on this report's behalf by another CPU.
    pub fn borrows(&self, caller: Option<Caller>) -> bool {
        self.row.format.any_caller && caller.is_some()
    }

    /// Whether the main trace is still to come.
    fn is_young(&self) -> bool {
        matches!(self.section, Section::Head | Section::Side(_)) && self.frames.iter().all(|f| f.ip)
    }

    /// Whether the report's trace may follow the head of a panic: with `panic_on_warn` and its kin, some kernels panic before they
    /// print it, and the panic's trace is the only one there will be.
    pub fn shares_trace_with_panic(&self) -> bool {
        self.is_young() && self.row.format.class != Class::Panic
    }

    /// Whether a head of that row, by that caller, tells of the same event.
    pub fn absorbs(&self, row: &Row, caller: Option<Caller>) -> bool {
        self.is_young()
            && self.row.format.absorbs.contains(&row.format.class)
            && (self.owns(caller) || self.borrows(caller))
    }

    /// Takes in a head that [`Report::absorbs`] allowed.
    pub fn absorb(&mut self, captures: Captures<'_>, line: &Line<'_>) {
        self.section = Section::Head;
        self.keep(captures);
        self.claim(line);
    }

    /// A line of someone else. True when the report must be over by now.
    pub fn pass_by(&mut self) -> bool {
        self.foreign += 1;
        self.foreign > MAX_FOREIGN
    }

    /// The report's next line. True when the report is over; `Err` when it was over before this line, which is not part of it.
    pub fn take(&mut self, line: &Line<'_>, part: &Part) -> Result<bool, ()> {
        if self.section == Section::Ended && !matches!(part, Part::Registers | Part::Ip(_)) {
            return Err(());
        }
        self.lines += 1;
        self.bytes += line.text.len();
        self.foreign = 0;
        if self.lines > MAX_LINES || self.bytes > MAX_BYTES {
            return Err(());
        }
        if !line.terminated {
            self.damage.get_or_insert("the log ends inside a line of it");
        }
        if self.row.format.reason_follows && self.lines == 2 {
            self.keep(vec![(Field::Reason, line.text.trim())]);
            self.claim(line);
        }
        if self.frames.iter().all(|f| f.ip) || self.fields[Field::Reason as usize].is_none() {
            let row = self.row;
            if let Some(captures) = row.body.iter().find_map(|p| p.captures(&line.text)) {
                self.keep(captures);
                self.claim(line);
            }
        }
        Ok(self.take_part(line, part))
    }

    fn take_part(&mut self, line: &Line<'_>, part: &Part) -> bool {
        let end = self.row.format.end;
        let traced = self.frames.iter().any(|f| !f.ip);
        match part {
            Part::Frame(frame) => {
                self.claim(line);
                if self.trace_caller.is_none() || self.trace_caller == line.caller {
                    self.take_frame(frame);
                }
            }
            Part::Call(callee, frame) => {
                self.claim(line);
                if !traced && matches!(self.section, Section::Head | Section::Main) {
                    let known = self.frames.last().is_some_and(|f| f.function == *callee);
                    if !known {
                        self.take_frame(&Frame { function: callee.clone(), offset: None, size: None, ..frame.clone() });
                    }
                }
                self.take_frame(frame);
            }
            Part::TraceStart => {
                self.claim(line);
                self.section = match self.section {
                    Section::Side(Side::Kthread) => Section::Side(Side::Other),
                    _ if traced && !self.awaits_other_trace() => Section::After,
                    _ => {
                        self.frames.retain(|f| f.ip && !traced);
                        self.trace_caller = line.caller;
                        self.tail = 0;
                        Section::Main
                    }
                };
            }
            Part::OwnTraceAhead if !traced => {
                self.claim(line);
                self.section = Section::Head;
            }
            Part::SideTrace(side) => {
                self.claim(line);
                if !traced || end != End::Trace {
                    self.section = Section::Side(*side);
                }
            }
            Part::TraceEnd => {
                self.claim(line);
                if matches!(self.section, Section::Main) && traced {
                    self.section = Section::After;
                    return end == End::Trace;
                }
            }
            Part::Ip(ip) => {
                self.claim(line);
                self.take_ip(ip);
            }
            Part::Context(context) => {
                self.claim(line);
                self.take_context(context);
            }
            Part::TraceMark(cpu) => {
                self.claim(line);
                // The trace begins where the report was made; older kernels mark the interrupt's stack only.
                if self.section == Section::Main && !traced {
                    self.cpu = self.cpu.or(*cpu);
                }
            }
            Part::NmiBacktrace => {
                self.claim(line);
                if self.awaits_other_trace() {
                    self.frames.clear();
                    self.trace_caller = None;
                    self.section = Section::Head;
                }
            }
            Part::Registers => self.claim(line),
            Part::EndTrace => {
                self.claim(line);
                self.section = Section::Ended;
                return matches!(end, End::Marker | End::Trace | End::Separator);
            }
            Part::EndPanic => {
                self.claim(line);
                return true;
            }
            Part::Separator if traced => {
                self.claim(line);
                return end == End::Separator;
            }
            Part::Dropped => {
                self.damage.get_or_insert("printk messages were dropped");
            }
            Part::OwnTraceAhead | Part::Separator | Part::Other => {
                if traced && self.section == Section::Main {
                    self.tail += 1;
                    if self.tail > MAX_TAIL {
                        self.section = Section::After;
                        return end == End::Trace;
                    }
                }
            }
        }
        false
    }

    /// A stall's report holds several CPUs' and tasks' traces: the one meant shows the interrupt that found the CPU stuck.
    fn awaits_other_trace(&self) -> bool {
        self.row.format.guilt == Guilt::Interrupted && self.row.format.end == End::Open && self.interrupt().is_none()
    }

    fn take_frame(&mut self, frame: &Frame) {
        match self.section {
            // KFENCE, KCSAN and KMSAN print the trace without a heading.
            Section::Head | Section::Main => {
                self.section = Section::Main;
                self.tail = 0;
                let room = if frame.unreliable { MAX_FRAMES / 2 } else { MAX_FRAMES };
                if self.frames.len() < room {
                    self.frames.push(frame.clone());
                }
            }
            Section::Side(Side::Culprit) => {
                self.section = Section::Side(Side::Other);
                self.fields[Field::Function as usize].get_or_insert_with(|| frame.function.clone());
            }
            Section::Side(Side::Owner) if self.owner.len() < MAX_OWNER_FRAMES => self.owner.push(frame.clone()),
            _ => {}
        }
    }

    fn take_ip(&mut self, ip: &Ip) {
        match (ip, self.section) {
            // Kernels before 5.0 print it twice, as `IP:` and as `RIP:`.
            (Ip::Kernel(frame), Section::Head) if self.frames.is_empty() => self.frames.push(frame.clone()),
            (Ip::Kernel(frame), Section::Main) if self.frames.len() < MAX_FRAMES => self.frames.push(frame.clone()),
            (Ip::Elsewhere, Section::Main) if !self.frames.is_empty() => self.tail = 0,
            _ => {}
        }
    }

    fn take_context(&mut self, context: &Context) {
        let own = &mut self.context;
        if own.process.is_none() && own.cpu.is_none() {
            *own = context.clone();
        }
    }

    fn keep(&mut self, captures: Captures<'_>) {
        for (field, text) in captures {
            let slot = &mut self.fields[field as usize];
            if slot.is_none() {
                *slot = Some(cut(text, MAX_FIELD).to_owned());
            } else if field == Field::Function && self.named.len() < MAX_NAMED {
                self.named.push(cut(text, MAX_FIELD).to_owned());
            }
        }
    }

    fn claim(&mut self, line: &Line<'_>) {
        (self.last_line, self.end_byte) = (line.number, line.end_byte);
    }

    fn field(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_deref()
    }
}
