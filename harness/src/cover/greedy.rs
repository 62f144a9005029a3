//! Rows one at a time, each the best of some candidates (after Cohen, Dalal, Fredman and Patton's AETG).

use super::random::Random;
use super::rules::{bit, values, Domains, Rules, Tangled, Value};
use super::tuples::Coverage;

/// Candidates for a row. More make better rows, and the improvement afterwards makes up for fewer.
const CANDIDATES: usize = 12;

/// Uncovered tuples looked at to learn which values still want for rows: a sample does where there are more.
const SAMPLE: usize = 20_000;

/// Adds rows until every legal tuple is covered.
pub(super) fn fill(
    coverage: &mut Coverage<'_>,
    rules: &Rules,
    start: &Domains,
    random: &mut Random,
    rows: &mut Vec<Vec<Value>>,
    most: usize,
) -> Result<bool, Tangled> {
    while !coverage.uncovered().is_empty() {
        if rows.len() >= most {
            return Ok(false);
        }
        let wanted = wanted(coverage, random, start);
        let mut best: Option<(u32, Vec<Value>)> = None;
        for _ in 0..CANDIDATES {
            let (gain, row) = candidate(coverage, rules, start, random, &wanted)?;
            if best.as_ref().is_none_or(|(most, _)| gain > *most) {
                best = Some((gain, row));
            }
        }
        let Some((_, row)) = best else { return Ok(false) };
        coverage.add(&row);
        rows.push(row);
    }
    Ok(true)
}

/// For each column and value, how many uncovered tuples have it.
fn wanted(coverage: &Coverage<'_>, random: &mut Random, start: &Domains) -> Vec<Vec<u32>> {
    let size = |d: &u128| (u128::BITS - d.leading_zeros()) as usize;
    let mut wanted: Vec<_> = start.iter().map(|d| vec![0; size(d)]).collect();
    let uncovered = coverage.uncovered();
    let (skip, step) = match uncovered.len() / SAMPLE {
        0 | 1 => (0, 1),
        step => (random.below(step), step),
    };
    for &tuple in uncovered.iter().skip(skip).step_by(step) {
        for (column, value) in coverage.tuples.decode(tuple) {
            wanted[column][value as usize] += 1;
        }
    }
    wanted
}

/// A legal row around an uncovered tuple, so that it covers at least that one, and how many more it covers.
fn candidate(
    coverage: &Coverage<'_>,
    rules: &Rules,
    start: &Domains,
    random: &mut Random,
    wanted: &[Vec<u32>],
) -> Result<(u32, Vec<Value>), Tangled> {
    let uncovered = coverage.uncovered();
    let tuple = uncovered[random.below(uncovered.len())];
    let mut domains = start.clone();
    let mut row = vec![0; start.len()];
    let mut set = vec![false; start.len()];
    for (column, value) in coverage.tuples.decode(tuple) {
        row[column] = value;
        set[column] = true;
        rules.restrict(&mut domains, column, bit(value));
    }
    let mut order: Vec<_> = (0..row.len()).filter(|&c| !set[c]).collect();
    random.shuffle(&mut order);
    let mut total = 1;
    let mut gains = Vec::new();
    for column in order {
        gains.resize(wanted[column].len(), 0);
        coverage.gains(&row, &set, column, &mut gains);
        let mut choices: Vec<_> = values(domains[column]).collect();
        random.shuffle(&mut choices);
        choices.sort_by_key(|&v| std::cmp::Reverse((gains[v as usize], wanted[column][v as usize])));
        let value = take(rules, &mut domains, column, &choices)?;
        row[column] = value;
        set[column] = true;
        total += gains[value as usize];
    }
    Ok((total, row))
}

/// The first of the choices with which the row can still be completed. There is one, because the domains could be.
pub(super) fn take(rules: &Rules, domains: &mut Domains, column: usize, choices: &[Value]) -> Result<Value, Tangled> {
    for &value in choices {
        let mut narrowed = domains.clone();
        if rules.restrict(&mut narrowed, column, bit(value))
            && (!rules.constrains(column) || rules.completable(&narrowed)?)
        {
            *domains = narrowed;
            return Ok(value);
        }
    }
    // Only where the domains could not be completed to begin with, which callers have excluded.
    Err(Tangled)
}
