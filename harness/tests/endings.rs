//! How machines end, and what is kept of guests that failed, on real kernels under QEMU. Needs what `make setup` installs.

mod common;

use common::{alone, assert_swapon_panicked, drgn, test_series, Bench, FULL_KERNEL};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;

/// QEMU everywhere, with what it runs best with here.
const QEMU: &[&str] = &["--machine", "qemu"];

/// Runs a matrix of these lines with these options, expects the exit status, and yields the trials with their folders.
fn run(bench: &Bench, lines: &str, options: &[&str], status: i32) -> Vec<(PathBuf, Value)> {
    let matrix = bench.matrix(lines).display().to_string();
    let said = bench.run(&[&["run", &matrix, "--no-bisect"], QEMU, options].concat()).expect(status, &[]);
    println!("{}\n{}", said.stderr, said.stdout);
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let cells = bench.path("results").join(run["run"]["id"].as_str().unwrap()).join("cells");
    let trials = run["trials"].as_array().unwrap().iter();
    let folder = |t: &Value| cells.join(t["cell"].as_str().unwrap()).join(format!("seed-{}", t["seed"]));
    trials.map(|trial| (folder(trial), trial.clone())).collect()
}

/// A dump, unpacked.
fn core(folder: &std::path::Path) -> Vec<u8> {
    let file = std::fs::File::open(folder.join("core.elf.zst")).unwrap();
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(file).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_failure_leaves_one_core_of_its_signature() {
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!("series: ['{}']\nvariants: [all]\ntrials: 2", test_series("panic-early"));
    let trials = run(&bench, &lines, &["--core", "--jobs", "1"], 1);
    let (folder, first) = &trials[0];
    assert_eq!((&first["core"]["kind"], &first["ending"]["kind"]), (&"kept".into(), &"stopped".into()), "{first}");
    let elf = core(folder);
    assert_eq!(elf.len() as u64, first["core"]["bytes"].as_u64().unwrap());
    // ELF64, ET_CORE, x86-64; all of its 320 MiB, and in them what the kernel printed last.
    assert_eq!((&elf[..5], &elf[16..20]), (&b"\x7fELF\x02"[..], &[4, 0, 62, 0][..]));
    assert!(elf.len() >= 320 << 20);
    assert!(contains(&elf, b"Kernel panic - not syncing: mmtorture: test of a panic before init"));
    // The other one panicked the same way.
    let (folder, second) = &trials[1];
    assert_eq!(second["outcome"], "boot-failure");
    assert!(second["core"].is_null() && !folder.join("core.elf.zst").exists(), "{second}");
    for (folder, _) in &trials {
        let mut names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(names.all(|name| !name.starts_with('.')), "nothing half-made is left");
    }
    let shown = bench.run(&["show", &format!("latest/{}", first["cell"].as_str().unwrap())]).expect(0, &[]).stdout;
    assert!(shown.contains("core.elf.zst: memory dump, 320 MiB unpacked"), "{shown}");
}

#[test]
fn a_triple_fault_is_a_finding() {
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!("series: ['{}']\nvariants: [all]", test_series("triple-fault"));
    let matrix = bench.matrix(&lines).display().to_string();
    bench.run(&[&["run", &matrix, "--no-bisect", "--accel", "tcg"], QEMU].concat()).expect(1, &[]);
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let trial = &run["trials"][0];
    assert_eq!((&trial["outcome"], &trial["why"]), (&"fail".into(), &"triple fault".into()), "{trial}");
    assert_eq!(trial["ending"]["kind"], "triple-fault", "{trial}");
    assert_eq!(trial["findings"][0]["signature"], "triple-fault|no report", "{trial}");
}

#[test]
fn a_silent_guest_says_where_it_stands() {
    let _alone = alone();
    let bench = Bench::new();
    let dimensions = "dimensions: {thp: always, cpus: 1, memory: 320M, swap: 'zram:1G'}";
    let lines = format!("series: ['{}']\nvariants: [all]\n{dimensions}", test_series("silent-hang"));
    let trials = run(&bench, &lines, &[], 1);
    let (_, trial) = &trials[0];
    assert_eq!(trial["outcome"], "hang", "{trial}");
    assert!(trial["stood_in"].as_str().unwrap_or_default().contains("swapon"), "{trial}");
    assert!(trial["why"].as_str().unwrap().contains("an NMI found a CPU in"), "{trial}");
}

/// A kernel of its own: minutes, the first time.
#[test]
fn a_guest_with_acpi_powers_off_and_tells_its_machine_of_a_panic() {
    let _alone = alone();
    let bench = Bench::new();
    // Two nodes: the guest says which it found, or the trial would be not-exercised.
    let dimensions = "dimensions: {thp: always, cpus: 2, numa: 2, memory: 320M, swap: 'zram:1G'}";
    let lines =
        format!("{FULL_KERNEL}\n{dimensions}\nseries: ['{}']\nvariants: [base, all]", test_series("panic-late"));
    let trials = run(&bench, &lines, &["--core"], 1);
    for (folder, trial) in &trials {
        if trial["variant"] == "base" {
            assert_eq!((&trial["outcome"], &trial["ending"]["kind"]), (&"pass".into(), &"power-off".into()), "{trial}");
            continue;
        }
        assert_eq!((&trial["outcome"], &trial["panicked"]), (&"fail".into(), &true.into()), "{trial}");
        assert!(trial["why"].as_str().unwrap().contains("test of a panic of swapon"), "{trial}");
        // What a debugger needs to find its way in the dump.
        assert!(contains(&core(folder)[..64 << 10], b"VMCOREINFO\0"), "no such note in {}", folder.display());
        if let Some(seen) = drgn(folder, trial) {
            assert_swapon_panicked(&seen);
        }
    }
}
