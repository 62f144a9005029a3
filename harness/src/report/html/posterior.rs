//! How a bisection's posterior sharpened, as a picture.

use super::super::course::Step;
use super::super::text::html;
use crate::bisect::{Conclusion, Evidence};
use crate::record::Bisection;
use crate::run::journal::Of;
use std::fmt::Write;

/// Columns at most, each for a trial, or for several of a long bisection.
const MAX_COLUMNS: usize = 120;
/// What the columns take together at most, and one of them, in pixels.
const WIDEST: f64 = 600.0;
const COLUMN: f64 = 26.0;
/// The same of rows.
const TALLEST: f64 = 400.0;
const ROW: f64 = 22.0;
/// A row that is lower than this has no room for its name.
const READABLE: f64 = 13.0;
/// Room for names, for what stands above the rows, between patches and "no patch", for percents.
const LEFT: f64 = 234.0;
const TOP: f64 = 26.0;
const GAP: f64 = 8.0;
const RIGHT: f64 = 64.0;
/// A suspect less likely than this is not drawn.
const FAINTEST: f64 = 0.01;
/// Characters of a name.
const NAME: usize = 31;

/// Where things are.
struct Grid {
    /// Patches.
    patches: usize,
    /// Trials to a column.
    bundle: usize,
    columns: usize,
    width: f64,
    height: f64,
}

impl Grid {
    fn new(patches: usize, trials: usize) -> Self {
        let bundle = trials.div_ceil(MAX_COLUMNS).max(1);
        let columns = trials.div_ceil(bundle);
        let width = (WIDEST / columns.max(1) as f64).min(COLUMN);
        let height = (TALLEST / patches.max(1) as f64).min(ROW);
        Self { patches, bundle, columns, width, height }
    }

    /// The left edge of a trial's column.
    fn x(&self, trial: usize) -> f64 {
        LEFT + (trial / self.bundle) as f64 * self.width
    }

    /// The upper edge of a suspect's row; the last one is "no patch".
    fn y(&self, suspect: usize) -> f64 {
        TOP + suspect as f64 * self.height + if suspect == self.patches { GAP } else { 0.0 }
    }

    /// How high a suspect's row is: "no patch" has room in any case.
    fn row(&self, suspect: usize) -> f64 {
        if suspect == self.patches {
            self.height.max(READABLE + 2.0)
        } else {
            self.height
        }
    }

    fn right(&self) -> f64 {
        LEFT + self.columns as f64 * self.width
    }

    fn bottom(&self) -> f64 {
        self.y(self.patches) + self.row(self.patches)
    }
}

/// An SVG: a row for each suspect, a column for each trial, the likelier the fuller in colour; a mark for what each trial came to,
/// below the last patch that was applied. What it shows is in its description, and trial by trial in the table beside it.
pub fn picture(bisection: &Bisection, steps: &[Step]) -> String {
    let grid = Grid::new(bisection.patches.len(), steps.len());
    let (width, height) = (grid.right() + RIGHT, grid.bottom() + 6.0);
    let mut svg = format!(
        "<svg class=\"course\" role=\"img\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\
         <title>How likely each suspect was, trial by trial</title><desc>{}</desc>",
        html(&words(bisection, steps))
    );
    rows(&mut svg, bisection, &grid);
    // Of a bundle the last trial's: that is what the next one began with.
    for (n, step) in steps.iter().enumerate().filter(|(n, _)| (n + 1) % grid.bundle == 0 || n + 1 == steps.len()) {
        for (suspect, &mass) in step.posterior.iter().enumerate().filter(|(_, &mass)| mass >= FAINTEST) {
            let _ = write!(
                svg,
                "<rect class=\"mass\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{mass:.2}\"/>",
                grid.x(n),
                grid.y(suspect),
                (grid.width - 1.0).max(0.5),
                (grid.row(suspect) - 1.0).max(0.5),
            );
        }
    }
    for (n, step) in steps.iter().enumerate() {
        mark(&mut svg, &grid, n, step);
    }
    let every = ((28.0 / grid.width).ceil() as usize).max(1) * grid.bundle;
    for n in (0..steps.len()).filter(|n| *n == 0 || (n + 1).is_multiple_of(every)) {
        let _ = write!(
            svg,
            "<text class=\"name middle\" x=\"{:.1}\" y=\"12\">{}</text>",
            grid.x(n) + grid.width / 2.0,
            n + 1
        );
    }
    let _ = write!(svg, "<text class=\"name end\" x=\"{}\" y=\"12\">trial</text></svg>", LEFT - 8.0);
    svg
}

/// The suspects' names and how likely they are in the end, with a line below each.
fn rows(svg: &mut String, bisection: &Bisection, grid: &Grid) {
    let culprit = match bisection.conclusion {
        Conclusion::Culprit { patch, .. } => Some(patch - 1),
        _ => None,
    };
    let best = likeliest(&bisection.posterior).map(|(at, _)| at);
    for (suspect, &mass) in bisection.posterior.iter().enumerate() {
        let (top, row) = (grid.y(suspect), grid.row(suspect));
        if suspect == 0 || suspect == grid.patches {
            line(svg, grid, top);
        }
        line(svg, grid, top + row);
        // Where rows are too low, those that matter have names, as far as they do not stand in each other's way.
        if row < READABLE && best != Some(suspect) {
            continue;
        }
        let class = if culprit == Some(suspect) { " culprit" } else { "" };
        let y = top + row / 2.0 + 4.0;
        let _ = write!(
            svg,
            "<text class=\"end{class}\" x=\"{}\" y=\"{y:.1}\">{}</text><text class=\"end{class}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            LEFT - 8.0,
            html(&short(&self::suspect(bisection, suspect))),
            grid.right() + RIGHT - 4.0,
            percent(mass),
        );
    }
}

fn line(svg: &mut String, grid: &Grid, y: f64) {
    if grid.height < 4.0 && y > TOP + 0.1 && y < grid.y(grid.patches) - GAP - 0.1 {
        return;
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", grid.right());
}

/// What a trial came to, on the line between the last patch that was applied and the next.
fn mark(svg: &mut String, grid: &Grid, n: usize, step: &Step) {
    let x = grid.x(n) + (grid.width - 1.0) / 2.0;
    let y = match step.of {
        // Between the last patch and "no patch" there is a gap.
        Of::Prefix(version) => TOP + version as f64 * grid.height,
        Of::Without(patch) => grid.y(patch.saturating_sub(1)) + grid.height / 2.0,
        Of::Switched(_) | Of::Load(_) => return,
    };
    let r = (grid.width / 2.0 - 1.5).clamp(1.5, 4.5);
    let _ = match step.evidence {
        Evidence::Hit(_) => write!(svg, "<circle class=\"hit\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"/>"),
        Evidence::Clean(_) => write!(svg, "<circle class=\"clean\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/>", r - 0.5),
        Evidence::Other | Evidence::TooShort | Evidence::Unbuildable => write!(
            svg,
            "<path class=\"silent\" d=\"M{:.1} {:.1}l{d:.1} {d:.1}m0 -{d:.1}l-{d:.1} {d:.1}\"/>",
            x - r,
            y - r,
            d = 2.0 * r
        ),
    };
}

/// What the picture says.
fn words(bisection: &Bisection, steps: &[Step]) -> String {
    let mut words = format!("{} trials over {} patches.", steps.len(), bisection.patches.len());
    let mut leader = None;
    // Where another suspect took the lead.
    for (n, step) in steps.iter().enumerate() {
        let Some((at, mass)) = likeliest(&step.posterior) else { continue };
        if leader != Some(at) {
            leader = Some(at);
            let _ = write!(words, " After trial {}: {} {}.", n + 1, suspect(bisection, at), percent(mass));
        }
    }
    if let Some((at, mass)) = likeliest(&bisection.posterior) {
        let _ = write!(words, " In the end: {} {}.", suspect(bisection, at), percent(mass));
    }
    words
}

/// The likeliest suspect, as an index, and how likely it is.
pub fn likeliest(posterior: &[f64]) -> Option<(usize, f64)> {
    posterior.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The name of a suspect: a patch's, or that it is none.
pub fn suspect(bisection: &Bisection, at: usize) -> String {
    match bisection.patches.get(at) {
        Some(name) => {
            format!("{} {}", at + 1, name.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('-'))
        }
        None => "no patch".to_owned(),
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

/// Rounded down: 99.97 % is not 100 %.
pub fn percent(chance: f64) -> String {
    format!("{:.1} %", (chance * 1000.0).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bisection(patches: usize, culprit: usize) -> Bisection {
        let mass = |at| if at == culprit { 0.98 } else { 0.02 / patches as f64 };
        Bisection {
            cell: "c".into(),
            title: "t".into(),
            signature: "s".into(),
            series: "series-a".into(),
            patches: (1..=patches).map(|n| format!("{n:04}-mm-change-{n}")).collect(),
            tallies: Vec::new(),
            posterior: (0..=patches).map(mass).collect(),
            seconds: 1.0,
            conclusion: Conclusion::Culprit { patch: culprit + 1, confidence: 0.98 },
            culprit: None,
            subject: None,
            verification: None,
        }
    }

    fn step(of: Of, evidence: Evidence, posterior: &[f64]) -> Step {
        Step { of, evidence, cost: 1.0, posterior: posterior.to_vec() }
    }

    #[test]
    fn it_says_in_words_who_led_when() {
        let bisection = bisection(2, 1);
        let steps = [
            step(Of::Prefix(2), Evidence::Hit(1.0), &[0.3, 0.3, 0.4]),
            step(Of::Prefix(0), Evidence::Clean(9.0), &[0.45, 0.4, 0.15]),
            step(Of::Prefix(1), Evidence::Clean(9.0), &[0.1, 0.85, 0.05]),
            step(Of::Without(2), Evidence::Other, &[0.1, 0.85, 0.05]),
        ];
        insta::assert_snapshot!(words(&bisection, &steps), @"4 trials over 2 patches. After trial 1: no patch 40.0 %. After trial 2: 1 mm-change-1 45.0 %. After trial 3: 2 mm-change-2 85.0 %. In the end: 2 mm-change-2 98.0 %.");
        let svg = picture(&bisection, &steps);
        assert_eq!((svg.matches("class=\"hit\"").count(), svg.matches("class=\"clean\"").count()), (1, 2));
        assert_eq!(svg.matches("class=\"silent\"").count(), 1);
        assert_eq!(svg.matches("class=\"mass\"").count(), 12);
        assert!(svg.contains("<text class=\"end culprit\" x=\"226\""), "{svg}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        #[test]
        fn a_picture_of_any_bisection_is_of_a_size_to_look_at(patches in 1usize..2000, trials in 0usize..3000) {
            let bisection = bisection(patches, patches / 2);
            let one = step(Of::Prefix(patches), Evidence::Hit(1.0), &bisection.posterior);
            let svg = picture(&bisection, &vec![one; trials]);
            let grid = Grid::new(patches, trials);
            prop_assert!(grid.columns <= MAX_COLUMNS && grid.right() <= LEFT + WIDEST + 0.1);
            prop_assert!(grid.bottom() <= TOP + TALLEST + GAP + ROW + 0.1);
            prop_assert!(svg.matches("<rect").count() <= MAX_COLUMNS * 3);
            prop_assert!(svg.len() < 400_000, "{}", svg.len());
        }
    }
}
