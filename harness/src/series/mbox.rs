//! Reads a series from a mailbox, as `git format-patch --stdout` and `b4 am` write it, or from a file with one mail.
//!
//! Cover letters and answers are skipped. The mails may come in any order: `[PATCH K/N]` says which it is to be.

use super::diff::{DiffError, Problem};
use super::mail::{self, Subject};
use super::patch::{load, name_of, Patch, Series, SeriesError, MAX_PATCH};
use std::path::Path;

/// What can be wrong with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxProblem {
    /// Larger than [`MAX_PATCH`].
    #[error("longer than {max} MiB", max = MAX_PATCH >> 20)]
    TooLong,
    /// No mail with a patch in it.
    #[error("no patch in this mailbox, only cover letters and answers")]
    Nothing,
    /// A number between 1 and N that no mail has.
    #[error("patch {k} of {n} is missing; there are {there}")]
    Missing {
        /// The first one that is missing.
        k: usize,
        /// How many there should be.
        n: usize,
        /// Those that are there.
        there: String,
    },
    /// Two mails with one number.
    #[error("two mails are patch {k}/{n}: '{first}' and '{second}'; are these several versions of one series?")]
    Twice {
        /// The number.
        k: usize,
        /// Of how many.
        n: usize,
        /// The first one's subject.
        first: String,
        /// The other's.
        second: String,
    },
    /// Numbers that are of different series.
    #[error("the mails are not in order, and of series of {n} and of {other} patches: one file is to hold one series")]
    Mixed {
        /// One length.
        n: usize,
        /// Another one.
        other: usize,
    },
}

/// Reads the mailbox at `file`.
///
/// # Errors
/// A mail without a patch, a patch that does not parse, or numbers that make no series.
pub fn read(file: &Path) -> Result<Series, SeriesError> {
    let text = load(file).map_err(|error| SeriesError::Io { file: file.to_owned(), error })?;
    let wrong = |problem| SeriesError::Mailbox { file: file.to_owned(), problem };
    if text.len() as u64 > MAX_PATCH {
        return Err(wrong(MailboxProblem::TooLong));
    }
    let mut mails: Vec<(usize, Subject, &[u8])> = split(&text)
        .into_iter()
        .map(|(line, mail)| (line, mail::subject(mail).unwrap_or_default(), mail))
        .filter(|(_, subject, _)| !subject.reply && !matches!(subject.number, Some((0, _))))
        .collect();
    if mails.is_empty() {
        return Err(wrong(MailboxProblem::Nothing));
    }
    let subjects: Vec<_> = mails.iter().map(|(_, subject, _)| subject.clone()).collect();
    if let Some(order) = order(&subjects).map_err(wrong)? {
        mails = order.into_iter().map(|i| mails[i].clone()).collect();
    }
    let of = mails.len();
    let single = of == 1 && !text.starts_with(FROM);
    let parse = |(i, (line, subject, mail)): (usize, (usize, Subject, &[u8]))| {
        let name = match single {
            true => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            false => format!("{}.patch", patch_name(i + 1, &subject.text)),
        };
        Patch::parse(&name, i + 1, of, 1, mail.to_vec()).map_err(|error| {
            // A mail that is encoded has other lines than the file; without a patch, where it starts is all there is.
            let exact = mail::decode(mail.to_vec()) == mail && error.problem != Problem::NoDiff;
            let line = if exact { line + error.line } else { line + 1 };
            SeriesError::Patch { file: file.to_owned(), error: DiffError { line, ..error } }
        })
    };
    let patches = mails.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    Ok(Series { name: name_of(file), patches })
}

/// What every mail of a mailbox begins with.
const FROM: &[u8] = b"From ";

/// The mails, each with the number of lines before it. A file that does not begin as a mailbox is one mail.
fn split(text: &[u8]) -> Vec<(usize, &[u8])> {
    if !text.starts_with(FROM) {
        return vec![(0, text)];
    }
    let mut starts = Vec::new();
    let mut at = 0;
    for (number, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        if is_start(line) || at == 0 {
            starts.push((number, at));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, at)| *at).chain([text.len()]);
    starts.iter().zip(ends).map(|((number, start), end)| (*number, &text[*start..end])).collect()
}

/// Whether a line starts a mail: `From SOMEBODY ... HH:MM:SS YYYY`. Prose may begin with "From " as well.
fn is_start(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(FROM) else { return false };
    let text = String::from_utf8_lossy(rest);
    let words: Vec<_> = text.split_whitespace().collect();
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let is_time = |word: &str| word.contains(':') && word.split(':').all(digits);
    let Some(time) = words.iter().position(|word| is_time(word)) else { return false };
    words[time + 1..].iter().any(|word| word.len() == 4 && digits(word))
}

/// The order in which mails with these subjects apply, as indices; `None`: as they come.
fn order(subjects: &[Subject]) -> Result<Option<Vec<usize>>, MailboxProblem> {
    let Some(numbers) = subjects.iter().map(|s| s.number).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let in_order = numbers.iter().enumerate().all(|(i, (k, n))| match i.checked_sub(1).map(|before| numbers[before]) {
        Some((before, of)) if before < of => (before + 1, of) == (*k, *n),
        // Behind a series that is complete, another may follow.
        _ => *k == 1,
    });
    let complete = numbers.last().is_some_and(|(k, n)| k == n);
    if in_order && complete {
        return Ok(None);
    }
    let n = numbers[0].1;
    if let Some((_, other)) = numbers.iter().find(|(_, other)| *other != n) {
        return Err(MailboxProblem::Mixed { n, other: *other });
    }
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by_key(|&i| numbers[i].0);
    for pair in order.windows(2) {
        let k = numbers[pair[0]].0;
        if k == numbers[pair[1]].0 {
            let text = |i: usize| subjects[i].text.clone();
            return Err(MailboxProblem::Twice { k, n, first: text(pair[0]), second: text(pair[1]) });
        }
    }
    match (1..=n)
        .zip(order.iter().map(|&i| Some(numbers[i].0)).chain(std::iter::repeat(None)))
        .find(|(k, has)| Some(*k) != *has)
    {
        Some((k, _)) => {
            let there: Vec<_> = order.iter().map(|&i| numbers[i].0.to_string()).collect();
            Err(MailboxProblem::Missing { k, n, there: there.join(", ") })
        }
        None => Ok(Some(order)),
    }
}

/// What `git format-patch` calls a patch: its number and its subject.
pub fn patch_name(number: usize, subject: &str) -> String {
    const MOST: usize = 52;
    let mut name = String::new();
    for c in subject.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
            '.' if name.ends_with('.') => {}
            '.' => name.push('.'),
            _ if !name.ends_with('-') && !name.is_empty() => name.push('-'),
            _ => {}
        }
    }
    name.truncate(MOST);
    format!("{number:04}-{}", name.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n";

    fn mail(tag: &str, file: &str) -> String {
        let diff = format!(
            "---\n x | 2 +-\n\ndiff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-a\n+b\n"
        );
        format!("{START}From: A Developer <a@example.org>\nSubject: [{tag}] mm: change {file}\n\nFrom here on, at 10:30 or so.\n{diff}-- \n2.39.5\n\n")
    }

    fn read_text(text: &str) -> Result<Series, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("v2_delay.mbox");
        std::fs::write(&file, text).unwrap();
        read(&file).map_err(|e| e.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
    }

    fn names(text: &str) -> Vec<String> {
        read_text(text).unwrap().patches.iter().map(|patch| patch.stem.clone()).collect()
    }

    #[test]
    fn mails_are_put_in_order_and_what_is_no_patch_is_skipped() {
        let cover = format!("{START}Subject: [PATCH v2 0/2] both\n\nWhy.\n\n");
        let answer = format!("{START}Subject: Re: [PATCH v2 1/2] mm: change x\n\n> @@ -1 +1 @@\nWhy?\n\n");
        let (one, two) = (mail("PATCH v2 1/2", "x"), mail("PATCH v2 2/2", "y"));
        let series = read_text(&[&cover, &two, &answer, &one].map(String::as_str).concat()).unwrap();
        assert_eq!(series.name, "v2_delay");
        let shown: Vec<_> =
            series.patches.iter().map(|p| (p.number, p.stem.as_str(), p.files[0].path.as_str())).collect();
        assert_eq!(shown, [(1, "0001-mm-change-x", "x"), (2, "0002-mm-change-y", "y")]);
        let plain = names(&[mail("PATCH", "x"), mail("PATCH", "a")].concat());
        assert_eq!(plain, ["0001-mm-change-x", "0002-mm-change-a"], "without numbers, as they come");
        let twice = [one.clone(), two.clone(), mail("PATCH 1/1", "z")].concat();
        assert_eq!(names(&twice).len(), 3, "one series behind another");
        assert_eq!(names(one.replacen("1/2", "1/1", 1).strip_prefix(START).unwrap()), ["v2_delay"], "one mail");
    }

    #[test]
    fn numbers_that_make_no_series_are_told() {
        let (one, two, three) = (mail("PATCH 1/3", "x"), mail("PATCH 2/3", "y"), mail("PATCH 3/3", "z"));
        let refuse = |mails: &[&str]| read_text(&mails.concat()).unwrap_err();
        let cover = format!("{START}Subject: [PATCH 0/2] both\n\nWhy.\n\n");
        let none = format!("{START}Subject: [PATCH 1/1] both\n\nWhy.\n\n");
        let damaged = three.replace("@@ -1 +1 @@", "@@ -1,9 +1 @@");
        let all = [
            refuse(&[&one, &three]),
            refuse(&[&one, &two]),
            refuse(&[&one, &two, &mail("PATCH v2 2/3", "new"), &three]),
            refuse(&[&two, &mail("PATCH 1/2", "x")]),
            refuse(&[&cover]),
            refuse(&[&none]),
            refuse(&[&one, &two, &damaged]),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        DIR/v2_delay.mbox: patch 2 of 3 is missing; there are 1, 3
        DIR/v2_delay.mbox: patch 3 of 3 is missing; there are 1, 2
        DIR/v2_delay.mbox: two mails are patch 2/3: 'mm: change y' and 'mm: change new'; are these several versions of one series?
        DIR/v2_delay.mbox: the mails are not in order, and of series of 3 and of 2 patches: one file is to hold one series
        DIR/v2_delay.mbox: no patch in this mailbox, only cover letters and answers
        DIR/v2_delay.mbox:1: no diff found in this patch (no `diff --git`, no `---`/`+++` pair)
        DIR/v2_delay.mbox:50: the hunk's header says 9 old and 1 new lines, but this line is none of a hunk's: `2.39.5`
        ");
    }

    #[test]
    fn names_are_those_of_format_patch() {
        assert_eq!(
            patch_name(3, "mm: delay rmap removal until after the TLB flush"),
            "0003-mm-delay-rmap-removal-until-after-the-TLB-flush"
        );
        assert_eq!(patch_name(12, "x86/mm: [a] b..c, (d)."), "0012-x86-mm-a-b.c-d");
    }
}
