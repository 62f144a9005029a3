//! Real logs, where they stand beside the checkout; elsewhere this test says that it is skipped.

use std::path::{Path, PathBuf};

use crate::oracle::{Finding, Notice, Oracle};

/// A log and what its headers say.
struct Sample {
    name: String,
    titles: Vec<String>,
    suppressed: bool,
    log: Vec<u8>,
}

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("MMTORTURE_CORPUS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/oops");
    [named, Some(beside)].into_iter().flatten().find(|p| p.is_dir())
}

/// Headers, an empty line, the log; some have a `REPORT:` section behind it, which is not part of the log.
fn read(path: &Path) -> Sample {
    let bytes = std::fs::read(path).unwrap();
    let split = bytes.windows(2).position(|w| w == b"\n\n").map_or(0, |at| at + 2);
    let (head, log) = bytes.split_at(split);
    let head = String::from_utf8_lossy(head);
    let values =
        |key: &str| head.lines().filter_map(|l| l.strip_prefix(key)).map(|v| v.trim().to_owned()).collect::<Vec<_>>();
    let mut titles = values("TITLE:");
    if !titles.is_empty() {
        titles.extend(values("ALT:"));
    }
    let report = log.windows(9).position(|w| w == b"\nREPORT:\n").map_or(log.len(), |at| at + 1);
    Sample {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        titles,
        suppressed: !values("SUPPRESSED:").is_empty(),
        log: log[..report].to_vec(),
    }
}

/// All logs without their headers; none, and a word about it, where the corpus is not there.
pub(super) fn logs() -> Vec<Vec<u8>> {
    samples().into_iter().map(|s| s.log).collect()
}

fn samples() -> Vec<Sample> {
    let Some(folder) = folder() else {
        println!("skipped: no ../../shared/corpus/oops beside the checkout and MMTORTURE_CORPUS not set");
        return Vec::new();
    };
    let mut samples: Vec<Sample> = std::fs::read_dir(folder).unwrap().map(|e| read(&e.unwrap().path())).collect();
    samples.sort_by_key(|s| s.name.parse::<u32>().unwrap_or(u32::MAX));
    samples
}

fn names(finding: &Finding) -> impl Iterator<Item = &String> {
    std::iter::once(&finding.title).chain(&finding.alt_titles)
}

/// The files are cuts of logs: no end marker follows where the cut was made.
fn scan(log: &[u8]) -> Vec<Finding> {
    let mut oracle = Oracle::new();
    let mut notices: Vec<Notice> = oracle.feed(log);
    notices.extend(oracle.quiet());
    notices.extend(oracle.finish());
    super::completed(notices)
}

/// Of a hundred logs with a title: how many must be found, and be named so. Floors, not aims.
const FLOOR_FOUND: usize = 100;
const FLOOR_NAMED: usize = 90;

#[test]
fn most_real_logs_are_read_right() {
    let samples = samples();
    if samples.is_empty() {
        return;
    }
    let (mut found, mut right, mut whole, mut silent) = (0, 0, 0, 0);
    for sample in &samples {
        let findings = scan(&sample.log);
        let first = findings.iter().find(|f| f.primary);
        if sample.titles.is_empty() {
            silent += usize::from(findings.is_empty());
            for finding in &findings {
                println!("{}: false alarm: {}", sample.name, finding.title);
            }
            continue;
        }
        found += usize::from(!findings.is_empty());
        let ok = first.is_some_and(|f| names(f).any(|n| sample.titles.contains(n)));
        right += usize::from(ok);
        if !ok {
            let said = first.map(|f| names(f).cloned().collect::<Vec<_>>()).unwrap_or_default();
            println!("{}: {:?}\n    expected {:?}", sample.name, said, sample.titles);
        }
        whole += usize::from(first.is_some_and(|f| !f.corrupted));
    }
    let titled = samples.iter().filter(|s| !s.titles.is_empty() && !s.suppressed).count();
    let without = samples.iter().filter(|s| s.titles.is_empty()).count();
    println!("{titled} logs with a title: {found} with a finding, {right} named alike, {whole} whole; {silent} of {without} without one are silent");
    assert!(found * 100 >= titled * FLOOR_FOUND, "{found} of {titled}");
    assert!(right * 100 >= titled * FLOOR_NAMED, "{right} of {titled}");
    assert_eq!(silent, without);
}
