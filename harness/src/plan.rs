//! From a matrix to cells: which kernels to build, which cells to run on them. Pure, once the files are read.

use crate::error::{Error, Result};
use crate::hash::Hasher;
use crate::matrix::dimension::Shape;
use crate::matrix::{yaml, FragmentName, Kernel, Matrix};
use crate::oracle::expect::Expectations;
use crate::series::{Selection, Series};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A matrix with all that it names read in, and its cells.
#[derive(Debug)]
pub struct Plan {
    /// The matrix's name: its file's, without `.yaml`.
    pub name: String,
    /// The matrix's text, kept with the run.
    pub text: String,
    /// The matrix.
    pub matrix: Matrix,
    /// The kernels, `base` first, then in the matrix's order.
    pub variants: Vec<Arc<Variant>>,
    /// The cells, by variant, then in the matrix's order of dimensions and workloads.
    pub cells: Vec<Cell>,
    /// Findings that are no failures.
    pub expectations: Expectations,
    recipe: Recipe,
}

/// What all variants of a plan share.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Where the kernel comes from, and what builds it.
    pub kernel: Kernel,
    /// The matrix's folder, which the paths in `kernel` start from.
    pub here: PathBuf,
    /// Kconfig fragments, in order.
    pub fragments: Vec<Fragment>,
}

/// A Kconfig fragment.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// Its name, without `.config`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A kernel to build.
#[derive(Debug, Clone)]
pub struct Variant {
    /// `base`, or `SERIES/SELECTION`.
    pub name: String,
    /// The source and configuration.
    pub recipe: Recipe,
    /// The series, unless it is `base`.
    pub series: Option<Arc<Series>>,
    /// Which of its patches, as indices in order.
    pub patches: Vec<usize>,
}

/// A point of the matrix.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Stable: depends on what the cell means and not on where it stands in the matrix, nor on the machine.
    pub id: String,
    /// [`Variant::name`].
    pub variant: String,
    /// The setting on each dimension that the matrix names.
    pub settings: BTreeMap<String, String>,
    /// The workload's name.
    pub workload: String,
    /// How long the workload runs, in seconds of guest time.
    pub seconds: u32,
    /// The settings applied. Not kept: it follows from them.
    #[serde(skip)]
    pub shape: Shape,
}

impl Plan {
    /// Reads the matrix at `path` and all that it names, but not the kernel's source.
    ///
    /// `workloads` are the names that exist.
    ///
    /// # Errors
    /// Something in the matrix, a fragment or a series is wrong.
    pub fn read(path: &Path, workloads: &[String]) -> Result<Self> {
        let matrix: Matrix = yaml::read(path).map_err(Error::request)?;
        let here = path.parent().unwrap_or(Path::new(""));
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string()).map_err(Error::Request)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();

        for (i, workload) in matrix.workloads.iter().enumerate() {
            if !workloads.contains(workload) {
                return Err(Error::request(format!(
                    "{}: workloads: there is no '{workload}', expected one of {}",
                    path.display(),
                    workloads.join(", ")
                )));
            }
            if matrix.workloads[..i].contains(workload) {
                return Err(Error::request(format!("{}: workload '{workload}' is given twice", path.display())));
            }
        }
        if matrix.workloads.is_empty() {
            return Err(Error::request(format!("{}: no workloads, so there is nothing to run", path.display())));
        }

        let wrong = |e| Error::request(format!("{}: {e}", path.display()));
        matrix.kernel.check(!matrix.series.is_empty()).map_err(wrong)?;
        let fragments = matrix.kernel.kconfig.iter().map(|f| read_fragment(here, f)).collect::<Result<_>>()?;
        let recipe = Recipe { kernel: matrix.kernel.clone(), here: here.to_owned(), fragments };
        let mut series: Vec<Arc<Series>> = Vec::new();
        for folder in &matrix.series {
            let read = Series::load(here, folder).map_err(Error::request)?;
            if series.iter().any(|s| s.name == read.name) {
                return Err(Error::request(format!(
                    "{}: two series are called '{}'; a variant's name would be ambiguous",
                    path.display(),
                    read.name
                )));
            }
            series.push(Arc::new(read));
        }
        let variants = variants(&matrix, &recipe, &series).map_err(|e| {
            let message = format!("{}: variants: {e}", path.display());
            Error::request(message)
        })?;
        let cells = cells(&matrix, &variants);
        if let Some(cell) = cells.iter().find(|cell| cell.shape.nodes > cell.shape.cpus) {
            return Err(Error::request(format!(
                "{}: dimensions: {} NUMA nodes for {} CPUs, expected no more nodes than CPUs",
                path.display(),
                cell.shape.nodes,
                cell.shape.cpus
            )));
        }
        for verdict in &matrix.verdicts {
            if !variants.iter().any(|v| v.name == verdict.variant) {
                let names: Vec<_> = variants.iter().map(|v| v.name.as_str()).collect();
                return Err(Error::request(format!(
                    "{}: verdicts: there is no variant '{}', expected one of {}",
                    path.display(),
                    verdict.variant,
                    names.join(", ")
                )));
            }
        }
        let rules = match &matrix.allow {
            Some(file) => yaml::read(&here.join(file)).map_err(Error::request)?,
            None => Vec::new(),
        };
        let expectations = Expectations { kinds: matrix.expect.iter().map(|e| e.0.clone()).collect(), rules };
        Ok(Self { name, text, matrix, variants, cells, expectations, recipe })
    }

    /// The variant called `name`.
    pub fn variant(&self, name: &str) -> Option<&Arc<Variant>> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// The source with nothing applied, whether or not the matrix asks for it as a variant.
    pub fn base(&self) -> Variant {
        Variant::new(&self.recipe, None, Vec::new())
    }

    /// The cells whose id is `id` or begins with it.
    ///
    /// # Errors
    /// There is no such cell, or there are several.
    pub fn cell(&self, id: &str) -> Result<&Cell> {
        let mut found = self.cells.iter().filter(|c| c.id == id || c.id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(cell), None) => Ok(cell),
            (Some(cell), Some(_)) if cell.id == id => Ok(cell),
            (Some(a), Some(b)) => Err(Error::request(format!("cell '{id}' is ambiguous: {} or {}", a.id, b.id))),
            (None, _) => Err(Error::request(format!("no cell '{id}' in {}; `mmtorture plan` lists them", self.name))),
        }
    }
}

impl Variant {
    /// The variant with these patches of `series`.
    pub fn new(recipe: &Recipe, series: Option<(&Arc<Series>, Selection)>, patches: Vec<usize>) -> Self {
        let (name, series) = match series {
            Some((s, selection)) if !patches.is_empty() => {
                let all = patches.len() == s.patches.len();
                let selection = if all { Selection::All } else { selection };
                (format!("{}/{selection}", s.name), Some(Arc::clone(s)))
            }
            _ => ("base".to_owned(), None),
        };
        Self { name, recipe: recipe.clone(), series, patches }
    }

    /// Whether it has the same patches.
    fn is_same(&self, other: &Self) -> bool {
        let name = |v: &Self| v.series.as_ref().map(|s| s.name.clone());
        name(self) == name(other) && self.patches == other.patches
    }

    /// The first `k` patches of this variant's series.
    pub fn prefix(&self, k: usize) -> Self {
        let series = self.series.as_ref().map(|s| (s, Selection::Prefix(k)));
        Self::new(&self.recipe, series, (0..k).collect())
    }

    /// A hash of what the variant means, known without the source or a toolchain.
    fn meaning(&self) -> String {
        let mut hash = Hasher::new("variant").field(self.recipe.kernel.meaning());
        for fragment in &self.recipe.fragments {
            hash = hash.field(&fragment.text);
        }
        if let Some(series) = &self.series {
            for &i in &self.patches {
                let patch = &series.patches[i];
                hash = hash.field(patch.strip.to_string()).field(&patch.text);
            }
        }
        hash.finish()
    }
}

impl Cell {
    /// The cell of `variant` with this cell's settings, workload and, unless given, time.
    pub fn on(&self, variant: &Variant, seconds: Option<u32>) -> Self {
        let seconds = seconds.unwrap_or(self.seconds);
        let id = cell_id(variant, &self.settings, &self.workload, seconds);
        Self { id, variant: variant.name.clone(), seconds, ..self.clone() }
    }
}

fn read_fragment(here: &Path, name: &FragmentName) -> Result<Fragment> {
    let path = here.join("kconfig").join(format!("{}.config", name.0));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("Kconfig fragment {}", path.display()))
        .map_err(Error::Request)?;
    Ok(Fragment { name: name.0.clone(), text })
}

fn variants(
    matrix: &Matrix,
    recipe: &Recipe,
    series: &[Arc<Series>],
) -> std::result::Result<Vec<Arc<Variant>>, String> {
    let mut variants: Vec<Arc<Variant>> = Vec::new();
    let mut add = |variant: Variant| {
        if !variants.iter().any(|v| v.name == variant.name || v.is_same(&variant)) {
            variants.push(Arc::new(variant));
        }
    };
    // Base needs no series; the others are nothing without one.
    for variant in &matrix.variants {
        if series.is_empty() && variant.0 == Selection::Base {
            add(Variant::new(recipe, None, Vec::new()));
        }
    }
    for one in series {
        for variant in &matrix.variants {
            let patches = variant.0.resolve(one.patches.len()).map_err(|e| format!("{}: {e}", one.name))?;
            add(Variant::new(recipe, Some((one, variant.0.clone())), patches));
        }
    }
    // Base first: its tree is what every other variant's build starts from.
    variants.sort_by_key(|v| v.series.is_some());
    if variants.is_empty() {
        return Err("none; a matrix without series has 'base' only".to_owned());
    }
    Ok(variants)
}

fn cells(matrix: &Matrix, variants: &[Arc<Variant>]) -> Vec<Cell> {
    let mut points: Vec<(BTreeMap<String, String>, Shape)> = vec![(BTreeMap::new(), Shape::default())];
    for (dimension, settings) in &matrix.dimensions.0 {
        points = points
            .into_iter()
            .flat_map(|(at, shape)| {
                settings.iter().map(move |setting| {
                    let mut at = at.clone();
                    let mut shape = shape.clone();
                    at.insert(dimension.name.to_owned(), setting.clone());
                    let effect = dimension.effect(setting).expect("checked when the matrix was read");
                    shape.apply(effect);
                    (at, shape)
                })
            })
            .collect();
    }
    let seconds = matrix.seconds.0;
    let mut cells = Vec::new();
    for variant in variants {
        for (settings, shape) in &points {
            for workload in &matrix.workloads {
                cells.push(Cell {
                    id: cell_id(variant, settings, workload, seconds),
                    variant: variant.name.clone(),
                    settings: settings.clone(),
                    workload: workload.clone(),
                    seconds,
                    shape: shape.clone(),
                });
            }
        }
    }
    cells
}

/// `VARIANT.WORKLOAD.HASH`: the words for people, the hash for identity.
fn cell_id(variant: &Variant, settings: &BTreeMap<String, String>, workload: &str, seconds: u32) -> String {
    let mut hash = Hasher::new("cell").field(variant.meaning()).field(workload).field(seconds.to_string());
    for (dimension, setting) in settings {
        hash = hash.field(dimension).field(setting);
    }
    let words = variant.name.replace(['/', ':'], "-");
    format!("{words}.{workload}.{}", &hash.finish()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(matrix: &str) -> Result<Plan> {
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
        Plan::read(&at("m.yaml"), &["anon-churn".to_owned()])
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
        let a =
            plan(&format!("{HEAD}series: [s]\ndimensions: {{thp: [always, never], cpus: [1, 2]}}\n{tail}")).unwrap();
        let b =
            plan(&format!("{HEAD}series: [s]\ndimensions: {{cpus: [2, 1], thp: [never, always]}}\n{tail}")).unwrap();
        assert_eq!(a.cells.len(), 8);
        let ids = |p: &Plan| p.cells.iter().map(|c| c.id.clone()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids(&a), ids(&b));
        assert_eq!(ids(&a).len(), 8);
    }

    #[test]
    fn what_a_matrix_names_must_exist() {
        let with = |text: &str| plan(&format!("{HEAD}{text}")).unwrap_err();
        for (text, word) in [
            ("workloads: [anon-chrun]\nseconds: 5\n", "anon-churn"),
            ("workloads: []\nseconds: 5\n", "nothing to run"),
            ("workloads: [anon-churn]\nseconds: 5\nseries: [absent]\n", "absent"),
            ("workloads: [anon-churn]\nseconds: 5\nseries: [s]\nvariants: ['prefix:4']\n", "4"),
            ("workloads: [anon-churn]\nseconds: 5\nseries: [s, s]\n", "two series"),
            (
                "workloads: [anon-churn]\nseconds: 5\nverdicts: [{variant: s/all, outcome: fail}]\n",
                "there is no variant 's/all'",
            ),
        ] {
            let error = with(text);
            assert_eq!(error.exit_status(), 2);
            assert!(error.to_string().contains(word), "{error}");
        }
        let missing = plan(&format!("{}workloads: [anon-churn]\nseconds: 5\n", HEAD.replace("[base]", "[nope]")));
        assert!(missing.unwrap_err().to_string().contains("nope.config"));
    }
}
