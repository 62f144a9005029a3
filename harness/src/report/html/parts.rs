//! Pieces of the page that several sections share.

use super::super::account::Account;
use super::super::text::{self, html};
use crate::outcome::Outcome;
use crate::plan::Cell;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// An outcome as a coloured word.
pub fn chip(outcome: Outcome) -> String {
    format!("<span class=\"chip {outcome}\">{outcome}</span>")
}

/// A command line with a button that copies it. The button does nothing without the script, which shows it.
pub fn command(line: &str) -> String {
    let line = html(line);
    format!(
        "<div class=\"command\"><code tabindex=\"0\">{line}</code><button type=\"button\" class=\"copy\" aria-label=\"Copy command\" hidden>Copy</button></div>"
    )
}

/// How many trials came to what, as a bar.
pub fn bar(counts: &BTreeMap<Outcome, usize>, missing: usize) -> String {
    let total = (counts.values().sum::<usize>() + missing).max(1) as f64;
    let parts = counts.iter().map(|(o, n)| (o.name(), *n)).chain([("missing", missing)]).filter(|(_, n)| *n > 0);
    let mut svg = String::from(
        "<svg class=\"tally\" viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" width=\"100%\" height=\"14\" aria-hidden=\"true\">",
    );
    let mut at = 0.0;
    for (name, n) in parts {
        // The fewest must be seen.
        let width = (1000.0 * n as f64 / total).max(4.0);
        let _ = write!(svg, "<rect class=\"{name}\" x=\"{at:.1}\" y=\"0\" width=\"{width:.1}\" height=\"14\"/>");
        at += width;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The cells by id.
pub fn cells(account: &Account) -> BTreeMap<&str, &Cell> {
    account.cells.iter().map(|c| (c.id.as_str(), c)).collect()
}

/// Release, build and key of each variant's kernel, as the first guest of it that spoke said.
pub fn kernels(account: &Account) -> BTreeMap<String, (String, String, String)> {
    let mut kernels: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    for trial in &account.trials {
        let kernel = kernels.entry(trial.variant.clone()).or_default();
        if kernel.2.is_empty() {
            kernel.2 = trial.kernel.chars().take(12).collect();
        }
        if let (true, Some(hello)) = (kernel.0.is_empty(), &trial.seen.hello) {
            (kernel.0, kernel.1) = (text::line(&hello.release), text::line(&hello.build));
        }
    }
    kernels
}

/// What names a text in a content security policy.
pub fn integrity(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |word, &b| word << 8 | u32::from(b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= three.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_rfc_4648() {
        let of = |text: &str| super::base64(text.as_bytes());
        assert_eq!([of(""), of("f"), of("fo"), of("foo"), of("foob")], ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
