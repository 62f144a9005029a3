use super::*;

pub(crate) fn plan(matrix: &str) -> Result<Plan> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["kconfig", "s"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    std::fs::write(at("kconfig/base.config"), "CONFIG_64BIT=y\n").unwrap();
    let mut names = String::new();
    for k in 1..=3 {
        let patch = format!("Subject: change {k}\n\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-{}\n+{k}\n", k - 1);
        std::fs::write(at(&format!("s/{k}.patch")), patch).unwrap();
        names.push_str(&format!("{k}.patch\n"));
    }
    std::fs::write(at("s/series"), names).unwrap();
    std::fs::write(at("m.yaml"), matrix).unwrap();
    Plan::read(&at("m.yaml"), &["anon-churn", "thp-split", "swap-storm"].map(str::to_owned))
}

const HEAD: &str = "mmtorture: 1\nkernel: {source: 'debian:linux-source-6.1', kconfig: [base]}\n";

fn names(plan: &Plan) -> Vec<&str> {
    plan.variants.iter().map(|v| v.name.as_str()).collect()
}

#[test]
fn the_same_kernel_is_one_variant() {
    let tail = "workloads: [anon-churn]\nseconds: 5\nvariants: ['prefix:3', all, 'prefix:0', base, 'without:2']\n";
    let plan = plan(&format!("{HEAD}series: [s]\n{tail}")).unwrap();
    assert_eq!(names(&plan), ["base", "s/all", "s/without:2"]);
    assert_eq!(plan.variants[2].patches, [0, 2]);
}

#[test]
fn cells_are_the_product_and_their_ids_do_not_depend_on_position() {
    let tail = "workloads: [anon-churn]\nseconds: 5\n";
    let a = plan(&format!("{HEAD}series: [s]\ndimensions: {{thp: [always, never], cpus: [1, 2]}}\n{tail}")).unwrap();
    let b = plan(&format!("{HEAD}series: [s]\ndimensions: {{cpus: [2, 1], thp: [never, always]}}\n{tail}")).unwrap();
    assert_eq!(a.cells.len(), 8);
    let ids = |p: &Plan| p.cells.iter().map(|c| c.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&a), ids(&b));
    assert_eq!(ids(&a).len(), 8);
}

#[test]
fn a_mix_is_as_good_as_what_it_is_made_of() {
    let a = plan(&format!("{HEAD}workloads: ['mix:anon-churn=2', 'mix:anon-churn=3']\nseconds: 5\n")).unwrap();
    let ids: Vec<_> = a.cells.iter().map(|cell| cell.id.as_str()).collect();
    assert!(ids[0].starts_with("base.mix.") && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn what_a_matrix_names_must_exist() {
    let with = |text: &str| plan(&format!("{HEAD}{text}")).unwrap_err();
    for (text, word) in [
        ("workloads: [anon-chrun]\nseconds: 5\n", "anon-churn"),
        ("workloads: []\nseconds: 5\n", "nothing to run"),
        ("workloads: ['mix:anon-chrun=2']\nseconds: 5\n", "there is no 'mix:anon-chrun=2'"),
        ("workloads: ['mix:anon-churn=0']\nseconds: 5\n", "there is no 'mix:anon-churn=0'"),
        ("workloads: [anon-churn]\nseconds: 5\nseries: [absent]\n", "absent"),
        ("workloads: [anon-churn]\nseconds: 5\nseries: [s]\nvariants: ['prefix:4']\n", "4"),
        ("workloads: [anon-churn]\nseconds: 5\nseries: [s, s]\n", "two series"),
        (
            "workloads: [anon-churn]\nseconds: 5\nverdicts: [{variant: s/all, outcome: fail}]\n",
            "there is no variant 's/all'",
        ),
        ("workloads: [anon-churn]\nseconds: 5\nverdicts: [{variant: base}]\n", "base: expected an outcome, a culprit"),
    ] {
        let error = with(text);
        assert_eq!(error.exit_status(), 2);
        assert!(error.to_string().contains(word), "{error}");
    }
    let missing = plan(&format!("{}workloads: [anon-churn]\nseconds: 5\n", HEAD.replace("[base]", "[nope]")));
    assert!(missing.unwrap_err().to_string().contains("nope.config"));
}

const REST: &str = "workloads: [anon-churn]\nseconds: 5\n";

fn ids(cells: &[Cell]) -> Vec<&str> {
    cells.iter().map(|c| c.id.as_str()).collect()
}

/// `thp=always cpus=1` of each cell.
fn settings(plan: &Plan) -> Vec<String> {
    let text = |cell: &Cell| {
        let settings: Vec<_> = cell.settings.iter().map(|(d, s)| format!("{d}={s}")).collect();
        format!("{} {}", cell.variant, settings.join(" "))
    };
    plan.cells.iter().map(text).collect()
}

#[test]
fn what_the_kernel_does_not_have_is_left_out() {
    let cells = |dimensions: &str| {
        let plan = plan(&format!("{HEAD}dimensions: {{{dimensions}}}\n{REST}")).unwrap();
        (plan.cells.len(), plan.choice.illegal)
    };
    assert_eq!(cells("move-charge: [off, on], memcg: [none, 'v1:200M', 'v2:200M']"), (4, Some(2)));
    assert_eq!(cells("move-charge: [off, on]"), (1, Some(1)), "no memcg is the default");
    let huge = "tmpfs-huge: [never, always, advise]";
    assert_eq!(cells(&format!("{huge}, backing: [tmpfs, 'ext4-loop:128M', 'ext4-disk:128M']")), (7, Some(2)));
    assert_eq!(cells(huge), (3, Some(0)));
}

/// More combinations than could ever be listed.
#[test]
fn a_huge_product_is_covered_by_few_cells() {
    let swappiness: Vec<_> = (0..=120).map(|n| n.to_string()).collect();
    let matrix = format!(
        "{HEAD}series: [s]
variants: [base, all, 'prefix:1', 'without:1']
workloads: [anon-churn, thp-split, swap-storm]
seconds: 5
coverage: pairwise
dimensions:
  thp: [always, madvise, never]
  thp-defrag: [always, defer, defer+madvise, madvise, never]
  shmem-huge: [always, within_size, advise, never, deny, force]
  swappiness: [{}]
  cpus: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  memory: [256M, 320M, 384M, 448M, 512M, 640M, 768M, 1G, 2G, 3G, 4G]
  numa: [1, 2, 3, 4, 5, 6, 7, 8]
  swap: [none, 'zram:1G', 'zram:2G', 'zram:3G', 'zram:4G', 'disk:1G', 'disk:2G', 'disk:3G', 'disk:4G', 'disk:5G']
forbid:
  - {{swap: none, swappiness: [100, 120]}}
require:
  - {{if: {{memory: 256M}}, then: {{swap: ['zram:1G', 'disk:1G'], cpus: [1, 2]}}}}
",
        swappiness.join(", ")
    );
    let plan = plan(&matrix).unwrap();
    assert!(plan.choice.combinations > 1_000_000_000, "{}", plan.choice.combinations);
    // Each of 121 values meets each of 11.
    let least = 121 * 11;
    assert!((least..least + 20).contains(&plan.cells.len()), "{} cells", plan.cells.len());
    for cell in &plan.cells {
        assert!(cell.shape.nodes <= cell.shape.cpus, "{}", cell.id);
        if cell.settings["memory"] == "256M" {
            assert!(cell.shape.cpus <= 2 && cell.settings["swap"].ends_with(":1G"), "{}", cell.id);
        }
    }
}

#[test]
fn fixed_cells_come_first_and_take_first_settings() {
    let matrix = format!(
        "{HEAD}series: [s]\ndimensions: {{thp: [always, never], cpus: [1, 2]}}\n{REST}\
         cells: [{{thp: never, variant: s/all}}, {{cpus: [2, 1]}}]\n"
    );
    let plan = plan(&matrix).unwrap();
    assert_eq!(plan.choice.fixed, 3);
    insta::assert_snapshot!(settings(&plan).join("\n"), @r#"
    s/all cpus=1 thp=never
    base cpus=1 thp=always
    base cpus=2 thp=always
    s/all cpus=1 thp=always
    s/all cpus=2 thp=always
    s/all cpus=2 thp=never
    base cpus=1 thp=never
    base cpus=2 thp=never
    "#);
}

#[test]
fn illegal_cells_are_left_out_and_counted() {
    let matrix = format!(
        "{HEAD}dimensions: {{thp: [always, never], cpus: [1, 2], numa: [1, 2]}}\n{REST}\
         forbid: [{{thp: never, numa: 2}}]\nrequire: [{{if: {{thp: always}}, then: {{cpus: 2}}}}]\n"
    );
    let plan = plan(&matrix).unwrap();
    assert_eq!((plan.cells.len(), plan.choice.illegal), (4, Some(4)));
    insta::assert_snapshot!(settings(&plan).join("\n"), @r#"
    base cpus=2 numa=1 thp=always
    base cpus=2 numa=2 thp=always
    base cpus=1 numa=1 thp=never
    base cpus=2 numa=1 thp=never
    "#);
    let rules: Vec<_> =
        plan.choice.rules.iter().map(|r| format!("{:?} {}: {}", r.combinations, r.rule, r.why)).collect();
    insta::assert_snapshot!(rules.join("\n"), @r#"
    Some(2) numa=N cpus<numa: each NUMA node has CPUs: both machines deal them out evenly (arch/x86/mm/srat.c, acpi_numa_processor_affinity_init)
    Some(2) thp=never numa=2: the matrix's forbid[0]
    Some(2) thp=always requires cpus=2: the matrix's require[0]
    "#);
}

#[test]
fn a_dimension_that_is_not_named_has_its_default_in_rules() {
    let two_cpus = plan(&format!("{HEAD}dimensions: {{numa: [1, 2, 4]}}\n{REST}")).unwrap();
    assert_eq!((two_cpus.cells.len(), two_cpus.choice.illegal), (2, Some(1)));
    let error = plan(&format!("{HEAD}dimensions: {{numa: 4}}\n{REST}")).unwrap_err().to_string();
    assert!(error.contains("m.yaml:3:13: dimensions: no cell is legal: all 1 combinations"), "{error}");
    assert!(error.contains("'numa=N cpus<numa', each NUMA node has CPUs"), "{error}");
}

#[test]
fn what_rules_name_must_exist() {
    let with = |text: &str| {
        let dimensions = "dimensions: {thp: [always, never], cpus: [1, 2]}";
        let error = plan(&format!("{HEAD}{dimensions}\n{text}\n{REST}")).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        let text = error.to_string();
        text[text.find("m.yaml").unwrap()..].to_owned()
    };
    let all = [
        "forbid: [{thq: never}]",
        "forbid: [{thp: [never, sometimes]}]",
        "forbid:\n  - {}",
        "forbid:\n  - {workload: anon-chrun}",
        "forbid:\n  - {variant: s/all}",
        "require: [{if: {thp: never}, then: {swap: none}}]",
        "cells: [{thp: madvise}]",
        "cells:\n  - {thp: always}\n  - {thp: never, cpus: 1}\nforbid: [{thp: never, cpus: 1}]",
        "forbid: [{thp: [always, never]}]",
        "coverage: {t: 2}\nforbid: [{cpus: [1, 2]}]",
    ]
    .map(with)
    .join("\n");
    insta::assert_snapshot!(all, @r#"
    m.yaml:4:10: forbid[0]: this matrix has no dimension 'thq', expected one of variant, thp, cpus, workload; did you mean 'thp'?
    m.yaml:4:24: forbid[0].thp[1]: no 'sometimes' in this matrix, expected one of always, never
    m.yaml:5:5: forbid[0]: names no setting, so it is about every cell
    m.yaml:5:16: forbid[0].workload: no 'anon-chrun' in this matrix, expected one of anon-churn; did you mean 'anon-churn'?
    m.yaml:5:15: forbid[0].variant: no 's/all' in this matrix, expected one of base
    m.yaml:4:36: require[0].then: this matrix has no dimension 'swap', expected one of variant, thp, cpus, workload
    m.yaml:4:15: cells[0].thp: no 'madvise' in this matrix, expected one of always, never
    m.yaml:6:5: cells[1]: is illegal by 'thp=never cpus=1', the matrix's forbid[0]
    m.yaml:3:13: dimensions: no cell is legal: all 4 combinations are left out by 'thp=always|never', the matrix's forbid[0]
    m.yaml:3:13: dimensions: no cell is legal: all 4 combinations are left out by 'cpus=1|2', the matrix's forbid[0]
    "#);
    // What a rule names may exist without being in this matrix.
    let dimensions = "dimensions: {thp: [always, never]}";
    let legal = plan(&format!("{HEAD}{dimensions}\n{REST}forbid: [{{thp: madvise}}, {{workload: thp-split}}]\n"));
    assert_eq!(legal.unwrap().cells.len(), 2);
}

#[test]
fn a_product_too_large_is_refused_unless_it_is_covered_otherwise() {
    let numbers = (0..=120).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let lines = format!("dimensions: {{swappiness: [{numbers}], cpus: [1, 2, 3, 4], numa: 1, memory: [1G, 2G, 3G, 4G, 5G, 6G, 7G, 8G, 9G, 10G, 11G, 12G, 13G, 14G, 15G, 16G, 17G, 18G, 19G, 20G, 21G, 22G, 23G, 24G, 25G, 26G, 27G, 28G, 29G, 30G, 31G, 32G, 33G, 34G, 35G, 36G, 37G, 38G, 39G, 40G, 41G, 42G]}}");
    let error = plan(&format!("{HEAD}{lines}\n{REST}")).unwrap_err().to_string();
    assert!(error.contains("full coverage of 20328 combinations, expected at most 20000 cells"), "{error}");
    let covered = plan(&format!("{HEAD}{lines}\n{REST}coverage: {{t: 1}}\n")).unwrap();
    assert_eq!(covered.cells.len(), 121);
}

#[test]
fn the_seed_and_nothing_else_changes_the_choice() {
    let matrix = |seed: u32| {
        format!(
            "{HEAD}series: [s]\nseed: {seed}\ncoverage: pairwise\n{REST}dimensions: {{thp: [always, madvise, never], \
             cpus: [1, 2, 3], swap: [none, 'zram:1G', 'disk:1G'], swappiness: [0, 60, 100]}}\n"
        )
    };
    let (a, b, c) = (plan(&matrix(1)).unwrap(), plan(&matrix(1)).unwrap(), plan(&matrix(2)).unwrap());
    assert_eq!(ids(&a.cells), ids(&b.cells));
    assert_ne!(ids(&a.cells), ids(&c.cells));
    assert_eq!(a.cells.len(), 10, "the orthogonal array of nine has no room for the two variants");
}

mod shards {
    use super::super::estimate::Times;
    use super::super::shard::divide;
    use super::*;
    use proptest::prelude::*;

    /// A cell's `seconds` are its time, and builds take what they are given.
    struct Given {
        first: f64,
        next: f64,
    }

    impl Times for Given {
        fn trial(&self, cell: &Cell) -> f64 {
            f64::from(cell.seconds)
        }

        fn build(&self, _: &Variant, first: bool) -> f64 {
            if first {
                self.first
            } else {
                self.next
            }
        }
    }

    fn cells(plan: &Plan, seconds: &[(usize, u32)]) -> Vec<Cell> {
        seconds.iter().map(|&(v, s)| plan.cells[0].on(&plan.variants[v % plan.variants.len()], Some(s))).collect()
    }

    fn three_kernels() -> Plan {
        plan(&format!("{HEAD}series: [s]\nvariants: [base, all, 'prefix:1']\n{REST}")).unwrap()
    }

    #[test]
    fn cells_of_one_kernel_stay_together_where_balance_allows() {
        let plan = three_kernels();
        let cells = cells(&plan, &[(0, 10), (1, 10), (2, 10), (0, 10), (1, 10), (2, 10)]);
        let times = Given { first: 100.0, next: 20.0 };
        assert_eq!(divide(&cells, &plan.variants, 1, &times, 3), [[0, 3], [1, 4], [2, 5]]);
        assert_eq!(divide(&cells, &plan.variants, 1, &times, 1), [[0, 1, 2, 3, 4, 5]]);
    }

    proptest! {
        #[test]
        fn every_cell_is_in_one_shard_and_loads_are_balanced(
            seconds in prop::collection::vec((0..3_usize, 1..100_u32), 0..40),
            shards in 1..9_usize,
            first in 0..200_u32,
            next in 0..50_u32,
        ) {
            let plan = three_kernels();
            let cells = cells(&plan, &seconds);
            let next = f64::from(next);
            let first = f64::from(first) + next;
            let times = Given { first, next };
            let divided = divide(&cells, &plan.variants, 1, &times, shards);
            prop_assert_eq!(divided.len(), shards);
            let mut all: Vec<_> = divided.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..cells.len()));
            prop_assert!(divided.iter().all(|shard| shard.is_sorted()));
            let loads: Vec<f64> = divided
                .iter()
                .map(|s| {
                    let e = Estimate::of(s.iter().map(|&i| &cells[i]), &plan.variants, 1, &times);
                    e.build_seconds + e.trial_seconds
                })
                .collect();
            let most = loads.iter().copied().fold(0.0, f64::max);
            let least = loads.iter().copied().fold(f64::MAX, f64::min);
            let longest = cells.iter().map(|c| times.trial(c)).fold(0.0, f64::max);
            // A cell goes where it ends soonest, or to its kernel below 1.05 of the mean.
            let total: f64 = cells.iter().map(|c| times.trial(c)).sum::<f64>() + 3.0 * next;
            let mean = total / shards as f64 + first;
            prop_assert!(most <= f64::max(least + longest + first, mean * 1.05) + 1e-6, "{loads:?}");
        }
    }
}

#[test]
fn settings_that_are_built_in_are_kernels_of_their_own() {
    let tail = "workloads: [anon-churn]\nseconds: 5\ndimensions: {debug-vm: [on, off], thp: [always, never]}\n";
    let plan = plan(&format!("{HEAD}series: [s]\n{tail}")).unwrap();
    assert_eq!(names(&plan), ["base+debug-vm=off", "base+debug-vm=on", "s/all+debug-vm=off", "s/all+debug-vm=on"]);
    assert_eq!(plan.cells.len(), 8);
    for cell in &plan.cells {
        assert!(cell.variant.ends_with(&format!("debug-vm={}", cell.settings["debug-vm"])), "{cell:?}");
        assert!(!cell.id.contains('+'), "{}", cell.id);
    }
    let off = &plan.variants[2];
    assert_eq!(off.recipe.fragments.last().unwrap().name, "debug-vm=off");
    assert_eq!((off.prefix(1).name.as_str(), off.recipe.with(&[]).fragments.len()), ("s/prefix:1+debug-vm=off", 1));
    assert_eq!(off.prefix(0).name, "base+debug-vm=off");
}

#[test]
fn a_matrix_may_extend_another_and_errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("kconfig")).unwrap();
    std::fs::write(dir.path().join("kconfig/base.config"), "CONFIG_64BIT=y\n").unwrap();
    let read = |over: &str, base: &str| {
        std::fs::write(dir.path().join("over.yaml"), over).unwrap();
        std::fs::write(dir.path().join("base.yaml"), base).unwrap();
        Plan::read(&dir.path().join("over.yaml"), &["anon-churn".to_owned()]).map_err(|e| {
            let text = e.to_string();
            text[text.find(dir.path().to_str().unwrap()).unwrap() + dir.path().as_os_str().len() + 1..].to_owned()
        })
    };
    let base = format!("{HEAD}workloads: [anon-churn]\nseconds: 5\ndimensions: {{thp: [always, never], cpus: 2}}\n");
    let plan = read("extends: base.yaml\nseconds: 9\ndimensions: {thp: madvise}\n", &base).unwrap();
    assert_eq!((plan.cells.len(), plan.cells[0].seconds), (1, 9));
    assert_eq!(plan.cells[0].settings.len(), 2, "maps are merged, lists replaced");
    assert!(!plan.text.contains("extends") && plan.text.contains("madvise"), "{}", plan.text);
    let wrong = |over: &str, base: &str| read(over, base).unwrap_err();
    let all = [
        wrong("extends: base.yaml\nsecnds: 9\n", &base),
        wrong("extends: base.yaml\nseconds: 9\n", &base.replace("thp:", "tph:")),
        wrong("extends: base.yaml\nforbid:\n  - {thp: nevr}\n", &base),
        wrong("seconds: 9\nextends: base.yaml\n", "extends: over.yaml\n"),
        wrong("extends: ../base.yaml\n", &base),
        wrong("extends: bose.yaml\n", &base),
        wrong("extends: base.yaml\n", &base.replace("seconds: 5\n", "")),
    ]
    .join("\n");
    let all = all.replace(&format!("{}/", dir.path().display()), "");
    insta::assert_snapshot!(all, @r"
    over.yaml:2:1: unknown key 'secnds', expected one of mmtorture, extends, about, kernel, series, variants, define, dimensions, workloads, coverage, cells, forbid, require, seconds, trials, seed, boot-seconds, expect, allow, verdicts; did you mean 'seconds'?
    base.yaml:5:14: dimensions: unknown dimension 'tph', expected one of those that `mmtorture schema --dimensions` lists; did you mean 'thp'?
    over.yaml:3:11: forbid[0].thp: no 'nevr' in this matrix, expected one of always, never; did you mean 'never'?
    base.yaml:1:10: extends: over.yaml extends itself in the end
    over.yaml:1:10: extends: expected the name of a matrix in the same folder, as in nightly.yaml
    over.yaml:1:10: extends: there is no bose.yaml
    over.yaml:1:1: the key 'seconds' is missing
    ");
}
