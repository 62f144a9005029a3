//! Which cells of a matrix's product are run: the legal ones that its coverage takes, the fixed ones first.

use super::factors::Factors;
use super::{legal, Cell, Wrong};
use crate::cover::{CoverError, Forbid, Problem, Value, MAX_ROWS};
use crate::matrix::coverage::Coverage;
use crate::matrix::yaml::locate::Step;
use crate::matrix::Matrix;
use serde::Serialize;
use std::collections::BTreeSet;

/// What was chosen out of what, and why not the rest.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// `full`, `pairwise`, `3-way`.
    pub coverage: String,
    /// How many combinations of variant, settings and workload there are, legal or not.
    pub combinations: u128,
    /// How many of them are illegal; none where the rules are too tangled to count.
    pub illegal: Option<u128>,
    /// Without full coverage: how many combinations of that many settings are covered.
    pub tuples: Option<Tuples>,
    /// Cells that the matrix asks for by `cells:`. They come first.
    pub fixed: usize,
    /// The rules, and what each of them leaves out.
    pub rules: Vec<LeftOut>,
}

/// What an array covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tuples {
    /// Settings in each: fewer than asked for where fewer dimensions have several.
    pub of: usize,
    /// How many are legal. All are covered.
    pub covered: usize,
    /// How many no legal cell has.
    pub illegal: usize,
}

/// A rule and what it leaves out.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// The rule.
    pub rule: String,
    /// Why it is so: the matrix's key, or the reason and source of a built-in rule.
    pub why: String,
    /// Combinations that this rule alone forbids; none where that is too much to count.
    pub combinations: Option<u128>,
}

struct Rule {
    text: String,
    why: String,
    forbids: Vec<Forbid>,
}

/// A row that the matrix asks for, and where it does.
struct Fixed {
    at: Vec<Step>,
    row: Vec<Value>,
}

/// Chooses the cells.
pub(super) fn choose(matrix: &Matrix, factors: &Factors<'_>) -> Result<(Vec<Cell>, Choice), Wrong> {
    let rules = rules(matrix, factors)?;
    let fixed = fixed(matrix, factors)?;
    let problem = Problem {
        forbids: rules.iter().flat_map(|rule| rule.forbids.iter().cloned()).collect(),
        fixed: fixed.iter().map(|f| f.row.clone()).collect(),
        ..Problem::new(factors.sizes(), 1, matrix.seed)
    };
    if let Some((fixed, forbid)) = fixed.iter().find_map(|f| Some((f, problem.broken(&f.row)?))) {
        let rule = rule_of(&rules, forbid);
        return Err(Wrong { at: fixed.at.clone(), message: format!("is illegal by '{}', {}", rule.text, rule.why) });
    }
    let combinations = product(&problem.sizes);
    let wrong = |e: CoverError| refused(&e, matrix, &rules, combinations);
    let (rows, tuples) = match matrix.coverage {
        Coverage::Full => {
            let mut rows: Vec<Vec<Value>> = problem.fixed.clone();
            rows.extend(problem.all(MAX_ROWS).map_err(wrong)?);
            let mut seen = BTreeSet::new();
            rows.retain(|row| seen.insert(row.clone()));
            (rows, None)
        }
        Coverage::Ways(t) => {
            let array = Problem { t, ..problem.clone() }.cover().map_err(wrong)?;
            let tuples = Tuples { of: array.t, covered: array.tuples, illegal: array.illegal };
            (array.rows, Some(tuples))
        }
    };
    let illegal = problem.legal_rows().map(|legal| combinations.saturating_sub(legal));
    let left_out = |rule: &Rule| {
        let alone = Problem { forbids: rule.forbids.clone(), ..Problem::new(problem.sizes.clone(), 1, 0) };
        let combinations = alone.legal_rows().map(|legal| combinations.saturating_sub(legal));
        LeftOut { rule: rule.text.clone(), why: rule.why.clone(), combinations }
    };
    let choice = Choice {
        coverage: matrix.coverage.to_string(),
        combinations,
        illegal,
        tuples,
        fixed: problem.fixed.iter().collect::<BTreeSet<_>>().len(),
        rules: rules.iter().map(left_out).collect(),
    };
    Ok((rows.iter().map(|row| factors.cell(row)).collect(), choice))
}

/// The built-in rules and the matrix's own.
fn rules(matrix: &Matrix, factors: &Factors<'_>) -> Result<Vec<Rule>, Wrong> {
    let mut rules = Vec::new();
    for rule in legal::TABLE {
        let forbids = rule.forbids(factors);
        if !forbids.is_empty() {
            rules.push(Rule { text: rule.text(), why: format!("{} ({})", rule.why, rule.source), forbids });
        }
    }
    for (i, rule) in matrix.forbid.iter().enumerate() {
        let at: [Step; 2] = ["forbid".into(), i.into()];
        let forbids = vec![factors.forbid(rule, &at)?];
        rules.push(Rule { text: rule.to_string(), why: format!("the matrix's forbid[{i}]"), forbids });
    }
    for (i, rule) in matrix.require.iter().enumerate() {
        let at = |key: &str| -> [Step; 3] { ["require".into(), i.into(), key.into()] };
        let when = factors.forbid(&rule.when, &at("if"))?;
        let then = factors.forbid(&rule.then, &at("then"))?;
        // Where all of `if` holds, nothing may be outside of `then`: one factor at a time.
        let outside = |mut literal: crate::cover::Literal| {
            literal.values = !literal.values;
            when.iter().copied().chain([literal]).collect::<Forbid>()
        };
        let text = format!("{} requires {}", rule.when, rule.then);
        let forbids = then.into_iter().map(outside).collect();
        rules.push(Rule { text, why: format!("the matrix's require[{i}]"), forbids });
    }
    Ok(rules)
}

/// The rows that `cells:` asks for, each with its place in the matrix.
fn fixed(matrix: &Matrix, factors: &Factors<'_>) -> Result<Vec<Fixed>, Wrong> {
    let mut fixed = Vec::new();
    for (i, cell) in matrix.cells.iter().enumerate() {
        let at: Vec<Step> = vec!["cells".into(), i.into()];
        fixed.extend(factors.rows(cell, &at)?.into_iter().map(|row| Fixed { at: at.clone(), row }));
    }
    Ok(fixed)
}

/// The rule that the problem's forbid of that number came from.
fn rule_of(rules: &[Rule], mut forbid: usize) -> &Rule {
    for rule in rules {
        match forbid.checked_sub(rule.forbids.len()) {
            Some(rest) => forbid = rest,
            None => return rule,
        }
    }
    unreachable!("every forbid came from a rule")
}

fn refused(e: &CoverError, matrix: &Matrix, rules: &[Rule], combinations: u128) -> Wrong {
    let (key, message) = match (e, matrix.coverage) {
        (CoverError::Nothing, _) => {
            let rules: Vec<_> = rules.iter().map(|r| format!("'{}', {}", r.text, r.why)).collect();
            (
                "dimensions",
                format!("no cell is legal: all {combinations} combinations are left out by {}", rules.join(", ")),
            )
        }
        (CoverError::TooLarge, Coverage::Full) => {
            let message = format!(
                "full coverage of {combinations} combinations, expected at most {MAX_ROWS} cells; `coverage: pairwise` \
                 takes few of them"
            );
            ("coverage", message)
        }
        _ => ("coverage", format!("{}: {e}", matrix.coverage)),
    };
    Wrong { at: vec![key.into()], message }
}

fn product(sizes: &[usize]) -> u128 {
    sizes.iter().fold(1, |n: u128, &size| n.saturating_mul(size as u128))
}
