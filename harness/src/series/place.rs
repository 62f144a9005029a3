//! Finds where hunks stand in a file: `patch(1)`'s search, with its offsets and its fuzz.

use super::diff::{Hunk, Line, Op};

/// The lines of a file, each with its newline; the last may have none.
pub(super) fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|b| *b == b'\n').collect()
}

/// Where a hunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// 0-based line of the tree that the hunk's first old line stands for.
    pub line: usize,
    /// Context lines ignored at its longer end.
    pub fuzz: usize,
}

/// A hunk that stands nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    /// 0-based.
    pub hunk: usize,
    /// Where it was looked for first: 0-based line, maybe behind the end.
    pub guess: usize,
}

/// 0-based line that a hunk's header names. An empty old range names the line before it.
pub(super) fn first(hunk: &Hunk) -> isize {
    hunk.old_start as isize - isize::from(hunk.old_count > 0)
}

/// Finds the place of every hunk, in order: each behind the changes of the one before it.
pub(super) fn place(tree: &[&[u8]], hunks: &[Hunk], max_fuzz: usize) -> Result<Vec<Place>, Failed> {
    let mut places = Vec::with_capacity(hunks.len());
    // What moved one hunk likely moved the next by as much.
    let mut drift = 0;
    // Lines of the tree before this one are settled by earlier hunks. A hunk's trailing context is not: the next
    // hunk may share it.
    let mut settled = 0;
    for (i, hunk) in hunks.iter().enumerate() {
        let shape = Shape::new(hunk);
        let guess = first(hunk) + drift;
        let most = max_fuzz.min(shape.prefix.max(shape.suffix));
        let found = (0..=most).find_map(|fuzz| {
            let line = shape.locate(tree, settled, guess, fuzz)?;
            Some(Place { line, fuzz })
        });
        let found = found.filter(|found| found.fuzz == 0 || !is_made_at(tree, hunk, guess, found.line));
        let Some(found) = found else { return Err(Failed { hunk: i, guess: usize::try_from(guess).unwrap_or(0) }) };
        drift = found.line as isize - first(hunk);
        settled = found.line + shape.old.len() - shape.suffix;
        places.push(found);
    }
    Ok(places)
}

/// A hunk as the search sees it.
struct Shape<'a> {
    old: Vec<&'a [u8]>,
    /// Context lines before the first change, and behind the last.
    prefix: usize,
    suffix: usize,
    /// 0-based line in the old file.
    first: isize,
    /// The new side ends without a newline, so it is the end of the file.
    ends_file: bool,
}

impl<'a> Shape<'a> {
    fn new(hunk: &'a Hunk) -> Self {
        let context = |l: &&Line| l.op == Op::Context;
        let prefix = hunk.lines.iter().take_while(context).count();
        // A hunk of nothing but context must not count it twice.
        let suffix = hunk.lines[prefix..].iter().rev().take_while(context).count();
        let ends_file = hunk.new_side().last().is_some_and(|line| !line.ends_with(b"\n"));
        Self { old: hunk.old_side(), prefix, suffix, first: first(hunk), ends_file }
    }

    /// The line nearest to `guess` where the hunk fits with this `fuzz`: below first, then above, further and
    /// further out.
    ///
    /// `patch(1)`'s rule for the ends of a file: a hunk with less context at one end than at the other was cut off by
    /// the file's end there, so it fits only at that end, until fuzz has evened out the difference.
    fn locate(&self, tree: &[&[u8]], settled: usize, guess: isize, fuzz: usize) -> Option<usize> {
        let (len, size) = (tree.len() as isize, self.old.len() as isize);
        if self.old.is_empty() {
            let line = usize::try_from(guess).ok().filter(|line| (settled..=tree.len()).contains(line))?;
            return self.fits(tree, line, 0, 0).then_some(line);
        }
        let context = self.prefix.max(self.suffix) as isize;
        let skip_prefix = fuzz as isize + self.prefix as isize - context;
        let skip_suffix = fuzz as isize + self.suffix as isize - context;
        let (at_start, at_end) = (skip_prefix < 0 && self.first <= 0, skip_suffix < 0);
        let (skip_prefix, skip_suffix) = (skip_prefix.max(0), skip_suffix.max(0));
        let (mut low, mut high) = (settled as isize, len - (size - skip_suffix));
        if at_start {
            high = high.min(0);
        }
        if at_end {
            low = low.max(len - size);
        }
        if low > high {
            return None;
        }
        let fits = |line: isize| {
            let line = usize::try_from(line).ok().filter(|_| (low..=high).contains(&line))?;
            self.fits(tree, line, skip_prefix as usize, skip_suffix as usize).then_some(line)
        };
        // A guess far outside the file must not cost a step per line of the distance.
        let nearest = (low - guess).max(guess - high).max(0);
        let farthest = (high - guess).max(guess - low);
        (nearest..=farthest).find_map(|offset| fits(guess + offset).or_else(|| fits(guess - offset)))
    }

    fn fits(&self, tree: &[&[u8]], line: usize, skip_prefix: usize, skip_suffix: usize) -> bool {
        if self.ends_file && line + self.old.len() != tree.len() {
            return false;
        }
        // New lines must not be glued to a last line that lacks its newline.
        if self.prefix == 0 && line > 0 && tree.get(line - 1).is_none_or(|before| !before.ends_with(b"\n")) {
            return false;
        }
        let Some(old) = self.old.get(skip_prefix..self.old.len() - skip_suffix) else { return false };
        // Stricter than `patch(1)`: fuzz must leave something to recognize the place by.
        if old.is_empty() && skip_prefix + skip_suffix > 0 {
            return false;
        }
        tree.get(line + skip_prefix..).is_some_and(|tree| tree.starts_with(old))
    }
}

/// How much a line says about a place: a brace or an empty line stands everywhere.
pub(super) fn weight(line: &[u8]) -> usize {
    match line.trim_ascii().len() {
        0..=2 => 1,
        3..=6 => 3,
        _ => 8,
    }
}

/// Weight of lines that can tell a place from others.
pub(super) const TELLING: usize = 8;

/// Whether a hunk's old lines can tell a place from others: a lone brace, or no line at all, stands anywhere.
pub(super) fn is_telling(hunk: &Hunk) -> bool {
    hunk.old_side().iter().map(|line| weight(line)).sum::<usize>() >= TELLING
}

/// Whether the change that `hunk` makes is made already, where fuzz would make it once more: at `line`.
fn is_made_at(tree: &[&[u8]], hunk: &Hunk, guess: isize, line: usize) -> bool {
    let undone = reversed(hunk);
    let made = Shape::new(&undone).locate(tree, 0, guess, 0).filter(|_| is_telling(&undone));
    made.is_some_and(|made| made <= line + hunk.old_count && line <= made + hunk.new_count)
}

/// The hunk that undoes `hunk`.
pub(super) fn reversed(hunk: &Hunk) -> Hunk {
    let lines = hunk.lines.iter().map(|line| {
        let op = match line.op {
            Op::Context => Op::Context,
            Op::Delete => Op::Add,
            Op::Add => Op::Delete,
        };
        Line { op, text: line.text.clone() }
    });
    Hunk {
        lines: lines.collect(),
        old_start: hunk.new_start,
        old_count: hunk.new_count,
        new_start: hunk.old_start,
        new_count: hunk.old_count,
        ..hunk.clone()
    }
}
