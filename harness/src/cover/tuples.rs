//! The t-tuples of a problem, numbered, and how often rows cover each.

use super::rules::{all, bit, values, Domains, Rules, Tangled, Value};

/// The columns of each t-set, and where its tuples are numbered from.
#[derive(Debug)]
pub(super) struct Tuples {
    /// Columns in a tuple.
    pub(super) t: usize,
    sizes: Vec<usize>,
    /// `t` columns for each set.
    columns: Vec<u32>,
    /// What one step in each of those columns adds to a tuple's number.
    strides: Vec<u32>,
    /// The number of each set's first tuple, ascending.
    bases: Vec<u32>,
    /// For each column the sets that it is in: base, the column's own stride, then `t - 1` other columns with theirs.
    of_column: Vec<Vec<u32>>,
    total: usize,
}

/// How many t-tuples there are over factors of these sizes; `None` past `most`. No set is listed for it.
pub(super) fn count(sizes: &[usize], t: usize, most: usize) -> Option<usize> {
    // The elementary symmetric polynomial of degree t, one factor at a time.
    let mut sums = vec![0_u128; t + 1];
    sums[0] = 1;
    for &size in sizes {
        for degree in (1..=t).rev() {
            sums[degree] = sums[degree].saturating_add(sums[degree - 1].saturating_mul(size as u128));
        }
    }
    usize::try_from(sums[t]).ok().filter(|&n| n <= most)
}

impl Tuples {
    /// All t-tuples over the columns whose size is not 1.
    pub(super) fn new(sizes: &[usize], t: usize) -> Self {
        let varying: Vec<_> = (0..sizes.len()).filter(|&c| sizes[c] > 1).collect();
        let mut tuples = Self {
            t,
            sizes: sizes.to_vec(),
            columns: Vec::new(),
            strides: Vec::new(),
            bases: Vec::new(),
            of_column: vec![Vec::new(); sizes.len()],
            total: 0,
        };
        let mut at: Vec<usize> = (0..t).collect();
        loop {
            tuples.push(&at.iter().map(|&i| varying[i]).collect::<Vec<_>>());
            // The next t-set in lexicographic order: the last place that can still go up does.
            let Some(i) = (0..t).rev().find(|&i| at[i] < varying.len() - t + i) else { break };
            at[i] += 1;
            for j in i + 1..t {
                at[j] = at[j - 1] + 1;
            }
        }
        tuples
    }

    fn push(&mut self, set: &[usize]) {
        let base = self.total as u32;
        let mut stride = 1;
        let mut strides = vec![0; set.len()];
        for (i, &column) in set.iter().enumerate().rev() {
            strides[i] = stride as u32;
            stride *= self.sizes[column];
        }
        for (i, &column) in set.iter().enumerate() {
            self.of_column[column].extend([base, strides[i]]);
            for (j, &other) in set.iter().enumerate().filter(|(j, _)| *j != i) {
                self.of_column[column].extend([other as u32, strides[j]]);
            }
        }
        self.bases.push(base);
        self.columns.extend(set.iter().map(|&c| c as u32));
        self.strides.extend(&strides);
        self.total += stride;
    }

    /// How many there are, illegal ones too.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// A tuple's columns, and its values in them.
    pub(super) fn decode(&self, tuple: u32) -> impl Iterator<Item = (usize, Value)> + '_ {
        let set = self.bases.partition_point(|&base| base <= tuple) - 1;
        let mut rest = tuple - self.bases[set];
        let range = set * self.t..(set + 1) * self.t;
        self.columns[range.clone()].iter().zip(&self.strides[range]).map(move |(&column, &stride)| {
            let value = rest / stride;
            rest %= stride;
            (column as usize, value as Value)
        })
    }

    /// Calls `f` with the number of every tuple of `row`.
    fn each(&self, row: &[Value], mut f: impl FnMut(usize)) {
        let sets = self.columns.chunks_exact(self.t).zip(self.strides.chunks_exact(self.t));
        for (&base, (columns, strides)) in self.bases.iter().zip(sets) {
            let places = columns.iter().zip(strides);
            f(places.fold(base as usize, |n, (&c, &stride)| n + row[c as usize] as usize * stride as usize));
        }
    }

    /// For every set with `column`, calls `f` with its tuple's number as if the column's value were 0, and with what
    /// one more in that column adds.
    #[inline]
    fn each_at(&self, row: &[Value], column: usize, mut f: impl FnMut(usize, usize)) {
        for set in self.of_column[column].chunks_exact(2 * self.t) {
            let mut number = set[0] as usize;
            for other in set[2..].chunks_exact(2) {
                number += row[other[0] as usize] as usize * other[1] as usize;
            }
            f(number, set[1] as usize);
        }
    }

    /// Sets with that column.
    pub(super) fn sets_of(&self, column: usize) -> usize {
        self.of_column[column].len() / (2 * self.t)
    }
}

/// Counts above this mark tuples that no legal row has.
const ILLEGAL: u32 = 1 << 31;

/// Where a covered tuple stands among the uncovered.
const NOWHERE: u32 = u32::MAX;

/// How often each tuple is covered, and which are not.
#[derive(Debug, Clone)]
pub(super) struct Coverage<'a> {
    pub(super) tuples: &'a Tuples,
    counts: Vec<u32>,
    uncovered: Vec<u32>,
    position: Vec<u32>,
}

impl<'a> Coverage<'a> {
    /// No row yet. Also yields the largest number of legal tuples in one set: no array has fewer rows.
    pub(super) fn new(tuples: &'a Tuples, rules: &Rules, start: &Domains) -> Result<(Self, usize), Tangled> {
        let mut new = Self {
            tuples,
            counts: vec![0; tuples.len()],
            uncovered: Vec::new(),
            position: vec![NOWHERE; tuples.len()],
        };
        let mut most = 0;
        for set in 0..tuples.bases.len() {
            let before = new.uncovered.len();
            let columns: Vec<_> =
                tuples.columns[set * tuples.t..(set + 1) * tuples.t].iter().map(|&c| c as usize).collect();
            let first = tuples.bases[set] as usize;
            let number = columns.iter().map(|&c| tuples.sizes[c]).product::<usize>();
            if columns.iter().any(|&c| rules.constrains(c)) {
                new.counts[first..first + number].fill(ILLEGAL);
                new.mark_legal(rules, start, &columns, &tuples.strides[set * tuples.t..], first)?;
            } else {
                (first..first + number).for_each(|tuple| new.uncover(tuple));
            }
            most = most.max(new.uncovered.len() - before);
        }
        Ok((new, most))
    }

    /// Goes through the values of the columns, each with what the ones before leave of it.
    fn mark_legal(
        &mut self,
        rules: &Rules,
        domains: &Domains,
        columns: &[usize],
        strides: &[u32],
        number: usize,
    ) -> Result<(), Tangled> {
        let Some((&column, rest)) = columns.split_first() else {
            if rules.completable(domains)? {
                self.counts[number] = 0;
                self.uncover(number);
            }
            return Ok(());
        };
        for value in values(domains[column] & all(self.tuples.sizes[column])) {
            let mut narrowed = domains.clone();
            if rules.restrict(&mut narrowed, column, bit(value)) {
                let number = number + value as usize * strides[0] as usize;
                self.mark_legal(rules, &narrowed, rest, &strides[1..], number)?;
            }
        }
        Ok(())
    }

    fn uncover(&mut self, tuple: usize) {
        self.position[tuple] = self.uncovered.len() as u32;
        self.uncovered.push(tuple as u32);
    }

    fn up(&mut self, tuple: usize) {
        self.counts[tuple] += 1;
        if self.counts[tuple] == 1 {
            let at = self.position[tuple] as usize;
            self.uncovered.swap_remove(at);
            if let Some(&moved) = self.uncovered.get(at) {
                self.position[moved as usize] = at as u32;
            }
            self.position[tuple] = NOWHERE;
        }
    }

    fn down(&mut self, tuple: usize) {
        self.counts[tuple] -= 1;
        if self.counts[tuple] == 0 {
            self.uncover(tuple);
        }
    }

    /// Legal tuples that no row covers, in no order.
    pub(super) fn uncovered(&self) -> &[u32] {
        &self.uncovered
    }

    pub(super) fn add(&mut self, row: &[Value]) {
        let tuples = self.tuples;
        tuples.each(row, |tuple| self.up(tuple));
    }

    pub(super) fn remove(&mut self, row: &[Value]) {
        let tuples = self.tuples;
        tuples.each(row, |tuple| self.down(tuple));
    }

    /// How many tuples only this row covers.
    pub(super) fn alone(&self, row: &[Value]) -> usize {
        let mut n = 0;
        self.tuples.each(row, |tuple| n += usize::from(self.counts[tuple] == 1));
        n
    }

    /// How many tuples more would be uncovered if the row had `value` in `column`.
    #[inline]
    pub(super) fn change(&self, row: &[Value], column: usize, value: Value) -> i64 {
        let (old, new) = (row[column] as usize, value as usize);
        let mut change = 0_i64;
        self.tuples.each_at(row, column, |number, stride| {
            change += i64::from(self.counts[number + old * stride] == 1);
            change -= i64::from(self.counts[number + new * stride] == 0);
        });
        change
    }

    /// Gives the row `value` in `column`.
    pub(super) fn set(&mut self, row: &mut [Value], column: usize, value: Value) {
        let (old, new) = (row[column] as usize, value as usize);
        let tuples = self.tuples;
        tuples.each_at(row, column, |number, stride| {
            self.down(number + old * stride);
            self.up(number + new * stride);
        });
        row[column] = value;
    }

    /// For each value of `column`, how many uncovered tuples it would cover together with the columns that are `set`.
    pub(super) fn gains(&self, row: &[Value], set: &[bool], column: usize, gains: &mut [u32]) {
        gains.fill(0);
        for places in self.tuples.of_column[column].chunks_exact(2 * self.tuples.t) {
            let mut others = places[2..].chunks_exact(2);
            let mut number = places[0] as usize;
            if !others.all(|other| {
                number += row[other[0] as usize] as usize * other[1] as usize;
                set[other[0] as usize]
            }) {
                continue;
            }
            for gain in gains.iter_mut() {
                *gain += u32::from(self.counts[number] == 0);
                number += places[1] as usize;
            }
        }
    }
}
