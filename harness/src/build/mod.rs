//! From a variant to a kernel image. Images are content-addressed: what was built once is not built again.
//!
//! A key is made of the source, the patched files' contents, the final .config and the toolchain. One work tree serves
//! all variants of a source and configuration: going from one variant to the next rewrites the files that differ, and
//! make rebuilds what depends on them.

mod kconfig;
mod source;
mod tree;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{short, Hasher};
use crate::interrupt::Interrupt;
use crate::plan::Variant;
use crate::process;
use crate::series::{apply, Applied};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use source::Source;
use std::path::{Path, PathBuf};
use std::process::Command;
use tree::{Make, Tree};

/// A built kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its content address.
    pub key: String,
    /// Its folder in the cache.
    pub dir: PathBuf,
}

impl Kernel {
    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.dir.join("bzImage")
    }

    /// The same kernel as an ELF file.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// What `uname -v` begins with in a guest that runs it.
    pub fn banner(&self) -> String {
        format!("#{} ", build_version(&self.key))
    }
}

/// What is kept beside an image.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    /// The variant it was built for first; others may have the same key.
    pub variant: String,
    /// Where the source came from.
    pub source: String,
    /// The source's identity.
    pub source_id: String,
    /// Compiler and linker.
    pub toolchain: String,
    /// Files that the patches change.
    pub patched: Vec<String>,
    /// How long make took, in seconds of wall time.
    pub seconds: f64,
    /// Objects compiled for it.
    pub objects: usize,
}

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

/// Builds variants.
pub struct Builder<'a> {
    /// Where everything is kept.
    pub cache: &'a Cache,
    /// Parallel make jobs.
    pub jobs: usize,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
    toolchain: String,
    ccache: bool,
}

impl<'a> Builder<'a> {
    /// A builder with the host's toolchain.
    ///
    /// # Errors
    /// gcc, ld or make is missing.
    pub fn new(cache: &'a Cache, jobs: usize, interrupt: &'a Interrupt) -> Result<Self> {
        let version = |tool: &str| -> Result<String> {
            let mut command = Command::new(tool);
            command.arg("--version");
            Ok(process::output(command)?.lines().next().unwrap_or_default().to_owned())
        };
        version("make")?;
        let toolchain = format!("{}; {}", version("gcc")?, version("ld")?);
        let ccache = version("ccache").is_ok();
        Ok(Self { cache, jobs, interrupt, toolchain, ccache })
    }

    /// Checks that the variant's patches apply, which is cheap once the source is unpacked.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    pub fn check(&self, variant: &Variant, watch: &dyn Fn(Step)) -> Result<Vec<String>> {
        let source = Source::get(&variant.recipe.source, self.cache, self.interrupt, watch)?;
        let applied = patched(&source, variant)?;
        Ok(applied.notes.iter().map(ToString::to_string).collect())
    }

    /// The variant's kernel, built unless it is in the cache.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(&self, variant: &Variant, watch: &dyn Fn(Step)) -> std::result::Result<(Kernel, bool), BuildError> {
        let source = Source::get(&variant.recipe.source, self.cache, self.interrupt, watch)?;
        let applied = patched(&source, variant)?;
        let config_key = self.config_key(&source, variant, &applied);
        let config_path = self.cache.path("configs", &config_key);

        // The fast way: the final .config is known, so the key is, and the image may be there.
        if let Ok(config) = std::fs::read_to_string(&config_path) {
            kconfig::check(&variant.recipe.fragments, &config).map_err(Error::request)?;
            if let Some(kernel) = self.cached(&self.key(&source, &applied, &config)) {
                return Ok((kernel, false));
            }
        }

        let tree_id = format!("{}-{}", short(&source.id), short(&kconfig::request_hash(&variant.recipe.fragments)));
        let _lock = self.cache.lock("trees", &tree_id)?;
        let tree = Tree::open(&source, self.cache.path("trees", &tree_id), self.interrupt, watch)?;
        tree.sync(&applied)?;
        let make = Make { tree: &tree, cache: self.cache, ccache: self.ccache, interrupt: self.interrupt };

        let config = match std::fs::read_to_string(&config_path) {
            Ok(config) => config,
            Err(_) => {
                watch(Step::Configure);
                let config = make.configure(&variant.recipe.fragments)?;
                files::create_dir(&self.cache.root().join("configs"))?;
                files::write(&config_path, config.as_bytes())?;
                config
            }
        };
        kconfig::check(&variant.recipe.fragments, &config).map_err(Error::request)?;
        let key = self.key(&source, &applied, &config);
        // Another process may have built it while we waited for the tree.
        if let Some(kernel) = self.cached(&key) {
            return Ok((kernel, false));
        }

        tree.write_if_changed(".config", config.as_bytes())?;
        let expected = tree.objects_of_full_build();
        let start = std::time::Instant::now();
        let objects =
            make.build(self.jobs, &build_version(&key), |done| watch(Step::Compile { done, of: expected }))?;
        let meta = Meta {
            variant: variant.name.clone(),
            source: variant.recipe.source.to_string(),
            source_id: source.id.clone(),
            toolchain: self.toolchain.clone(),
            patched: applied.files.keys().cloned().collect(),
            seconds: start.elapsed().as_secs_f64(),
            objects,
        };
        let dir = self.cache.path("kernels", &key);
        files::publish_dir(&dir, |half| {
            copy(&tree.path("arch/x86/boot/bzImage"), &half.join("bzImage"))?;
            copy(&tree.path("vmlinux"), &half.join("vmlinux"))?;
            files::write(&half.join("config"), config.as_bytes())?;
            Ok(files::write_json(&half.join("meta.json"), &meta)?)
        })?;
        Ok((Kernel { key, dir }, true))
    }

    /// Whether the variant's kernel is in the cache, as far as is known without configuring it.
    ///
    /// # Errors
    /// The source is missing, or a patch does not apply.
    pub fn cached_variant(&self, variant: &Variant) -> Result<bool> {
        let source = Source::get(&variant.recipe.source, self.cache, self.interrupt, &|_| {})?;
        let applied = patched(&source, variant)?;
        let config = std::fs::read_to_string(self.cache.path("configs", &self.config_key(&source, variant, &applied)));
        Ok(config.is_ok_and(|config| self.cached(&self.key(&source, &applied, &config)).is_some()))
    }

    fn cached(&self, key: &str) -> Option<Kernel> {
        let dir = self.cache.path("kernels", key);
        dir.is_dir().then(|| Kernel { key: key.to_owned(), dir })
    }

    /// What the final .config follows from: the source's Kconfig files as patched, the fragments, the compiler (whose
    /// abilities Kconfig asks for).
    fn config_key(&self, source: &Source, variant: &Variant, applied: &Applied) -> String {
        let mut hash = Hasher::new("config")
            .field(&source.id)
            .field(&self.toolchain)
            .field(kconfig::request_hash(&variant.recipe.fragments));
        for (path, content) in &applied.files {
            if kconfig::is_input(path) {
                hash = hash.field(path).field(content.as_deref().unwrap_or_default());
            }
        }
        hash.finish()
    }

    fn key(&self, source: &Source, applied: &Applied, config: &str) -> String {
        let mut hash = Hasher::new("kernel").field(&source.id).field(&self.toolchain).field(config);
        for (path, content) in &applied.files {
            hash = hash.field(path);
            hash = match content {
                Some(bytes) => hash.field("file").field(bytes),
                None => hash.field("deleted"),
            };
        }
        hash.finish()
    }
}

/// The `#N` of `uname -v`, by which a guest proves that it runs what was built.
fn build_version(key: &str) -> String {
    format!("mmt-{}", short(key))
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
