//! Every workload in guests of its own: on a good kernel it finds nothing, and the counters that it declares move. Needs what
//! `make setup` installs.
//!
//! The kernel is that of `matrices/workloads.yaml`, in the user's cache, so that it is built once.

mod common;

use common::{alone, repository, Bench};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Outcome and reason by workload, of the last run.
fn outcomes(bench: &Bench) -> BTreeMap<String, (String, String)> {
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let trials = run["trials"].as_array().unwrap().iter();
    // A cell's id is VARIANT.WORKLOAD.HASH.
    let workload = |cell: &str| cell.split('.').nth(1).unwrap_or_default().to_owned();
    trials.map(|trial| (workload(&text(&trial["cell"])), (text(&trial["outcome"]), text(&trial["why"])))).collect()
}

#[test]
fn every_workload_moves_what_it_declares_and_finds_nothing() {
    let _alone = alone();
    let bench = Bench::new();
    let matrix = repository().join("matrices/workloads.yaml");
    let said = bench.run(&["run", &matrix.display().to_string(), "--jobs", "2"]);
    println!("{}\n{}", said.stderr, said.stdout);
    let outcomes = outcomes(&bench);
    for name in listed() {
        let (outcome, why) = &outcomes[&name];
        assert_eq!(outcome, "pass", "{name}: {why}");
    }
    assert_eq!(said.status, Some(0));
}

/// What the `torture` beside `mmtorture` lists, which is the one that guests get.
fn listed() -> Vec<String> {
    let torture = Path::new(env!("CARGO_BIN_EXE_mmtorture")).with_file_name("torture");
    let list = Command::new(&torture).args(["list", "--format", "json"]).output();
    let list = list.unwrap_or_else(|error| panic!("{}: {error}; `make build` makes it", torture.display()));
    let entries: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let ours = entries.as_array().unwrap().iter().filter(|entry| entry.get("suite").is_none());
    ours.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_huge_pages_what_is_about_them_is_not_exercised() {
    let _alone = alone();
    let bench = Bench::new();
    let kernel = "kernel: {source: 'debian:linux-source-6.1', kconfig: [base, guest, mm, debug, acpi, virtio, mm-more, features]}";
    let lines = format!(
        "{kernel}\ndimensions: {{thp: never, cpus: 2, memory: 320M, swap: 'zram:1G'}}\n\
         workloads: [thp-split-collapse, shmem-punch, mremap-collapse, exit-storm]\nseconds: 4"
    );
    let said = bench.run(&["run", &bench.matrix(&lines).display().to_string(), "--jobs", "2"]);
    println!("{}\n{}", said.stderr, said.stdout);
    let outcomes = outcomes(&bench);
    for (name, claim) in
        [("thp-split-collapse", "thp-fault"), ("shmem-punch", "shmem-thp"), ("mremap-collapse", "thp-fault")]
    {
        let (outcome, why) = &outcomes[name];
        assert_eq!(outcome, "not-exercised", "{name}: {why}");
        assert!(why.starts_with("did not happen: ") && why.contains(claim), "{name}: {why}");
    }
    assert_eq!(outcomes["exit-storm"].0, "pass", "{}", outcomes["exit-storm"].1);
}
