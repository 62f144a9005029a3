//! Texts for titles and signatures: what templates may name, and what must not get into them.

use super::pattern::{Field, FIELDS};
use super::plumbing::system_call;

/// What templates may name.
pub(super) struct Names {
    /// The guilty function.
    pub guilty: Option<String>,
    /// Who allocated the page or object.
    pub owner: Option<String>,
    /// The same as fuzzers' dashboards see it.
    pub keeper: Option<String>,
    /// The second candidate.
    pub outer: Option<String>,
    /// Whom fuzzers' dashboards name.
    pub alias: Option<String>,
    /// What patterns took, normalized.
    pub fields: [Option<String>; FIELDS],
}

impl Names {
    /// The text of a template's name.
    pub fn get(&self, name: &str) -> Option<&str> {
        match name {
            "guilty" => Some(self.guilty.as_deref().unwrap_or("corrupted")),
            "owner" => self.owner.as_deref(),
            "keeper" => self.keeper.as_deref(),
            "nobody" => Some("corrupted"),
            "outer" => self.outer.as_deref(),
            "alias" => Some(self.alias.as_deref().unwrap_or("corrupted")),
            "call" => system_call(self.alias.as_deref()?),
            _ => self.fields[Field::named(name)? as usize].as_deref(),
        }
    }
}

/// Free text without what changes from hit to hit: addresses become ADDR, numbers that stand alone NUM. Numbers within words
/// (`u32`, `PREP_2`) stay.
pub(super) fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word_len = rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(rest.len());
        if word_len == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, tail) = rest.split_at(word_len);
        let hex = word.strip_prefix("0x").unwrap_or(word);
        let all_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if all_hex && (hex.len() < word.len() || (hex.len() >= 8 && hex.bytes().any(|b| b.is_ascii_digit()))) {
            out.push_str("ADDR");
        } else if word.len() > 1 && word.bytes().all(|b| b.is_ascii_digit()) && !is_joined(&out) {
            out.push_str("NUM");
        } else {
            out.push_str(word);
        }
        rest = tail;
    }
    out
}

/// Whether what comes next is a part of a name: `kmalloc-` of `kmalloc-64`.
fn is_joined(before: &str) -> bool {
    before.strip_suffix('-').is_some_and(|name| name.ends_with(|c: char| c.is_ascii_alphabetic()))
}

/// A head as the title of a report of which no more is known: without brackets and offsets.
pub(super) fn headline(text: &str) -> String {
    let text = text.trim().trim_start_matches("[ ").trim_end_matches(" ]");
    let from = ["BUG: K", "WARNING: ", "INFO: ", "BUG: "].iter().find_map(|mark| text.find(mark)).unwrap_or(0);
    let text = &text[from..];
    let text = if text.starts_with("BUG: K") { &text["BUG: ".len()..] } else { text };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, offset)) = rest.split_once("+0x") {
        out.push_str(before);
        let end =
            offset.bytes().position(|b| !(b.is_ascii_hexdigit() || matches!(b, b'/' | b'x'))).unwrap_or(offset.len());
        rest = &offset[end..];
    }
    out.push_str(rest);
    normalize(&out)
}

/// At most `max` bytes of text, cut at a character.
pub(super) fn cut(text: &str, max: usize) -> &str {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > max) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_lose_what_changes() {
        assert_eq!(normalize("Attempted to kill init! exitcode=0x0000000b"), "Attempted to kill init! exitcode=ADDR");
        assert_eq!(normalize("unknown-block(25,0) u32 at ffff888012345678"), "unknown-block(NUM,0) u32 at ADDR");
        assert_eq!(
            normalize("VM_BUG_ON_FOLIO(folio_ref_count(folio) <= 0)"),
            "VM_BUG_ON_FOLIO(folio_ref_count(folio) <= 0)"
        );
        assert_eq!(normalize("kmalloc-64 error -12"), "kmalloc-64 error -NUM");
        assert_eq!(cut("aé", 2), "a");
    }
}
