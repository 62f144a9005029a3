//! The sizes of docs/coverage.md: covering arrays of standard problems, and the time each takes.

use mmtorture_harness::cover::{Problem, BUDGET};
use std::time::Instant;

/// A problem's name, its factors as (how many, of how many values), and the strength.
type Standard = (&'static str, &'static [(usize, usize)], usize);

const PROBLEMS: &[Standard] = &[
    ("3^4", &[(4, 3)], 2),
    ("3^13", &[(13, 3)], 2),
    ("4^15 3^17 2^29", &[(15, 4), (17, 3), (29, 2)], 2),
    ("4^1 3^39 2^35", &[(1, 4), (39, 3), (35, 2)], 2),
    ("2^100", &[(100, 2)], 2),
    ("10^20", &[(20, 10)], 2),
    ("3^6", &[(6, 3)], 3),
    ("4^6", &[(6, 4)], 3),
    ("5^6", &[(6, 5)], 3),
    ("2^20", &[(20, 2)], 4),
    ("3^10", &[(10, 3)], 5),
    ("2^12", &[(12, 2)], 6),
];

/// Other seeds, to show how much is luck.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

fn main() {
    let budget = std::env::args().nth(1).map_or(BUDGET, |text| text.parse().expect("a budget, as a number of steps"));
    println!(
        "{:<16} {:>2} {:>7} {:>7} {:>5} {:>9} {:>8}",
        "PROBLEM", "T", "TUPLES", "GREEDY", "ROWS", "5 SEEDS", "SECONDS"
    );
    for &(name, levels, t) in PROBLEMS {
        let sizes: Vec<_> = levels.iter().flat_map(|&(n, size)| std::iter::repeat_n(size, n)).collect();
        let cover = |seed, budget| {
            let start = Instant::now();
            let problem = Problem { budget, ..Problem::new(sizes.clone(), t, seed) };
            let array = problem.cover().expect("a problem within the bounds");
            (array.rows.len(), array.tuples, start.elapsed().as_secs_f64())
        };
        let greedy = cover(1, 0).0;
        let (rows, tuples, seconds) = cover(1, budget);
        let others: Vec<_> = SEEDS.map(|seed| cover(seed, budget).0).collect();
        let range = format!("{}-{}", others.iter().min().unwrap_or(&0), others.iter().max().unwrap_or(&0));
        println!("{name:<16} {t:>2} {tuples:>7} {greedy:>7} {rows:>5} {range:>9} {seconds:>8.2}");
    }
}
