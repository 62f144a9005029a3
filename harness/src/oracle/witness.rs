//! Findings that no console line shows: what the guest's own programs saw, and what the machine said of itself.

use super::finding::{Class, Finding, Severity};

/// A violation: of a kind in lower-case words joined by `-` (`data-mismatch`, `workload-signal`, `guest-vanished`), with a detail for
/// people.
pub fn violation(kind: &str, detail: &str, primary: bool) -> Finding {
    // It came over the wire from a guest that may be broken: what names things is kept short and plain.
    let kind: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_ ".contains(*c)).take(64).collect();
    let reason: String = detail.chars().filter(|c| !c.is_control()).take(1024).collect();
    Finding {
        title: kind.replace('-', " "),
        alt_titles: Vec::new(),
        class: Class::Violation,
        severity: Severity::Fatal,
        signature: format!("{}|{kind}", Class::Violation),
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

/// What virtual machine monitors print when a guest cannot go on, and what kind of failure it is.
const MACHINE: &[(&str, &str)] = &[
    ("KVM internal error. Suberror: 1", "kvm-emulation-failure"),
    ("KVM internal error", "kvm-internal-error"),
    ("KVM: entry failed", "kvm-entry-failed"),
    ("Triple fault", "triple-fault"),
    ("triple fault", "triple-fault"),
    ("qemu: hardware error", "machine-error"),
];

/// The failure that a machine's own output tells of, if it tells of one. Its cause may be the guest or the host.
pub fn machine_failure(said: &str) -> Option<Finding> {
    let (mark, kind) = MACHINE.iter().find(|(mark, _)| said.contains(mark))?;
    let line = said.lines().find(|line| line.contains(mark)).unwrap_or(mark);
    Some(violation(kind, line, true))
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

    #[test]
    fn machines_tell_of_their_failures() {
        let said = "qemu-system-x86_64: warning: x\nKVM internal error. Suberror: 3\nextra data[0]: 0\n";
        let finding = machine_failure(said).unwrap();
        assert_eq!(
            (finding.title.as_str(), finding.reason.as_deref()),
            ("kvm internal error", Some("KVM internal error. Suberror: 3"))
        );
        assert_eq!(machine_failure("could not open image"), None);
    }
}
