//! Findings that no console line shows: what the guest's own programs saw, and what only the machine
//! noticed.

use super::finding::{Class, Finding, Severity};

/// A violation: of a kind in lower-case words joined by `-` (`data-mismatch`, `workload-signal`, `guest-vanished`), with a detail for
/// people.
pub fn violation(kind: &str, detail: &str, primary: bool) -> Finding {
    // It came over the wire from a guest that may be broken: what names things is kept short and plain.
    let kind: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_ ".contains(*c)).take(64).collect();
    unprinted(Class::Violation, &kind, &kind.replace('-', " "), detail, primary)
}

/// A finding that no console line shows: `kind` makes its signature, together with the class.
pub fn unprinted(class: Class, kind: &str, title: &str, detail: &str, primary: bool) -> Finding {
    let reason: String = detail.chars().filter(|c| !c.is_control()).take(1024).collect();
    Finding {
        title: title.to_owned(),
        alt_titles: Vec::new(),
        class,
        severity: Severity::Fatal,
        signature: format!("{class}|{kind}"),
        primary,
        corrupted: false,
        corrupted_why: None,
        first_line: 0,
        last_line: 0,
        first_byte: 0,
        end_byte: 0,
        process: None,
        pid: None,
        cpu: None,
        condition: None,
        reason: Some(reason),
        location: None,
        taint: None,
        context: None,
        expected: None,
        guilty: None,
        frames: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_kept_plain() {
        let finding = violation("data-mismatch\x1b[1m\n", "page 3\r\nof 9", true);
        assert_eq!(
            (finding.title.as_str(), finding.signature.as_str()),
            ("data mismatch1m", "violation|data-mismatch1m")
        );
        assert_eq!(finding.reason.as_deref(), Some("page 3of 9"));
    }
}
