//! Fewer rows: takes one out and repairs what that uncovers by tabu search, again and again (after Nurmela, "Upper
//! bounds for covering arrays by tabu search", 2004).

use super::greedy::take;
use super::random::Random;
use super::rules::{bit, values, Domains, Rules, Tangled, Value};
use super::tuples::Coverage;

/// How long a changed place is left alone, in moves: this, and up to as many more by chance.
const TENURE: usize = 4;

/// The search's state.
struct Search<'a, 'b> {
    coverage: Coverage<'a>,
    rules: &'b Rules,
    start: &'b Domains,
    random: &'b mut Random,
    rows: Vec<Vec<Value>>,
    /// The first rows are given and stay.
    fixed: usize,
    /// When each place of each row may be changed again.
    tabu: Vec<Vec<usize>>,
    moves: usize,
    /// Tuples that may still be looked at.
    budget: usize,
}

/// How far the search goes.
pub(super) struct Limits {
    /// Rows that are given and stay.
    pub(super) fixed: usize,
    /// There is no array of fewer rows.
    pub(super) least: usize,
    /// Tuples that may be looked at: not a time, so that a slow machine finds the same array.
    pub(super) budget: usize,
}

/// Takes rows away for as long as the budget lasts.
pub(super) fn improve(
    coverage: Coverage<'_>,
    rules: &Rules,
    start: &Domains,
    random: &mut Random,
    rows: Vec<Vec<Value>>,
    limits: &Limits,
) -> Result<Vec<Vec<Value>>, Tangled> {
    let Limits { fixed, least, budget } = *limits;
    let mut best = rows.clone();
    let tabu = vec![vec![0; start.len()]; rows.len()];
    let mut search = Search { coverage, rules, start, random, rows, fixed, tabu, moves: 0, budget };
    while search.rows.len() > least.max(fixed) {
        search.drop_row();
        if !search.repair()? {
            break;
        }
        best.clone_from(&search.rows);
    }
    Ok(best)
}

impl Search<'_, '_> {
    /// Takes out the row that uncovers least.
    fn drop_row(&mut self) {
        let alone = |r: &usize| self.coverage.alone(&self.rows[*r]);
        let Some(row) = (self.fixed..self.rows.len()).min_by_key(alone) else { return };
        self.coverage.remove(&self.rows[row]);
        self.rows.swap_remove(row);
        self.tabu.pop();
    }

    /// Changes rows until everything is covered. `false` when the budget is spent first.
    fn repair(&mut self) -> Result<bool, Tangled> {
        if self.rows.len() == self.fixed {
            return Ok(self.coverage.uncovered().is_empty());
        }
        let mut fewest = usize::MAX;
        while !self.coverage.uncovered().is_empty() {
            fewest = fewest.min(self.coverage.uncovered().len());
            let uncovered = self.coverage.uncovered();
            let tuple: Vec<_> = self.coverage.tuples.decode(uncovered[self.random.below(uncovered.len())]).collect();
            let Some(left) = self.budget.checked_sub(self.cost(&tuple)) else { return Ok(false) };
            self.budget = left;
            self.moves += 1;
            match self.best_change(&tuple, fewest) {
                Some((row, column, value)) => {
                    self.coverage.set(&mut self.rows[row], column, value);
                    self.tabu[row][column] = self.moves + TENURE + self.random.below(TENURE);
                }
                None => self.embed(&tuple)?,
            }
        }
        Ok(true)
    }

    /// About how many tuples a move over this one looks at.
    fn cost(&self, tuple: &[(usize, Value)]) -> usize {
        let sets = tuple.iter().map(|&(c, _)| self.coverage.tuples.sets_of(c)).max().unwrap_or(1);
        self.rows.len() + 2 * sets
    }

    /// The change of one place that covers the tuple and uncovers least: among rows that differ from it in one place.
    fn best_change(&mut self, tuple: &[(usize, Value)], fewest: usize) -> Option<(usize, usize, Value)> {
        let now = self.coverage.uncovered().len() as i64;
        let mut best = None;
        let mut least = i64::MAX;
        let mut ties = 0;
        for r in self.fixed..self.rows.len() {
            let row = &mut self.rows[r];
            let mut wrong = tuple.iter().filter(|&&(c, v)| row[c] != v);
            let (Some(&(column, value)), None) = (wrong.next(), wrong.next()) else { continue };
            if self.rules.constrains(column) {
                let old = std::mem::replace(&mut row[column], value);
                let legal = self.rules.allows_at(row, column);
                row[column] = old;
                if !legal {
                    continue;
                }
            }
            let change = self.coverage.change(row, column, value);
            self.budget = self.budget.saturating_sub(2 * self.coverage.tuples.sets_of(column));
            // A tabu change is made all the same if it leads to what was never reached.
            if self.tabu[r][column] > self.moves && now + change >= fewest as i64 {
                continue;
            }
            if change < least {
                (least, ties) = (change, 0);
            }
            if change == least {
                ties += 1;
                if self.random.below(ties) == 0 {
                    best = Some((r, column, value));
                }
            }
        }
        best
    }

    /// Puts the tuple into some row, and keeps of the row what is legal beside it.
    fn embed(&mut self, tuple: &[(usize, Value)]) -> Result<(), Tangled> {
        let r = self.fixed + self.random.below(self.rows.len() - self.fixed);
        let mut domains = self.start.clone();
        for &(column, value) in tuple {
            self.rules.restrict(&mut domains, column, bit(value));
        }
        let mut order: Vec<_> = (0..domains.len()).collect();
        self.random.shuffle(&mut order);
        for column in order {
            let mut choices: Vec<_> = values(domains[column]).collect();
            self.random.shuffle(&mut choices);
            choices.sort_by_key(|&v| v != self.rows[r][column]);
            let value = take(self.rules, &mut domains, column, &choices)?;
            if value != self.rows[r][column] {
                self.coverage.set(&mut self.rows[r], column, value);
                self.tabu[r][column] = self.moves + TENURE + self.random.below(TENURE);
            }
        }
        Ok(())
    }
}
