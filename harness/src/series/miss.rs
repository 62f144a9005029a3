//! Explains why a hunk fits nowhere: what it wanted, what the tree has at the place that resembles it most, and
//! whether the tree looks as if it had the change already.

use super::diff::{Hunk, Line, Op};
use super::place::{is_telling, place, reversed, weight, TELLING};
use std::fmt;

/// Rows of a comparison that are shown.
const ROWS: usize = 14;
/// Matching rows shown before the first difference.
const LEAD: usize = 3;
/// Old lines of a hunk that are compared; the alignment costs their square.
const COMPARED: usize = 200;
/// Lines of the tree beside the hunk's own length that the alignment may use.
const SLACK: usize = 30;

/// A hunk that fits nowhere, explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Which hunk of the file in the patch, 1-based.
    pub hunk: usize,
    /// How many it has.
    pub hunks: usize,
    /// The hunk's header as the patch has it.
    pub header: String,
    /// Whether, and how far, the tree has the change already.
    pub already: Already,
    /// The place that resembles the hunk's old lines most.
    pub nearest: Option<Nearest>,
    /// The hunk has no old lines: it goes by its line number alone.
    pub of_nothing: bool,
    /// Where the hunk was looked for first, 1-based.
    pub looked_at: usize,
    /// How many lines the file has.
    pub file_lines: usize,
    /// Hunk and tree, aligned.
    pub rows: Vec<Row>,
    /// Rows cut off at the end.
    pub more_rows: usize,
}

/// How far the tree has a change already. An applied patch and a reversed one look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Already {
    /// It has not.
    No,
    /// It has what this hunk makes, at this line (1-based).
    Hunk(usize),
    /// It has what all hunks of the patch make of this file.
    File,
}

/// The place in the tree that resembles a hunk most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// Line of the tree, 1-based.
    pub line: usize,
    /// Old lines of the hunk that stand there, in order.
    pub same: usize,
    /// Old lines compared.
    pub of: usize,
}

/// One row of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Wanted and found, at this line of the tree.
    Same(usize, Vec<u8>),
    /// Wanted; the tree lacks it. `true`: the patch would delete it, else it is context.
    Wanted(bool, Vec<u8>),
    /// In the tree at this line; the patch does not know it.
    Found(usize, Vec<u8>),
}

impl Miss {
    /// Explains why hunk `index` of `hunks` fits nowhere in `tree`; `guess` is the 0-based line where it should.
    pub(super) fn new(tree: &[&[u8]], hunks: &[Hunk], index: usize, guess: usize) -> Self {
        let hunk = &hunks[index];
        let old: Vec<&Line> = hunk.lines.iter().filter(|l| l.op != Op::Add).take(COMPARED).collect();
        let (already, there) = already(tree, hunks, index);
        // Where the change is made already, its own lines stand between the old ones.
        let place = there.map(|line| (line, hunk.new_count.min(COMPARED)));
        let place = place.or_else(|| resembling(tree, &old, guess).map(|line| (line, old.len())));
        let (rows, nearest) = match place {
            Some((line, span)) => {
                let rows = align(tree, &old, line, span);
                let line = rows.iter().find_map(|row| match row {
                    Row::Same(line, _) => Some(*line),
                    _ => None,
                });
                let same = rows.iter().filter(|row| matches!(row, Row::Same(..))).count();
                (rows, line.map(|line| Nearest { line, same, of: old.len() }))
            }
            None => {
                let wanted = old.iter().take(ROWS / 2).map(|l| Row::Wanted(l.op == Op::Delete, l.text.clone()));
                let there = tree.iter().enumerate().skip(guess).take(ROWS / 2);
                (wanted.chain(there.map(|(i, l)| Row::Found(i + 1, l.to_vec()))).collect(), None)
            }
        };
        let (rows, more_rows) = window(rows);
        Self {
            hunk: index + 1,
            hunks: hunks.len(),
            header: hunk.header.clone(),
            already,
            nearest,
            of_nothing: old.is_empty(),
            looked_at: guess + 1,
            file_lines: tree.len(),
            rows,
            more_rows,
        }
    }

    /// Continues a message that has named the patch and the file.
    pub(super) fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        patch: &str,
        line: usize,
        file: &str,
        changed_before: bool,
    ) -> fmt::Result {
        let Self { hunk, hunks, header, file_lines, looked_at, .. } = self;
        write!(f, ", hunk {hunk} of {hunks}\n  {patch}:{line}: {header}")?;
        match self.already {
            Already::No => (),
            Already::File => {
                write!(f, "\n  It looks already applied, or reversed: {file} has all that this patch makes of it.")?;
            }
            Already::Hunk(at) => {
                write!(f, "\n  It looks already applied, or reversed: line {at} of {file} has what this hunk makes.")?;
            }
        }
        match self.nearest {
            Some(Nearest { line, same, of }) if same == of => {
                let why = match self.rows.iter().any(|row| matches!(row, Row::Found(..))) {
                    true => "with others between them",
                    false => "but above those of the hunk before it",
                };
                write!(f, "\n  Its {of} old lines stand at line {line} of {file}, {why}:")?;
            }
            Some(Nearest { line, same, of }) => {
                write!(f, "\n  Closest is line {line} of {file}, where {same} of its {of} old lines stand:")?;
            }
            None if self.of_nothing => {
                let before = looked_at - 1;
                write!(f, "\n  It has no old lines to look for (diff -U0), and does not fit behind line {before}:")?;
                write!(f, "\n  {file} has {file_lines} lines, and its last may lack a newline.")?;
            }
            None if *looked_at > *file_lines => {
                write!(f, "\n  It belongs at line {looked_at}, but {file} has {file_lines} lines, none like its own:")?;
            }
            None => {
                write!(f, "\n  Nothing in {file} resembles what it wants; line {looked_at}, where it belongs, reads as found:")?;
            }
        }
        if changed_before {
            write!(f, "\n  (Lines of {file} are those after the patches before this one.)")?;
        }
        for row in &self.rows {
            let (label, mark, text) = match row {
                Row::Same(line, text) => ("", line.to_string(), text),
                Row::Wanted(true, text) => ("wanted", "-".to_owned(), text),
                Row::Wanted(false, text) => ("wanted", String::new(), text),
                Row::Found(line, text) => ("found", line.to_string(), text),
            };
            let row = format!("    {label:6} {mark:>6} | {}", shown(text));
            write!(f, "\n{}", row.trim_end())?;
        }
        match self.more_rows {
            0 => (),
            n => write!(f, "\n    ... and {n} more lines")?,
        }
        match self.differs_in_blanks() {
            true => f.write_str("\n  Wanted and found differ in white space only."),
            false => Ok(()),
        }
    }

    fn differs_in_blanks(&self) -> bool {
        let dense = |text: &[u8]| text.iter().filter(|b| !b.is_ascii_whitespace()).copied().collect::<Vec<_>>();
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        for row in &self.rows {
            match row {
                Row::Same(..) => (),
                Row::Wanted(_, text) => wanted.extend(dense(text)),
                Row::Found(_, text) => found.extend(dense(text)),
            }
        }
        !wanted.is_empty() && wanted == found
    }
}

/// The 0-based line of `tree` at which most of `old` stands line for line, nearest to `guess` among equals.
fn resembling(tree: &[&[u8]], old: &[&Line], guess: usize) -> Option<usize> {
    let score = |start: usize| -> usize {
        let pairs = old.iter().zip(&tree[start..]).filter(|(l, t)| l.text == **t);
        pairs.map(|(l, _)| weight(&l.text)).sum()
    };
    let best = (0..tree.len()).map(|start| (score(start), std::cmp::Reverse(start.abs_diff(guess)), start)).max()?;
    (best.0 >= TELLING).then_some(best.2)
}

/// Aligns `old` with the tree around the `span` lines from `start` on, by their longest common subsequence.
fn align(tree: &[&[u8]], old: &[&Line], start: usize, span: usize) -> Vec<Row> {
    let from = start.saturating_sub(SLACK);
    let there = &tree[from..tree.len().min(start + span + SLACK)];
    let (rows, columns) = (old.len(), there.len());
    // common[i][j]: length of the longest common subsequence of old[i..] and there[j..].
    let mut common = vec![vec![0usize; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            common[i][j] = match old[i].text == there[j] {
                true => common[i + 1][j + 1] + weight(there[j]),
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < rows || j < columns {
        if i < rows && j < columns && old[i].text == there[j] {
            out.push(Row::Same(from + j + 1, there[j].to_vec()));
            (i, j) = (i + 1, j + 1);
        } else if j == columns || (i < rows && common[i + 1][j] >= common[i][j + 1]) {
            out.push(Row::Wanted(old[i].op == Op::Delete, old[i].text.clone()));
            i += 1;
        } else {
            out.push(Row::Found(from + j + 1, there[j].to_vec()));
            j += 1;
        }
    }
    pair_up(&out)
}

/// Sorts each run of differences into wanted, then found, and drops the slack of the tree at both ends, but for as
/// many lines as stand against wanted ones.
fn pair_up(rows: &[Row]) -> Vec<Row> {
    let runs: Vec<&[Row]> = rows.chunk_by(|a, b| matches!(a, Row::Same(..)) == matches!(b, Row::Same(..))).collect();
    let last = runs.len().saturating_sub(1);
    let mut out = Vec::with_capacity(rows.len());
    for (n, run) in runs.iter().enumerate() {
        if matches!(run.first(), Some(Row::Same(..))) {
            out.extend_from_slice(run);
            continue;
        }
        let wanted: Vec<Row> = run.iter().filter(|r| matches!(r, Row::Wanted(..))).cloned().collect();
        let mut found: Vec<Row> = run.iter().filter(|r| matches!(r, Row::Found(..))).cloned().collect();
        if n == 0 {
            found.drain(..found.len().saturating_sub(wanted.len()));
        }
        if n == last {
            found.truncate(wanted.len());
        }
        out.extend(wanted);
        out.extend(found);
    }
    out
}

/// The rows around the first difference, and how many are cut off behind them.
fn window(mut rows: Vec<Row>) -> (Vec<Row>, usize) {
    if rows.len() > ROWS {
        let first = rows.iter().position(|row| !matches!(row, Row::Same(..))).unwrap_or(0);
        rows.drain(..first.saturating_sub(LEAD));
    }
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    (rows, more)
}

/// Whether the change is made already, and the 0-based line where this hunk's is.
fn already(tree: &[&[u8]], hunks: &[Hunk], index: usize) -> (Already, Option<usize>) {
    let undone: Vec<Hunk> = hunks.iter().map(reversed).collect();
    if undone.iter().all(is_telling) {
        if let Ok(places) = place(tree, &undone, 0) {
            return (Already::File, Some(places[index].line));
        }
    }
    let hunk = std::slice::from_ref(&undone[index]);
    match place(tree, hunk, 0) {
        Ok(places) if is_telling(&hunk[0]) => (Already::Hunk(places[0].line + 1), Some(places[0].line)),
        _ => (Already::No, None),
    }
}

/// A line of a file as a terminal can take it: tabs as eight columns, what else cannot be seen in caret notation.
fn shown(line: &[u8]) -> String {
    const MOST: usize = 200;
    let (body, newline) = match line.strip_suffix(b"\n") {
        Some(body) => (body, true),
        None => (line, false),
    };
    let mut out = String::new();
    for (column, c) in String::from_utf8_lossy(body).chars().enumerate() {
        match c {
            _ if column == MOST => {
                out.push_str("...");
                break;
            }
            '\t' => out.extend(std::iter::repeat_n(' ', 8 - out.chars().count() % 8)),
            '\0'..='\x1f' => out.extend(['^', char::from(c as u8 ^ 0x40)]),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    if !newline {
        out.push_str(" (no newline at end of file)");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::place::lines;
    use super::*;

    #[test]
    fn lines_are_safe_to_print() {
        assert_eq!(shown(b"\tif (x)\r\n"), "        if (x)^M");
        assert_eq!(shown(b"a\tb\n"), "a       b");
        assert_eq!(shown(b"\x1b[31mred\xff"), "^[[31mred\u{fffd} (no newline at end of file)");
        assert_eq!(shown(&[b'x'; 300]).len(), 200 + 3 + " (no newline at end of file)".len());
    }

    #[test]
    fn a_lone_brace_resembles_nothing() {
        let tree = lines(b"}\n}\n\n}\n");
        let brace = Line { op: Op::Context, text: b"}\n".to_vec() };
        assert_eq!(resembling(&tree, &[&brace], 0), None);
    }

    #[test]
    fn a_line_inserted_in_the_tree_is_one_difference() {
        let tree = lines(b"first line\nsecond line\nnew here\nthird line\nfourth line\n");
        let old: Vec<Line> = [&b"first line\n"[..], b"second line\n", b"third line\n", b"fourth line\n"]
            .map(|text| Line { op: Op::Context, text: text.to_vec() })
            .into();
        let rows = align(&tree, &old.iter().collect::<Vec<_>>(), 0, 4);
        let odd: Vec<&Row> = rows.iter().filter(|row| !matches!(row, Row::Same(..))).collect();
        assert_eq!(odd, [&Row::Found(3, b"new here\n".to_vec())]);
    }
}
