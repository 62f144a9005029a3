//! The figures of docs/bisection.md: thousands of simulated bisections, seeded, on two threads.
//!
//! `cargo run --release --example bisections -- [BISECTIONS [PART]...]`; the parts are `8`, `64` and `speed`.

mod bayesect;
mod kernel;
mod ours;
mod plain;

use kernel::{Case, Ended, Kernel, Law, Prices, Truth};
use mmtorture_harness::bisect::choose;
use mmtorture_harness::bisect::model::{Counts, Posterior};
use std::time::Instant;

/// The confidence that both are asked for comes first; the others are where git_bayesect would have been had it been
/// asked for more or less, to compare at the same accuracy.
const LEVELS: [f64; 5] = [0.8, 0.9, 0.95, 0.98, 0.99];
const ASKED: usize = 2;

/// A trial is not shorter than this, in seconds.
const SHORTEST: f64 = 5.0;

/// Runs `count` bisections and yields what each came to.
fn all<T: Send>(count: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let one = &one;
        let halves: Vec<_> =
            (0..2).map(|half| scope.spawn(move || (half..count).step_by(2).map(one).collect::<Vec<_>>())).collect();
        halves.into_iter().flat_map(|h| h.join().expect("a bisection panicked")).collect()
    })
}

struct Summary {
    stated: f64,
    right: f64,
    accused: f64,
    trials: f64,
    seconds: f64,
}

fn summary(case: Case, ends: &[(usize, Ended)]) -> Summary {
    let count = ends.len() as f64;
    let stated: Vec<_> = ends.iter().filter(|(_, e)| e.named.is_some()).collect();
    let right = |e: &&&(usize, Ended)| {
        let truth = if case.truth == Truth::Patch { e.0 } else { 0 };
        e.1.named == Some(truth)
    };
    Summary {
        stated: stated.len() as f64 / count,
        right: stated.iter().filter(right).count() as f64 / stated.len().max(1) as f64,
        accused: stated.iter().filter(|e| e.1.named != Some(0)).count() as f64 / count,
        trials: ends.iter().map(|e| e.1.trials).sum::<f64>() / count,
        seconds: ends.iter().map(|e| e.1.seconds).sum::<f64>() / count,
    }
}

fn simulate(case: Case, count: u64, bisect: impl Fn(&mut Kernel) -> Ended + Sync) -> Summary {
    let ends = all(count, |seed| {
        let mut kernel = Kernel::new(case, seed);
        let ended = bisect(&mut kernel);
        (kernel.first_bad, ended)
    });
    summary(case, &ends)
}

/// Bisections with a culprit: ours and git_bayesect with every trial of one price, then both at real prices; plain
/// bisection.
fn culprit(case: Case, count: u64, most: usize) {
    let even = Case { law: Law::AtTheEnd, ..case };
    let ours = simulate(even, count, |k| ours::bisect(k, Prices::NONE, kernel::LENGTH, most));
    let real = simulate(case, count, |k| ours::bisect(k, Prices::REAL, SHORTEST, most));
    let ends = all(count, |seed| {
        let mut kernel = Kernel::new(case, seed);
        let ends = bayesect::bisect(&mut kernel, Prices::REAL, &LEVELS, most);
        (kernel.first_bad, ends)
    });
    let levels: Vec<Summary> =
        (0..LEVELS.len()).map(|i| summary(case, &ends.iter().map(|(k, e)| (*k, e[i])).collect::<Vec<_>>())).collect();
    let theirs = &levels[ASKED];
    // Had it been asked for what makes it right as often as ours.
    let as_right = levels.iter().find(|l| l.right >= ours.right).unwrap_or(&levels[LEVELS.len() - 1]);
    let plain = [5, 10, 20].map(|tries| {
        let s = simulate(case, count, |k| plain::bisect(k, Prices::REAL, tries));
        format!("{:.0}/{:.2}", s.trials, s.right)
    });
    println!(
        "| {} | {} | {} | {:.1} | {:.3} | {:.3} | {:.0} | {:.3} | {:.1} | {:.3} | {:.3} | {:.0} | {:.1} | {:.3} | {:.2} | {} |",
        case.patches, case.bad, case.good, ours.trials, ours.stated, ours.right, real.seconds, real.right,
        theirs.trials, theirs.stated, theirs.right, theirs.seconds, as_right.trials, as_right.right,
        real.seconds / theirs.seconds, plain.join(" | ")
    );
}

/// Bisections that have no culprit to find.
fn none(case: Case, count: u64, most: usize) {
    let even = Case { law: Law::AtTheEnd, ..case };
    let ours = simulate(even, count, |k| ours::bisect(k, Prices::NONE, kernel::LENGTH, most));
    let real = simulate(case, count, |k| ours::bisect(k, Prices::REAL, SHORTEST, most));
    let (what, rate) = match case.truth {
        Truth::Source => ("the source has it", case.bad),
        _ => ("noise", case.good),
    };
    println!(
        "| {} | {what} | {rate} | {:.1} | {:.3} | {:.3} | {:.3} |",
        case.patches, ours.trials, ours.stated, ours.accused, real.accused
    );
}

/// How long it takes to learn from a trial and to choose the next, when every tenth version was tried.
fn speed(patches: usize) {
    let counts =
        |v: usize| if v.is_multiple_of(10) { Counts { hits: (v % 3) as u32, clean: 3 } } else { Counts::default() };
    let versions: Vec<Counts> = (0..=patches).map(counts).collect();
    let mut took: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            let posterior = Posterior::of(&versions);
            std::hint::black_box(choose::best(&posterior, &|_, _| Some(1.0)));
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("| {patches} | {:.3} ms | {:.3} ms |", took[50], took[100]);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count = args.first().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let wants = |part: &str| args.len() < 2 || args[1..].iter().any(|a| a == part);
    let sizes = [(8, 3000), (64, 1000)].into_iter().filter(|(n, _)| wants(&n.to_string()));
    let case = Case { patches: 0, bad: 0.5, good: 0.0, law: Law::Early, truth: Truth::Patch };
    for (patches, most) in sizes {
        println!("\n{count} bisections each, of at most {most} trials; a culprit\n");
        println!("| n | p | q | trials | stated | right | wall s | right | bayesect trials | stated | right | wall s | as right: trials | right | wall ratio | plain 5 | 10 | 20 |");
        println!("|{}", "---|".repeat(18));
        for good in [0.0, 0.01, 0.05] {
            for bad in [0.9, 0.5, 0.3, 0.1] {
                culprit(Case { patches, bad, good, ..case }, count, most);
            }
        }
        println!("\nno culprit\n");
        println!("| n | truth | rate | trials | stated | accused | accused, real prices |\n|{}", "---|".repeat(7));
        for good in [0.0, 0.01, 0.05] {
            none(Case { patches, good, truth: Truth::Noise, ..case }, count, most);
        }
        for bad in [0.9, 0.5, 0.3, 0.1] {
            none(Case { patches, bad, truth: Truth::Source, ..case }, count, most);
        }
        println!("\ntimes to failure that are not exponential; real prices, q = 0.01\n");
        println!("| n | law | p | wall s | trials | right |\n|{}", "---|".repeat(6));
        for law in [Law::Early, Law::Mixed, Law::Even] {
            for bad in [0.9, 0.3] {
                let case = Case { patches, bad, good: 0.01, law, ..case };
                let s = simulate(case, count, |k| ours::bisect(k, Prices::REAL, SHORTEST, most));
                println!("| {patches} | {law:?} | {bad} | {:.0} | {:.1} | {:.3} |", s.seconds, s.trials, s.right);
            }
        }
    }
    if wants("speed") {
        println!("\n| versions | median | most |\n|---|---|---|");
        for patches in [8, 64, 2000] {
            speed(patches);
        }
    }
}
