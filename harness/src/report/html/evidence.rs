//! A bisection's evidence as a picture.

use super::text;
use crate::bisect::Conclusion;
use crate::record::Bisection;
use std::fmt::Write;

/// An SVG: a column for each number of patches applied, failures above, clean time below, the culprit marked. What it
/// shows is said in its title, and in the table of words that stands beside it, see [`crate::run::summary::bisection`].
pub fn picture(bisection: &Bisection) -> String {
    const COLUMN: usize = 64;
    const HEIGHT: f64 = 56.0;
    let tallies = &bisection.tallies;
    let most = |of: &dyn Fn(&crate::bisect::Tally) -> f64| tallies.iter().map(of).fold(1e-9, f64::max);
    let (hits, clean) = (most(&|t| f64::from(t.hits)), most(&|t| t.clean_seconds));
    let culprit = match bisection.conclusion {
        Conclusion::Culprit { patch, .. } => Some(patch),
        _ => None,
    };
    let width = COLUMN * tallies.len();
    let mut svg = format!(
        "<svg class=\"odds\" role=\"img\" viewBox=\"0 0 {width} 168\" width=\"{width}\" height=\"168\"><title>Failures and clean \
         time by number of patches applied{}</title><line class=\"axis\" x1=\"0\" y1=\"76\" x2=\"{width}\" y2=\"76\"/>",
        culprit.map_or_else(String::new, |patch| format!("; the failures begin with patch {patch}"))
    );
    for (k, tally) in tallies.iter().enumerate() {
        let (x, middle) = (k * COLUMN, k * COLUMN + COLUMN / 2);
        if culprit == Some(k) {
            let _ = write!(
                svg,
                "<rect class=\"culprit\" x=\"{}\" y=\"1\" width=\"{}\" height=\"166\" rx=\"6\"/>",
                x + 2,
                COLUMN - 4
            );
        }
        if tally.hits > 0 {
            let height = HEIGHT * f64::from(tally.hits) / hits;
            let y = 76.0 - height;
            let _ = write!(
                svg,
                "<rect class=\"fail\" x=\"{}\" y=\"{y:.1}\" width=\"28\" height=\"{height:.1}\" rx=\"2\"/>\
                 <text x=\"{middle}\" y=\"{:.1}\">{} ×</text>",
                x + 18,
                y - 4.0,
                tally.hits
            );
        }
        if tally.clean > 0 {
            let height = HEIGHT * tally.clean_seconds / clean;
            let _ = write!(
                svg,
                "<rect class=\"pass\" x=\"{}\" y=\"76\" width=\"28\" height=\"{height:.1}\" rx=\"2\"/>\
                 <text x=\"{middle}\" y=\"{:.1}\">{}</text>",
                x + 18,
                76.0 + height + 14.0,
                text::seconds(tally.clean_seconds)
            );
        }
        let name = if k == 0 { "base".to_owned() } else { format!("+{k}") };
        let _ = write!(svg, "<text class=\"name\" x=\"{middle}\" y=\"162\">{name}</text>");
    }
    svg.push_str("</svg>");
    svg
}
