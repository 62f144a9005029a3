//! What `torture` prints: reports for programs, or lines for people.

use crate::host::{deltas, vmstat};
use mmtorture_protocol::{Claim, Report};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Where the reports of a run go.
#[derive(Debug)]
pub enum Output {
    /// One JSON object a line, as `guest-init` reads them.
    Json,
    /// Text.
    Text(Text),
}

/// The state of the text output.
#[derive(Debug)]
pub struct Text {
    says: Vec<String>,
    since: Instant,
    claims: Vec<Claim>,
    before: BTreeMap<String, u64>,
    violations: u64,
}

impl Output {
    /// Text output that introduces the run with `says`.
    pub fn text(says: Vec<String>) -> Self {
        Self::Text(Text { says, since: Instant::now(), claims: Vec::new(), before: vmstat(), violations: 0 })
    }

    /// How often progress is told.
    pub fn interval(&self) -> Duration {
        match self {
            Self::Json => Duration::from_millis(200),
            Self::Text(_) => Duration::from_secs(1),
        }
    }

    /// Prints one report, at once.
    ///
    /// # Errors
    /// If standard output is gone.
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        let mut line = match self {
            Self::Json => serde_json::to_string(report)?,
            Self::Text(text) => text.line(report),
        };
        line.push('\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }
}

impl Text {
    fn line(&mut self, report: &Report) -> String {
        match report {
            Report::Started { name, claims } => {
                self.claims.clone_from(claims);
                std::iter::once(format!("{name}:"))
                    .chain(self.says.iter().map(|say| format!("  {say}")))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Report::Progress { ops } => format!("{:4} s  {}", self.since.elapsed().as_secs(), counts(ops)),
            Report::Violation { kind, detail } => {
                self.violations += 1;
                format!("VIOLATION {kind}: {detail}")
            }
            Report::Finished { ops } => summary(ops, self.violations, &self.claims, &deltas(&self.before, &vmstat())),
        }
    }
}

fn counts(ops: &BTreeMap<String, u64>) -> String {
    ops.iter().filter(|(_, &n)| n > 0).map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

fn summary(ops: &BTreeMap<String, u64>, violations: u64, claims: &[Claim], moved: &BTreeMap<String, i64>) -> String {
    let mut lines = vec![format!("finished: {}", counts(ops)), format!("violations: {violations}")];
    let by =
        |name: &String| moved.get(name).copied().or_else(|| ops.get(name)?.to_owned().try_into().ok()).unwrap_or(0);
    for claim in claims {
        let by = claim.any_of.iter().map(|name| format!("{name} {:+}", by(name)));
        let verdict = if claim.holds(moved, ops) { "moved" } else { "NOT MOVED ENOUGH" };
        let by = by.collect::<Vec<_>>().join(", ");
        lines.push(format!("claim {}: {by} (at least {} wanted): {verdict}", claim.shows, claim.at_least));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_which_claims_held() {
        let claims = [
            crate::job::claim("swap-out", &["pswpout", "zswpout"], 10),
            crate::job::claim("thp-fault", &["thp_fault_alloc"], 4),
        ];
        let moved = BTreeMap::from([("pswpout".to_owned(), 12), ("thp_fault_alloc".to_owned(), 3)]);
        let ops = BTreeMap::from([("spawn".to_owned(), 7), ("oom-kill".to_owned(), 0)]);
        assert_eq!(
            summary(&ops, 2, &claims, &moved),
            "finished: spawn 7\nviolations: 2\nclaim swap-out: pswpout +12, zswpout +0 (at least 10 wanted): moved\n\
             claim thp-fault: thp_fault_alloc +3 (at least 4 wanted): NOT MOVED ENOUGH"
        );
    }
}
