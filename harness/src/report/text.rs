//! Text from guests made fit to be seen, and text for people.

use std::fmt::Write;

/// `text` with nothing in it that acts on whoever shows it: control characters as their pictures, those that reorder
/// text or do not show as their numbers. Tabs and newlines stay.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
            '\x7f' => out.push('\u{2421}'),
            // C1, marks that reorder or hide, line separators, noncharacters: XML and JSON readers balk at some of them.
            '\u{80}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// [`visible`] in one line.
pub fn line(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

/// `text` as HTML's text, or within an attribute's double quotes.
pub fn html(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// One word of a shell's command line.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A length of time for people.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `10000` as `10,000`.
pub fn number(n: impl TryInto<i128>) -> String {
    let n: i128 = n.try_into().unwrap_or_default();
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 trial`, `2 trials`.
pub fn count(n: usize, what: &str) -> String {
    format!("{} {what}{}", number(n as u64), if n == 1 { "" } else { "s" })
}

/// The beginning of `text` that is at most so many bytes long, cut between lines if there is one to cut at.
pub fn head(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let end = text[..end].rfind('\n').map_or(end, |at| at + 1);
    &text[..end]
}

/// Paragraphs filled to mail's width. A line that begins with a blank stays as it is.
pub fn wrap(text: &str) -> String {
    const WIDTH: usize = 72;
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with(' ') || line.chars().count() <= WIDTH {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let mut at = 0;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if at > 0 && at + 1 + length > WIDTH {
                out.push('\n');
                at = 0;
            } else if at > 0 {
                out.push(' ');
                at += 1;
            }
            out.push_str(word);
            at += length;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_for_people_and_shells() {
        assert_eq!([number(0u64), number(999u64), number(-1_234_567i64)], ["0", "999", "-1,234,567"]);
        assert_eq!([count(1, "trial"), count(10_000, "trial")], ["1 trial", "10,000 trials"]);
        assert_eq!([seconds(0.37), seconds(600.0), seconds(17_000.0)], ["0.4 s", "10 min", "4.7 h"]);
        assert_eq!([shell("a/b=c"), shell(""), shell("it's $x")], ["a/b=c", "''", r"'it'\''s $x'"]);
        assert_eq!(head("ab\ncd\nef", 7), "ab\ncd\n");
        assert_eq!(head("äöü", 3), "ä");
        assert_eq!(visible("\x1b[31m\u{202e}a\u{0}\r\n"), "\u{241b}[31m\\u{202e}a\u{2400}\n");
        assert_eq!(html("</script>\"'&"), "&lt;/script&gt;&quot;&#39;&amp;");
    }

    proptest! {
        #[test]
        fn html_has_no_markup_and_no_control_characters(text in any::<String>()) {
            let out = html(&text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']));
            prop_assert!(out.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }

        #[test]
        fn wrapping_keeps_the_words(text in "[a-z ]{0,300}") {
            let words = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrap(&text)), words(&text));
        }
    }
}
