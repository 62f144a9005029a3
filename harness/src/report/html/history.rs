//! Signatures over runs, as a page of its own: which came when, on what, and whether they still do.

use super::super::text::{self, html};
use super::page::{self, joined, Page};
use crate::history::{Night, Over, Overview, Ran, Sighting, When};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = joined!("page.css", "history.css");
const SCRIPT: &str = joined!("page.js", "history.js");

/// Runs that the table shows at once. The script turns the pages; without it these are the newest.
const WINDOW: usize = 22;

/// How a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The newest run that could see it did, and no earlier one.
    New,
    /// The newest run that could see it did, as earlier ones.
    Still,
    /// Runs since could have seen it and did not.
    Gone,
    /// Somebody expects it.
    Known,
}

impl Standing {
    const ALL: [Self; 4] = [Self::New, Self::Still, Self::Gone, Self::Known];

    fn of(when: &When) -> Self {
        match (&when.signature.known, &when.clean_since) {
            (Some(_), _) => Self::Known,
            (None, Some(_)) => Self::Gone,
            (None, None) if when.signature.runs == 1 => Self::New,
            (None, None) => Self::Still,
        }
    }

    /// For people, and what the filter takes behind `is=`.
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Still => "still",
            Self::Gone => "gone",
            Self::Known => "known",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::New => "first seen in the newest run that could see it",
            Self::Still => "seen in the newest run that could see it",
            Self::Gone => "not seen in newer runs, though they could have",
            Self::Known => "expected by the matrix",
        }
    }
}

/// The page. `place` is the results folder.
pub fn render(overview: &Overview, place: &str) -> String {
    let mut body = String::with_capacity(1 << 18);
    let headline = head(&mut body, overview, place);
    body.push_str(&page::nav(&[("nights", "By run"), ("signatures", "Signatures")], "is=new migrate base…"));
    body.push_str("<main>\n");
    table(&mut body, overview);
    signatures(&mut body, overview, place);
    body.push_str("</main>\n");
    let (title, data) = (format!("History: {headline}"), page::data(&data(overview, place)));
    let skip = ("signatures", "the signatures");
    Page { title: &title, style: STYLE, script: SCRIPT, skip, body: &body, data: &data }.render()
}

/// What stands above all; yields the sentence.
fn head(body: &mut String, overview: &Overview, place: &str) -> String {
    let mut standings: BTreeMap<Standing, usize> = BTreeMap::new();
    for row in &overview.rows {
        *standings.entry(Standing::of(&row.when)).or_default() += 1;
    }
    let new = standings.get(&Standing::New).copied().unwrap_or_default();
    let seen = text::count(overview.rows.len(), "signature");
    let headline = match (overview.rows.len(), new) {
        (0, _) => format!("nothing was found in {}", text::count(overview.all_runs, "run")),
        (_, 0) => format!("{seen} in {}, none of them new", text::count(overview.all_runs, "run")),
        (_, new) => format!("{seen} in {}, {new} of them new", text::count(overview.all_runs, "run")),
    };
    let span = match (overview.runs.last(), overview.runs.first()) {
        (Some(first), Some(last)) => format!("{} to {} UTC", time(first.started_ms), time(last.started_ms)),
        _ => String::new(),
    };
    let (class, badge) = if new > 0 { ("fail", "new") } else { ("other", "history") };
    let _ = write!(
        body,
        "<header class=\"top\">\n<p class=\"run\"><span class=\"badge {class}\">{badge}</span> {} <span class=\"quiet\">{span}</span></p>\n<h1>{}</h1>\n",
        html(place),
        html(&headline)
    );
    if overview.runs.len() < overview.all_runs {
        let _ = writeln!(
            body,
            "<p class=\"quiet\">The table has the newest {}; what is said of a signature is of all.</p>",
            text::count(overview.runs.len(), "run")
        );
    }
    body.push_str("<ul class=\"legend\">");
    for standing in Standing::ALL {
        if let Some(n) = standings.get(&standing) {
            let _ = write!(
                body,
                "<li><button type=\"button\" class=\"key\" data-filter=\"is={word}\" title=\"{}\"><span class=\"dot {word}\"></span>{} {word}</button></li>",
                standing.about(),
                text::number(*n as u64),
                word = standing.word(),
            );
        }
    }
    body.push_str("</ul>\n</header>\n");
    headline
}

/// The table: a row for each signature, a column for each run, the newest first.
fn table(body: &mut String, overview: &Overview) {
    body.push_str("<section id=\"nights\" aria-labelledby=\"h-nights\"><h2 id=\"h-nights\">Signatures by run</h2>\n");
    if overview.rows.is_empty() {
        body.push_str("<p>None.</p></section>\n");
        return;
    }
    let runs = &overview.runs[..overview.runs.len().min(WINDOW)];
    body.push_str("<div class=\"turn\" hidden><label>Matrix <select id=\"matrix\"><option value=\"-1\">all</option>");
    for (n, matrix) in matrices(overview).iter().enumerate() {
        let _ = write!(body, "<option value=\"{n}\">{}</option>", html(matrix));
    }
    body.push_str(
        "</select></label> <button type=\"button\" id=\"newer\" class=\"more\">← Newer</button>\
         <button type=\"button\" id=\"older\" class=\"more\">Older →</button> <span id=\"range\" class=\"quiet\" role=\"status\"></span></div>\n\
         <div class=\"scroll\" tabindex=\"-1\"><table id=\"grid\" class=\"heat\"><caption class=\"hidden\">Signatures by run, the newest first</caption>\
         <thead><tr><th scope=\"col\">Signature</th>",
    );
    for run in runs {
        let _ = write!(
            body,
            "<th scope=\"col\" class=\"night\"><span>{}<span class=\"hidden\">{}</span></span></th>",
            &time(run.started_ms)[5..10],
            html(&format!(" {} {}", &time(run.started_ms)[11..], run.matrix))
        );
    }
    body.push_str("</tr></thead><tbody>\n");
    for (n, row) in overview.rows.iter().enumerate() {
        let standing = Standing::of(&row.when).word();
        let _ = write!(
            body,
            "<tr><th scope=\"row\"><a href=\"#sig-{n}\">{}</a> <span class=\"chip {standing}\">{standing}</span> <small class=\"quiet\">{}since {}</small></th>",
            html(&row.when.signature.title),
            condition(&row.when.signature.signature).map_or_else(String::new, |c| format!("{} · ", html(&c))),
            &time(row.when.signature.first.started_ms)[..10],
        );
        for night in &row.nights[..runs.len()] {
            body.push_str(&field(*night));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n<div id=\"chosen\" class=\"chosen\" hidden><p></p>");
    body.push_str(&page::command(""));
    body.push_str(
        "</div>\n<p class=\"quiet\">Each field: trials that saw it, of those that said something where it was ever seen. \
         <span class=\"sample l0\">✓</span> clean, <span class=\"sample l4\">3</span> the redder, the more often, \
         <span class=\"sample known\">3</span> all expected, <span class=\"sample silent\">?</span> ran and said nothing, \
         <span class=\"sample none\">–</span> not run.<span class=\"keys\" hidden> Choose a field, or go through them with the arrow keys, to see its run.</span></p></section>\n",
    );
}

/// A field, as a cell of the table. The script makes them alike. Words for screen readers are attributes: thousands of
/// hidden elements cost a browser seconds.
fn field(night: Option<Night>) -> String {
    match night {
        None => "<td class=\"none\" aria-label=\"not run\">–</td>".to_owned(),
        Some(Night { seen: 0, said: 0, .. }) => "<td class=\"silent\" aria-label=\"said nothing\">?</td>".to_owned(),
        Some(Night { seen: 0, said, .. }) => {
            format!("<td class=\"l0\" aria-label=\"clean, 0 of {said}\">✓<small>/{said}</small></td>")
        }
        Some(Night { seen, known, said }) => {
            let class =
                if known == seen { "known".to_owned() } else { format!("l{}", 1 + (seen * 5 / said.max(1)).min(4)) };
            format!("<td class=\"{class}\"><b>{seen}</b><small>/{said}</small></td>")
        }
    }
}

/// What is known of each signature.
fn signatures(body: &mut String, overview: &Overview, place: &str) {
    body.push_str("<section id=\"signatures\" aria-labelledby=\"h-sig\"><h2 id=\"h-sig\">Signatures</h2>\n");
    if overview.rows.is_empty() {
        body.push_str("<p>None.</p>");
    }
    for (n, row) in overview.rows.iter().enumerate() {
        signature(body, n, row, place);
    }
    body.push_str("</section>\n");
}

fn signature(body: &mut String, n: usize, Over { when, .. }: &Over, place: &str) {
    let (signature, standing) = (&when.signature, Standing::of(when));
    let _ = write!(
        body,
        "<article id=\"sig-{n}\" class=\"bug {word}\" data-is=\"{word}\" aria-labelledby=\"h-sig-{n}\"><h3 id=\"h-sig-{n}\"><a href=\"#sig-{n}\">{}</a> \
         <span class=\"chip {word}\">{word}</span></h3>\n<p class=\"condition\"><code>{}</code></p>\n<dl>",
        html(&signature.title),
        html(&signature.signature),
        word = standing.word(),
    );
    if let Some(reason) = &signature.known {
        let _ = write!(body, "<dt>Known issue</dt><dd>{}</dd>", html(reason));
    }
    let mut moment = |name: &str, at: Option<&Sighting>, none: &str| {
        let told = at.map_or_else(
            || html(none),
            |s| format!("{} <span class=\"quiet\"><code>{}</code></span>", time(s.started_ms), html(&s.run)),
        );
        let _ = write!(body, "<dt>{name}</dt><dd>{told}</dd>");
    };
    moment("Clean before", when.clean_before.as_ref(), "no earlier run could have seen it");
    moment("First seen", Some(&signature.first), "");
    moment("Last seen", Some(&signature.last), "");
    moment("Clean since", when.clean_since.as_ref(), "-");
    let _ = write!(
        body,
        "<dt>Seen</dt><dd>{} in {}</dd></dl>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Variant</th><th scope=\"col\">Workload</th>\
         <th scope=\"col\" class=\"n\">Trials</th><th scope=\"col\" class=\"n\">Median until then</th><th scope=\"col\" class=\"n\">Kernels</th>\
         <th scope=\"col\">The last of them</th></tr></thead><tbody>\n",
        text::count(usize::try_from(signature.trials).unwrap_or_default(), "time"),
        text::count(usize::try_from(signature.runs).unwrap_or_default(), "run"),
    );
    for variant in &when.variants {
        let key = variant.last_kernel.as_deref().unwrap_or("-");
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{} of {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td><code>{}</code></td></tr>",
            html(&variant.variant),
            html(&variant.workload),
            text::number(variant.trials),
            text::number(variant.of),
            variant.median_ms.map_or_else(|| "-".to_owned(), |ms| text::seconds(ms as f64 / 1000.0)),
            text::number(variant.kernels),
            html(&key.chars().take(12).collect::<String>()),
        );
    }
    let _ = writeln!(body, "</tbody></table></div>{}</article>", page::command(&show(place, &signature.last.run)));
}

/// The command that shows a run. The script words it alike; a run's id needs no quotes.
fn show(place: &str, run: &str) -> String {
    format!("mmtorture show {}", text::shell(&text::line(&format!("{place}/{run}"))))
}

/// A signature's condition, which tells bugs in one function apart: what follows the class and the function.
fn condition(signature: &str) -> Option<String> {
    let condition = signature.splitn(3, '|').nth(2)?;
    const MOST: usize = 60;
    Some(condition.chars().take(MOST).chain(condition.chars().nth(MOST).map(|_| '…')).collect())
        .filter(|c: &String| !c.is_empty())
}

/// `2026-11-24 02:00`, in UTC.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| "0000-00-00 00:00".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

/// The matrices' names, in the order of their newest runs.
fn matrices(overview: &Overview) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for Ran { matrix, .. } in &overview.runs {
        if !names.contains(&matrix.as_str()) {
            names.push(matrix);
        }
    }
    names
}

/// The runs, and of each signature the fields of all runs: so many alike, trials that saw it, that expected it, that said
/// something; only how many where there are none.
fn data(overview: &Overview, place: &str) -> Value {
    let names = matrices(overview);
    let runs: Vec<Value> = overview
        .runs
        .iter()
        .map(|run| {
            let matrix = names.iter().position(|name| *name == run.matrix);
            json!([text::line(&run.id), time(run.started_ms), matrix])
        })
        .collect();
    let rows: Vec<Value> = overview
        .rows
        .iter()
        .map(|row| {
            let alike = row.nights.chunk_by(|a, b| a == b);
            let fields = alike.map(|nights| match nights[0] {
                Some(Night { seen, known, said }) => json!([nights.len(), seen, known, said]),
                None => json!([nights.len()]),
            });
            fields.collect()
        })
        .collect();
    let show = show(place, "RUN");
    let (before, behind) = show.rsplit_once("RUN").unwrap_or((&show, ""));
    let matrices: Vec<String> = names.into_iter().map(text::line).collect();
    json!({"window": WINDOW, "show": [before, behind], "matrices": matrices, "runs": runs, "rows": rows})
}
