//! The root with the memory-management selftests of a tree.

use super::{step, Meta, Root};
use crate::build::{BuildError, Builder};
use crate::error::{Error, Result};
use crate::files;
use crate::hash::{short, Hasher};
use crate::matrix::source::SourceSpec;
use crate::plan::Variant;
use crate::progress::Progress;
use anyhow::Context;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Changes when what is made of the same tree does.
const RECIPE: &str = "1";

/// Where they are: until 6.2, since 6.3.
const FOLDERS: &[&str] = &["tools/testing/selftests/mm", "tools/testing/selftests/vm"];

/// What of a tree a selftest may be made of.
const INPUTS: &[&str] = &["tools/", "include/uapi/", "arch/x86/include/uapi/", "mm/gup_test.h", "lib/test_hmm_uapi.h"];

/// Sources that are linked into tests, and are none.
const SHARED: &[&str] = &["vm_util", "uffd-common", "thp_settings"];

/// The root with the tests of `variant`.
pub fn get(variant: &Variant, builder: &Builder<'_>, progress: &Progress) -> Result<Root> {
    if let SourceSpec::Image(_) = variant.recipe.kernel.source {
        return Err(Error::request(format!(
            "kselftest: {} has no source to take the tests from",
            variant.recipe.kernel.source
        )));
    }
    let source = builder.identity(variant, |path| INPUTS.iter().any(|input| path.starts_with(input)))?;
    let key = Hasher::new("selftests root").field(RECIPE).field(source).finish();
    Root::hold(format!("selftests-{}", short(&key)), builder, |tree, _| {
        let task = progress.task(&format!("selftests of {}", variant.name));
        let tests = tree.join("tests");
        files::create_dir(&tests)?;
        let sources = builder.selftests(variant, FOLDERS, &tests, &|s| step(&task, &s)).map_err(|e| match e {
            BuildError::Failed { excerpt, .. } => Error::host(excerpt),
            BuildError::Other(e) => e,
        })?;
        let contents = programs(&tests)?;
        let left_out = left_out(&sources, &contents);
        task.finish(&match &left_out[..] {
            [] => format!("{} built", contents.len()),
            left_out => format!("{} built; not with what is here: {}", contents.len(), left_out.join(", ")),
        });
        if contents.is_empty() {
            return Err(Error::host(format!("no selftest of {} builds; is libc6-dev installed?", variant.name)));
        }
        Ok(Meta { contents: contents.into_iter().collect(), left_out })
    })
}

/// The programs in a folder; what else make left there goes.
fn programs(folder: &Path) -> Result<BTreeSet<String>> {
    let context = || format!("cannot read {}", folder.display());
    let mut programs = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let meta = entry.metadata().with_context(context)?;
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            programs.insert(entry.file_name().to_string_lossy().into_owned());
        } else if meta.is_file() {
            std::fs::remove_file(entry.path()).with_context(context)?;
        }
    }
    Ok(programs)
}

/// Sources that became no program. One becomes several, each with something after its name, where word sizes differ.
fn left_out(sources: &[String], programs: &BTreeSet<String>) -> Vec<String> {
    let tests = sources.iter().filter_map(|name| name.strip_suffix(".c")).filter(|name| !SHARED.contains(name));
    let there = |name: &str| programs.iter().any(|p| p == name || p.starts_with(&format!("{name}_")));
    let mut left_out: Vec<_> = tests.filter(|name| !there(name)).map(str::to_owned).collect();
    left_out.sort();
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_build_is_told() {
        let sources = ["ksm_tests.c", "khugepaged.c", "vm_util.c", "protection_keys.c", "Makefile"].map(str::to_owned);
        let programs = ["khugepaged", "protection_keys_64"].map(str::to_owned).into();
        assert_eq!(left_out(&sources, &programs), ["ksm_tests"]);
    }
}
