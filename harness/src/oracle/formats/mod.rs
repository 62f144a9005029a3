//! The console formats that the oracle knows, as data: one file a group, one row ([`Format`]) a format.
//!
//! # How to add a format
//!
//! Add a row to the file of its group: `head` is the line that begins the report, in the language of `pattern.rs`; `title`
//! and `signature` are templates of the same module. Nothing else is needed: CPU, task, taint, instruction pointer and trace are
//! read by the engine for every report alike. Add `body` patterns where later lines of the report hold something for the title,
//! `reporters` where the first functions of its trace only found the problem, and choose how the report ends ([`End`]).
//! Rows are tried in order, groups in the order of [`TABLE`]: the specific before the general. Give it a test in
//! `oracle/tests/`, with text in the form that the kernel's format string gives it.
//!
//! # What must not go into a signature
//!
//! Addresses, pids, CPU numbers, counts, source lines: they change from one hit to the next, or from one kernel to the next.
//! The class is in every signature already.

mod atomic;
mod bug;
mod corruption;
mod lockdep;
mod lockup;
mod noise;
mod oops;
mod page;
mod panic;
mod program;
mod sanitizer;
mod warning;

use std::sync::LazyLock;

use super::finding::{Class, Severity};
use super::pattern::{Captures, Pattern, PatternError};
use super::trigger::Triggers;

/// How a report ends, apart from the next report's head, silence, and the oracle's own limits, which end them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The head is all there is.
    Line,
    /// With its main trace: at `</TASK>`, or where something else follows the last entry.
    Trace,
    /// With a line of `=` or `-` after its main trace.
    Separator,
    /// With `---[ end trace ... ]---`.
    Marker,
    /// The same, after which x86 prints the registers once more (`oops_end()`, 5.9 and later).
    MarkerThenRegisters,
    /// With `---[ end Kernel panic` or `Rebooting in`.
    Panic,
    /// It has no end of its own.
    Open,
}

/// Where the guilty function is looked for, among what is not plumbing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guilt {
    /// The function that the report names, the instruction pointer, the main trace, in that order.
    Trace,
    /// The same without functions that only wait: the trace of a task that does not come back.
    Waiter,
    /// Below the interrupt that found the CPU stuck.
    Interrupted,
    /// Nowhere: the report's context says nothing about who is to blame.
    Nobody,
}

/// How `{alias}` is found: the function that fuzzers' dashboards put into the title of a report of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alias {
    /// The first that is not common; see `plumbing::specific`.
    Specific,
    /// Whom the kernel handed on to: the inner functions are chance. See `plumbing::dispatched`.
    Dispatched,
    /// What the task waits for; see `plumbing::waited_for`.
    Waited,
}

/// One format: a row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// Patterns of the report's first line, any of which begins it.
    pub head: &'static [&'static str],
    /// A line with any of these is none.
    pub unless: &'static [&'static str],
    /// Only lines that bear a printk prefix: for heads so general that programs on the console print them as well.
    pub stamped: bool,
    /// Kind of report.
    pub class: Class,
    /// How bad it is.
    pub severity: Severity,
    /// Template.
    pub title: &'static str,
    /// Templates.
    pub alts: &'static [&'static str],
    /// Template; the class is put before it.
    pub signature: &'static str,
    /// Patterns of later lines; they fill fields that are still empty.
    pub body: &'static [&'static str],
    /// The line after the head is the reason, whatever it says.
    pub reason_follows: bool,
    /// Heads of these classes, met before this report's trace, belong to it: the same event in other words.
    pub absorbs: &'static [Class],
    /// Prefixes of functions (whole names with `$`) that report this and are not guilty.
    pub reporters: &'static [&'static str],
    /// Counts only where no report is open: inside of one, such a line is a part of it.
    pub orphan: bool,
    /// How to find `{alias}`. Alternative titles with it need not be written down: every template that names `{guilty}` is tried
    /// with `{alias}` in its place.
    pub alias: Alias,
    /// Fragments of functions that `{alias}` passes over besides the common ones; see `plumbing::lists::COMMON`.
    pub skip: &'static [&'static str],
    /// The function that the head names only found the problem: `{alias}` must come from the trace.
    pub head_is_reporter: bool,
    /// Where to look for the guilty function.
    pub guilt: Guilt,
    /// How the report ends.
    pub end: End,
    /// Traces printed by other CPUs belong to it too.
    pub any_caller: bool,
}

impl Format {
    /// What rows need not say.
    pub const DEFAULT: Format = Format {
        head: &[],
        unless: &[],
        stamped: false,
        class: Class::OtherBug,
        severity: Severity::Error,
        title: "",
        alts: &[],
        signature: "{guilty}",
        body: &[],
        reason_follows: false,
        absorbs: &[],
        reporters: &[],
        orphan: false,
        alias: Alias::Specific,
        skip: &[],
        head_is_reporter: false,
        guilt: Guilt::Trace,
        end: End::Trace,
        any_caller: false,
    };
}

/// All groups, in the order in which rows are tried.
const TABLE: &[&[Format]] = &[
    noise::FORMATS,
    page::FORMATS,
    corruption::FORMATS,
    sanitizer::FORMATS,
    lockup::FORMATS,
    atomic::FORMATS,
    lockdep::FORMATS,
    oops::FORMATS,
    warning::FORMATS,
    panic::FORMATS,
    program::FORMATS,
    bug::FORMATS,
];

/// A row, ready for use.
#[derive(Debug)]
pub(super) struct Row {
    /// The row as written.
    pub format: &'static Format,
    /// Compiled [`Format::head`].
    head: Vec<Pattern>,
    /// Compiled [`Format::body`].
    pub body: Vec<Pattern>,
}

impl Row {
    fn compile(format: &'static Format) -> Result<Row, PatternError> {
        let compile =
            |sources: &[&'static str]| sources.iter().map(|s| Pattern::compile(s)).collect::<Result<Vec<_>, _>>();
        Ok(Row { format, head: compile(format.head)?, body: compile(format.body)? })
    }

    fn captures<'t>(&self, text: &'t str, stamped: bool) -> Option<Captures<'t>> {
        if (self.format.stamped && !stamped) || self.format.unless.iter().any(|word| text.contains(word)) {
            return None;
        }
        self.head.iter().find_map(|pattern| pattern.captures(text))
    }
}

/// The compiled table.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    triggers: Triggers,
}

/// Words that make a line worth a look although no format begins with it: they begin what stands before a report's head.
const PREAMBLE_LITERALS: [&str; 5] = ["[ cut here ]", "page:", "vma f", "mm f", "======"];

/// Not a row: [`PREAMBLE_LITERALS`].
const NO_ROW: u16 = u16::MAX;

/// The one table. Its rows are part of the program, so a row that does not compile is left out here and fails the test below.
pub(super) static COMPILED: LazyLock<Table> = LazyLock::new(|| {
    let rows: Vec<Row> = TABLE.iter().copied().flatten().filter_map(|format| Row::compile(format).ok()).collect();
    let literals = rows.iter().enumerate().flat_map(|(i, row)| {
        let number = u16::try_from(i).unwrap_or(NO_ROW);
        row.head.iter().map(move |pattern| (pattern.literal(), number))
    });
    let triggers = Triggers::new(literals.chain(PREAMBLE_LITERALS.map(|l| (l, NO_ROW))));
    Table { rows, triggers }
});

impl Table {
    /// The format that this line begins a report of, with what its pattern took.
    pub fn head<'t>(&self, text: &'t str, stamped: bool, alone: bool) -> Option<(&Row, Captures<'t>)> {
        let mut candidates = Vec::new();
        self.triggers.find(text.as_bytes(), |row| {
            if row != NO_ROW && !candidates.contains(&row) {
                candidates.push(row);
            }
            true
        });
        candidates.sort_unstable();
        candidates
            .iter()
            .filter_map(|&i| self.rows.get(usize::from(i)))
            .filter(|row| alone || !row.format.orphan)
            .find_map(|row| Some((row, row.captures(text, stamped)?)))
    }

    /// Where the first byte stands that may concern the engine while no report is open.
    pub fn first_that_may_matter(&self, bytes: &[u8]) -> Option<usize> {
        self.triggers.first(bytes)
    }

    /// Whether an unparsed line may concern the engine while no report is open.
    pub fn may_matter(&self, bytes: &[u8]) -> bool {
        self.triggers.any(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::pattern::Field;
    use crate::oracle::trigger::MIN_LITERAL;

    #[test]
    fn every_row_compiles_and_names_known_fields() {
        for format in TABLE.iter().copied().flatten() {
            for source in format.head.iter().chain(format.body) {
                Pattern::compile(source).unwrap_or_else(|e| panic!("`{source}`: {e}"));
            }
            assert!(!format.head.is_empty() && !format.title.is_empty());
            for template in format.alts.iter().chain([&format.title, &format.signature]) {
                for name in template.split('{').skip(1).map(|t| t.split('}').next().unwrap_or("")) {
                    assert!(
                        Field::named(name).is_some()
                            || matches!(name, "guilty" | "owner" | "keeper" | "outer" | "alias" | "call"),
                        "`{template}`: {name}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_literal_can_trigger() {
        for row in &COMPILED.rows {
            for pattern in &row.head {
                assert!(pattern.literal().len() >= MIN_LITERAL, "{:?} would look at too many lines", row.format.head);
            }
        }
        assert_eq!(COMPILED.rows.len(), TABLE.iter().map(|t| t.len()).sum::<usize>());
    }
}
