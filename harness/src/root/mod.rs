//! Root file systems of suites: ext4 images in the cache, made once and without a privilege, which guests have as read-only
//! disks.
//!
//! ```text
//! roots/debian-KEY/root.img      stress-ng, gcc, make out of Debian's packages; /kbuild
//!                 /meta.json
//! roots/selftests-KEY/root.img   /tests: static programs of the tree under test
//! ```

mod debian;
mod kbuild;
mod selftests;

use crate::build::{Builder, Step};
use crate::error::Result;
use crate::files::{self, Lock};
use crate::plan::{Cell, Plan, Variant};
use crate::progress::Progress;
use mmtorture_protocol::{Root as Kind, Suite};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of the cache that roots are in.
pub const ROOTS: &str = "roots";

/// The file system.
const IMAGE: &str = "root.img";

/// The [`Meta`].
const META: &str = "meta.json";

/// What mount points a root has: what PID 1 mounts there comes from the guest.
const MOUNT_POINTS: &[&str] = &["dev", "proc", "sys", "tmp"];

/// A root in the cache. It is not pruned while this lives.
#[derive(Debug, Clone)]
pub struct Root {
    /// Its name in the cache.
    pub name: String,
    /// The file system.
    pub image: PathBuf,
    /// What is in it.
    pub meta: Meta,
    _held: Arc<Lock>,
}

/// What is kept beside an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Files of Debian packages, or programs.
    pub contents: Vec<String>,
    /// What was to be in it, and could not be made here.
    pub left_out: Vec<String>,
}

impl Root {
    /// The root that a suite runs in; made unless it is in the cache. That of selftests is of `variant`.
    ///
    /// # Errors
    /// The host lacks what it takes, or is offline; the variant is an image, which has no tree.
    pub fn get(kind: Kind, variant: &Variant, builder: &Builder<'_>, progress: &Progress) -> Result<Self> {
        match kind {
            Kind::Debian => debian::get(builder, progress),
            Kind::Selftests => selftests::get(variant, builder, progress),
        }
    }

    /// The root `name`, made by `fill` unless it is in the cache: it is given a folder to fill, and one to work in.
    fn hold(
        name: String,
        builder: &Builder<'_>,
        fill: impl Fn(&std::path::Path, &std::path::Path) -> Result<Meta>,
    ) -> Result<Self> {
        let held = builder.cache.hold(ROOTS, &name, builder.interrupt, |half| {
            let (work, tree) = (half.join("work"), half.join("tree"));
            files::create_dir(&work)?;
            for folder in MOUNT_POINTS {
                files::create_dir(&tree.join(folder))?;
            }
            let meta = fill(&tree, &work)?;
            crate::ext4::from_folder(&tree, &half.join(IMAGE))?;
            files::write_json(&half.join(META), &meta)?;
            for folder in [tree, work] {
                std::fs::remove_dir_all(&folder)
                    .map_err(|e| crate::error::Error::host(format!("cannot remove {}: {e}", folder.display())))?;
            }
            Ok(())
        })?;
        let dir = builder.cache.path(ROOTS, &name);
        let meta = files::read_json(&dir.join(META))?;
        Ok(Self { name, image: dir.join(IMAGE), meta, _held: Arc::new(held) })
    }
}

/// The roots of a run, each looked for once.
#[derive(Debug, Default)]
pub struct Roots(Mutex<BTreeMap<String, Root>>);

impl Roots {
    /// The root that the cell's workload runs in, if it is a suite. Of the kernels that a bisection makes up it is the one
    /// of their series, whose tests may be what failed.
    ///
    /// # Errors
    /// As [`Root::get`].
    pub fn of(&self, cell: &Cell, plan: &Plan, builder: &Builder<'_>, progress: &Progress) -> Result<Option<Root>> {
        let Some(Ok(suite)) = Suite::parse(&cell.workload) else { return Ok(None) };
        let kind = suite.root();
        let variant = of_series(plan, &cell.variant);
        let key = match kind {
            Kind::Debian => String::new(),
            Kind::Selftests => variant.name.clone(),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(&key) {
            return Ok(Some(root.clone()));
        }
        let root = Root::get(kind, variant, builder, progress)?;
        known.insert(key, root.clone());
        Ok(Some(root))
    }
}

/// The plan's variant of that name, or else the one with most patches of its series.
fn of_series<'a>(plan: &'a Plan, name: &str) -> &'a Variant {
    if let Some(variant) = plan.variant(name) {
        return variant;
    }
    let series = |name: &str| name.split(['/', '+']).next().unwrap_or_default().to_owned();
    let same = plan.variants.iter().filter(|v| series(&v.name) == series(name));
    same.max_by_key(|v| v.patches.len()).unwrap_or(&plan.variants[0])
}

/// Shows what a build for a root does.
fn step(task: &crate::progress::Task<'_>, step: &Step) {
    match step {
        Step::Unpack(what) => task.at(0, None, &format!("unpack {what}")),
        Step::Tree => task.at(0, None, "link the tree"),
        Step::Configure => task.at(0, None, "configure"),
        Step::Compile { done, of } => task.at(*done as u64, of.map(|n| n as u64), "compile"),
    }
}
