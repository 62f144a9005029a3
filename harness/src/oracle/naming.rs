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

/// The same as fuzzers' dashboards do it: every number that no letter precedes, lines of source files too.
pub(super) fn normalize_all(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        if !c.is_ascii_digit() || out.ends_with(|before: char| before.is_ascii_alphabetic()) {
            out.push(c);
            // The rest of a name's number belongs to the name.
            if c.is_ascii_digit() {
                while let Some((_, digit)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
                    out.push(digit);
                }
            }
            continue;
        }
        while chars.next_if(|(_, c)| c.is_ascii_digit()).is_some() {}
        let line = [".c:", ".h:", ".S:", ".rs:"].iter().any(|source| out.ends_with(source));
        out.push_str(if line { "LINE" } else { "NUM" });
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
        assert_eq!(normalize_all("mm/a.c:12: fs on block(0,25) u32"), "mm/a.c:LINE: fs on block(NUM,NUM) u32");
        assert_eq!(normalize("kmalloc-64 error -12"), "kmalloc-64 error -NUM");
        assert_eq!(cut("aé", 2), "a");
    }
}
