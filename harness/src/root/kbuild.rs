//! What `kbuild` compiles: sources of a kernel, the commands that kbuild itself compiles them with, and the objects that must
//! come of it.
//!
//! ```text
//! /kbuild/Makefile       one rule for each object
//! /kbuild/tree/...       the sources, and the headers that they read
//! /kbuild/deps/X.o       the files that X.o is made of
//! /kbuild/objects/X.o    what the root's compiler makes of them on the host
//! ```
//!
//! The kernel is always the same one, whichever is under test: it is the load.

use super::step;
use crate::build::{BuildError, Builder};
use crate::error::{Error, Result};
use crate::files;
use crate::matrix::source::{SourceSpec, Toolchain};
use crate::matrix::Kernel;
use crate::plan::{Fragment, Recipe, Variant};
use crate::process;
use crate::progress::Task;
use anyhow::Context;
use mmtorture_protocol::MAX_OBJECTS;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Changes when what is made of the same source and packages does.
pub const RECIPE: &str = "1";

/// Where the objects are taken from, first come first.
const FOLDERS: &[&str] = &["mm", "fs", "kernel", "block", "lib", "arch/x86/mm", "arch/x86/kernel", "drivers/base"];

/// The kernel of `matrices/demo.yaml`, of which the compiler cache has all more often than not; in a work tree of its own,
/// which a comment is enough for: nobody who builds kernels is to wait for it, or to build again what it changed.
const FRAGMENTS: &[(&str, &str)] = &[
    ("base", include_str!("../../../matrices/kconfig/base.config")),
    ("guest", include_str!("../../../matrices/kconfig/guest.config")),
    ("mm", include_str!("../../../matrices/kconfig/mm.config")),
    ("debug", include_str!("../../../matrices/kconfig/debug.config")),
    ("kbuild", "# What the suite kbuild compiles.\n"),
];

/// Every object reads it, and fixdep leaves it out: it names the options that count instead.
const CONFIG: &str = "include/generated/autoconf.h";

/// The kernel whose objects are compiled.
pub fn variant() -> Variant {
    let kernel = Kernel {
        source: SourceSpec::Debian("linux-source-6.1".to_owned()),
        kconfig: Vec::new(),
        toolchain: Toolchain::Gcc,
        vmlinux: None,
        modules: None,
    };
    let fragment = |(name, text): &(&str, &str)| Fragment { name: (*name).to_owned(), text: (*text).to_owned() };
    let fragments = FRAGMENTS.iter().map(fragment).collect();
    Variant::new(&Recipe { kernel, here: PathBuf::new(), fragments, build: Vec::new() }, None, Vec::new())
}

/// Makes /kbuild in the root `tree`, whose compiler is there already. Yields how many objects it has.
pub fn make(variant: &Variant, tree: &Path, work: &Path, builder: &Builder<'_>, task: &Task<'_>) -> Result<usize> {
    let at = tree.join("kbuild");
    let watch = |s| step(task, &s);
    let objects = builder.compiled(variant, &watch, |built| collect(built, &at)).map_err(|e| match e {
        BuildError::Failed { excerpt, .. } => Error::host(excerpt),
        BuildError::Other(e) => e,
    })?;
    files::write(&at.join("Makefile"), makefile(&objects).as_bytes())?;
    compile(&objects, tree, &at, work, builder, task)?;
    Ok(objects.len())
}

/// An object, and how it comes to be.
#[derive(Debug, PartialEq, Eq)]
struct Object {
    /// Its path, from the tree's top.
    path: String,
    /// The command's arguments, in the words of a Makefile.
    arguments: String,
    /// All that it is made of, its source first.
    files: Vec<String>,
}

/// Copies what objects of the built tree are made of.
fn collect(built: &Path, at: &Path) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for folder in FOLDERS {
        for path in commands(&built.join(folder))? {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let object = Object::parse(&text).filter(|object| object.files.iter().all(|f| built.join(f).is_file()));
            objects.extend(object);
        }
    }
    objects.truncate(MAX_OBJECTS as usize);
    let files: BTreeSet<&String> = objects.iter().flat_map(|object| &object.files).collect();
    for file in files {
        let to = at.join("tree").join(file);
        files::create_dir(to.parent().unwrap_or(at))?;
        std::fs::copy(built.join(file), &to).with_context(|| format!("cannot copy {file}"))?;
    }
    for object in &objects {
        let deps = at.join("deps").join(&object.path);
        files::create_dir(deps.parent().unwrap_or(at))?;
        files::write(&deps, object.files.iter().flat_map(|f| [f, "\n"]).collect::<String>().as_bytes())?;
    }
    Ok(objects)
}

/// The files below `folder` in which kbuild keeps the commands that it ran, in order.
fn commands(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Not through links, of which a tree has few and none that matter.
        if path.is_dir() && !path.is_symlink() {
            found.extend(commands(&path)?);
        } else if name.starts_with('.') && name.ends_with(".o.cmd") {
            found.push(path);
        }
    }
    Ok(found)
}

impl Object {
    /// Reads what scripts/basic/fixdep wrote. `None`: it is not compiled from C by one command.
    fn parse(text: &str) -> Option<Self> {
        let (name, command) = text.lines().next()?.strip_prefix("cmd_")?.split_once(" := ")?;
        // What comes after it is objtool's, which a load can do without.
        let command = command.split(';').next()?.trim_end();
        let arguments = &command[command.find(" -")?..];
        let source = command.rsplit(' ').next().filter(|source| source.ends_with(".c"))?;
        if !command.contains(&format!(" -c -o {name} ")) || name.contains(".tmp") {
            return None;
        }
        let deps = text.lines().skip_while(|line| !line.starts_with("deps_")).skip(1);
        let deps = deps.take_while(|line| !line.is_empty()).map(|line| line.trim_end_matches('\\').trim());
        let deps = deps.filter(|dep| !dep.is_empty() && !dep.starts_with("$(") && !dep.starts_with('/'));
        let files = [source, CONFIG].into_iter().chain(deps).map(str::to_owned).collect();
        Some(Self { path: name.to_owned(), arguments: arguments.to_owned(), files })
    }
}

fn makefile(objects: &[Object]) -> String {
    let all: Vec<_> = objects.iter().map(|object| object.path.as_str()).collect();
    let mut text = format!(
        "CC = gcc\nLD = ld\npound := \\#\nOBJECTS = {}\n\nlinked.o: $(OBJECTS)\n\t$(LD) -r -o $@ $^\n\ncompiled: \
         $(OBJECTS)\n.PHONY: compiled\n.SUFFIXES:\n",
        all.join(" ")
    );
    for object in objects {
        text += &format!("\n{}: {}\n\t$(CC){}\n", object.path, object.files[0], object.arguments);
    }
    text
}

/// Compiles them with the root's own compiler: what it makes in a guest must be the same.
fn compile(
    objects: &[Object],
    root: &Path,
    at: &Path,
    work: &Path,
    builder: &Builder<'_>,
    task: &Task<'_>,
) -> Result<()> {
    let tree = at.join("tree");
    // The compiler finds its parts beside itself, but neither it nor they would find their libraries.
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let libraries = [root.join("lib/x86_64-linux-gnu"), root.join("usr/lib/x86_64-linux-gnu")];
    let libraries = format!("{}:{}", libraries[0].display(), libraries[1].display());
    let loader = quoted(&root.join("lib64/ld-linux-x86-64.so.2"));
    let run = format!("#!/bin/sh\nexec {loader} --library-path {} \"$@\"\n", quoted(Path::new(&libraries)));
    let bin = root.join("usr/bin");
    let gcc = std::fs::canonicalize(bin.join("gcc")).context("the root has no gcc")?;
    let script = |name: &str, text: &str| -> Result<PathBuf> {
        let path = work.join(name);
        files::write(&path, text.as_bytes())?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).context("cannot make a script")?;
        Ok(path)
    };
    let run = script("run", &run)?;
    // By a name without spaces and commas, whatever the cache's: from the tree's folder.
    let wrapper = "../../../work/run";
    let cc =
        format!("#!/bin/sh\nexec {} {} -B{}/ -wrapper {wrapper} \"$@\"\n", quoted(&run), quoted(&gcc), quoted(&bin),);
    script("cc", &cc)?;
    let mut command = Command::new("make");
    command.arg("-C").arg(&tree).args(["-f", "../Makefile", "CC=../../../work/cc", "--no-print-directory", "compiled"]);
    command.arg(format!("-j{}", builder.jobs)).env_remove("MAKEFLAGS").env("LC_ALL", "C");
    process::be_nice(&mut command);
    let log = work.join("compile.log");
    let mut done = 0;
    let status = process::run(command, &log, builder.interrupt, |line| {
        if line.contains(" -c -o ") {
            done += 1;
            task.at(done, Some(objects.len() as u64), "compile what kbuild must make");
        }
    })?;
    if !status.success() {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let words = said.lines().filter(|line| !line.contains(" -c -o "));
        let error = words.take(3).collect::<Vec<_>>().join("; ");
        return Err(Error::host(format!("the root's compiler cannot compile a kernel's objects: {error}")));
    }
    for object in objects {
        let to = at.join("objects").join(&object.path);
        files::create_dir(to.parent().unwrap_or(at))?;
        std::fs::rename(tree.join(&object.path), &to).with_context(|| format!("{} was not made", object.path))?;
        let (folder, name) = object.path.rsplit_once('/').unwrap_or(("", &object.path));
        let _ = std::fs::remove_file(tree.join(folder).join(format!(".{name}.d")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_without_objtool_and_with_its_headers() {
        let text = "cmd_mm/rmap.o := ccache gcc -Wp,-MMD,mm/.rmap.o.d -DKBUILD_MODNAME='\"rmap\"' -c -o mm/rmap.o mm/rmap.c   ; ./tools/objtool/objtool --orc mm/rmap.o\n\nsource_mm/rmap.o := mm/rmap.c\n\ndeps_mm/rmap.o := \\\n    $(wildcard include/config/NUMA) \\\n  include/linux/mm.h \\\n  /usr/include/x.h \\\n\nmm/rmap.o: $(deps_mm/rmap.o)\n";
        let object = Object::parse(text).unwrap();
        assert_eq!(object.path, "mm/rmap.o");
        assert_eq!(object.files, ["mm/rmap.c", CONFIG, "include/linux/mm.h"]);
        assert!(object.arguments.starts_with(" -Wp,-MMD,") && object.arguments.ends_with("-o mm/rmap.o mm/rmap.c"));
        assert!(makefile(&[object]).contains("\nmm/rmap.o: mm/rmap.c\n\t$(CC) -Wp,"));
        assert_eq!(Object::parse("cmd_mm/built-in.a := rm -f mm/built-in.a; ar cDPrST mm/built-in.a\n"), None);
        assert_eq!(Object::parse("cmd_lib/x.o := gcc -c -o lib/x.o lib/x.S\n"), None);
    }
}
