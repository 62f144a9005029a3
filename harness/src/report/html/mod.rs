//! One page that needs neither a server nor a network: verdict, bugs, heatmap, what was not exercised, counters, trials,
//! environment. All that matters is in the markup; the script adds the choice of dimensions, the filter, and copying.

mod bisection;
mod bugs;
mod data;
mod evidence;
mod heat;
pub mod history;
mod page;
mod parts;
mod posterior;

use super::account::{Account, Verdict};
use super::text::{self, html};
use super::{counters, dimensions};
use crate::outcome::Outcome;
use page::{joined, Page};
use std::fmt::Write;

const STYLE: &str = joined!("page.css", "report.css");
const SCRIPT: &str = joined!("page.js", "report.js");

/// The page.
pub fn render(account: &Account) -> String {
    let dims = dimensions::dimensions(&account.cells);
    let shown = dimensions::matter(account, &dims);
    let verdict = account.verdict();
    let mut page = String::with_capacity(1 << 20);
    let title = format!("{}: {}", account.header.matrix, account.headline());
    head(&mut page, account, verdict);
    page.push_str("<main>\n");
    bugs::section(&mut page, account);
    heat::section(&mut page, account, &dims, shown);
    not_exercised(&mut page, account);
    counted(&mut page, account);
    trials(&mut page, account, &dims);
    environment(&mut page, account);
    page.push_str("</main>\n");
    let data = data::data(account, &dims, shown);
    let skip = ("bugs", "the findings");
    Page { title: &title, style: STYLE, script: SCRIPT, skip, body: &page, data: &data }.render()
}

/// The verdict, the tally, and the way to all sections.
fn head(page: &mut String, account: &Account, verdict: Verdict) {
    let header = &account.header;
    let class = match verdict {
        Verdict::Failed | Verdict::NotAsExpected => "fail",
        Verdict::Passed | Verdict::AsExpected => "pass",
        Verdict::Inconclusive => "other",
    };
    let took = header.took().map_or_else(String::new, |t| format!(", took {t}"));
    let _ = write!(
        page,
        "<header class=\"top {class}\">\n<p class=\"run\"><span class=\"badge {class}\">{}</span> {} <span class=\"quiet\">{}{took}</span></p>\n\
         <h1>{}</h1>\n",
        verdict.word(),
        html(&header.matrix),
        header.started.strftime("%Y-%m-%d %H:%M UTC"),
        html(&account.headline()),
    );
    for bisection in account.bisections.iter().map(|b| &b.result) {
        if let (Some(culprit), crate::bisect::Conclusion::Culprit { patch, confidence }) =
            (&bisection.culprit, &bisection.conclusion)
        {
            let _ = writeln!(
                page,
                "<p class=\"culprit\">Culprit: <b>{}</b>, patch {patch} of {} of {}, confidence {:.1} %</p>",
                html(bisection.subject.as_deref().unwrap_or(culprit)),
                bisection.patches.len(),
                html(&bisection.series),
                (confidence * 1000.0).floor() / 10.0
            );
        }
    }
    for problem in &header.problems {
        let _ = writeln!(page, "<p class=\"problem\">{}</p>", html(problem));
    }
    let counts = account.counts();
    page.push_str(&parts::bar(&counts, account.missing()));
    page.push_str("<ul class=\"legend\">");
    for (outcome, n) in &counts {
        let _ = write!(
            page,
            "<li><button type=\"button\" class=\"key\" data-filter=\"outcome={outcome}\"><span class=\"dot {outcome}\"></span>{} {outcome}</button></li>",
            text::number(*n as u64)
        );
    }
    if account.missing() > 0 {
        let _ = write!(
            page,
            "<li><span class=\"key\"><span class=\"dot missing\"></span>{} not run</span></li>",
            text::number(account.missing() as u64)
        );
    }
    page.push_str("</ul>\n</header>\n");
    page.push_str(&page::nav(
        &[
            ("bugs", "Findings"),
            ("map", "Map"),
            ("not-exercised", "Not exercised"),
            ("counters", "Counters"),
            ("trials", "Trials"),
            ("environment", "Environment"),
        ],
        "thp=always fail compact…",
    ));
}

fn not_exercised(page: &mut String, account: &Account) {
    page.push_str(
        "<section id=\"not-exercised\" aria-labelledby=\"h-not\"><h2 id=\"h-not\">Not exercised, or not known</h2>\n",
    );
    let groups = account.silent();
    if groups.is_empty() && account.missing() == 0 {
        page.push_str("<p>Every trial reached what its workload declares, with all settings in force.</p></section>\n");
        return;
    }
    page.push_str(
        "<p>These trials say nothing about the kernel, neither good nor bad.</p>\n<div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">Outcome</th><th scope=\"col\">Why</th><th scope=\"col\" class=\"n\">Trials</th><th scope=\"col\">First of them</th>\
         </tr></thead><tbody>\n",
    );
    const MOST: usize = 100;
    for (outcome, why, n, trial) in groups.iter().take(MOST) {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td><code>{}</code></td></tr>",
            parts::chip(*outcome),
            html(why),
            text::number(*n as u64),
            html(&trial.cell)
        );
    }
    if groups.len() > MOST {
        let _ = writeln!(page, "<tr><td colspan=\"4\">and {} other reasons</td></tr>", groups.len() - MOST);
    }
    if account.missing() > 0 {
        let _ = writeln!(
            page,
            "<tr><td>not run</td><td>the run ended before</td><td class=\"n\">{}</td><td></td></tr>",
            text::number(account.missing() as u64)
        );
    }
    page.push_str("</tbody></table></div></section>\n");
}

fn counted(page: &mut String, account: &Account) {
    page.push_str(
        "<section id=\"counters\" aria-labelledby=\"h-counters\"><h2 id=\"h-counters\">What the workloads moved</h2>\n",
    );
    let all = counters::counters(account);
    if all.is_empty() {
        page.push_str("<p>No trial came to its end, so none told its counters.</p>\n");
    }
    for (name, workload) in &all {
        let _ = write!(
            page,
            "<details open><summary><h3>{}</h3> <span class=\"quiet\">{}</span></summary>\n<div class=\"scroll\"><table><thead><tr>\
             <th scope=\"col\">/proc/vmstat</th><th scope=\"col\">Declared</th><th scope=\"col\" class=\"n\">Least</th>\
             <th scope=\"col\" class=\"n\">Median</th><th scope=\"col\" class=\"n\">Most</th><th scope=\"col\" class=\"n\">Did not move in</th></tr></thead><tbody>\n",
            html(name),
            text::count(workload.trials, "trial")
        );
        for (name, counter) in &workload.counters {
            let claim = counter
                .claim
                .as_ref()
                .map_or_else(String::new, |(shows, least)| format!("{} ≥ {}", html(shows), text::number(*least)));
            let still = if counter.still == 0 { String::new() } else { text::number(counter.still as u64) };
            let _ = writeln!(
                page,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{claim}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{still}</td></tr>",
                html(name),
                text::number(counter.least),
                text::number(counter.median.round() as i64),
                text::number(counter.most),
            );
        }
        page.push_str("</tbody></table></div></details>\n");
    }
    page.push_str("</section>\n");
}

/// The table of trials: without the script those that did not pass, as far as there is room; with it all.
fn trials(page: &mut String, account: &Account, dims: &[dimensions::Dimension]) {
    const MOST: usize = 100;
    page.push_str(
        "<section id=\"trials\" aria-labelledby=\"h-trials\"><h2 id=\"h-trials\">Trials</h2>\n<p id=\"shown\" class=\"quiet\">Those that did not pass.</p>\n\
         <div class=\"scroll\"><table id=\"rows\"><thead><tr><th scope=\"col\">Outcome</th>",
    );
    for dim in dims {
        let _ = write!(page, "<th scope=\"col\">{}</th>", html(&dim.name));
    }
    page.push_str(
        "<th scope=\"col\" class=\"n\">Seed</th><th scope=\"col\" class=\"n\">Torture</th><th scope=\"col\">What</th><th scope=\"col\">Cell</th></tr></thead><tbody>\n",
    );
    let by_id = parts::cells(account);
    for trial in account.trials.iter().filter(|t| t.outcome != Outcome::Pass).take(MOST) {
        let _ = write!(page, "<tr><td>{}</td>", parts::chip(trial.outcome));
        for dim in dims {
            let value = by_id.get(trial.cell.as_str()).map_or("", |cell| dimensions::setting(cell, &dim.name));
            let _ = write!(page, "<td>{}</td>", html(value));
        }
        let _ = writeln!(
            page,
            "<td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td><code>{}</code></td></tr>",
            trial.seed,
            text::seconds(trial.exposure()),
            html(&trial.why),
            html(&trial.cell)
        );
    }
    page.push_str(
        "</tbody></table></div><p><button type=\"button\" id=\"more\" class=\"more\" hidden>Show more</button></p></section>\n",
    );
}

fn environment(page: &mut String, account: &Account) {
    let header = &account.header;
    page.push_str("<section id=\"environment\" aria-labelledby=\"h-env\"><h2 id=\"h-env\">Environment</h2>\n<dl>");
    let command: Vec<String> = header.command.iter().map(|word| text::shell(word)).collect();
    let facts = [
        ("Run", header.id.clone()),
        ("mmtorture", header.version.clone()),
        ("Machine", header.machine.clone()),
        ("Started", header.started.to_string()),
        ("Ended", header.ended.map_or_else(|| "-".to_owned(), |t| t.to_string())),
        ("Exit status", header.exit.map_or_else(|| "-".to_owned(), |n| n.to_string())),
        ("Results", account.place.clone()),
    ];
    for (name, value) in facts {
        let _ = write!(page, "<dt>{name}</dt><dd>{}</dd>", html(&value));
    }
    let _ = writeln!(page, "<dt>Command</dt><dd>{}</dd></dl>", page::command(&command.join(" ")));
    page.push_str(
        "<h3>Kernels</h3>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Variant</th><th scope=\"col\">Release</th><th scope=\"col\">Build</th>\
         <th scope=\"col\">Key</th></tr></thead><tbody>\n",
    );
    for (variant, (release, build, key)) in parts::kernels(account) {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
            html(&variant),
            html(&release),
            html(&build),
            html(&key)
        );
    }
    let _ = write!(
        page,
        "</tbody></table></div>\n<details><summary><h3>Matrix</h3></summary><pre tabindex=\"0\">{}</pre></details></section>\n",
        html(&account.matrix)
    );
}
