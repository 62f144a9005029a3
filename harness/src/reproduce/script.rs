//! The script of a bundle: runs the guest in QEMU, and says whether the failure came again. Pure.

use super::Sought;
use crate::oracle::{Class, Finding};
use crate::outcome::Outcome;
use std::fmt::Write;

/// Where a bundle's guest leaves its console and its events, below the bundle's folder.
pub const OUT: &str = "out";

/// The words that bring a TCG guest the rate of the host's counter: see [`crate::machine::qemu`].
const TSC: &str = "tsc_early_khz=";

/// How the failure shows to a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// These words on the console.
    Console(String),
    /// These words among the events.
    Events(String),
    /// The guest ends before it is done, and nobody says why.
    Vanished,
    /// The guest does not end.
    Silence,
}

/// How a failure shows, going by its `finding` and that finding's `report` as it came on the console.
pub fn sign(sought: &Sought, finding: Option<&Finding>, report: &str) -> Sign {
    let Some(finding) = finding.filter(|_| sought.outcome != Outcome::Hang) else { return Sign::Silence };
    if finding.class == Class::Violation {
        let kind = finding.signature.split('|').nth(1).unwrap_or_default();
        return match kind {
            "guest-vanished" => Sign::Vanished,
            "guest-silent" => Sign::Silence,
            kind => Sign::Events(format!("\"kind\":\"{kind}\"")),
        };
    }
    // Words that name the bug, if its report has them as they are.
    let words = [finding.condition.as_ref(), finding.reason.as_ref(), finding.guilty.as_ref(), Some(&finding.title)];
    let named = words.into_iter().flatten().find(|words| !words.is_empty() && report.contains(words.as_str()));
    let headline = || report.lines().map(plain).find(|line| !line.is_empty());
    match named.cloned().or_else(headline) {
        Some(words) => Sign::Console(words),
        None => Sign::Vanished,
    }
}

/// A console line without the time that stands before it.
fn plain(line: &str) -> String {
    let mut rest = line.trim();
    while let Some((_, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        rest = after.trim_start();
    }
    rest.to_owned()
}

/// The script that runs `argv` for at most `seconds` and looks for `sign`; `disks` are copied to [`OUT`] first, because
/// the guest writes to them.
pub fn script(title: &str, argv: &[String], disks: &[String], sign: &Sign, seconds: u64) -> String {
    let came = match sign {
        Sign::Console(words) => format!("grep -qaF -e {} {OUT}/console.log 2>/dev/null", quoted(words)),
        Sign::Events(words) => format!("grep -qaF -e {} {OUT}/events.jsonl 2>/dev/null", quoted(words)),
        Sign::Vanished | Sign::Silence => "false".to_owned(),
    };
    // What an end says: in the guest's own words, or by its want of any.
    let (vanished, overdue) = match sign {
        Sign::Vanished => ("reproduced", "unknown \"the guest did not end\""),
        Sign::Silence => ("unknown \"the guest ended before it was done\"", "reproduced"),
        _ => ("unknown \"the guest ended before it was done\"", "unknown \"the guest did not end\""),
    };
    let mut command = String::new();
    for word in argv {
        let _ = write!(command, "{}{}", if command.is_empty() { "" } else { " \\\n    " }, word_of(word));
    }
    let mut copies = String::new();
    for disk in disks {
        let _ = writeln!(copies, "cp {0} {OUT}/{0} || exit 3", quoted(disk));
    }
    format!(
        r#"#!/bin/sh
# Runs the guest and looks for: {title}
# Exit status: 1 it came again, 0 the workload ended without it, 3 neither. Needs qemu-system-x86_64.
cd "$(dirname "$0")" || exit 3
command -v {qemu} >/dev/null || {{ echo "{qemu} is missing: install QEMU for x86" >&2; exit 3; }}
rm -rf {OUT} && mkdir {OUT} || exit 3
{copies}
reproduced() {{ echo "it came again: {OUT}/console.log has it"; exit 1; }}
unknown() {{ echo "neither came again nor passed: $1; see {OUT}/" >&2; exit 3; }}
came() {{ {came}; }}
done_() {{ grep -qa '"event":"done"' {OUT}/events.jsonl 2>/dev/null; }}

{command} >{OUT}/machine.log 2>&1 &
qemu=$!
trap 'kill "$qemu" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
left={seconds}
while kill -0 "$qemu" 2>/dev/null && [ "$left" -gt 0 ] && ! came; do
    sleep 1
    left=$((left - 1))
done
if came; then
    # The rest of the report.
    sleep 2
    reproduced
fi
if kill -0 "$qemu" 2>/dev/null; then {overdue}; fi
wait "$qemu" || {{ cat {OUT}/machine.log >&2; unknown "QEMU failed"; }}
done_ || {vanished}
echo "it did not come again"
"#,
        title = title.replace(char::is_control, " "),
        qemu = argv.first().map_or("qemu-system-x86_64", String::as_str),
    )
}

/// A word of the command; the host's counter is the one thing in it that another host may have otherwise.
fn word_of(word: &str) -> String {
    let Some((before, rate)) = word.split_once(TSC) else { return quoted(word) };
    let (rate, after) = rate.split_once(' ').map_or((rate, String::new()), |(rate, after)| (rate, format!(" {after}")));
    let after = if after.is_empty() { after } else { quoted(&after) };
    format!("{}\"${{TSC_KHZ:-{rate}}}\"{after}", quoted(&format!("{before}{TSC}")))
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::violation;
    use std::process::Command;

    fn sought(outcome: Outcome) -> Sought {
        Sought { run: "r".into(), cell: "c".into(), seed: 1, outcome, title: "kernel BUG in f".into(), signature: None }
    }

    #[test]
    fn a_failure_shows_in_the_words_that_its_report_has() {
        let report =
            "[    2.1][   T45] page:ffffea00 refcount:2\n[    2.2][   T45] kernel BUG at mm/f.c:3!\n[ 2.3] f+0x1/0x2\n";
        let mut finding = violation("x", "", true);
        finding.class = Class::KernelBug;
        finding.title = "kernel BUG in f".into();
        finding.condition = Some("VM_BUG_ON(x)".into());
        finding.guilty = Some("f+0x1".into());
        finding.reason = None;
        let of = |finding: &Finding| sign(&sought(Outcome::Fail), Some(finding), report);
        assert_eq!(of(&finding), Sign::Console("f+0x1".into()), "the condition is not in it");
        finding.guilty = None;
        assert_eq!(of(&finding), Sign::Console("page:ffffea00 refcount:2".into()));
        assert_eq!(of(&violation("data-mismatch", "", true)), Sign::Events("\"kind\":\"data-mismatch\"".into()));
        assert_eq!(of(&violation("guest-vanished", "", true)), Sign::Vanished);
        assert_eq!(sign(&sought(Outcome::Hang), Some(&finding), report), Sign::Silence);
        assert_eq!(sign(&sought(Outcome::Hang), None, ""), Sign::Silence);
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        for word in ["", "a b", "it's", "$HOME", "a\"b", "file,id=x,path=out/console.log", "x tsc_early_khz=123 lpj=9"]
        {
            let printed = Command::new("sh").args(["-c", &format!("printf %s {}", word_of(word))]).output().unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), word);
        }
        let other = Command::new("sh")
            .args(["-c", &format!("printf %s {}", word_of("x tsc_early_khz=123 lpj=9"))])
            .env("TSC_KHZ", "77")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(other.stdout).unwrap(), "x tsc_early_khz=77 lpj=9");
    }

    /// Runs the script with `body` in QEMU's place.
    fn play(body: &str, sign: &Sign) -> Option<i32> {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["sh".to_owned(), "-c".to_owned(), body.to_owned()];
        std::fs::write(dir.path().join("disk0.img"), "").unwrap();
        let text = script("a 'title'", &argv, &["disk0.img".to_owned()], sign, 2);
        std::fs::write(dir.path().join("run.sh"), text).unwrap();
        Command::new("sh").arg(dir.path().join("run.sh")).output().unwrap().status.code()
    }

    #[test]
    fn the_script_tells_a_failure_from_a_pass_and_from_neither() {
        let bug = Sign::Console("it's a BUG".into());
        let done = "test -f out/disk0.img && echo '{\"event\":\"done\"}' > out/events.jsonl";
        assert_eq!(play("echo \"it's a BUG\" > out/console.log; sleep 9", &bug), Some(1));
        assert_eq!(play(done, &bug), Some(0));
        assert_eq!(play("true", &bug), Some(3));
        assert_eq!(play("exit 1", &bug), Some(3));
        assert_eq!(play("exec sleep 9", &bug), Some(3), "overdue");
        assert_eq!(play("true", &Sign::Vanished), Some(1));
        assert_eq!(play("exec sleep 9", &Sign::Silence), Some(1));
    }
}
