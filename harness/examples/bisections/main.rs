//! The figures of docs/bisection.md: thousands of simulated bisections, seeded, on two threads.
//!
//! `cargo run --release --example bisections -- [BISECTIONS [PART]...]`; the parts are `8`, `64`, `between` and
//! `speed`.

mod bayesect;
mod kernel;
mod least;
mod ours;
mod plain;

use kernel::{Case, Ended, Kernel, Law, Prices, Truth};
use mmtorture_harness::bisect::choose;
use mmtorture_harness::bisect::model::{Counts, Posterior};
use std::time::Instant;

/// The confidence that both are asked for comes first; the others are where git_bayesect would have been had it been
/// asked for more or less, to compare at the same accuracy.
const LEVELS: [f64; 6] = [0.8, 0.9, 0.95, 0.98, 0.99, 0.997];
const ASKED: usize = 2;

/// More accusations than this, in any row without a culprit, and the level is not as accurate as ours.
const MOST_ACCUSED: f64 = 0.03;

/// A bisection that has not come to an end by then is given up.
const MOST: usize = 3000;

/// git_bayesect has no end for "nobody", so it gets no more trials than this where there is nobody to find.
const MOST_FOR_NOBODY: usize = 1000;

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

/// Bisections by git_bayesect, at each of its levels.
fn theirs(case: Case, count: u64, most: usize) -> Vec<Summary> {
    let ends = all(count, |seed| {
        let mut kernel = Kernel::new(case, seed);
        let ends = bayesect::bisect(&mut kernel, Prices::REAL, &LEVELS, most);
        (kernel.first_bad, ends)
    });
    (0..LEVELS.len()).map(|i| summary(case, &ends.iter().map(|(k, e)| (*k, e[i])).collect::<Vec<_>>())).collect()
}

/// Ours with every trial of one price, then at real prices.
fn both(case: Case, count: u64) -> (Summary, Summary) {
    let even = Case { law: Law::AtTheEnd, ..case };
    let one = simulate(even, count, |k| ours::bisect(k, Prices::NONE, kernel::LENGTH, MOST));
    (one, simulate(case, count, |k| ours::bisect(k, Prices::REAL, SHORTEST, MOST)))
}

/// Bisections with a culprit: ours, git_bayesect and plain bisection. `fair` is the level at which git_bayesect accuses
/// as seldom as ours.
fn culprit(case: Case, count: u64, fair: usize) {
    let (ours, real) = both(case, count);
    let levels = theirs(case, count, MOST);
    let (asked, fair) = (&levels[ASKED], &levels[fair]);
    let plain = [5, 10, 20].map(|tries| {
        let s = simulate(case, count, |k| plain::bisect(k, Prices::REAL, tries));
        format!("{:.2}", s.right)
    });
    println!(
        "| {} | {} | {} | {:.1} | {:.1} | {:.3} | {:.3} | {:.1} | {:.3} | {:.1} | {:.3} | {} | {:.0} | {:.3} | {:.3} | {:.2} | {:.2} |",
        case.patches, case.bad, case.good, least::trials(case.patches, case.bad, case.good), ours.trials, ours.stated,
        ours.right, asked.trials, asked.right, fair.trials, fair.right, plain.join(", "), real.seconds, real.stated,
        real.right, real.seconds / asked.seconds, real.seconds / fair.seconds
    );
}

fn truth(case: Case) -> (&'static str, f64) {
    match case.truth {
        Truth::Source => ("the source has it", case.bad),
        _ => ("noise", case.good),
    }
}

/// Bisections that have no culprit to find. Yields how often git_bayesect accuses a patch at each of its levels.
fn none(case: Case, count: u64) -> Vec<f64> {
    let (ours, real) = both(case, count);
    let levels = theirs(case, count, MOST_FOR_NOBODY);
    let accused: Vec<f64> = levels.iter().map(|l| l.accused).collect();
    let (what, rate) = truth(case);
    println!(
        "| {} | {what} | {rate} | {:.1} | {:.3} | {:.3} | {:.3} | {:.1} | {} |",
        case.patches,
        ours.trials,
        ours.stated,
        ours.accused,
        real.accused,
        levels[ASKED].trials,
        accused.iter().map(|a| format!("{a:.3}")).collect::<Vec<_>>().join(", ")
    );
    accused
}

/// What lies between the rows of the other tables.
fn between(case: Case, count: u64) {
    println!("\n{count} bisections each, off the grid; most {MOST} trials\n");
    println!("| n | p | q | least | trials | stated | right | wall s | right |\n|{}", "---|".repeat(9));
    for (patches, bad, good) in [
        (8, 0.7, 0.01),
        (8, 0.2, 0.01),
        (8, 0.5, 0.003),
        (8, 0.5, 0.02),
        (8, 0.2, 0.003),
        (8, 0.2, 0.02),
        (5, 0.5, 0.01),
        (5, 0.2, 0.01),
        (20, 0.5, 0.01),
        (20, 0.2, 0.01),
    ] {
        let case = Case { patches, bad, good, ..case };
        let (ours, real) = both(case, count);
        println!(
            "| {patches} | {bad} | {good} | {:.1} | {:.1} | {:.3} | {:.3} | {:.0} | {:.3} |",
            least::trials(patches, bad, good),
            ours.trials,
            ours.stated,
            ours.right,
            real.seconds,
            real.right
        );
    }
    println!("\n| n | truth | rate | trials | stated | accused | accused, real prices |\n|{}", "---|".repeat(7));
    let noise = [0.003, 0.02, 0.07].map(|good| Case { good, truth: Truth::Noise, ..case });
    let source = [0.7, 0.4, 0.2, 0.15].map(|bad| Case { bad, truth: Truth::Source, ..case });
    for case in noise.into_iter().chain(source).flat_map(|c| [5, 8, 20].map(|patches| Case { patches, ..c })) {
        let (ours, real) = both(case, count);
        let (what, rate) = truth(case);
        println!(
            "| {} | {what} | {rate} | {:.1} | {:.3} | {:.3} | {:.3} |",
            case.patches, ours.trials, ours.stated, ours.accused, real.accused
        );
    }
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
    let sizes = [8, 64].into_iter().filter(|n: &usize| wants(&n.to_string()));
    let case = Case { patches: 0, bad: 0.5, good: 0.0, law: Law::Early, truth: Truth::Patch };
    for patches in sizes {
        println!("\n{count} bisections each, of at most {MOST} trials; no culprit\n");
        println!("| n | truth | rate | trials | stated | accused | accused, real prices | bayesect trials | accused at {LEVELS:?} |");
        println!("|{}", "---|".repeat(9));
        let noise = [0.0, 0.01, 0.05].map(|good| Case { patches, good, truth: Truth::Noise, ..case });
        let source = [0.9, 0.5, 0.3, 0.1].map(|bad| Case { patches, bad, truth: Truth::Source, ..case });
        let accused: Vec<Vec<f64>> = noise.into_iter().chain(source).map(|c| none(c, count)).collect();
        let fair = (0..LEVELS.len()).find(|&level| accused.iter().all(|row| row[level] <= MOST_ACCUSED));
        let fair = fair.unwrap_or(LEVELS.len() - 1);
        println!(
            "\na culprit; git_bayesect at {} and, as seldom wrong without one, at {}\n",
            LEVELS[ASKED], LEVELS[fair]
        );
        println!("| n | p | q | least | trials | stated | right | bayesect trials | right | fair: trials | right | plain 5, 10, 20: right | wall s | stated | right | wall ratio | fair wall ratio |");
        println!("|{}", "---|".repeat(17));
        for good in [0.0, 0.01, 0.05] {
            for bad in [0.9, 0.5, 0.3, 0.1] {
                culprit(Case { patches, bad, good, ..case }, count, fair);
            }
        }
        println!("\ntimes to failure that are not exponential; real prices, q = 0.01\n");
        println!("| n | law | p | wall s | trials | right |\n|{}", "---|".repeat(6));
        for law in [Law::Early, Law::Mixed, Law::Even] {
            for bad in [0.9, 0.3] {
                let case = Case { patches, bad, good: 0.01, law, ..case };
                let s = simulate(case, count, |k| ours::bisect(k, Prices::REAL, SHORTEST, MOST));
                println!("| {patches} | {law:?} | {bad} | {:.0} | {:.1} | {:.3} |", s.seconds, s.trials, s.right);
            }
        }
    }
    if wants("between") {
        between(case, count);
    }
    if wants("speed") {
        println!("\n| versions | median | most |\n|---|---|---|");
        for patches in [8, 64, 2000] {
            speed(patches);
        }
    }
}
