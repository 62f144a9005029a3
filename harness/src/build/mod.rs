//! From a variant to a kernel image. Images are content-addressed: what was built once is not built again.
//!
//! A key is made of the source, the patched files' contents, the final .config and the toolchain. One work tree serves
//! all variants of a source and configuration: going from one variant to the next rewrites the files that differ, and
//! make rebuilds what depends on them.

mod header;
mod history;
pub mod kconfig;
mod kernel;
mod make;
mod ready;
mod recover;
mod source;
mod toolchain;
mod tree;

pub use kernel::{Kernel, Meta, KERNELS, META, VMLINUX};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{short, Hasher};
use crate::interrupt::Interrupt;
use crate::matrix::source::{SourceSpec, Toolchain};
use crate::plan::{Recipe, Variant};
use crate::series::{apply, Applied, Note};
use anyhow::Context;
use history::History;
use kernel::build_version;
use make::{Effort, Make};
use source::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use toolchain::Tools;
use tree::Tree;

/// A kernel that could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// The compiler or the linker refused: the variant's fault. The outcome is `build-failure`.
    Failed {
        /// The compiler's own lines.
        excerpt: String,
        /// The whole log.
        log: PathBuf,
    },
    /// Anything else.
    Other(Error),
}

impl<E: Into<Error>> From<E> for BuildError {
    fn from(e: E) -> Self {
        Self::Other(e.into())
    }
}

/// What a build is doing, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The source is being unpacked.
    Unpack(String),
    /// The work tree is being linked.
    Tree,
    /// The configuration is being made.
    Configure,
    /// Objects compiled so far, and how many the last build from nothing took, if known.
    Compile {
        /// So far.
        done: usize,
        /// Of how many.
        of: Option<usize>,
    },
}

/// The folder of the cache that work trees are in.
pub const TREES: &str = "trees";

/// Builds variants.
pub struct Builder<'a> {
    /// Where everything is kept.
    pub cache: &'a Cache,
    /// Parallel make jobs.
    pub jobs: usize,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    /// What was found out once: a tree that changes while we work is one source all the same.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sources: BTreeMap<(PathBuf, String), Arc<Source>>,
    tools: BTreeMap<String, Arc<Tools>>,
}

impl<'a> Builder<'a> {
    /// A builder that runs so many compilers at once.
    pub fn new(cache: &'a Cache, jobs: usize, interrupt: &'a Interrupt) -> Self {
        Self { cache, jobs, interrupt, known: Mutex::default() }
    }

    /// Checks that the variant's kernel can be had: its source is there, its patches apply. Cheap once the source is
    /// unpacked. Yields what there is to say of hunks that did not stand where they should.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    pub fn check(&self, variant: &Variant, watch: &dyn Fn(Step)) -> Result<Vec<Note>> {
        let recipe = &variant.recipe;
        if let SourceSpec::Image(_) = recipe.kernel.source {
            ready::check(recipe)?;
            return Ok(Vec::new());
        }
        Ok(self.inputs(variant, watch)?.applied.notes)
    }

    /// The variant's kernel, built unless it is in the cache; whether it was.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(&self, variant: &Variant, watch: &dyn Fn(Step)) -> std::result::Result<(Kernel, bool), BuildError> {
        let recipe = &variant.recipe;
        if let SourceSpec::Image(_) = recipe.kernel.source {
            return Ok((ready::get(recipe, self.cache, self.interrupt)?, false));
        }
        let inputs = self.inputs(variant, watch)?;
        let Inputs { source, tools, applied, config_path } = &inputs;

        // The fast way: the final .config is known, so the key is, and the image may be there.
        if let Ok(config) = std::fs::read_to_string(config_path) {
            kconfig::check(&recipe.fragments, &config).map_err(Error::request)?;
            if let Some(kernel) = self.cached(&inputs.key(&config))? {
                return Ok((kernel, false));
            }
        }

        let built = self.at_site(variant, &inputs, watch, |site| {
            let key = inputs.key(&site.config);
            // Another process may have built it while we waited for the tree.
            if let Some(kernel) = self.cached(&key)? {
                return Ok((kernel, false));
            }
            let start = std::time::Instant::now();
            let effort = self.compile(site, &key, watch)?;
            let meta = Meta {
                variant: variant.name.clone(),
                source: recipe.kernel.source.to_string(),
                source_id: source.id.clone(),
                toolchain: tools.version.clone(),
                patched: applied.files.keys().cloned().collect(),
                seconds: start.elapsed().as_secs_f64(),
                cpu_seconds: effort.cpu.as_secs_f64(),
                objects: effort.objects,
            };
            let kernel = Kernel::hold(self.cache, key, self.interrupt, |half| {
                copy(&site.make.tree.path("arch/x86/boot/bzImage"), &half.join(kernel::IMAGE))?;
                copy(&site.make.tree.path("vmlinux"), &half.join(VMLINUX))?;
                files::write(&half.join(kernel::CONFIG), site.config.as_bytes())?;
                Ok(files::write_json(&half.join(META), &meta)?)
            })?;
            Ok((kernel, true))
        })?;
        // The tree may go now; the kernel and its source are held.
        if built.1 {
            self.cache.make_room()?;
        }
        Ok(built)
    }

    /// Hands `read` the root of the variant's work tree with everything compiled; nobody changes it meanwhile.
    ///
    /// # Errors
    /// See [`BuildError`]; and those of `read`.
    pub fn compiled<T>(
        &self,
        variant: &Variant,
        watch: &dyn Fn(Step),
        read: impl FnOnce(&Path) -> Result<T>,
    ) -> std::result::Result<T, BuildError> {
        let inputs = self.inputs(variant, watch)?;
        self.at_site(variant, &inputs, watch, |site| {
            self.compile(site, &inputs.key(&site.config), watch)?;
            Ok(read(&site.make.tree.path(""))?)
        })
    }

    /// Builds what builds of the variant's selftests in the first of `folders` that its tree has, into `output`. Yields
    /// that folder's sources.
    ///
    /// # Errors
    /// See [`BuildError`]. That a test does not build is none.
    pub fn selftests(
        &self,
        variant: &Variant,
        folders: &[&str],
        output: &Path,
        watch: &dyn Fn(Step),
    ) -> std::result::Result<Vec<String>, BuildError> {
        let inputs = self.inputs(variant, watch)?;
        self.at_site(variant, &inputs, watch, |site| {
            let tree = site.make.tree;
            let folder = folders.iter().find(|folder| tree.path(folder).is_dir());
            let folder = folder.ok_or_else(|| {
                Error::request(format!("{}: the source has none of {}", variant.name, folders.join(", ")))
            })?;
            site.make.selftests(folder, output, self.jobs)?;
            let entries = std::fs::read_dir(tree.path(folder)).with_context(|| format!("cannot read {folder}"))?;
            Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        })
    }

    /// Names what the variant's source is before anything is compiled: the source, the patched files that `counts` is true
    /// of, the fragments, the toolchain.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    pub fn identity(&self, variant: &Variant, counts: impl Fn(&str) -> bool) -> Result<String> {
        let Inputs { source, tools, applied, .. } = self.inputs(variant, &|_| {})?;
        let requested = kconfig::request_hash(&variant.recipe.fragments);
        let mut hash = Hasher::new("identity").field(&source.id).field(&tools.version).field(requested);
        for (path, content) in applied.files.iter().filter(|(path, _)| counts(path)) {
            hash = hash.field(path).field(content.as_deref().unwrap_or_default());
        }
        Ok(hash.finish())
    }

    /// Makes the variant's work tree what the variant's is, configured, and hands it to `work`.
    fn at_site<T>(
        &self,
        variant: &Variant,
        inputs: &Inputs,
        watch: &dyn Fn(Step),
        work: impl FnOnce(&Site<'_>) -> std::result::Result<T, BuildError>,
    ) -> std::result::Result<T, BuildError> {
        let fragments = &variant.recipe.fragments;
        let Inputs { source, tools, applied, config_path } = inputs;
        let tree_id = format!("{}-{}{}", short(&source.lineage), short(&kconfig::request_hash(fragments)), tools.tag());
        let lock = self.cache.lock(TREES, &tree_id, self.interrupt)?;
        self.cache.used(TREES, &tree_id);
        let tree = Tree::open(source, self.cache.path(TREES, &tree_id), self.interrupt, watch)?;
        let mut history = tree.history();
        history.pending.extend(tree.sync(applied)?);
        tree.remember(&history)?;
        let make = Make { tree: &tree, cache: self.cache, tools, lock: &lock, interrupt: self.interrupt };
        let config = match std::fs::read_to_string(config_path) {
            Ok(config) => config,
            Err(_) => {
                watch(Step::Configure);
                let config = make.configure(fragments)?;
                files::create_dir(&self.cache.root().join("configs"))?;
                files::write(config_path, config.as_bytes())?;
                config
            }
        };
        kconfig::check(fragments, &config).map_err(Error::request)?;
        work(&Site { make, config })
    }

    /// Compiles all of the kernel.
    fn compile(&self, site: &Site<'_>, key: &str, watch: &dyn Fn(Step)) -> std::result::Result<Effort, BuildError> {
        let tree = site.make.tree;
        tree.write_if_changed(".config", site.config.as_bytes())?;
        let mut history = tree.history();
        let first = !tree.path("vmlinux").exists();
        let expected = history.estimate(first, self.full_build());
        let progress = |done| watch(Step::Compile { done, of: expected });
        let effort = site.make.build(self.jobs, &build_version(key), progress)?;
        history.built(first, effort.objects);
        tree.remember(&history)?;
        Ok(effort)
    }

    /// Whether the variant's kernel is in the cache, as far as is known without configuring it.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    pub fn cached_variant(&self, variant: &Variant) -> Result<bool> {
        let inputs = self.inputs(variant, &|_| {})?;
        let config = std::fs::read_to_string(&inputs.config_path);
        Ok(config.is_ok_and(|config| self.cache.path(KERNELS, &inputs.key(&config)).is_dir()))
    }

    fn inputs(&self, variant: &Variant, watch: &dyn Fn(Step)) -> Result<Inputs> {
        let tools = self.tools(variant.recipe.kernel.toolchain)?;
        let source = self.source(&variant.recipe, watch)?;
        let applied = patched(&source, variant)?;
        let config_path = self.cache.path("configs", &config_key(&source, &tools, variant, &applied));
        Ok(Inputs { source, tools, applied, config_path })
    }

    fn source(&self, recipe: &Recipe, watch: &dyn Fn(Step)) -> Result<Arc<Source>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (recipe.here.clone(), recipe.kernel.source.to_string());
        if let Some(source) = known.sources.get(&name) {
            return Ok(Arc::clone(source));
        }
        let setting = source::Setting { cache: self.cache, interrupt: self.interrupt, watch };
        let source = Arc::new(Source::get(&recipe.kernel.source, &recipe.here, &setting)?);
        known.sources.insert(name, Arc::clone(&source));
        Ok(source)
    }

    fn tools(&self, toolchain: Toolchain) -> Result<Arc<Tools>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tools) = known.tools.get(&toolchain.to_string()) {
            return Ok(Arc::clone(tools));
        }
        let tools = Arc::new(Tools::find(toolchain)?);
        known.tools.insert(toolchain.to_string(), Arc::clone(&tools));
        Ok(tools)
    }

    /// The kernel `key`, if it is in the cache.
    ///
    /// # Errors
    /// It is damaged, or a signal came.
    pub fn cached(&self, key: &str) -> Result<Option<Kernel>> {
        if !self.cache.path(KERNELS, key).is_dir() {
            return Ok(None);
        }
        // Pruned between the two, it is not there: then it is built again.
        let gone = |_: &Path| Err(Error::host("pruned"));
        match Kernel::hold(self.cache, key.to_owned(), self.interrupt, gone) {
            Ok(kernel) => Ok(Some(kernel)),
            Err(_) if !self.cache.path(KERNELS, key).is_dir() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the first build in some other tree took.
    fn full_build(&self) -> Option<usize> {
        let trees = std::fs::read_dir(self.cache.root().join(TREES)).ok()?;
        trees.flatten().find_map(|tree| {
            let history: History = files::read_json(&tree.path().join(tree::HISTORY)).ok()?;
            history.full()
        })
    }
}

/// A work tree that is a variant's, and nobody else's for now.
struct Site<'a> {
    make: Make<'a>,
    /// The final .config.
    config: String,
}

/// What a variant's kernel is made of, but for its final .config.
struct Inputs {
    source: Arc<Source>,
    tools: Arc<Tools>,
    applied: Applied,
    /// Where the cache has the final .config, once it was made.
    config_path: PathBuf,
}

impl Inputs {
    /// The kernel's key, with that final .config.
    fn key(&self, config: &str) -> String {
        let mut hash = Hasher::new("kernel").field(&self.source.id).field(&self.tools.version).field(config);
        for (path, content) in &self.applied.files {
            hash = hash.field(path);
            hash = match content {
                Some(bytes) => hash.field("file").field(bytes),
                None => hash.field("deleted"),
            };
        }
        hash.finish()
    }
}

/// What the final .config follows from: the source's Kconfig files as patched, the fragments, the compiler (whose
/// abilities Kconfig asks for).
fn config_key(source: &Source, tools: &Tools, variant: &Variant, applied: &Applied) -> String {
    let mut hash = Hasher::new("config")
        .field(&source.id)
        .field(&tools.version)
        .field(kconfig::request_hash(&variant.recipe.fragments));
    for (path, content) in &applied.files {
        if kconfig::is_input(path) {
            hash = hash.field(path).field(content.as_deref().unwrap_or_default());
        }
    }
    hash.finish()
}

fn patched(source: &Source, variant: &Variant) -> Result<Applied> {
    let Some(series) = &variant.series else { return Ok(Applied::default()) };
    let patches: Vec<_> = variant.patches.iter().map(|&i| &series.patches[i]).collect();
    apply(&|path| source.read(path), &patches).map_err(|e| Error::request(format!("{}: {e}", variant.name)))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
