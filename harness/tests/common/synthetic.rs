//! Runs that nobody ran: outcomes by arithmetic, consoles that real kernels printed or could have. For tests of what
//! reads runs, and for its figures.

#![allow(dead_code, reason = "each user takes a part of it")]

use mmtorture_harness::bisect::settings::Verdict;
use mmtorture_harness::bisect::{Aim, Bisect, Evidence, Next, Prices, Tally};
use mmtorture_harness::oracle::{self, Finding};
use mmtorture_harness::plan::Cell;
use mmtorture_harness::record::{Bisection, Header, Need, Needs, Over, Run};
use mmtorture_harness::run::journal::{Entry, Journal, Of};
use mmtorture_harness::trial::console::{self, CONSOLE};
use mmtorture_harness::trial::Trial;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DIMENSIONS: &[(&str, &[&str])] = &[
    ("thp", &["always", "madvise", "never"]),
    ("shmem_huge", &["always", "within_size", "advise", "never", "force"]),
    ("swap", &["none", "zram:1G", "disk:1G"]),
    ("memcg", &["none", "64M", "256M"]),
    ("cpus", &["2", "4", "8"]),
    ("memory", &["320M", "1G"]),
    ("ksm", &["off", "on"]),
];
const VARIANTS: &[&str] = &["base", "series-a/all", "series-b/all"];
const WORKLOADS: &[&str] = &["anon-churn", "shmem-churn", "swap-storm", "compact", "exit-storm"];

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    pub cells: usize,
    pub failures: usize,
    /// Days since the first of all runs.
    pub day: u32,
    /// Signatures from this one on do not occur.
    pub first_console: usize,
}

/// A console, and the finding that decides its trial.
#[derive(Debug, Clone)]
pub struct Console {
    pub text: Vec<u8>,
    pub findings: Vec<Finding>,
}

/// Consoles of a folder of crash logs where the oracle finds a failure; made by hand where there is no such folder.
pub fn consoles(corpus: Option<&Path>) -> Vec<Console> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    if let Some(entries) = corpus.and_then(|c| std::fs::read_dir(c).ok()) {
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_file()).collect();
        paths.sort();
        texts.extend(paths.iter().filter_map(|path| std::fs::read(path).ok()));
    }
    if texts.is_empty() {
        let functions =
            ["migrate_pages_batch", "zap_pte_range", "shrink_page_list", "do_swap_page", "split_huge_page_to_list"];
        texts.extend(functions.map(|function| oops(function).into_bytes()));
    }
    let boot: String =
        (0..400).map(|n| format!("[    0.{n:06}][    T0] Memory: line {n} of what a kernel says at boot\n")).collect();
    texts
        .into_iter()
        .filter_map(|text| {
            let text = [boot.as_bytes(), &text, b"\n"].concat();
            let findings = oracle::scan(&text);
            findings.iter().any(Finding::is_failure).then_some(Console { text, findings })
        })
        .collect()
}

/// A `BUG()` in that function.
pub fn oops(function: &str) -> String {
    let at = |n: u32| format!("[    3.{n:06}][   T45] ");
    [
        "------------[ cut here ]------------".to_owned(),
        "kernel BUG at mm/migrate.c:1160!".to_owned(),
        "invalid opcode: 0000 [#1] SMP".to_owned(),
        "CPU: 0 PID: 45 Comm: torture Not tainted 6.1.192 #1".to_owned(),
        format!("RIP: 0010:{function}+0x267/0x93a"),
        "Call Trace:".to_owned(),
        " <TASK>".to_owned(),
        " compact_zone+0x670/0x85b".to_owned(),
        " ksys_write+0x5f/0x90".to_owned(),
        " </TASK>".to_owned(),
        "---[ end trace 0000000000000000 ]---".to_owned(),
    ]
    .iter()
    .zip(0..)
    .map(|(line, n)| format!("{}{line}\n", at(n)))
    .collect()
}

/// A trial, and which console is its own, if one is.
pub type Tried = (Trial, Option<usize>);

/// A run in memory: its header, cells, trials, and each trial's console if it has one.
pub fn run(spec: &Spec, consoles: &[Console]) -> (Header, Vec<Cell>, Vec<Tried>) {
    let started = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * (20_000 + i64::from(spec.day)));
    let id = format!("{}-synthetic", started.strftime("%Y%m%dT%H%M%SZ"));
    let header = json!({
        "layout": 2, "id": id, "matrix": "synthetic", "version": "0.1.0",
        "command": ["mmtorture", "run", "matrices/synthetic.yaml", "--jobs", "2"],
        "machine": "QEMU with TCG: as asked", "state": "done", "started": started, "planned": spec.cells, "exit": 1,
        "ended": started + jiff::SignedDuration::from_mins(73),
    });
    let cells: Vec<Cell> = (0..spec.cells).map(|n| serde_json::from_value(cell(n)).unwrap()).collect();
    // Where a patch breaks something, it does so under some settings: half of all cells bear all failures.
    let breaks = |cell: &Cell| cell.variant != "base" && cell.settings["thp"] != "never";
    let breakable: Vec<usize> = (0..cells.len()).filter(|&n| breaks(&cells[n])).collect();
    let mut broken: BTreeMap<usize, usize> = BTreeMap::new();
    for k in 0..spec.failures.min(breakable.len()) {
        let kind = spec.first_console + mixed(k as u64) as usize % (consoles.len() - spec.first_console);
        broken.insert(breakable[k * breakable.len() / spec.failures], kind);
    }
    let trials = cells
        .iter()
        .enumerate()
        .map(|(n, cell)| {
            let kind = broken.get(&n).copied();
            let value = trial(n, cell, kind.map(|k| &consoles[k]));
            (serde_json::from_value(value).unwrap(), kind)
        })
        .collect();
    (serde_json::from_value(header).unwrap(), cells, trials)
}

fn cell(n: usize) -> Value {
    let mut rest = n;
    let mut next = |of: usize| {
        let at = rest % of;
        rest /= of;
        at
    };
    let (variant, workload) = (VARIANTS[next(VARIANTS.len())], WORKLOADS[next(WORKLOADS.len())]);
    let settings: BTreeMap<_, _> =
        DIMENSIONS.iter().map(|(name, values)| (*name, values[next(values.len())])).collect();
    let id = format!("{}.{workload}.{:08x}", variant.replace('/', "-"), mixed(n as u64) as u32);
    json!({"id": id, "variant": variant, "settings": settings, "workload": workload, "seconds": 30})
}

fn trial(n: usize, cell: &Cell, console: Option<&Console>) -> Value {
    let random = mixed(n as u64);
    let torture = 1200 + random % 800;
    let finding = console.and_then(|c| c.findings.iter().find(|f| f.is_failure()));
    let silent = finding.is_none() && random.is_multiple_of(41);
    let (outcome, why) = match finding {
        Some(finding) => ("fail", finding.title.as_str()),
        None if silent => ("not-exercised", "swap-out: pswpout 0, expected 256"),
        None => ("pass", "thp-fault 562, migration 242932, swap-out 44579"),
    };
    let done = finding.is_none().then(|| {
        json!({
            "elapsed_ms": 30_000,
            "vmstat": {
                "thp_fault_alloc": 400 + random % 300, "pgmigrate_success": 200_000 + random % 50_000,
                "pswpout": if silent { 0 } else { 40_000 + random % 9000 }, "thp_split_page": random % 90,
            },
            "ops": {"forks": 467, "moves": 54},
        })
    });
    json!({
        "cell": cell.id, "variant": cell.variant, "seed": 1, "seconds": 30, "kernel": format!("{:064x}", mixed(cell.variant.len() as u64)),
        "machine": "QEMU with TCG", "outcome": outcome, "why": why, "ending": {"kind": "power-off"},
        "hello": {"release": "6.1.192", "build": "#mmt-synthetic SMP", "cpus": 2, "mem_kib": 311_080},
        "phase": "torture", "knobs": [{"dimension": "thp", "asked": cell.settings["thp"], "got": cell.settings["thp"]}],
        "claims": [{"shows": "swap-out", "any_of": ["pswpout", "zswpout"], "at_least": 256}],
        "done": done, "error": null, "findings": console.map_or(&[][..], |c| &c.findings), "panicked": false,
        "times": {
            "hello_ms": 1100, "torture_ms": torture, "end_ms": torture + 32_000,
            "finding_ms": finding.map(|_| torture + 500 + random % 25_000), "report_end_ms": null,
        },
        "stop": null,
    })
}

const MATRIX: &str =
    "mmtorture: 1\nkernel: {source: 'debian:linux-source-6.1'}\nworkloads: [anon-churn]\nseconds: 30\n";

/// Writes it as a run's folder.
pub fn write(results: &Path, spec: &Spec, consoles: &[Console]) -> Run {
    write_shard(results, spec, consoles, 0, 1)
}

/// Writes the run of every `of`th of the cells from that one on.
pub fn write_shard(results: &Path, spec: &Spec, consoles: &[Console], first: usize, of: usize) -> Run {
    let (mut header, cells, mut trials) = run(spec, consoles);
    if of > 1 {
        // Each on a machine of its own, which begins a little later.
        header.started += jiff::SignedDuration::from_millis(first as i64);
        header.id = format!("{}-{first}", header.id);
        header.planned = cells.len().saturating_sub(first).div_ceil(of);
        trials = trials.into_iter().skip(first).step_by(of).collect();
    }
    let run = Run { dir: results.join(&header.id) };
    std::fs::create_dir_all(&run.dir).unwrap();
    std::fs::write(run.dir.join("matrix.yaml"), MATRIX).unwrap();
    std::fs::write(run.dir.join("plan.json"), serde_json::to_vec(&cells).unwrap()).unwrap();
    for (trial, kind) in &trials {
        let dir = run.trial_dir(&trial.cell, trial.seed);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("trial.json"), serde_json::to_vec_pretty(trial).unwrap()).unwrap();
        if let Some(kind) = kind {
            std::fs::write(dir.join(CONSOLE), &consoles[*kind].text).unwrap();
            console::pack(&dir).unwrap();
        }
    }
    run.write_header(&header).unwrap();
    run
}

/// A bisection of that trial's failure over a series of eight patches whose sixth is to blame, with its log; and the search
/// for the settings that it needs, of which there are two.
pub fn bisect(run: &Run, trial: &Trial) -> Bisection {
    const PATCHES: usize = 8;
    const CULPRIT: usize = 6;
    let aim = Aim { confidence: 0.95, budget: 1e6, longest: 30.0, shortest: 10.0 };
    let finding = trial.finding().unwrap();
    let (journal, _) = Journal::open(&run.bisect_log(&trial.cell, &finding.signature).unwrap()).unwrap();
    let began = Entry::Began { cell: trial.cell.clone(), signature: finding.signature.clone(), aim };
    journal.add(&began).unwrap();
    let mut bisect = Bisect::new(PATCHES, aim);
    let mut seed = 0;
    let mut learn = |bisect: &mut Bisect, version: usize, seconds: f64, cost: f64| {
        seed += 1;
        let chance = (mixed(seed) % 1000) as f64 / 1000.0;
        let evidence = match () {
            () if seed == 1 || (version >= CULPRIT && chance < 0.5) => Evidence::Hit(chance * 6.0),
            () if chance > 0.95 => Evidence::Other,
            () => Evidence::Clean(seconds),
        };
        let of = Of::Prefix(version);
        let entry = Entry::Trial { of, seed, cell: trial.cell.clone(), evidence, cost, beside: cost.min(4.0) };
        journal.add(&entry).unwrap();
        bisect.record(version, evidence, cost);
    };
    learn(&mut bisect, PATCHES, 30.0, 0.0);
    let prices = Prices { build: &[0.0; PATCHES + 1], boot: 4.0 };
    let conclusion = loop {
        match bisect.next(1, &prices) {
            Next::Over(conclusion) => break conclusion,
            Next::Trials { versions, seconds } => learn(&mut bisect, versions[0], seconds, seconds + 4.0),
        }
    };
    let posterior = bisect.posterior();
    let patches: Vec<String> = (1..=PATCHES).map(|n| format!("{n:04}-mm-the-change-number-{n}")).collect();
    let bisection = Bisection {
        cell: trial.cell.clone(),
        title: finding.title.clone(),
        signature: finding.signature.clone(),
        series: "series-a".into(),
        culprit: Some(patches[CULPRIT - 1].clone()),
        subject: Some("mm: the change number six".into()),
        patches,
        tallies: bisect.tallies(),
        posterior: posterior.patches.iter().chain([&posterior.none]).map(|s| s.mass).collect(),
        seconds: bisect.spent(),
        conclusion,
        verification: None,
    };
    run.write_bisection(&bisection).unwrap();
    let need = |dimension: &str, setting: &str, instead: &str, verdict: Verdict, hits: u32| Need {
        dimension: dimension.into(),
        setting: setting.into(),
        instead: instead.into(),
        verdict,
        tally: Tally { hits, hit_seconds: f64::from(hits) * 2.5, clean: 3 - hits, clean_seconds: 90.0, other: 0 },
    };
    let needs = Needs {
        cell: trial.cell.clone(),
        title: finding.title.clone(),
        signature: finding.signature.clone(),
        settings: vec![
            need("thp", "always", "never", Verdict::Needed { confidence: 0.9731 }, 0),
            need("swap", "zram:1G", "none", Verdict::Irrelevant { confidence: 0.961 }, 2),
            need("memcg", "64M", "none", Verdict::Open, 1),
        ],
        smallest: [("thp", "always"), ("swap", "none"), ("memcg", "64M")].map(|(d, s)| (d.into(), s.into())).into(),
        seconds: 312.0,
    };
    run.write_search(Over::Settings, &needs.cell, &needs.signature, &needs).unwrap();
    bisection
}

/// A number that looks like chance: splitmix64.
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
