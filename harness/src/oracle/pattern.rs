//! The two small languages of the format table: patterns that take a console line apart, and templates for titles and signatures.
//!
//! A pattern is literal text with holes: `"INFO: task {process}:{pid:d} blocked for more than "`. It may match anywhere in the
//! line unless it begins with `^`; what follows its end is free unless it ends with `$`. A hole is `{field}` or `{field:kind}`, where the field is one of
//! [`Field`]'s names or `_` (looked at, not kept), and the kind one of
//!
//! | kind | takes |
//! |---|---|
//! | (none) | any text up to the next literal, at the pattern's end to the line's end; not empty |
//! | `d` | decimal digits |
//! | `x` | hexadecimal digits, with or without `0x` |
//! | `w` | text without blanks, up to the next literal |
//! | `s` | a kernel symbol |
//!
//! `{field^PREFIX}` takes text that begins with PREFIX. A hole at the pattern's start takes the word before the first literal.
//!
//! A template is text with `{field}` or `{guilty}`; what stands in `[...]` is left out where one of its fields is not known.

use memchr::memmem;

/// What patterns take from lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Task name.
    Process,
    /// Its pid.
    Pid,
    /// CPU number.
    Cpu,
    /// `file:line`.
    Location,
    /// `VM_BUG_ON_FOLIO(...)`.
    Condition,
    /// Free text.
    Reason,
    /// Function that the report itself names as guilty.
    Function,
    /// Sub-kind of the report: `slab-use-after-free`.
    Kind,
    /// `Read`, `Write`.
    Access,
    /// The thing that is wrong: rss type, slab cache, page table level.
    What,
}

/// Number of [`Field`]s.
pub(super) const FIELDS: usize = 10;

impl Field {
    /// The field of that name in patterns and templates.
    pub fn named(name: &str) -> Option<Field> {
        Some(match name {
            "process" => Field::Process,
            "pid" => Field::Pid,
            "cpu" => Field::Cpu,
            "location" => Field::Location,
            "condition" => Field::Condition,
            "reason" => Field::Reason,
            "function" => Field::Function,
            "kind" => Field::Kind,
            "access" => Field::Access,
            "what" => Field::What,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Word,
    Decimal,
    Hex,
    Symbol,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Literal(&'static str),
    /// Nothing follows.
    End,
    Hole {
        field: Option<Field>,
        kind: Kind,
        prefix: &'static str,
    },
}

/// Why a pattern of the table is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// A brace is missing.
    #[error("unbalanced brace")]
    Brace,
    /// Neither a field nor `_`.
    #[error("unknown field `{0}`")]
    Field(&'static str),
    /// Not one of d, x, w, s.
    #[error("unknown kind `{0}`")]
    Kind(&'static str),
    /// Two holes without literal text in between, or no literal at all.
    #[error("a hole needs a literal beside it")]
    NoLiteral,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// Finds the first literal.
    finder: memmem::Finder<'static>,
    anchored: bool,
}

/// What one match took.
pub(super) type Captures<'t> = Vec<(Field, &'t str)>;

/// Steps that one match may take: backtracking over several holes is polynomial, and the line is the guest's.
const MAX_STEPS: u32 = 2048;

impl Pattern {
    /// Compiles a row's pattern.
    pub fn compile(source: &'static str) -> Result<Pattern, PatternError> {
        let (anchored, rest) = match source.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, source),
        };
        let (to_end, mut rest) = match rest.strip_suffix('$') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let literal_end = rest.find('{').unwrap_or(rest.len());
            if literal_end > 0 {
                parts.push(Part::Literal(&rest[..literal_end]));
                rest = &rest[literal_end..];
                continue;
            }
            let (inside, tail) = rest[1..].split_once('}').ok_or(PatternError::Brace)?;
            if matches!(parts.last(), Some(Part::Hole { .. })) {
                return Err(PatternError::NoLiteral);
            }
            parts.push(Self::compile_hole(inside)?);
            rest = tail;
        }
        if to_end {
            parts.push(Part::End);
        }
        let literal = first_literal(&parts);
        if literal.is_empty() {
            return Err(PatternError::NoLiteral);
        }
        Ok(Pattern { parts, finder: memmem::Finder::new(literal), anchored })
    }

    fn compile_hole(inside: &'static str) -> Result<Part, PatternError> {
        let (inside, prefix) = inside.split_once('^').unwrap_or((inside, ""));
        let (name, kind) = inside.split_once(':').unwrap_or((inside, ""));
        let field = if name == "_" { None } else { Some(Field::named(name).ok_or(PatternError::Field(name))?) };
        let kind = match kind {
            "" => Kind::Text,
            "w" => Kind::Word,
            "d" => Kind::Decimal,
            "x" => Kind::Hex,
            "s" => Kind::Symbol,
            _ => return Err(PatternError::Kind(kind)),
        };
        Ok(Part::Hole { field, kind, prefix })
    }

    /// The pattern's first literal: no line without it can match.
    pub fn literal(&self) -> &'static str {
        first_literal(&self.parts)
    }

    /// Matches a line.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        let literal = self.literal();
        let leading_hole = matches!(self.parts.first(), Some(Part::Hole { .. }));
        let mut steps = MAX_STEPS;
        let mut from = 0;
        while let Some(at) = self.finder.find(&text.as_bytes()[from..]).map(|at| at + from) {
            let start = if leading_hole { word_start(&text[..at]) } else { at };
            if self.anchored && start > 0 {
                return None;
            }
            let mut captures = Captures::new();
            if match_parts(&self.parts, &text[start..], &mut captures, &mut steps) {
                captures.reverse();
                return Some(captures);
            }
            if steps == 0 {
                return None;
            }
            from = at + literal.len();
        }
        None
    }
}

/// Matches `parts` at the start of `text`; captures are pushed last first.
/// Where the last word begins; Unicode's blanks may be longer than a byte.
fn word_start(text: &str) -> usize {
    text.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8())
}

fn first_literal(parts: &[Part]) -> &'static str {
    parts.iter().find_map(|p| if let Part::Literal(l) = p { Some(*l) } else { None }).unwrap_or("")
}

fn match_parts<'t>(parts: &[Part], text: &'t str, captures: &mut Captures<'t>, steps: &mut u32) -> bool {
    let Some((part, rest)) = parts.split_first() else { return true };
    let Part::Hole { field, kind, prefix } = *part else {
        let Part::Literal(literal) = *part else { return text.is_empty() };
        return text.strip_prefix(literal).is_some_and(|tail| match_parts(rest, tail, captures, steps));
    };
    // Lockdep of some kernels pads the symbol.
    let text = if kind == Kind::Symbol { text.trim_start_matches(' ') } else { text };
    let mut accept = |taken: &'t str, captures: &mut Captures<'t>| {
        *steps = steps.saturating_sub(1);
        let kept = taken.trim();
        if kept.is_empty() || !kept.starts_with(prefix) || *steps == 0 {
            return false;
        }
        if !match_parts(rest, &text[taken.len()..], captures, steps) {
            return false;
        }
        if let Some(field) = field {
            captures.push((field, kept));
        }
        true
    };
    let greedy = |allowed: fn(u8) -> bool| &text[..text.bytes().position(|b| !allowed(b)).unwrap_or(text.len())];
    match kind {
        Kind::Decimal => accept(greedy(|b| b.is_ascii_digit()), captures),
        Kind::Hex => accept(greedy(|b| b.is_ascii_hexdigit() || b == b'x'), captures),
        Kind::Symbol => accept(greedy(is_symbol_byte), captures),
        Kind::Word | Kind::Text => {
            let limit =
                if kind == Kind::Word { text.find(char::is_whitespace).unwrap_or(text.len()) } else { text.len() };
            let Some(Part::Literal(next)) = rest.first() else { return accept(&text[..limit], captures) };
            let mut from = 0;
            while let Some(at) = text[from..].find(next).map(|at| at + from).filter(|&at| at <= limit) {
                if accept(&text[..at], captures) {
                    return true;
                }
                // The literal's first character, not byte: the next search must start at a boundary.
                from = at + next.chars().next().map_or(1, char::len_utf8);
            }
            false
        }
    }
}

/// Characters of a symbol in kallsyms: C, the compiler's suffixes, and Rust's mangling.
pub(super) fn is_symbol_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$')
}

/// Fills a template. `lookup` gives a name's text, `None` where it is not known; outside of `[...]` that prints as `corrupted`,
/// the word that syzbot's titles use.
pub(super) fn render<'v>(template: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['[', '{']) {
        out.push_str(&rest[..at]);
        let optional = rest.as_bytes()[at] == b'[';
        let Some((inside, tail)) = rest[at + 1..].split_once(if optional { ']' } else { '}' }) else { return out };
        rest = tail;
        if !optional {
            out.push_str(lookup(inside).unwrap_or("corrupted"));
        } else if let Some(text) = render_known(inside, lookup) {
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    out
}

/// The same, but nothing at all where a field outside of `[...]` is not known.
pub(super) fn render_optional<'v>(template: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Option<String> {
    let mut known = true;
    let mut rest = template;
    while let Some(at) = rest.find(['[', '{']) {
        let optional = rest.as_bytes()[at] == b'[';
        let (inside, tail) = rest[at + 1..].split_once(if optional { ']' } else { '}' })?;
        known &= optional || lookup(inside).is_some();
        rest = tail;
    }
    known.then(|| render(template, lookup))
}

/// Text of `[...]`; nothing where one of its fields is not known.
fn render_known<'v>(mut group: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Option<String> {
    let mut out = String::new();
    while let Some((before, tail)) = group.split_once('{') {
        let (name, after) = tail.split_once('}')?;
        out.push_str(before);
        out.push_str(lookup(name)?);
        group = after;
    }
    out.push_str(group);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(pattern: &'static str, text: &'static str) -> Option<Vec<&'static str>> {
        Some(Pattern::compile(pattern).expect(pattern).captures(text)?.into_iter().map(|(_, t)| t).collect())
    }

    #[test]
    fn holes_take_what_stands_between_literals() {
        let hung = "INFO: task {process}:{pid:d} blocked for more than ";
        assert_eq!(
            captures(hung, "INFO: task kworker/u4:3:123 blocked for more than 143 seconds."),
            Some(vec!["kworker/u4:3", "123"]),
            "a task's name may hold the separator"
        );
        assert_eq!(
            captures("{location:w}: bad pmd {_:w}", "mm/pgtable-generic.c:50: bad pmd 000000(01)"),
            Some(vec!["mm/pgtable-generic.c:50"])
        );
        assert_eq!(captures("kernel BUG at {location:w}!", "kernel BUG at mm/a.c:1!"), Some(vec!["mm/a.c:1"]));
        assert_eq!(captures("kernel BUG at {location:w}!", "kernel BUG at mm/a.c :1!"), None);
        assert_eq!(
            captures("dumped because: {reason^VM_}", "page dumped because: VM_BUG_ON(a, b)"),
            Some(vec!["VM_BUG_ON(a, b)"])
        );
        assert_eq!(captures("dumped because: {reason^VM_}", "page dumped because: nonzero mapcount"), None);
        assert_eq!(captures("{what:w} of size ", "a\u{85}Read of size 8"), Some(vec!["Read"]));
        assert_eq!(captures("^BUG: {reason}", "a BUG: b"), None);
        assert_eq!(captures("^WARNING: {reason:w}$", "WARNING: foo"), Some(vec!["foo"]));
        assert_eq!(captures("^WARNING: {reason:w}$", "WARNING: foo bar"), None);
        assert_eq!(captures("at: {function:s}+", "at:    foo+0x1"), Some(vec!["foo"]));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for (bad, why) in [
            ("a{reason", PatternError::Brace),
            ("a{reasons}", PatternError::Field("reasons")),
            ("a{pid:q}", PatternError::Kind("q")),
            ("a{pid}{cpu}", PatternError::NoLiteral),
            ("{pid}", PatternError::NoLiteral),
        ] {
            assert_eq!(Pattern::compile(bad).err(), Some(why), "{bad}");
        }
    }

    #[test]
    fn hostile_text_costs_bounded_steps() {
        let pattern = Pattern::compile("a{process}a{reason}a{kind}a{what}b").unwrap();
        assert!(pattern.captures(&"a".repeat(4096)).is_none());
    }

    #[test]
    fn templates_leave_out_groups_without_their_field() {
        let lookup = |name: &str| (name == "kind").then_some("use-after-free");
        assert_eq!(render("KASAN: {kind}[ {access}] in {guilty}", &lookup), "KASAN: use-after-free in corrupted");
    }
}
