//! A failure run again on the demo's kernel, and its bundle run with QEMU alone. Needs what `make setup` installs.
//!
//! The failure is a race. A trial of the demo's series misses it in less than one of ten (docs/figures.md), on a busy
//! host in less than one of two; what must fail once is given five tries, so at worst one run of this in 32 is wrong.

mod common;

use common::{alone, repository, Bench};
use std::path::Path;
use std::process::Command;

/// Unpacks a bundle without any program of ours; its one folder.
fn unpack(bundle: &Path, into: &Path) -> std::path::PathBuf {
    let file = std::fs::File::open(bundle).unwrap();
    let plain = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    tar::Archive::new(plain).unpack(into).unwrap();
    let folders: Vec<_> = std::fs::read_dir(into).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.into_iter().next().unwrap()
}

#[test]
fn a_failure_comes_again_here_and_from_its_bundle() {
    let _alone = alone();
    let bench = Bench::new();
    let demo = repository().join("matrices/demo.yaml").display().to_string();
    let mut seen = serde_json::Value::Null;
    for _ in 0..5 {
        let args = ["run", &demo, "--cell", "delay-rmap-all", "--no-bisect", "--machine", "qemu"];
        bench.run(&args);
        seen = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
        if seen["trials"][0]["outcome"] == "fail" {
            break;
        }
    }
    let (trial, id) = (&seen["trials"][0], seen["run"]["id"].as_str().unwrap());
    assert_eq!(trial["outcome"], "fail", "{trial}");
    let finding = trial["findings"].as_array().unwrap().iter().find(|f| f["primary"] == true).unwrap();

    let bundle = bench.path("b.tar.zst");
    let (what, file) = (format!("{id}/delay-rmap-all"), bundle.display().to_string());
    let args = ["reproduce", &what, "--trials", "2", "--bundle", &file, "--machine", "qemu", "--format", "json"];
    let said = bench.run(&args);
    assert!(matches!(said.status, Some(0 | 1)), "{}", said.stderr);
    let again = said.json();
    assert_eq!(again["of"]["signature"], finding["signature"], "{again}");
    assert_eq!(again["differs"], serde_json::json!([]), "the same host, the same programs: {again}");
    let trials = again["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[0]["seed"]), (2, &trial["seed"]), "{again}");
    // A run like any other, which says what it was for.
    let shown = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    assert_eq!(shown["reproduction"], again);
    assert_eq!(shown["trials"].as_array().unwrap().len(), 2);

    let folder = unpack(&bundle, &bench.path("empty"));
    // The machine is the trial's own, but for paths and for the channel by which we talk to it.
    let script = std::fs::read_to_string(folder.join("run.sh")).unwrap();
    let cell = bench.path("results").join(id).join("cells").join(trial["cell"].as_str().unwrap());
    let machine = std::fs::read_to_string(cell.join(format!("seed-{}/machine.json", trial["seed"]))).unwrap();
    let argv: Vec<String> = serde_json::from_str(&machine).unwrap();
    for word in argv.iter().filter(|word| !word.contains('/') && !word.contains(' ') && *word != "-qmp") {
        assert!(script.contains(word.as_str()), "no {word} in {script}");
    }
    let has = |name: &str| folder.join(name).is_file();
    assert!(has("bzImage") && has("vmlinux") && has(".config") && has("failure/console.log") && has("README.md"));
    assert_eq!(std::fs::read_dir(folder.join("patches")).unwrap().count(), 5);

    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let run = || {
        let output = Command::new("./run.sh").current_dir(&folder).env_clear().env("PATH", path).output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status.code()
    };
    let statuses: Vec<_> = (0..5).map(|_| run()).take_while(|&status| status == Some(0)).collect();
    assert!(statuses.len() < 5, "it never came again: {statuses:?}");
    let console = folder.join("out/console.log").display().to_string();
    let scanned = bench.run(&["scan", &console, "--format", "json"]).expect(1, &[]);
    let first: serde_json::Value = serde_json::from_str(scanned.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["signature"], finding["signature"], "the same failure");
}
