//! What all pages share: their frame, style and script, the filter, commands to copy.

use super::super::text::html;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A page. Its style and script follow [`STYLE`] and [`SCRIPT`], see [`joined`].
pub struct Page<'a> {
    /// Its title, as it is.
    pub title: &'a str,
    /// All of its style.
    pub style: &'a str,
    /// All of its script.
    pub script: &'a str,
    /// The id of what matters most, and its name: readers of screens may go there at once.
    pub skip: (&'a str, &'a str),
    /// Its markup, but for the frame.
    pub body: &'a str,
    /// What its script reads: JSON without markup, see [`data`].
    pub data: &'a str,
}

/// A file that all pages share with one's own behind it.
macro_rules! joined {
    ($shared:literal, $own:literal) => {
        concat!(include_str!($shared), include_str!($own))
    };
}
pub(super) use joined;

impl Page<'_> {
    /// The page as one file. Nothing is loaded, and no script runs but its own, whatever a guest managed to print.
    pub fn render(&self) -> String {
        let Self { style, script, body, data, skip, .. } = self;
        let mut page = String::with_capacity(body.len() + data.len() + style.len() + script.len() + 2000);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#{}\">Skip to {}</a>\n{body}\
             <div id=\"said\" role=\"status\" aria-live=\"polite\"></div>\n\
             <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n",
            integrity(style),
            integrity(script),
            html(self.title),
            skip.0,
            skip.1,
        );
        page
    }
}

/// The way to the sections, by id and name, and the filter.
pub fn nav(sections: &[(&str, &str)], example: &str) -> String {
    let mut nav = String::from("<nav aria-label=\"Sections\"><ul>");
    for (id, name) in sections {
        let _ = write!(nav, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    let _ = writeln!(
        nav,
        "</ul><search><label for=\"q\">Filter</label><input id=\"q\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" \
         placeholder=\"{}\" aria-describedby=\"hits\"><output id=\"hits\" for=\"q\"></output></search></nav>",
        html(example)
    );
    nav
}

/// JSON that may stand in a script element: no `<` in it.
pub fn data(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// A command line with a button that copies it. The button does nothing without the script, which shows it.
pub fn command(line: &str) -> String {
    let line = html(line);
    format!(
        "<div class=\"command\"><code tabindex=\"0\">{line}</code><button type=\"button\" class=\"copy\" aria-label=\"Copy command\" hidden>Copy</button></div>"
    )
}

/// What names a text in a content security policy.
fn integrity(text: &str) -> String {
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
