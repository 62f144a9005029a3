//! What broke: a bug an article.

use super::super::account::{Account, Bug, Console};
use super::super::dimensions::setting;
use super::super::text::{self, html};
use super::{bisection, page, parts};
use crate::decoded::Symbolized;
use crate::run::summary;
use crate::stats::median;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Bugs whose console is unfolded from the start.
const UNFOLDED: usize = 2;
/// Settings of one dimension that a bug's table names.
const MAX_SETTINGS: usize = 12;

/// The section.
pub fn section(page: &mut String, account: &Account) {
    page.push_str("<section id=\"bugs\" aria-labelledby=\"h-bugs\"><h2 id=\"h-bugs\">Findings</h2>\n");
    if account.bugs.is_empty() {
        page.push_str("<p>None.</p></section>\n");
        return;
    }
    let by_id = parts::cells(account);
    for (n, bug) in account.bugs.iter().enumerate() {
        article(page, account, n, bug, &by_id);
    }
    page.push_str("</section>\n");
}

fn article(page: &mut String, account: &Account, n: usize, bug: &Bug, by_id: &BTreeMap<&str, &crate::plan::Cell>) {
    let finding = &bug.finding;
    let trial = &account.trials[bug.trial];
    let _ = write!(
        page,
        "<article id=\"bug-{n}\" class=\"bug\" aria-labelledby=\"h-bug-{n}\"><h3 id=\"h-bug-{n}\"><a href=\"#bug-{n}\">{}</a></h3>\n\
         <p class=\"facts\"><span class=\"chip {}\">{}</span> <span class=\"quiet\">{}</span></p>\n",
        html(&finding.title),
        if finding.stops_trial() { "fail" } else { "not-exercised" },
        html(&serde_name(&finding.severity)),
        rate(account, bug),
    );
    for detail in [&finding.condition, &finding.reason].into_iter().flatten() {
        let _ = writeln!(page, "<p class=\"condition\"><code>{}</code></p>", html(detail));
    }
    page.push_str("<dl>");
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = write!(page, "<dt>{name}</dt><dd>{value}</dd>");
        }
    };
    let guilty = finding.guilty.as_ref().map(|f| format!(" in <code>{}</code>", html(f))).unwrap_or_default();
    fact("Where", finding.location.as_ref().map(|l| format!("<code>{}</code>{guilty}", html(l))).unwrap_or_default());
    let task = match (&finding.process, finding.pid, finding.cpu) {
        (Some(comm), pid, cpu) => {
            let pid = pid.map(|p| format!(", pid {p}")).unwrap_or_default();
            let cpu = cpu.map(|c| format!(", CPU {c}")).unwrap_or_default();
            format!("<code>{}</code>{pid}{cpu}", html(comm))
        }
        _ => String::new(),
    };
    fact("Task", task);
    fact("Time to fail", times(&account.times_to_fail(bug)));
    fact("Also seen as", html(&bug.also.join(", ")));
    fact("Signature", format!("<code>{}</code>", html(&finding.signature)));
    fact("Report", finding.corrupted_why.as_ref().map(|why| format!("not whole: {}", html(why))).unwrap_or_default());
    page.push_str("</dl>\n");
    settings(page, account, bug, by_id);
    if let Some(found) = account.bisection(bug) {
        bisection::patches(page, found);
    }
    for needs in account.needs(bug) {
        bisection::settings(page, needs);
    }
    for found in account.revisions(bug) {
        bisection::told(page, "Commits", &summary::revisions(found));
    }
    for found in account.loads(bug) {
        bisection::told(page, "How soon loads show it", &summary::loads(found));
    }
    let open = if n < UNFOLDED { " open" } else { "" };
    if let Some(decoded) = &bug.decoded {
        stack(page, decoded, open);
    }
    match &bug.console {
        Some(console) => {
            let _ = write!(
                page,
                "<details class=\"console\"{open}><summary><h4>Console</h4> <span class=\"quiet\">{}, seed {}</span></summary>",
                html(&trial.cell),
                trial.seed
            );
            lines(page, console, finding.guilty.as_deref(), finding.location.as_deref());
            page.push_str("</details>\n");
        }
        None => page.push_str("<p class=\"quiet\">Its console was not kept.</p>\n"),
    }
    again(page, account, bug);
    page.push_str("</article>\n");
}

/// The commands that show it, run it again, and look for what is behind it.
fn again(page: &mut String, account: &Account, bug: &Bug) {
    let trial = &account.trials[bug.trial];
    page.push_str("<div class=\"again\"><h4>What to do with it</h4><dl class=\"commands\">");
    let mut offer = |what: &str, command: &str| {
        let _ = write!(page, "<dt>{what}</dt><dd>{}</dd>", page::command(command));
    };
    offer("Show it", &account.show(trial));
    offer("See how often it comes", &account.reproduce(trial));
    offer("Pack it up for QEMU alone", &account.bundle(trial));
    let decided = account.bisection(bug).is_some_and(|b| b.result.culprit.is_some());
    if let Some(command) = account.bisect(trial).filter(|_| !decided) {
        offer("Look for the patch", &command);
    }
    if account.needs(bug).next().is_none() {
        offer("Find the settings it needs", &account.bisect_settings(trial));
    }
    offer("Run its cell again as it was", &account.command(trial));
    page.push_str("</dl></div>");
}

/// A unit variant's name in files.
fn serde_name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// On which variants, how often.
fn rate(account: &Account, bug: &Bug) -> String {
    let rates = account.rates(bug);
    let (hit, clean): (Vec<_>, Vec<_>) = rates.iter().partition(|(_, (k, _))| *k > 0);
    let mut parts: Vec<String> = hit
        .iter()
        .map(|(variant, (k, n))| {
            format!("{} of {} on <b>{}</b>", text::number(*k as u64), text::count(*n, "trial"), html(variant))
        })
        .collect();
    if !clean.is_empty() {
        let names: Vec<String> = clean.iter().map(|(v, (_, n))| format!("{} ({n})", html(v))).collect();
        parts.push(format!("never on {}", names.join(", ")));
    }
    parts.join(" · ")
}

fn times(sorted: &[f64]) -> String {
    match sorted {
        [] => String::new(),
        [one] => text::seconds(*one),
        [first, .., last] => {
            let median = median(&mut sorted.to_vec()).unwrap_or_default();
            format!(
                "median {} of torture ({} to {}, {} times)",
                text::seconds(median),
                text::seconds(*first),
                text::seconds(*last),
                sorted.len()
            )
        }
    }
}

/// How the failures lie on each dimension that varies, among the trials of the variants that failed.
fn settings(page: &mut String, account: &Account, bug: &Bug, by_id: &BTreeMap<&str, &crate::plan::Cell>) {
    let hit: std::collections::BTreeSet<&str> =
        bug.trials.iter().map(|&t| account.trials[t].variant.as_str()).collect();
    let bad: std::collections::BTreeSet<usize> = bug.trials.iter().copied().collect();
    let mut fields: BTreeMap<&str, BTreeMap<&str, (usize, usize)>> = BTreeMap::new();
    for (t, trial) in account.trials.iter().enumerate().filter(|(_, trial)| hit.contains(trial.variant.as_str())) {
        let Some(cell) = by_id.get(trial.cell.as_str()) else { continue };
        for name in cell.settings.keys().map(String::as_str).chain(["workload"]) {
            let field = fields.entry(name).or_default().entry(setting(cell, name)).or_default();
            field.0 += usize::from(bad.contains(&t));
            field.1 += 1;
        }
    }
    fields.retain(|_, values| values.len() > 1);
    if fields.is_empty() {
        return;
    }
    page.push_str(
        "<div class=\"scroll\"><table class=\"by\"><caption>By setting, on the variants that failed</caption><tbody>\n",
    );
    for (name, values) in fields {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(|a, b| (b.1 .0 * a.1 .1).cmp(&(a.1 .0 * b.1 .1)));
        let _ = write!(page, "<tr><th scope=\"row\">{}</th><td>", html(name));
        for (value, (k, n)) in values.iter().take(MAX_SETTINGS) {
            let class = if *k > 0 { "hit" } else { "clean" };
            let _ = write!(page, "<span class=\"{class}\">{} <b>{k}</b>/{n}</span> ", html(value));
        }
        if values.len() > MAX_SETTINGS {
            let _ = write!(page, "and {} more", values.len() - MAX_SETTINGS);
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// The stack with files and lines, the guilty frame marked, its source below it.
fn stack(page: &mut String, decoded: &Symbolized, open: &str) {
    let _ = write!(page, "<details class=\"stack\"{open}><summary><h4>Stack</h4></summary><pre tabindex=\"0\">");
    for line in decoded.lines() {
        let text = html(&line.text);
        let _ = if line.guilty { writeln!(page, "<strong>{text}</strong>") } else { writeln!(page, "{text}") };
        for line in line.source.unwrap_or_default().lines() {
            let _ = writeln!(page, "      {}", html(line));
        }
    }
    page.push_str("</pre></details>\n");
}

/// The console, the report marked, and in it the lines that say where.
fn lines(page: &mut String, console: &Console, guilty: Option<&str>, location: Option<&str>) {
    let _ = write!(page, "<pre class=\"log\" tabindex=\"0\" data-first=\"{}\">", console.first_line);
    page.push_str(&html(&console.before));
    if console.report.is_empty() {
        page.push_str("</pre>");
        return;
    }
    page.push_str("<mark>");
    let at = guilty.map(|function| format!("{function}+0x"));
    let (mut headline, mut frame) = (location.is_some(), at.is_some());
    for line in console.report.lines() {
        let tells = if headline && location.is_some_and(|l| line.contains(l)) {
            headline = false;
            true
        } else if frame && at.as_ref().is_some_and(|at| line.contains(at.as_str())) {
            frame = false;
            true
        } else {
            false
        };
        if tells {
            let _ = writeln!(page, "<strong>{}</strong>", html(line));
        } else {
            page.push_str(&html(line));
            page.push('\n');
        }
    }
    page.push_str("</mark>");
    if console.left_out > 0 {
        let _ = writeln!(
            page,
            "<em>{} more bytes of this report are in the trial's console.log</em>",
            text::number(console.left_out)
        );
    }
    page.push_str(&html(&console.after));
    page.push_str("</pre>");
}
