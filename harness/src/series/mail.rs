//! Mails that carry patches: header, subject, transfer encodings. Pure.
//!
//! Only as much of RFC 5322, 2045 and 2047 as mail clients make of a patch. Bytes in, bytes out: what a patch changes
//! need not be UTF-8, and the mail's charset speaks of its prose.

/// How deep parts may lie in parts.
const MAX_DEPTH: usize = 4;

/// What a `Subject:` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// Without `Re:`, and without brackets around PATCH or RFC.
    pub text: String,
    /// K and N of `[PATCH K/N]`.
    pub number: Option<(usize, usize)>,
    /// It is an answer.
    pub reply: bool,
}

/// The mail's header, unfolded, and where its body starts. A `From ` line before it, as mailboxes have, is skipped.
/// `None`: this does not look like a mail.
fn header(mail: &[u8]) -> Option<(Vec<(String, String)>, usize)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    for line in mail.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            break;
        }
        if text.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push(' ');
            value.push_str(text.trim());
        } else if fields.is_empty() && (text.starts_with("From ") || text.starts_with(">From ")) {
            continue;
        } else {
            let (name, value) = text.split_once(':')?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return None;
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (!fields.is_empty()).then_some((fields, at))
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

/// A mail with its body as its writer saw it: transfer encodings undone, the text parts of several joined. What is no
/// mail, or not encoded, stays as it is.
pub fn decode(mail: Vec<u8>) -> Vec<u8> {
    let Some((fields, body)) = header(&mail) else { return mail };
    let Some(decoded) = decoded(&fields, &mail[body..], 0) else { return mail };
    [&mail[..body], &decoded].concat()
}

/// `None`: nothing has to be done.
fn decoded(fields: &[(String, String)], body: &[u8], depth: usize) -> Option<Vec<u8>> {
    let kind = field(fields, "content-type").unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("multipart/") && depth < MAX_DEPTH {
        let boundary = format!("--{}", parameter(kind, "boundary")?);
        return Some(parts(body, boundary.as_bytes()).into_iter().flat_map(|part| text_of(part, depth)).collect());
    }
    match field(fields, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase().as_str() {
        "quoted-printable" => Some(quoted_printable(body)),
        "base64" => Some(base64(body)),
        _ => None,
    }
}

/// The text in a part of a mail: a patch may be attached, and then need not be called text.
fn text_of(part: &[u8], depth: usize) -> Vec<u8> {
    // A part may begin with an empty line: it has no header then.
    let (fields, body) = match part.first() {
        Some(b'\n' | b'\r') => (Vec::new(), 1),
        _ => header(part).unwrap_or_default(),
    };
    let kind = field(&fields, "content-type").unwrap_or("text/plain").to_ascii_lowercase();
    let attached = field(&fields, "content-disposition").and_then(|value| parameter(value, "filename"));
    let is_patch = attached.is_some_and(|name| name.ends_with(".patch") || name.ends_with(".diff"));
    if !(kind.starts_with("text/") && !kind.starts_with("text/html") || kind.starts_with("multipart/") || is_patch) {
        return Vec::new();
    }
    let body = &part[body..];
    let mut text = decoded(&fields, body, depth + 1).unwrap_or_else(|| body.to_vec());
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text
}

/// What lies between the lines that begin with `boundary`.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let (mut at, mut start) = (0, None);
    for line in body.split_inclusive(|b| *b == b'\n') {
        if let Some(rest) = line.strip_prefix(boundary) {
            parts.extend(start.map(|start: usize| &body[start..at]));
            start = (!rest.starts_with(b"--")).then_some(at + line.len());
            if start.is_none() {
                return parts;
            }
        }
        at += line.len();
    }
    // The last boundary is lost.
    parts.extend(start.map(|start| &body[start..]));
    parts
}

/// `NAME=VALUE` or `NAME="VALUE"` behind a semicolon.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// RFC 2045, 6.7. What is none stays as it is.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let ended = line.ends_with(b"\n");
        // Blanks at a line's end are the transport's.
        let mut rest = line.trim_ascii_end();
        let soft = rest.ends_with(b"=");
        if soft {
            rest = &rest[..rest.len() - 1];
        }
        while let Some((&byte, after)) = rest.split_first() {
            let code = (byte == b'=').then(|| Some((hex(*after.first()?)?, hex(*after.get(1)?)?))).flatten();
            match code {
                Some((high, low)) => {
                    out.push(high << 4 | low);
                    rest = &after[2..];
                }
                None => {
                    out.push(byte);
                    rest = after;
                }
            }
        }
        if ended && !soft {
            out.push(b'\n');
        }
    }
    out
}

/// RFC 2045, 6.8. What is none of its letters does not count; mailers that encode lines end them with CR LF.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let mut lines = Vec::with_capacity(out.len());
    for line in out.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => lines.extend([line, b"\n"].concat()),
            None => lines.extend(line),
        }
    }
    lines
}

/// RFC 2047's encoded words, in a charset that is UTF-8 or part of it.
fn encoded_words(text: &str) -> String {
    let word = |word: &str| -> Option<String> {
        let mut fields = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (_, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
        let bytes = match encoding {
            "q" | "Q" => quoted_printable(text.replace('_', " ").as_bytes()),
            "b" | "B" => base64(text.as_bytes()),
            _ => return None,
        };
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut out = String::new();
    let mut before_encoded = false;
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        let decoded = word(part);
        // Blanks between two encoded words are only there to fold the line.
        if !(out.is_empty() || before_encoded && decoded.is_some()) {
            out.push(' ');
        }
        before_encoded = decoded.is_some();
        out.push_str(decoded.as_deref().unwrap_or(part));
    }
    out
}

/// What the `Subject:` of a mail, or of any text that has such a line, says.
pub fn subject(message: &[u8]) -> Option<Subject> {
    let message = String::from_utf8_lossy(message);
    let mut lines = message.lines().skip_while(|line| !line.starts_with("Subject:"));
    let mut text = lines.next()?.strip_prefix("Subject:")?.trim().to_owned();
    for folded in lines.take_while(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty()) {
        text.push(' ');
        text.push_str(folded.trim());
    }
    let text = encoded_words(&text);
    let mut subject = Subject::default();
    let mut rest = text.as_str();
    loop {
        let tag = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        rest = match tag {
            Some((tag, after)) if tag.contains("PATCH") || tag.contains("RFC") => {
                let number = |word: &str| {
                    let (k, n) = word.split_once('/')?;
                    Some((k.parse().ok()?, n.parse().ok()?))
                };
                subject.number = subject.number.or_else(|| tag.split([' ', ',']).find_map(number));
                after.trim_start()
            }
            _ => match rest.get(..3).filter(|re| re.eq_ignore_ascii_case("re:")) {
                Some(_) => {
                    subject.reply = true;
                    rest[3..].trim_start()
                }
                None => break,
            },
        };
    }
    rest.clone_into(&mut subject.text);
    Some(subject)
}

/// Whether a mail is `[PATCH 0/N]`.
pub fn is_cover_letter(mail: &[u8]) -> bool {
    let Some((_, body)) = header(mail) else { return false };
    subject(&mail[..body]).is_some_and(|subject| matches!(subject.number, Some((0, _))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjects_lose_their_tags_only() {
        let of = |text: &str| subject(text.as_bytes()).unwrap();
        let text = |line: &str| of(line).text;
        let one = of("Subject: [RFC PATCH v3 02/13] mm: x\n");
        assert_eq!((one.text.as_str(), one.number, one.reply), ("mm: x", Some((2, 13)), false));
        assert_eq!(text("Subject: Re: [PATCH] [mm] x [y]\n"), "[mm] x [y]");
        assert!(of("Subject: RE: [PATCH 1/2] x\n").reply);
        assert_eq!(text("Subject: [PATCH 1/2] mm: long\n\tand folded\nDate: x\n"), "mm: long and folded");
        assert_eq!(text("Subject: [PATCH\n"), "[PATCH");
        assert_eq!(text("Subject: [PATCH]\n"), "");
        assert_eq!(
            text("Subject: [PATCH] =?UTF-8?q?mm:_Schr=C3=B6dinger's?=\n =?utf-8?B?IHBhZ2U=?= x\n"),
            "mm: Schr\u{f6}dinger's page x"
        );
        assert_eq!(subject(b"no mail\n"), None);
    }

    #[test]
    fn encodings_are_undone() {
        let qp =
            "Content-Transfer-Encoding: quoted-printable\nSubject: x\n\n+\tif (a =3D=3D b)=20\n+ long =\nline=C3=A9\n";
        let text = String::from_utf8(decode(qp.into())).unwrap();
        assert!(text.ends_with("\n\n+\tif (a == b) \n+ long line\u{e9}\n"), "{text}");
        let b64 = "Content-Transfer-Encoding: base64\n\nLS0tIGEveA0KKysr\nIGIveA0K\n";
        assert!(decode(b64.into()).ends_with(b"\n\n--- a/x\n+++ b/x\n"));
        for plain in ["--- a/x\n+++ b/x\n", "Subject: x\n\na=3D\n", "just text\nSubject: x\n"] {
            assert_eq!(decode(plain.into()), plain.as_bytes());
        }
    }

    #[test]
    fn of_several_parts_the_text_is_taken() {
        let mail = "Subject: x\nContent-Type: multipart/mixed;\n boundary=\"=_b\"\n\nnone of them\n--=_b\n\nwhy\n--=_b\n\
            Content-Type: text/html\n\n<b>\n--=_b\nContent-Type: application/octet-stream\nContent-Disposition: attachment;\n \
            filename=\"a.patch\"\nContent-Transfer-Encoding: quoted-printable\n\na=3Db\n--=_b--\nafter\n";
        let text = String::from_utf8(decode(mail.into())).unwrap();
        assert!(text.ends_with("\n\nwhy\na=b\n"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mail in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = subject(&mail);
            for encoding in ["quoted-printable", "base64"] {
                let header = format!("Content-Transfer-Encoding: {encoding}\n\n");
                decode([header.as_bytes(), &mail].concat());
            }
            decode([b"Content-Type: multipart/x; boundary=b\n\n--b\n", &mail[..]].concat());
            decode(mail);
        }
    }
}
