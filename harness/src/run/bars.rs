//! How likely each suspect is, as a bar each.

use crate::bisect::model::Posterior;
use std::fmt::Write;

/// A whole bar, in characters.
const WIDTH: usize = 24;

/// So many suspects are shown; the others are summed up.
const MOST: usize = 10;

/// Draws them: the likeliest in the series' order, then the others together, then "no patch".
pub fn bars(posterior: &Posterior, names: &[String]) -> String {
    let mut order: Vec<usize> = (0..posterior.patches.len()).collect();
    order.sort_by(|&a, &b| posterior.patches[b].mass.total_cmp(&posterior.patches[a].mass));
    let mut shown: Vec<usize> = order.iter().copied().take(MOST).collect();
    shown.sort_unstable();
    let mut rows: Vec<(String, f64)> = shown
        .iter()
        .map(|&i| (names.get(i).map_or_else(|| format!("patch {}", i + 1), |n| short(n)), posterior.patches[i].mass))
        .collect();
    if order.len() > MOST {
        let rest = order[MOST..].iter().map(|&i| posterior.patches[i].mass).sum();
        rows.push((format!("{} others", order.len() - MOST), rest));
    }
    rows.push(("no patch".to_owned(), posterior.none.mass));
    let width = rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, mass) in rows {
        let eighths = (mass * (WIDTH * 8) as f64).round() as usize;
        let mut bar = "█".repeat(eighths / 8);
        bar.extend(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied().into_iter().flat_map(str::chars));
        let _ = writeln!(text, "  {name:<width$} {bar:<WIDTH$} {:>5.1} %", mass * 100.0);
    }
    text.truncate(text.trim_end().len());
    text
}

/// A patch's name, not longer than a line has room for.
fn short(name: &str) -> String {
    const MOST: usize = 40;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::model::Suspect;

    fn posterior(patches: &[f64], none: f64) -> Posterior {
        let of = |mass| Suspect { mass, bad: 0.5, good: 0.0 };
        Posterior { patches: patches.iter().copied().map(of).collect(), none: of(none) }
    }

    #[test]
    fn a_bar_for_each_suspect() {
        let names = ["0001-mm-one", "0002-mm-two", "0003-mm-a-name-that-is-longer-than-a-line-has-room-for"];
        let names: Vec<String> = names.map(str::to_owned).into();
        insta::assert_snapshot!(bars(&posterior(&[0.02, 0.07, 0.9], 0.01), &names), @r"
          0001-mm-one                              ▌                          2.0 %
          0002-mm-two                              █▋                         7.0 %
          0003-mm-a-name-that-is-longer-than-a-li… █████████████████████▋    90.0 %
          no patch                                 ▎                          1.0 %
        ");
    }

    #[test]
    fn of_many_the_likeliest() {
        let mut masses = vec![0.01; 30];
        masses[17] = 0.6;
        let text = bars(&posterior(&masses, 0.11), &[]);
        assert_eq!(text.lines().count(), MOST + 2);
        assert!(text.contains("patch 18 "), "{text}");
        assert!(text.contains("20 others"), "{text}");
    }
}
