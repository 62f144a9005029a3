//! What bisections say of a bug: over its patches, over its settings.

use super::super::account::{Bisected, Course};
use super::super::course::Step;
use super::super::text::{self, html};
use super::{evidence, posterior};
use crate::bisect::settings::Verdict;
use crate::bisect::Evidence;
use crate::record::{Bisection, Needs};
use crate::run::journal::Of;
use crate::run::summary;
use std::fmt::Write;

/// Trials that the table tells at most: the last ones.
const MAX_ROWS: usize = 200;

/// A bisection over a series.
pub fn patches(page: &mut String, bisected: &Bisected) {
    let result = &bisected.result;
    let _ = write!(page, "<div class=\"bisection\"><h4>Bisection over {}</h4>", html(&result.series));
    match &bisected.course {
        Course::Known(steps) => {
            let _ = write!(
                page,
                "<figure><div class=\"scroll\">{}</div><figcaption class=\"quiet\">How likely each suspect was after each \
                 trial: the fuller the colour, the likelier. A mark stands below the last patch that was applied: \
                 <span class=\"fail\">●</span> failed, <span class=\"pass\">○</span> passed, <span>×</span> said nothing.</figcaption></figure>",
                posterior::picture(result, steps)
            );
            trials(page, result, steps);
        }
        Course::Unknown(why) => {
            let _ = write!(page, "<p class=\"quiet\">How it went is not drawn: {}.</p>", html(why));
        }
    }
    let _ = writeln!(
        page,
        "<div class=\"scroll\">{}</div><pre tabindex=\"0\">{}</pre></div>",
        evidence::picture(result),
        html(summary::bisection(result).trim_end())
    );
}

/// What the picture shows, in words.
fn trials(page: &mut String, bisection: &Bisection, steps: &[Step]) {
    page.push_str(
        "<details><summary>Trial by trial</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\" class=\"n\">Trial</th>\
         <th scope=\"col\">Patches applied</th><th scope=\"col\">Came to</th><th scope=\"col\" class=\"n\">Cost</th>\
         <th scope=\"col\">Likeliest then</th></tr></thead><tbody>\n",
    );
    let skipped = steps.len().saturating_sub(MAX_ROWS);
    if skipped > 0 {
        let _ = writeln!(page, "<tr><td colspan=\"5\">{} before these</td></tr>", text::count(skipped, "trial"));
    }
    for (n, step) in steps.iter().enumerate().skip(skipped) {
        let likeliest = posterior::likeliest(&step.posterior).map_or_else(String::new, |(at, mass)| {
            format!("{} {}", html(&posterior::suspect(bisection, at)), posterior::percent(mass))
        });
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{likeliest}</td></tr>",
            n + 1,
            applied(step.of, bisection.patches.len()),
            came_to(step.evidence),
            if step.cost > 0.0 { text::seconds(step.cost) } else { "the run’s own".to_owned() },
        );
    }
    page.push_str("</tbody></table></div></details>");
}

fn applied(of: Of, all: usize) -> String {
    match of {
        Of::Prefix(0) => "none".to_owned(),
        Of::Prefix(n) if n == all => format!("all {n}"),
        Of::Prefix(n) => format!("the first {n}"),
        Of::Without(patch) => format!("all but patch {patch}"),
        Of::Switched(_) | Of::Load(_) => "all".to_owned(),
    }
}

fn came_to(evidence: Evidence) -> String {
    match evidence {
        Evidence::Hit(seconds) => format!("failed after {}", text::seconds(seconds)),
        Evidence::Clean(seconds) => format!("passed, {}", text::seconds(seconds)),
        Evidence::Other => "said nothing".to_owned(),
        Evidence::TooShort => "was too short".to_owned(),
        Evidence::Unbuildable => "does not build".to_owned(),
    }
}

/// What a search came to, in its own words.
pub fn told(page: &mut String, what: &str, words: &str) {
    let words = html(words);
    let _ = writeln!(page, "<div class=\"bisection\"><h4>{what}</h4><pre>{words}</pre></div>");
}

/// Which settings a bug needs.
pub fn settings(page: &mut String, needs: &Needs) {
    let _ = writeln!(
        page,
        "<div class=\"bisection\"><h4>Settings that it needs</h4><div class=\"scroll\"><table><caption>In <code>{}</code>, after {}</caption>\
         <thead><tr><th scope=\"col\">Setting</th><th scope=\"col\">Verdict</th><th scope=\"col\" class=\"n\">Confidence</th>\
         <th scope=\"col\">In its place</th><th scope=\"col\">Came to</th></tr></thead><tbody>",
        html(&needs.cell),
        text::seconds(needs.seconds)
    );
    for need in &needs.settings {
        let (class, confidence) = match need.verdict {
            Verdict::Needed { confidence } => ("fail", posterior::percent(confidence)),
            Verdict::Irrelevant { confidence } => ("pass", posterior::percent(confidence)),
            Verdict::Open | Verdict::Illegal => ("other", String::new()),
        };
        let seen = match need.verdict {
            Verdict::Illegal => "is no legal cell".to_owned(),
            _ => Some(summary::seen(&need.tally)).filter(|s| !s.is_empty()).unwrap_or_else(|| "not run".to_owned()),
        };
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\"><code>{}={}</code></th><td><span class=\"chip {class}\">{}</span></td><td class=\"n\">{confidence}</td>\
             <td><code>{}</code></td><td>{seen}</td></tr>",
            html(&need.dimension),
            html(&need.setting),
            need.verdict.name(),
            html(&need.instead),
        );
    }
    let smallest: Vec<_> = needs.smallest.iter().map(|(name, setting)| html(&format!("{name}={setting}"))).collect();
    let _ = writeln!(
        page,
        "</tbody></table></div><p>The smallest that failed: <code>{}</code></p></div>",
        smallest.join(" ")
    );
}
