//! All that a report tells, as JSON of its own version.

use super::account::Account;
use super::counters;
use serde_json::{json, Value};

/// The version of this format. A new key does not raise it; another meaning of an old one does.
const VERSION: u32 = 1;

/// The object, indented.
pub fn render(account: &Account) -> String {
    let bugs: Vec<Value> = account
        .bugs
        .iter()
        .map(|bug| {
            let trial = &account.trials[bug.trial];
            let rates: Vec<Value> = account
                .rates(bug)
                .into_iter()
                .map(|(variant, (failed, trials))| json!({"variant": variant, "failed": failed, "trials": trials}))
                .collect();
            let console = bug.console.as_ref().map(|c| {
                json!({"first_line": c.first_line, "before": c.before, "report": c.report, "left_out": c.left_out, "after": c.after})
            });
            let mut finding = json!(bug.finding);
            if let Some(decoded) = &bug.decoded {
                // What it adds is plain text and numbers: that cannot fail.
                let _ = decoded.put_into(&mut finding);
            }
            json!({
                "finding": finding,
                "also_seen_as": bug.also,
                "best": {"cell": trial.cell, "seed": trial.seed},
                "trials": bug.trials.iter().map(|&t| json!({"cell": account.trials[t].cell, "seed": account.trials[t].seed})).collect::<Vec<_>>(),
                "rates": rates,
                "seconds_to_fail": account.times_to_fail(bug),
                "console": console,
                "reproduce": account.command(trial),
            })
        })
        .collect();
    let trials: Vec<Value> = account
        .trials
        .iter()
        .map(|t| {
            json!({
                "cell": t.cell, "variant": t.variant, "seed": t.seed, "outcome": t.outcome, "why": t.why,
                "torture_seconds": t.exposure(), "kernel": t.kernel, "finding": t.finding().map(|f| &f.signature),
            })
        })
        .collect();
    let not_exercised: Vec<Value> = account
        .silent()
        .into_iter()
        .map(|(outcome, why, n, first)| json!({"outcome": outcome, "why": why, "trials": n, "first": {"cell": first.cell, "seed": first.seed}}))
        .collect();
    let moved: serde_json::Map<String, Value> = counters::counters(account)
        .into_iter()
        .map(|(name, workload)| {
            let counters: serde_json::Map<String, Value> = workload
                .counters
                .into_iter()
                .map(|(name, c)| {
                    let claim = c.claim.map(|(shows, at_least)| json!({"shows": shows, "at_least": at_least}));
                    (
                        name,
                        json!({"least": c.least, "median": c.median, "most": c.most, "still": c.still, "claim": claim}),
                    )
                })
                .collect();
            (name, json!({"trials": workload.trials, "counters": counters}))
        })
        .collect();
    let counts: serde_json::Map<String, Value> =
        account.counts().into_iter().map(|(outcome, n)| (outcome.name().to_owned(), json!(n))).collect();
    let all = json!({
        "mmtorture_report": VERSION,
        "run": account.header,
        "verdict": account.verdict().word(),
        "headline": account.headline(),
        "outcomes": counts,
        "not_run": account.missing(),
        "bugs": bugs,
        "bisections": account.bisections.iter().map(|b| &b.result).collect::<Vec<_>>(),
        "needs": account.searches.settings,
        "commits": account.searches.git,
        "loads": account.searches.workload,
        "says_nothing": not_exercised,
        "counters": moved,
        "cells": account.cells,
        "trials": trials,
        "matrix": account.matrix,
    });
    let mut text = serde_json::to_string_pretty(&all).unwrap_or_default();
    text.push('\n');
    text
}
