//! What rows may not be, and whether a beginning can be completed to a row that may be.
//!
//! A rule is a conjunction: all its literals together are illegal. Deciding whether a partial row can be completed is
//! satisfiability of clauses over many-valued variables, so it is a search; unit propagation decides nearly all that
//! people write, and a limit bounds the rest.

/// A row's values, and those of one factor as a set of bits.
pub type Value = u8;
/// A set of values of one factor.
pub type Mask = u128;

/// A factor has at most as many values as a [`Mask`] has bits.
pub const MAX_VALUES: usize = Mask::BITS as usize;

/// Splits that one search may take. Rules that people write need a handful.
const MAX_SPLITS: u32 = 100_000;

/// One factor's part of a rule: the factor has one of these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// Which factor.
    pub factor: usize,
    /// Which of its values.
    pub values: Mask,
}

/// All these together are illegal.
pub type Forbid = Vec<Literal>;

/// The rules are such that whether a row exists could not be found out within the search's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tangled;

/// The values that each factor may still take.
pub(super) type Domains = Vec<Mask>;

/// The rules over all factors, without those that never or always hold.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    full: Domains,
    clauses: Vec<Forbid>,
    by_factor: Vec<Vec<usize>>,
}

pub(super) fn bit(value: Value) -> Mask {
    1 << value
}

/// All values of a factor with so many.
pub(super) fn all(size: usize) -> Mask {
    Mask::MAX >> (MAX_VALUES - size)
}

/// The values in a mask, ascending.
pub(super) fn values(mut mask: Mask) -> impl Iterator<Item = Value> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let value = mask.trailing_zeros() as Value;
            mask &= mask - 1;
            value
        })
    })
}

impl Rules {
    pub(super) fn new(sizes: &[usize], forbids: &[Forbid]) -> Self {
        let full: Domains = sizes.iter().map(|&n| all(n)).collect();
        let clauses: Vec<Forbid> = forbids.iter().filter_map(|forbid| normalise(&full, forbid)).collect();
        let mut by_factor = vec![Vec::new(); sizes.len()];
        for (i, clause) in clauses.iter().enumerate() {
            for literal in clause {
                by_factor[literal.factor].push(i);
            }
        }
        Self { full, clauses, by_factor }
    }

    /// Whether any rule speaks of the factor.
    pub(super) fn constrains(&self, factor: usize) -> bool {
        !self.by_factor[factor].is_empty()
    }

    /// The domains before anything is chosen, less the values that no row can have; `None` where there is no row.
    pub(super) fn start(&self) -> Option<Domains> {
        let mut domains = self.full.clone();
        (0..self.clauses.len()).all(|i| self.unit(&mut domains, i, &mut Vec::new())).then_some(())?;
        let mut changed: Vec<_> = (0..domains.len()).collect();
        self.propagate(&mut domains, &mut changed).then_some(domains)
    }

    /// Gives `factor` only `values`, and takes from the others what that makes illegal. `false` where nothing is left
    /// of some factor.
    pub(super) fn restrict(&self, domains: &mut Domains, factor: usize, values: Mask) -> bool {
        let narrowed = domains[factor] & values;
        if narrowed == domains[factor] {
            return narrowed != 0;
        }
        domains[factor] = narrowed;
        narrowed != 0 && self.propagate(domains, &mut vec![factor])
    }

    fn propagate(&self, domains: &mut Domains, changed: &mut Vec<usize>) -> bool {
        while let Some(factor) = changed.pop() {
            for &i in &self.by_factor[factor] {
                if !self.unit(domains, i, changed) {
                    return false;
                }
            }
        }
        true
    }

    /// If all of the clause but one literal is certain, that literal must not hold.
    fn unit(&self, domains: &mut Domains, clause: usize, changed: &mut Vec<usize>) -> bool {
        let mut open = None;
        for literal in &self.clauses[clause] {
            let domain = domains[literal.factor];
            if domain & literal.values == 0 {
                return true;
            }
            if domain & !literal.values != 0 {
                if open.is_some() {
                    return true;
                }
                open = Some(literal);
            }
        }
        let Some(literal) = open else { return false };
        domains[literal.factor] &= !literal.values;
        changed.push(literal.factor);
        true
    }

    /// Whether every choice from the domains is legal; else a literal that decides more.
    fn open(&self, domains: &Domains) -> Option<&Literal> {
        let clause = self.clauses.iter().find(|c| c.iter().all(|l| domains[l.factor] & l.values != 0))?;
        clause.iter().find(|l| domains[l.factor] & !l.values != 0)
    }

    /// Whether some row lies in these (propagated) domains.
    pub(super) fn completable(&self, domains: &Domains) -> Result<bool, Tangled> {
        self.search(domains, &mut MAX_SPLITS.clone())
    }

    fn search(&self, domains: &Domains, splits: &mut u32) -> Result<bool, Tangled> {
        let Some(&literal) = self.open(domains) else { return Ok(true) };
        *splits = splits.checked_sub(1).ok_or(Tangled)?;
        for side in [!literal.values, literal.values] {
            let mut narrowed = domains.clone();
            if self.restrict(&mut narrowed, literal.factor, side) && self.search(&narrowed, splits)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many rows are legal, saturating; `None` where the search's limit is too small to count them.
    pub(super) fn count(&self) -> Option<u128> {
        let Some(domains) = self.start() else { return Some(0) };
        self.count_in(&domains, &mut MAX_SPLITS.clone())
    }

    fn count_in(&self, domains: &Domains, splits: &mut u32) -> Option<u128> {
        let Some(&literal) = self.open(domains) else { return Some(product(domains)) };
        *splits = splits.checked_sub(1)?;
        let mut sum = 0_u128;
        for side in [!literal.values, literal.values] {
            let mut narrowed = domains.clone();
            if self.restrict(&mut narrowed, literal.factor, side) {
                sum = sum.saturating_add(self.count_in(&narrowed, splits)?);
            }
        }
        Some(sum)
    }

    /// The legal rows in the domains, in order of the factors; `None` where there are more than `most`.
    pub(super) fn rows(&self, domains: &Domains, most: usize) -> Result<Option<Vec<Vec<Value>>>, Tangled> {
        let mut rows = Vec::new();
        let fit = self.rows_from(domains, &mut Vec::new(), most, &mut rows)?;
        Ok(fit.then_some(rows))
    }

    fn rows_from(
        &self,
        domains: &Domains,
        row: &mut Vec<Value>,
        most: usize,
        rows: &mut Vec<Vec<Value>>,
    ) -> Result<bool, Tangled> {
        let factor = row.len();
        if factor == domains.len() {
            rows.push(row.clone());
            return Ok(rows.len() <= most);
        }
        for value in values(domains[factor]) {
            let mut narrowed = domains.clone();
            // Without the search, dead ends could outnumber the rows.
            if self.restrict(&mut narrowed, factor, bit(value))
                && (!self.constrains(factor) || self.completable(&narrowed)?)
            {
                row.push(value);
                let fit = self.rows_from(&narrowed, row, most, rows)?;
                row.pop();
                if !fit {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether no rule forbids the row.
    pub(super) fn allows(&self, row: &[Value]) -> bool {
        !self.clauses.iter().any(|clause| holds(clause, row))
    }

    /// Whether no rule that speaks of `factor` forbids the row.
    pub(super) fn allows_at(&self, row: &[Value], factor: usize) -> bool {
        !self.by_factor[factor].iter().any(|&i| holds(&self.clauses[i], row))
    }
}

/// How many rows lie in the domains, saturating.
pub(super) fn product(domains: &[Mask]) -> u128 {
    domains.iter().fold(1, |n: u128, d| n.saturating_mul(u128::from(d.count_ones())))
}

pub(super) fn holds(clause: &[Literal], row: &[Value]) -> bool {
    clause.iter().all(|l| l.values & bit(row[l.factor]) != 0)
}

/// The rule with one literal a factor and none that always holds; `None` where it never holds.
fn normalise(full: &Domains, forbid: &Forbid) -> Option<Forbid> {
    let mut clause: Forbid = Vec::new();
    for literal in forbid {
        match clause.iter_mut().find(|l| l.factor == literal.factor) {
            Some(same) => same.values &= literal.values,
            None => clause.push(Literal { values: literal.values & full[literal.factor], ..*literal }),
        }
    }
    if clause.iter().any(|l| l.values == 0) {
        return None;
    }
    clause.retain(|l| l.values != full[l.factor]);
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literal(factor: usize, values: Mask) -> Literal {
        Literal { factor, values }
    }

    fn rows(sizes: &[usize]) -> Vec<Vec<Value>> {
        let mut rows = vec![Vec::new()];
        for &n in sizes {
            rows = rows
                .iter()
                .flat_map(|row| (0..n as Value).map(move |v| row.iter().copied().chain([v]).collect()))
                .collect();
        }
        rows
    }

    #[test]
    fn propagation_follows_chains() {
        // a=0 forbids b=0, b=1 forbids c=1: with a=0, c is 0.
        let rules = Rules::new(&[2, 2, 2], &[vec![literal(0, 1), literal(1, 1)], vec![literal(1, 2), literal(2, 2)]]);
        let mut domains = rules.start().unwrap();
        assert!(rules.restrict(&mut domains, 0, 1));
        assert_eq!(domains, [1, 2, 1]);
    }

    #[test]
    fn rules_that_never_or_always_hold() {
        assert_eq!(Rules::new(&[2, 2], &[vec![literal(0, 0), literal(1, 1)]]).count(), Some(4));
        assert_eq!(Rules::new(&[2, 2], &[vec![literal(0, 3), literal(1, 1)]]).count(), Some(2));
        assert_eq!(Rules::new(&[2, 2], &[vec![literal(0, 3)]]).start(), None);
        assert_eq!(Rules::new(&[2, 2], &[vec![]]).count(), Some(0));
    }

    /// Seven pigeons in six holes: no row, and propagation alone does not see it.
    #[test]
    fn what_takes_a_search_is_searched_for() {
        let mut forbids = Vec::new();
        for a in 0..7 {
            for b in a + 1..7 {
                forbids.extend((0..6).map(|hole| vec![literal(a, 1 << hole), literal(b, 1 << hole)]));
            }
        }
        let rules = Rules::new(&[6; 7], &forbids);
        assert_eq!(rules.completable(&rules.start().unwrap()), Ok(false));
        assert_eq!(rules.count(), Some(0));
    }

    /// Sixteen pigeons in fifteen holes would take for ever.
    #[test]
    fn what_takes_for_ever_is_said_so() {
        let mut forbids = Vec::new();
        for a in 0..16 {
            for b in a + 1..16 {
                forbids.extend((0..15).map(|hole| vec![literal(a, 1 << hole), literal(b, 1 << hole)]));
            }
        }
        let rules = Rules::new(&[15; 16], &forbids);
        assert_eq!(rules.completable(&rules.start().unwrap()), Err(Tangled));
        assert_eq!(rules.count(), None);
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_trying_every_row(
            sizes in prop::collection::vec(1..4_usize, 1..6),
            raw in prop::collection::vec(prop::collection::vec((0..6_usize, 1..8_u128), 1..4), 0..8),
            fixed in (0..6_usize, 0..4_u8),
        ) {
            let forbids: Vec<Forbid> = raw
                .iter()
                .map(|c| c.iter().map(|&(f, m)| literal(f % sizes.len(), m)).collect())
                .collect();
            let rules = Rules::new(&sizes, &forbids);
            let legal: Vec<_> = rows(&sizes)
                .into_iter()
                .filter(|row| !forbids.iter().any(|f| holds(f, row)))
                .collect();
            prop_assert_eq!(rules.count(), Some(legal.len() as u128));
            for row in rows(&sizes) {
                prop_assert_eq!(rules.allows(&row), legal.contains(&row));
            }
            let (factor, value) = (fixed.0 % sizes.len(), fixed.1 % sizes[fixed.0 % sizes.len()] as u8);
            let found = match rules.start() {
                Some(mut d) => rules.restrict(&mut d, factor, bit(value)) && rules.completable(&d).unwrap(),
                None => false,
            };
            prop_assert_eq!(found, legal.iter().any(|row| row[factor] == value));
        }
    }
}
