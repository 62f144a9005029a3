//! Covering arrays: few rows in which every legal combination of any t factors' values occurs.
//!
//! Pure, and deterministic: the same [`Problem`] gives the same rows on every machine. Rows are made greedily, then
//! fewer are made of them by a search with a budget of steps. `docs/coverage.md` explains it and has the sizes.

mod greedy;
mod improve;
mod random;
mod rules;
mod tuples;

pub use rules::{Forbid, Literal, Mask, Value, MAX_VALUES};

use improve::Limits;
use random::Random;
use rules::{Domains, Rules, Tangled};
use tuples::{Coverage, Tuples};

/// The largest strength. Nearly all faults that were ever traced to settings needed at most six of them (Kuhn, Wallace
/// and Gallo, 2004).
pub const MAX_T: usize = 6;

/// Tuples that are kept track of at most: each takes twelve bytes.
const MAX_TUPLES: usize = 1 << 22;

/// Rows at most. Each is a boot.
pub const MAX_ROWS: usize = 20_000;

/// Tuples that the search for fewer rows may look at: half a second's worth or so.
pub const BUDGET: usize = 150_000_000;

/// What to cover.
#[derive(Debug, Clone)]
pub struct Problem {
    /// How many values each factor has: 1 to [`MAX_VALUES`].
    pub sizes: Vec<usize>,
    /// Which combinations of values are illegal.
    pub forbids: Vec<Forbid>,
    /// Every legal combination of so many factors' values is covered: 1 to [`MAX_T`]. Where there are fewer factors with
    /// several values, all of them together are.
    pub t: usize,
    /// Rows that the array begins with. They must be legal.
    pub fixed: Vec<Vec<Value>>,
    /// Ties are broken by it.
    pub seed: u64,
    /// Tuples that the search for fewer rows may look at, [`BUDGET`] by default.
    pub budget: usize,
}

/// A covering array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The fixed rows first, each once.
    pub rows: Vec<Vec<Value>>,
    /// Legal tuples, all of which the rows cover.
    pub tuples: usize,
    /// Tuples that no legal row has.
    pub illegal: usize,
    /// The columns of a tuple: the problem's t, or fewer.
    pub t: usize,
}

/// Why there is no array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoverError {
    /// A factor has no value or too many.
    #[error("a factor with {0} values, expected 1 to {MAX_VALUES}")]
    Size(usize),
    /// A strength out of range.
    #[error("coverage of {0} factors at a time, expected 1 to {MAX_T}")]
    Strength(usize),
    /// A fixed row breaks a rule, or is no row of this problem.
    #[error("fixed row {0} is not legal")]
    Fixed(usize),
    /// The rules leave nothing.
    #[error("no combination is legal")]
    Nothing,
    /// More tuples or rows than can be managed.
    #[error("too many combinations: more than {MAX_TUPLES} tuples or {MAX_ROWS} rows")]
    TooLarge,
    /// See [`Tangled`].
    #[error("the rules are too tangled to find out what is legal")]
    Tangled,
}

impl From<Tangled> for CoverError {
    fn from(_: Tangled) -> Self {
        Self::Tangled
    }
}

impl Problem {
    /// A problem without rules or fixed rows.
    pub fn new(sizes: Vec<usize>, t: usize, seed: u64) -> Self {
        Self { sizes, forbids: Vec::new(), t, fixed: Vec::new(), seed, budget: BUDGET }
    }

    fn rules(&self) -> Result<(Rules, Domains), CoverError> {
        if let Some(&n) = self.sizes.iter().find(|&&n| n == 0 || n > MAX_VALUES) {
            return Err(CoverError::Size(n));
        }
        let rules = Rules::new(&self.sizes, &self.forbids);
        let start = rules.start().ok_or(CoverError::Nothing)?;
        if !rules.completable(&start)? {
            return Err(CoverError::Nothing);
        }
        let fits = |row: &Vec<Value>| {
            row.len() == self.sizes.len() && row.iter().zip(&self.sizes).all(|(&v, &n)| usize::from(v) < n)
        };
        match self.fixed.iter().position(|row| !fits(row) || !rules.allows(row)) {
            Some(i) => Err(CoverError::Fixed(i)),
            None => Ok((rules, start)),
        }
    }

    /// The array.
    ///
    /// # Errors
    /// See [`CoverError`].
    pub fn cover(&self) -> Result<Array, CoverError> {
        if !(1..=MAX_T).contains(&self.t) {
            return Err(CoverError::Strength(self.t));
        }
        let (rules, start) = self.rules()?;
        let mut random = Random::new(self.seed);
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for row in &self.fixed {
            if !rows.contains(row) {
                rows.push(row.clone());
            }
        }
        let fixed = rows.len();
        let varying: Vec<_> = self.sizes.iter().copied().filter(|&n| n > 1).collect();
        let t = self.t.min(varying.len());
        if t == 0 {
            if rows.is_empty() {
                rows.push(vec![0; self.sizes.len()]);
            }
            return Ok(Array { rows, tuples: 1, illegal: 0, t });
        }
        tuples::count(&varying, t, MAX_TUPLES).ok_or(CoverError::TooLarge)?;
        let tuples = Tuples::new(&self.sizes, t);
        let (empty, least) = Coverage::new(&tuples, &rules, &start)?;
        let legal = empty.uncovered().len();
        if least > MAX_ROWS {
            return Err(CoverError::TooLarge);
        }
        let mut coverage = empty;
        rows.iter().for_each(|row| coverage.add(row));
        if !greedy::fill(&mut coverage, &rules, &start, &mut random, &mut rows, MAX_ROWS)? {
            return Err(CoverError::TooLarge);
        }
        let limits = Limits { fixed, least, budget: self.budget };
        let rows = improve::improve(coverage, &rules, &start, &mut random, rows, &limits)?;
        Ok(Array { rows, tuples: legal, illegal: tuples.len() - legal, t })
    }

    /// Every legal row, in order of the factors; [`CoverError::TooLarge`] past `most` rows.
    ///
    /// # Errors
    /// See [`CoverError`].
    pub fn all(&self, most: usize) -> Result<Vec<Vec<Value>>, CoverError> {
        let (rules, start) = self.rules()?;
        rules.rows(&start, most)?.ok_or(CoverError::TooLarge)
    }

    /// How many rows are legal, saturating at `u128::MAX`; `None` where the rules are too tangled to count.
    pub fn legal_rows(&self) -> Option<u128> {
        Rules::new(&self.sizes, &self.forbids).count()
    }

    /// The first of the rules that the row breaks.
    pub fn broken(&self, row: &[Value]) -> Option<usize> {
        self.forbids.iter().position(|forbid| rules::holds(forbid, row))
    }
}

#[cfg(test)]
mod tests;
