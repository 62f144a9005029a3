//! Outcomes over two dimensions.

use super::super::account::Account;
use super::super::dimensions::{setting, Dimension};
use super::super::text::{self, html};
use super::parts;
use crate::outcome::Outcome;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The section. The script puts another table in its place when other dimensions are chosen; both look alike.
pub fn section(page: &mut String, account: &Account, dims: &[Dimension], (down, across): (usize, usize)) {
    page.push_str("<section id=\"map\" aria-labelledby=\"h-map\"><h2 id=\"h-map\">Outcomes over two dimensions</h2>\n");
    if account.trials.is_empty() || dims.is_empty() {
        page.push_str("<p>No trial came to an outcome.</p></section>\n");
        return;
    }
    page.push_str("<div class=\"axes\">");
    for (id, label, chosen) in [("down", "Down", down), ("across", "Across", across)] {
        let _ = write!(page, "<label>{label} <select id=\"{id}\" disabled>");
        for (i, dim) in dims.iter().enumerate() {
            let selected = if i == chosen { " selected" } else { "" };
            let _ = write!(page, "<option value=\"{i}\"{selected}>{}</option>", html(&dim.name));
        }
        page.push_str("</select></label>");
    }
    page.push_str("</div>\n<div class=\"scroll\" id=\"heat\">");
    table(page, account, &dims[down], &dims[across]);
    page.push_str(
        "</div>\n<p class=\"quiet\">Each field: trials that failed or hung, of all. Those that say nothing are counted apart. Choose a field to see its trials.</p></section>\n",
    );
}

fn table(page: &mut String, account: &Account, down: &Dimension, across: &Dimension) {
    let by_id = parts::cells(account);
    let mut fields: BTreeMap<(&str, &str), BTreeMap<Outcome, usize>> = BTreeMap::new();
    for trial in &account.trials {
        if let Some(cell) = by_id.get(trial.cell.as_str()) {
            let field = fields.entry((setting(cell, &down.name), setting(cell, &across.name))).or_default();
            *field.entry(trial.outcome).or_default() += 1;
        }
    }
    let _ = write!(
        page,
        "<table class=\"heat\"><caption class=\"hidden\">{} by {}</caption><thead><tr><td><span class=\"hidden\">{} by {}</span></td>",
        html(&down.name),
        html(&across.name),
        html(&down.name),
        html(&across.name)
    );
    for value in &across.settings {
        let _ = write!(page, "<th scope=\"col\">{}</th>", html(value));
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in &down.settings {
        let _ = write!(page, "<tr><th scope=\"row\">{}</th>", html(row));
        for column in &across.settings {
            page.push_str(&field(fields.get(&(row.as_str(), column.as_str()))));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>");
}

/// One field, as a cell of the table.
fn field(counts: Option<&BTreeMap<Outcome, usize>>) -> String {
    let Some(counts) = counts else {
        return "<td class=\"none\"><span class=\"hidden\">no trials</span></td>".to_owned();
    };
    let of = |outcome| counts.get(&outcome).copied().unwrap_or_default();
    let (broken, passed, total) =
        (of(Outcome::Fail) + of(Outcome::Hang), of(Outcome::Pass), counts.values().sum::<usize>());
    let silent = total - broken - passed;
    let level = match broken * 100 / total.max(1) {
        _ if broken == 0 && passed == 0 => "silent".to_owned(),
        _ if broken == 0 => "l0".to_owned(),
        share => format!("l{}", 1 + (share / 20).min(4)),
    };
    let words = if broken > 0 {
        format!("<b>{}</b>/{}", text::number(broken as u64), text::number(total as u64))
    } else if passed > 0 {
        format!("✓ {}", text::number(passed as u64))
    } else {
        String::new()
    };
    let silent = if silent > 0 { format!("<small>{} ?</small>", text::number(silent as u64)) } else { String::new() };
    format!("<td class=\"{level}\"><span>{words}{silent}</span></td>")
}
