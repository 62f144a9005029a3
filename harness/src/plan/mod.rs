//! From a matrix to cells: which kernels to build, which cells to run on them. Pure, once the files are read.

mod cell;
mod choose;
pub mod estimate;
mod factors;
pub mod legal;
mod order;
pub mod shard;
mod switch;

pub use cell::Cell;
pub use choose::{Choice, LeftOut, Tuples};
pub use switch::Switch;

use crate::error::{Error, Result};
use crate::hash::Hasher;
use crate::matrix::dimension::BuildSetting;
use crate::matrix::yaml::locate::Step;
use crate::matrix::{yaml, Document, FragmentName, Kernel, Matrix};
use crate::oracle::expect::Expectations;
use crate::series::{Selection, Series};
use anyhow::Context;
use estimate::{Defaults, Estimate};
use factors::Factors;
use mmtorture_protocol::Suite;
use shard::Shard;
use std::collections::BTreeSet;
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
    /// The cells, in the order in which they run.
    pub cells: Vec<Cell>,
    /// Out of what they were chosen.
    pub choice: Choice,
    /// Findings that are no failures.
    pub expectations: Expectations,
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
    /// The cell's settings that are built in; their fragments are the last ones.
    pub build: Vec<BuildSetting>,
}

impl Recipe {
    /// The same with these settings built in.
    pub fn with(&self, build: &[BuildSetting]) -> Self {
        let settings = build.iter().map(|b| Fragment { name: b.name.clone(), text: b.kconfig.clone() });
        let plain = self.fragments[..self.fragments.len() - self.build.len()].iter().cloned();
        Self { fragments: plain.chain(settings).collect(), build: build.to_vec(), ..self.clone() }
    }
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
    /// `base`, or `SERIES/SELECTION`; and `+DIMENSION=SETTING` for each setting that is built in.
    pub name: String,
    /// The source and configuration.
    pub recipe: Recipe,
    /// The series, unless it is `base`.
    pub series: Option<Arc<Series>>,
    /// Which of its patches, as indices in order.
    pub patches: Vec<usize>,
}

/// Something in a matrix that does not fit the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    /// Where it stands in the matrix.
    at: Vec<Step>,
    /// What is wrong with it.
    message: String,
}

impl Plan {
    /// Reads the matrix at `path` and all that it names, but not the kernel's source.
    ///
    /// `workloads` are the names that exist.
    ///
    /// # Errors
    /// Something in the matrix, a fragment or a series is wrong.
    pub fn read(path: &Path, workloads: &[String]) -> Result<Self> {
        let (matrix, document) = Matrix::read(path).map_err(Error::request)?;
        Self::of(path, matrix, &document, workloads)
    }

    /// The plan of a matrix that was kept as one text; what it names is still where the matrix at `path` was.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn recorded(path: &Path, text: &str, workloads: &[String]) -> Result<Self> {
        let document = Document::of(path, text).map_err(Error::request)?;
        let matrix = Matrix::parse(path, text).map_err(Error::request)?;
        Self::of(path, matrix, &document, workloads)
    }

    fn of(path: &Path, matrix: Matrix, document: &Document, workloads: &[String]) -> Result<Self> {
        let here = path.parent().unwrap_or(Path::new(""));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();

        for (i, workload) in matrix.workloads.iter().enumerate() {
            let suite = Suite::parse(workload);
            if let Some(Err(wrong)) = &suite {
                return Err(Error::request(format!("{}: workloads: {wrong}", path.display())));
            }
            if suite.is_none() && !exists(workload, workloads) {
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
        let recipe = Recipe { kernel: matrix.kernel.clone(), here: here.to_owned(), fragments, build: Vec::new() };
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
        let fail = |wrong: Wrong| Error::request(document.fail(&wrong.at, wrong.message));
        let (mut cells, choice) =
            Factors::new(&matrix, &variants, workloads).and_then(|f| choose::choose(&matrix, &f)).map_err(fail)?;
        let variants = built(&variants, &cells);
        order::order(&mut cells, choice.fixed, &variants, &Defaults);
        for verdict in &matrix.verdicts {
            if verdict.outcome.is_none() && verdict.culprit.is_none() {
                let (path, variant) = (path.display(), &verdict.variant);
                return Err(Error::request(format!(
                    "{path}: verdicts: {variant}: expected an outcome, a culprit or both"
                )));
            }
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
        Ok(Self { name, text: document.text(), matrix, variants, cells, choice, expectations })
    }

    /// The variant called `name`.
    pub fn variant(&self, name: &str) -> Option<&Arc<Variant>> {
        self.variants.iter().find(|v| v.name == name)
    }

    /// The variant that a cell runs.
    ///
    /// # Errors
    /// The matrix has none of that name: the cell is another plan's.
    pub fn variant_of(&self, cell: &Cell) -> Result<&Arc<Variant>> {
        self.variant(&cell.variant).ok_or_else(|| Error::request(format!("there is no variant '{}'", cell.variant)))
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

    /// How long these cells take, by what is assumed of every machine.
    pub fn estimate<'a>(&self, cells: impl IntoIterator<Item = &'a Cell>) -> Estimate {
        Estimate::of(cells, &self.variants, self.matrix.trials.0, &Defaults)
    }

    /// The cells of each of so many shards.
    pub fn shards(&self, of: usize) -> Vec<Vec<&Cell>> {
        let divided = shard::divide(&self.cells, &self.variants, self.matrix.trials.0, &Defaults, of);
        divided.into_iter().map(|shard| shard.into_iter().map(|i| &self.cells[i]).collect()).collect()
    }

    /// The cells of one shard. None where there are more shards than cells.
    pub fn shard(&self, shard: Shard) -> Vec<&Cell> {
        self.shards(shard.of).swap_remove(shard.index - 1)
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
        let name = name + &suffix(&recipe.build);
        Self { name, recipe: recipe.clone(), series, patches }
    }

    /// Its name without what is built in.
    fn plain_name(&self) -> &str {
        self.name.strip_suffix(&suffix(&self.recipe.build)).unwrap_or(&self.name)
    }

    /// The same patches with these settings built in.
    fn with(&self, build: &[BuildSetting]) -> Self {
        let name = format!("{}{}", self.plain_name(), suffix(build));
        Self { name, recipe: self.recipe.with(build), ..self.clone() }
    }

    /// Whether it has the same patches.
    fn is_same(&self, other: &Self) -> bool {
        let name = |v: &Self| v.series.as_ref().map(|s| s.name.clone());
        name(self) == name(other) && self.patches == other.patches
    }

    /// The first `k` patches of this variant's series; of none the source as it is, with the same settings built in.
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

/// What these settings add to a variant's name.
fn suffix(build: &[BuildSetting]) -> String {
    build.iter().map(|setting| format!("+{}", setting.name)).collect()
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

/// Whether `workload` is one of `names`, or a mix of some as `mix:anon-churn=2,shmem-punch` says.
fn exists(workload: &str, names: &[String]) -> bool {
    let Some((mix, parts)) = workload.split_once(':') else { return names.iter().any(|name| name == workload) };
    let part = |part: &str| {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        name != mix
            && names.iter().any(|n| n == name)
            && weight.parse().is_ok_and(|weight| (1..=100u32).contains(&weight))
    };
    mix == "mix" && parts.split(',').all(part)
}

/// The kernels of these cells, by variant and then in the order of what is built in.
fn built(variants: &[Arc<Variant>], cells: &[Cell]) -> Vec<Arc<Variant>> {
    let mut all: Vec<Arc<Variant>> = Vec::new();
    for variant in variants {
        for build in cells.iter().map(|cell| &cell.shape.build).collect::<BTreeSet<_>>() {
            let built = variant.with(build);
            if cells.iter().any(|cell| cell.variant == built.name) {
                all.push(Arc::new(built));
            }
        }
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
