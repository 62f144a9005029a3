//! Kernel sources and builds, on a tree that builds in milliseconds: what is read, what is compiled, what is kept.

mod common;
#[path = "common/yard.rs"]
mod yard;

use common::{small_kernel, Said};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use yard::Yard;

/// The vmlinux of a variant, as `build` printed it.
fn vmlinux(said: &Said, variant: &str) -> String {
    let line = said.stdout.lines().find(|line| line.split_whitespace().next() == Some(variant));
    let dir = line.unwrap_or_else(|| panic!("{}", said.stdout)).split_whitespace().last().unwrap();
    std::fs::read_to_string(Path::new(dir).join("vmlinux")).unwrap()
}

const ALL: [&str; 4] = ["mm/a.o", "mm/b.o", "mm/c.o", "mm/d.o"];

#[test]
fn a_source_is_a_tarball_a_tree_or_a_revision() {
    let yard = Yard::new();
    yard.sh("tar -czf linux.tar.gz linux && tar -C linux -cf flat.tar .");
    yard.sh("cd linux && git init -q . && git add . && git commit -qm one && git tag one");
    yard.sh("git clone -q --depth 1 file://$PWD/linux shallow && git -C linux worktree add -q ../linked one");
    let before = listing(&yard.path(""));
    let mut kernels = Vec::new();
    for source in [
        "tarball:linux.tar.gz",
        "tarball:flat.tar",
        "tree:linux",
        "git:linux@one",
        "git:shallow@HEAD",
        "git:linked@HEAD",
    ] {
        let said = yard.build(source, "").expect(0, &[]);
        kernels.push(vmlinux(&said, "base"));
        yard.compiled();
    }
    kernels.dedup();
    assert_eq!(kernels.len(), 1, "they are one source: {kernels:?}");
    assert_eq!(listing(&yard.path("")), before, "the user's files are only read");
}

/// All that is below a folder, with the time of its last change; not what the tests write.
fn listing(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if ["cache", "compiled", "m.yaml", "results"].iter().any(|name| path.file_name().unwrap() == *name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            all.extend(listing(&path));
        }
        all.push((path.clone(), path.symlink_metadata().unwrap().modified().unwrap()));
    }
    all.sort();
    all
}

#[test]
fn of_a_tree_that_changed_only_the_change_is_compiled() {
    let yard = Yard::new();
    yard.build("tree:linux", "").expect(0, &["kernel base: built in"]);
    assert_eq!(yard.compiled(), ALL);
    yard.build("tree:linux", "").expect(0, &["kernel base: in the cache"]);
    std::fs::write(yard.path("linux/mm/b.c"), "b three\n").unwrap();
    let said = yard.build("tree:linux", "").expect(0, &["kernel base: built in"]);
    assert_eq!(yard.compiled(), ["mm/b.o"]);
    assert_eq!(
        vmlinux(&said, "base"),
        "a one\na two\nheader\nb three\nheader\nc one\nc two\nheader\nd one\nd two\nheader\n"
    );
    // And back again, which is known; and to a revision of it, where nothing has to be compiled either.
    small_kernel::write(&yard.path("linux"));
    yard.build("tree:linux", "").expect(0, &["kernel base: in the cache"]);
    assert_eq!(yard.compiled(), [""; 0]);
}

#[test]
fn of_a_revision_that_differs_only_the_difference_is_compiled() {
    let yard = Yard::new();
    yard.sh("cd linux && git init -q . && git add . && git commit -qm one && git tag one");
    yard.sh("cd linux && echo c three > mm/c.c && git mv mm/d.c mm/e.c && sed -i s/d.o/e.o/ Makefile");
    yard.sh("cd linux && ln -s ../mm include/mm && git add . && git commit -qm two && git tag two");
    yard.build("git:linux@one", "").expect(0, &[]);
    assert_eq!(yard.compiled(), ALL);
    let said = yard.build("git:linux@two", "").expect(0, &[]);
    assert_eq!(yard.compiled(), ["mm/c.o", "mm/e.o"]);
    assert!(vmlinux(&said, "base").contains("c three\nheader\nd one\n"));
    // What both have is one file on the disk.
    let sources: Vec<_> = std::fs::read_dir(yard.path("cache/mmtorture/sources")).unwrap().flatten().collect();
    let trees: Vec<_> = sources.iter().map(|s| s.path().join("tree/mm/a.c")).filter(|p| p.exists()).collect();
    assert_eq!(trees.len(), 2);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    assert_eq!(inode(&trees[0]), inode(&trees[1]));
}

#[test]
fn what_is_wrong_with_a_source_is_said() {
    let yard = Yard::new();
    yard.sh("mkdir empty && git init -q repo && tar -cf empty.tar empty && cp -r linux built && touch built/.config");
    std::fs::write(yard.path("broken.tar.xz"), "no archive").unwrap();
    std::fs::write(yard.path("linux.zip"), "").unwrap();
    for (source, status, words) in [
        ("tarball:absent.tar", 2, "absent.tar: no such file"),
        ("tarball:linux.zip", 2, "ends in one of .tar, .tar.xz, .tar.gz, .tar.zst"),
        ("tarball:broken.tar.xz", 3, "cannot unpack"),
        ("tarball:empty.tar", 2, "is no kernel source: it has no Makefile at its top"),
        ("tree:absent", 2, "absent: no such folder"),
        ("tree:empty", 2, "is no kernel source: it has no Makefile at its top"),
        ("tree:built", 2, "was built in place (it has .config)"),
        ("git:absent@HEAD", 2, "no such folder"),
        ("git:linux@HEAD", 2, "not a git repository"),
        ("git:repo@v6.1", 2, "there is no such revision in the repository"),
        ("git:repo", 2, "names no revision, expected debian:PACKAGE, tarball:PATH"),
        ("debian:linux-source-0.01", 3, "apt-get install linux-source-0.01"),
    ] {
        yard.build(source, "").expect(status, &[words]);
    }
    let sources = std::fs::read_dir(yard.path("cache/mmtorture/sources")).into_iter().flatten().flatten();
    let left: Vec<_> = sources.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "nothing is left half made: {left:?}");
}

#[test]
fn two_processes_that_want_one_kernel_build_it_once() {
    let yard = Yard::new();
    let matrix = yard.matrix("tree:linux", "");
    let start = || {
        let mut command = yard.command(&["build", &matrix]);
        command.env("SLOW", "0.3").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| Said::of(child.wait_with_output().unwrap()).expect(0, &[]));
    assert_eq!(yard.compiled(), ALL);
    assert_eq!(both[0].stdout, both[1].stdout);
    let built = both.iter().filter(|said| said.stderr.contains("built in")).count();
    assert_eq!(built, 1, "{}\n{}", both[0].stderr, both[1].stderr);
}

#[test]
fn a_killed_build_goes_on_where_it_was_and_links_nothing_half_written() {
    let yard = Yard::new();
    let matrix = yard.matrix("tree:linux", "");
    let mut child: Child = {
        let mut command = yard.command(&["build", &matrix, "--jobs", "1"]);
        command.env("SLOW", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // In the midst of the second object.
    while std::fs::read_to_string(yard.path("compiled")).unwrap_or_default().lines().count() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it cannot be over yet");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = yard.compiled();
    assert_eq!(before, ALL[..2]);
    let said = yard.build("tree:linux", "").expect(0, &["kernel base: built in"]);
    assert_eq!(yard.compiled(), ALL[1..], "the first object was whole");
    assert_eq!(vmlinux(&said, "base").matches("header\n").count(), 4);
}

#[test]
fn the_cache_is_shown_and_pruned() {
    let yard = Yard::new();
    yard.build("tree:linux", "").expect(0, &[]);
    let run = |args: &[&str]| Said::of(yard.command(args).output().unwrap());
    let shown = run(&["cache", "--format", "json"]).expect(0, &[]).json();
    assert_eq!(
        (&shown["kernels"][0]["variant"], &shown["kernels"][0]["source"]),
        (&"base".into(), &"tree:linux".into())
    );
    assert!(shown["kinds"]["trees"].as_u64().unwrap() > 0, "{shown}");
    let text = run(&["cache"]).expect(0, &[]).stdout;
    assert!(text.contains("40.0 GiB (MMTORTURE_CACHE_SIZE)") && text.contains("s ago"), "{text}");
    run(&["cache", "prune"]).expect(0, &[]);
    let mut wrong = yard.command(&["cache"]);
    Said::of(wrong.env("MMTORTURE_CACHE_SIZE", "lots").output().unwrap())
        .expect(2, &["MMTORTURE_CACHE_SIZE: size 'lots', expected a number of bytes"]);
    yard.build("tree:linux", "").expect(0, &["in the cache"]);
    let pruned = run(&["cache", "prune", "--to", "0", "--format", "json"]).expect(0, &[]).json();
    assert_eq!(pruned["removed"].as_array().unwrap().len(), 3, "source, tree and kernel: {pruned}");
    yard.build("tree:linux", "").expect(0, &["built in"]);
}

/// A repository in `linux` whose branch `work` has two commits on top of `base`, and a merge of a third.
fn with_history(yard: &Yard) {
    yard.sh("cd linux && git init -q -b main . && git add . && git commit -qm base && git tag base");
    yard.sh("cd linux && git checkout -qb work && echo 'a two\u{e9}' > mm/a.c && git commit -qam 'mm: change a'");
    yard.sh("cd linux && git mv mm/d.c mm/e.c && sed -i s/d.o/e.o/ Makefile && git commit -qam 'mm: call d e'");
    yard.sh("cd linux && git checkout -qb side base && echo c three > mm/c.c && git commit -qam 'mm: change c'");
    yard.sh("cd linux && git checkout -q work && git merge -q --no-ff -m 'Merge side' side && git checkout -q main");
}

#[test]
fn a_series_is_a_range_of_commits_or_a_mailbox_of_them() {
    let yard = Yard::new();
    with_history(&yard);
    // As its authors mail it: renames as such, in any order, with a cover letter; and as mailers encode it.
    yard.sh("cd linux && git format-patch -q --stdout --cover-letter base..work~1 > ../work.mbox");
    yard.sh("cd linux && git format-patch -q -o ../folder base..work~1 && git format-patch -q --attach -o ../attached base..work~1");
    yard.sh("sed -i 's/^Subject: /Content-Transfer-Encoding: quoted-printable\\nSubject: /; s/\\xc3\\xa9/=C3=A9/' folder/0001*");
    let changed = "a two\u{e9}\nheader\nb one\nb two\nheader\n";
    let one = yard.build("git:linux@base", "series: ['git:linux@base..work']\nvariants: ['prefix:1', all, 'only:3']");
    let one = one.expect(0, &[]);
    assert!(vmlinux(&one, "work/prefix:1").starts_with(changed));
    assert!(vmlinux(&one, "work/all").contains("c three\nheader\nd one\n"), "the merge is a patch");
    assert!(vmlinux(&one, "work/only:3").starts_with("a one\n"));
    let two = yard
        .build("git:linux@base", "series: ['git:linux@base..work~1', work.mbox, folder, attached]\nvariants: [all]");
    let two = two.expect(0, &[]);
    for series in ["work-1", "work", "folder", "attached"] {
        let text = vmlinux(&two, &format!("{series}/all"));
        assert!(text.starts_with(changed) && text.contains("c one\nc two\nheader\nd one\n"), "{series}: {text}");
    }
    let wrong = |series: &str, words: &str| {
        yard.build("git:linux@base", &format!("series: ['{series}']")).expect(2, &[words]);
    };
    wrong("git:linux@work..base", "no commit is in base and not in work");
    wrong("git:linux@base..nowhere", "there is no commit nowhere in the repository");
    wrong("git:folder@base..work", "not a git repository");
    wrong("absent.mbox", "absent.mbox: no such file or folder; expected a quilt folder");
    yard.sh("cd linux && git checkout -q work && printf 'a\\0b' > blob && git add blob && git commit -qm 'Add a blob'");
    wrong("git:linux@base..work", "(Add a blob), line");
    wrong("git:linux@base..work", "binary files are not supported");
}

/// The same on a kernel: Debian's source, as git has it, and a series as git mails it.
#[test]
fn a_mailbox_from_git_applies_to_the_kernel_that_it_is_of() {
    let tarball = Path::new("/usr/src/linux-source-6.1.tar.xz");
    let sources = mmtorture_harness::cache::Cache::open().unwrap().root().join("sources");
    // Others may be there as well, patched ones among them.
    let memo = std::fs::read_to_string(sources.join("linux-source-6.1.json")).unwrap_or_default();
    let memo: Value = serde_json::from_str(&memo).unwrap_or_default();
    let tree = memo["id"].as_str().and_then(|id| id.get(..12)).map(|id| sources.join(id).join("tree"));
    let Some(tree) = tree.filter(|tree| tree.join("mm/rmap.c").exists() && tarball.exists()) else {
        println!("skipped: no kernel source in the cache; `mmtorture build matrices/demo.yaml` unpacks one");
        return;
    };
    let yard = Yard::new();
    let series = common::repository().join("series/delay-rmap");
    yard.sh(&format!(
        "mkdir k && cd k && cp -r {0}/mm . && mkdir -p include && cp -r {0}/include/linux {0}/include/asm-generic include \
         && cp {0}/Makefile {0}/Kconfig . && git init -q . && git add . && git commit -qm base && git tag base \
         && for p in $(cat {1}/series); do git apply {1}/$p && git add . && git commit -qm \"mm: $p\"; done \
         && git format-patch -q --stdout base > ../series.mbox",
        tree.display(),
        series.display()
    ));
    let read = |named: &str| mmtorture_harness::series::Series::load(&yard.path(""), Path::new(named)).unwrap();
    let result = |series: mmtorture_harness::series::Series| {
        let pristine = |path: &str| match std::fs::read(tree.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Ok(None),
        };
        let applied = mmtorture_harness::series::apply(&pristine, &series.patches.iter().collect::<Vec<_>>()).unwrap();
        assert!(applied.notes.is_empty(), "{:?}", applied.notes);
        applied.files
    };
    let quilt = result(read(series.to_str().unwrap()));
    assert_eq!(quilt.len(), 5);
    assert!(result(read("series.mbox")) == quilt);
    assert!(result(read("git:k@base..HEAD")) == quilt);
}

#[test]
fn what_goes_with_an_image_and_what_does_not_is_said() {
    let yard = Yard::new();
    yard.build("tree:linux", "").expect(0, &[]);
    let built = std::fs::read_dir(yard.path("cache/mmtorture/kernels")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(built.join("bzImage"), yard.path("vmlinuz")).unwrap();
    std::fs::write(yard.path("other"), "no vmlinux").unwrap();
    let build = |kernel: &str, lines: &str| {
        let matrix = yard.bench.matrix(&format!("kernel: {{{kernel}}}\n{lines}")).display().to_string();
        Said::of(yard.command(&["build", &matrix]).output().unwrap())
    };
    build("source: 'image:vmlinuz'", "").expect(0, &["kernel base: in the cache"]);
    for (kernel, lines, words) in [
        ("source: 'image:absent'", "", "absent: no such file"),
        ("source: 'image:other'", "", "no boot header, expected a bzImage"),
        ("source: 'image:vmlinuz', kconfig: [small]", "", "kernel.kconfig: an image:PATH is not built"),
        ("source: 'image:vmlinuz', toolchain: clang", "", "kernel.toolchain: an image:PATH is not built"),
        ("source: 'image:vmlinuz', vmlinux: other", "", "is not the vmlinux of the image, 6.1.0-small"),
        ("source: 'image:vmlinuz', modules: absent", "", "kernel.modules: "),
        ("source: 'image:vmlinuz'", "series: [s]", "series: an image:PATH is not built"),
        ("source: 'tree:linux'", "", "kernel.kconfig: no fragment"),
        ("source: 'tree:linux', kconfig: [small], vmlinux: other", "", "kernel.vmlinux: only an image:PATH has one"),
        ("source: 'tree:linux', kconfig: [small], toolchain: icc", "", "toolchain 'icc', expected gcc or clang"),
    ] {
        build(kernel, lines).expect(2, &[words]);
    }
}
