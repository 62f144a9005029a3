//! JUnit XML: a variant a suite, a trial a case. What says nothing about the kernel is an error or a skip, no failure.

use super::account::Account;
use super::text;
use crate::outcome::Outcome;
use crate::trial::Trial;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most of a report that is put into one case, in bytes.
const MAX_REPORT: usize = 16 << 10;

/// The document.
pub fn render(account: &Account) -> String {
    let cells: BTreeMap<_, _> = account.cells.iter().map(|c| (c.id.as_str(), c)).collect();
    let reports: BTreeMap<usize, &str> =
        account.bugs.iter().filter_map(|b| Some((b.trial, b.console.as_ref()?.report.as_str()))).collect();
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for (t, trial) in account.trials.iter().enumerate() {
        let name = text::line(&trial.variant);
        let suite = suites.entry(&trial.variant).or_insert_with(|| {
            let mut suite = TestSuite::new(name.as_str());
            suite.add_property(("kernel", text::line(&trial.kernel).as_str()));
            suite.add_property(("machine", text::line(&trial.machine).as_str()));
            suite
        });
        let mut case =
            TestCase::new(format!("{} seed {}", text::line(&trial.cell), trial.seed), status(trial, reports.get(&t)));
        case.set_classname(format!("{}.{name}", text::line(&account.header.matrix)));
        case.set_time(Duration::from_millis(trial.seen.times.end_ms));
        if let Some(cell) = cells.get(trial.cell.as_str()) {
            case.add_property(("workload", text::line(&cell.workload).as_str()));
            for (dimension, value) in &cell.settings {
                case.add_property((text::line(dimension).as_str(), text::line(value).as_str()));
            }
        }
        suite.add_test_case(case);
    }
    let mut report = Report::new(text::line(&account.header.id));
    report.add_test_suites(suites.into_values());
    // Into memory: it cannot fail.
    report.to_string().unwrap_or_default()
}

fn status(trial: &Trial, report: Option<&&str>) -> TestCaseStatus {
    let mut status = match trial.outcome {
        Outcome::Pass => return TestCaseStatus::success(),
        Outcome::NotExercised => TestCaseStatus::skipped(),
        Outcome::Fail | Outcome::Hang => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::BootFailure | Outcome::BuildFailure | Outcome::InfraError => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    status.set_message(text::line(&trial.why));
    match trial.finding() {
        Some(finding) => status.set_type(text::line(&finding.signature)),
        None => status.set_type(trial.outcome.name()),
    };
    if let Some(report) = report {
        status.set_description(text::visible(text::head(report, MAX_REPORT)));
    }
    status
}
