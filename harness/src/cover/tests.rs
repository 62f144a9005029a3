use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// `(how many factors, of how many values)` of a standard problem.
type Levels = &'static [(usize, usize)];

fn problem(levels: Levels, t: usize) -> Problem {
    let sizes = levels.iter().flat_map(|&(n, size)| std::iter::repeat_n(size, n)).collect();
    Problem::new(sizes, t, 1)
}

/// Sets of `t` columns of `k`.
fn column_sets(k: usize, t: usize) -> Vec<Vec<usize>> {
    if t == 0 {
        return vec![Vec::new()];
    }
    column_sets(k, t - 1)
        .into_iter()
        .flat_map(|set| {
            let from = set.last().map_or(0, |last| last + 1);
            (from..k).map(move |c| set.iter().copied().chain([c]).collect())
        })
        .collect()
}

/// The tuples of these rows, found without the generator's numbering.
fn tuples_of(rows: &[Vec<Value>], k: usize, t: usize) -> BTreeSet<Vec<(usize, Value)>> {
    let mut tuples = BTreeSet::new();
    for set in column_sets(k, t) {
        tuples.extend(rows.iter().map(|row| set.iter().map(|&c| (c, row[c])).collect::<Vec<_>>()));
    }
    tuples
}

/// Every combination, without the rules' search.
fn product(sizes: &[usize]) -> Vec<Vec<Value>> {
    sizes.iter().fold(vec![Vec::new()], |rows, &n| {
        rows.iter().flat_map(|row| (0..n as Value).map(move |v| row.iter().copied().chain([v]).collect())).collect()
    })
}

#[test]
fn standard_problems_have_at_most_so_many_rows() {
    let standard: [(Levels, usize, usize); 6] = [
        (&[(4, 3)], 2, 9),
        (&[(13, 3)], 2, 18),
        (&[(15, 4), (17, 3), (29, 2)], 2, 36),
        (&[(1, 4), (39, 3), (35, 2)], 2, 24),
        (&[(20, 10)], 2, 200),
        (&[(6, 3)], 3, 40),
    ];
    for (levels, t, most) in standard {
        let problem = problem(levels, t);
        let array = problem.cover().unwrap();
        assert!(array.rows.len() <= most, "{levels:?}: {} rows, expected at most {most}", array.rows.len());
        let k = problem.sizes.len();
        assert_eq!(tuples_of(&array.rows, k, t).len(), array.tuples, "{levels:?}");
        let all: usize =
            column_sets(k, t).iter().map(|set| set.iter().map(|&c| problem.sizes[c]).product::<usize>()).sum();
        assert_eq!((array.tuples, array.illegal), (all, 0), "{levels:?}");
    }
}

#[test]
fn every_value_once_and_every_row() {
    let one = Problem::new(vec![3, 5, 2, 1], 1, 1).cover().unwrap();
    assert_eq!(one.rows.len(), 5);
    let whole = Problem::new(vec![3, 1, 2], 6, 1).cover().unwrap();
    assert_eq!((whole.rows.len(), whole.t), (6, 2));
    let single = Problem::new(vec![1, 1], 2, 1).cover().unwrap();
    assert_eq!(single.rows, [[0, 0]]);
    let none = Problem::new(vec![], 2, 1).cover().unwrap();
    assert_eq!(none.rows, [Vec::<Value>::new()]);
}

#[test]
fn what_cannot_be_is_an_error() {
    let literal = |factor, values| Literal { factor, values };
    let with = |change: &dyn Fn(&mut Problem)| {
        let mut problem = Problem::new(vec![2, 2], 2, 1);
        change(&mut problem);
        problem.cover().unwrap_err()
    };
    assert_eq!(with(&|p| p.sizes = vec![2, 0]), CoverError::Size(0));
    assert_eq!(with(&|p| p.sizes = vec![2, 129]), CoverError::Size(129));
    assert_eq!(with(&|p| p.t = 0), CoverError::Strength(0));
    assert_eq!(with(&|p| p.t = 7), CoverError::Strength(7));
    assert_eq!(with(&|p| p.forbids = vec![vec![literal(0, 1)], vec![literal(0, 2)]]), CoverError::Nothing);
    assert_eq!(with(&|p| p.fixed = vec![vec![0, 1], vec![0, 2]]), CoverError::Fixed(1));
    assert_eq!(with(&|p| p.fixed = vec![vec![0]]), CoverError::Fixed(0));
    let both = |p: &mut Problem| (p.fixed, p.forbids) = (vec![vec![0, 0]], vec![vec![literal(0, 1), literal(1, 1)]]);
    assert_eq!(with(&both), CoverError::Fixed(0));
    assert_eq!(with(&|p| p.sizes = vec![128; 300]), CoverError::TooLarge);
    assert_eq!(with(&|p| (p.sizes, p.t) = (vec![128; 3], 3)), CoverError::TooLarge);
}

fn problems() -> impl Strategy<Value = Problem> {
    let raw = prop::collection::vec(prop::collection::vec((0..6_usize, 1..15_u128), 1..4), 0..7);
    let fixed = prop::collection::vec(prop::collection::vec(0..4_u8, 6), 0..4);
    (prop::collection::vec(1..5_usize, 1..7), raw, fixed, 1..5_usize, any::<u64>()).prop_map(
        |(sizes, raw, fixed, t, seed)| {
            let literal = |&(f, values): &(usize, Mask)| Literal { factor: f % sizes.len(), values };
            let forbids: Vec<Forbid> = raw.iter().map(|c| c.iter().map(literal).collect()).collect();
            let row = |raw: &Vec<Value>| raw.iter().zip(&sizes).map(|(v, &n)| v % n as u8).collect::<Vec<_>>();
            let fixed: Vec<_> = fixed.iter().map(row).filter(|r| !forbids.iter().any(|f| rules::holds(f, r))).collect();
            Problem { forbids, fixed, budget: 20_000, ..Problem::new(sizes, t, seed) }
        },
    )
}

proptest! {
    #[test]
    fn every_legal_tuple_is_covered_and_no_row_is_illegal(problem in problems()) {
        let k = problem.sizes.len();
        let legal: Vec<_> = product(&problem.sizes).into_iter().filter(|r| problem.broken(r).is_none()).collect();
        prop_assert_eq!(problem.legal_rows(), Some(legal.len() as u128));
        let array = match problem.cover() {
            Ok(array) => array,
            Err(e) => {
                prop_assert_eq!((e, legal.len()), (CoverError::Nothing, 0));
                return Ok(());
            }
        };
        prop_assert!(array.rows.iter().all(|row| legal.contains(row)));
        let t = problem.t.min(k);
        prop_assert_eq!(tuples_of(&array.rows, k, t), tuples_of(&legal, k, t));
        // The fixed rows come first, and none is there twice.
        let mut fixed = problem.fixed.clone();
        let mut seen = BTreeSet::new();
        fixed.retain(|row| seen.insert(row.clone()));
        prop_assert!(array.rows.starts_with(&fixed));
        prop_assert_eq!(problem.cover().unwrap(), array);
        let mut all = problem.all(legal.len()).unwrap();
        prop_assert!(all.is_sorted());
        all.dedup();
        prop_assert_eq!(all, legal);
    }
}
