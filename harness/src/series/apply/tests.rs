//! Tests of the applier: its rules one by one, the text of its errors, and `patch(1)` and `git apply` as witnesses.

use super::super::miss::Already;
use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A tree in memory.
fn tree<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> io::Result<Option<Vec<u8>>> + 'a {
    move |path| Ok(files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.as_bytes().to_vec()))
}

fn series(patches: &[&str]) -> Vec<Patch> {
    let parse = |(i, text): (usize, &&str)| {
        let name = format!("000{}.patch", i + 1);
        Patch::parse(&name, i + 1, patches.len(), 1, text.as_bytes().to_vec()).unwrap()
    };
    patches.iter().enumerate().map(parse).collect()
}

fn run(files: &[(&str, &str)], patches: &[&str]) -> Result<Applied, ApplyError> {
    let patches = series(patches);
    apply(&tree(files), &patches.iter().collect::<Vec<_>>())
}

fn text(applied: &Applied, path: &str) -> String {
    String::from_utf8(applied.files[path].clone().unwrap()).unwrap()
}

/// A file of `n` lines, `line 1` on.
fn numbered(n: usize) -> String {
    (1..=n).map(|i| format!("line {i}\n")).collect()
}

/// Changes line 10 of [`numbered`], with three lines of context.
const TEN: &str = "\
--- a/mm/x.c
+++ b/mm/x.c
@@ -7,7 +7,7 @@ some function
 line 7
 line 8
 line 9
-line 10
+line ten
 line 11
 line 12
 line 13
";

#[test]
fn a_hunk_in_its_place_leaves_no_note() {
    let applied = run(&[("mm/x.c", &numbered(20))], &[TEN]).unwrap();
    assert_eq!(text(&applied, "mm/x.c"), numbered(20).replace("line 10\n", "line ten\n"));
    assert_eq!((applied.files.len(), applied.notes), (1, vec![]));
}

#[test]
fn offset_and_fuzz_are_reported() {
    let moved = format!("{}{}", "new\n".repeat(4), numbered(20));
    let notes = |file: &str| {
        let applied = run(&[("mm/x.c", file)], &[TEN]).unwrap();
        assert!(text(&applied, "mm/x.c").contains("line 9\nline ten\nline 11\n"));
        applied.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(notes(&moved), @r"0001.patch:3: hunk 1 of mm/x.c applied at line 11, 4 lines below where it says");
    insta::assert_snapshot!(notes(&numbered(20).replace("line 1\n", "")), @r"0001.patch:3: hunk 1 of mm/x.c applied at line 6, 1 line above where it says");
    insta::assert_snapshot!(notes(&numbered(20).replace("line 7\n", "line seven\n")), @r"0001.patch:3: hunk 1 of mm/x.c applied at line 7, ignoring the outermost line of its context (fuzz 1)");
    insta::assert_snapshot!(notes(&moved.replace("line 12\n", "line twelve\n")), @r"0001.patch:3: hunk 1 of mm/x.c applied at line 11, 4 lines below where it says, ignoring the outermost 2 lines of its context (fuzz 2)");
}

#[test]
fn ignored_context_is_not_overwritten() {
    let file = numbered(20).replace("line 7\n", "line seven\n");
    let applied = run(&[("mm/x.c", &file)], &[TEN]).unwrap();
    assert!(text(&applied, "mm/x.c").contains("line 6\nline seven\nline 8\n"));
}

#[test]
fn later_patches_see_earlier_ones() {
    let create = "--- /dev/null\n+++ b/mm/new.c\n@@ -0,0 +1,2 @@\n+a\n+b\n";
    let change = "--- a/mm/new.c\n+++ b/mm/new.c\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n";
    let delete = "--- a/mm/new.c\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-c\n";
    assert_eq!(text(&run(&[], &[create, change]).unwrap(), "mm/new.c"), "a\nc\n");
    // Created and deleted: no difference to the pristine tree.
    assert_eq!(run(&[], &[create, change, delete]).unwrap(), Applied::default());
    let applied = run(&[("mm/new.c", "a\nc\n")], &[delete]).unwrap();
    assert_eq!(applied.files["mm/new.c"], None);
    let again = run(&[("mm/new.c", "a\nc\n")], &[delete, create]).unwrap();
    assert_eq!(text(&again, "mm/new.c"), "a\nb\n");
}

#[test]
fn files_are_renamed_copied_and_given_modes() {
    let git = |lines: &str| format!("diff --git a/old b/new\n{lines}\n");
    let hunk = "--- a/old\n+++ b/new\n@@ -1,2 +1,2 @@\n a\n-b\n+c";
    let renamed = git(&format!("rename from old\nrename to new\n{hunk}"));
    let applied = run(&[("old", "a\nb\n")], &[&renamed]).unwrap();
    assert_eq!((applied.files["old"].clone(), text(&applied, "new")), (None, "a\nc\n".to_owned()));
    let copied = git(&format!("copy from old\ncopy to new\n{hunk}"));
    let applied = run(&[("old", "x\na\nb\n")], &[&copied]).unwrap();
    assert_eq!((applied.files.len(), text(&applied, "new")), (1, "x\na\nc\n".to_owned()));
    assert_eq!(applied.notes.len(), 1, "an offset is told of a copy as well");
    let mode = "diff --git a/old b/old\nold mode 100644\nnew mode 100755\n";
    let applied = run(&[("old", "a\nb\n")], &[mode, &renamed]).unwrap();
    assert_eq!(applied.executable, BTreeMap::from([("new".to_owned(), true)]), "a mode goes with its file");

    let error = |files: &[(&str, &str)], patch: &str| run(files, &[patch]).unwrap_err().to_string();
    insta::assert_snapshot!(error(&[], &renamed), @r"
    patch 1 of 1, 0001.patch, does not apply: new cannot be made
      0001.patch:1: the patch makes it of old, which is not in the tree
    ");
    insta::assert_snapshot!(error(&[("old", "a\nb\n"), ("new", "")], &renamed), @r"
    patch 1 of 1, 0001.patch, does not apply: new is in the tree already
      0001.patch:1: the patch creates this file; the tree's has other content
    ");
    assert!(error(&[("old", "z\n")], &renamed).contains("hunk 1"));
    assert!(error(&[], mode).contains("old is not in the tree"));
}

#[test]
fn executable_files_are_named() {
    let create = "diff --git a/t.sh b/t.sh\nnew file mode 100755\n--- /dev/null\n+++ b/t.sh\n@@ -0,0 +1 @@\n+a\n";
    assert_eq!(run(&[], &[create]).unwrap().executable, BTreeMap::from([("t.sh".to_owned(), true)]));
}

#[test]
fn lines_are_never_glued_together() {
    // Without context, only the mark says that `b` ends the file; here it would not.
    let patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n";
    assert_eq!(text(&run(&[("x", "a\n")], &[patch]).unwrap(), "x"), "b");
    assert!(run(&[("x", "a\nc\n")], &[patch]).is_err());
    let append = "--- a/x\n+++ b/x\n@@ -1,0 +2 @@\n+b\n";
    assert_eq!(text(&run(&[("x", "a\n")], &[append]).unwrap(), "x"), "a\nb\n");
    insta::assert_snapshot!(refusal(&[("x", "a")], &[append]), @r"
    patch 1 of 1, 0001.patch, does not apply: x, hunk 1 of 1
      0001.patch:3: @@ -1,0 +2 @@
      It has no old lines to look for (diff -U0), and does not fit behind line 1:
      x has 1 lines, and its last may lack a newline.
    ");
}

#[test]
fn a_far_header_costs_nothing() {
    let far = TEN.replace("-7,7 +7,7", "-999999999,7 +999999999,7");
    let applied = run(&[("mm/x.c", &numbered(20))], &[&far]).unwrap();
    assert_eq!(applied.notes[0].offset, 7 - 999_999_999);
}

fn refusal(files: &[(&str, &str)], patches: &[&str]) -> String {
    run(files, patches).unwrap_err().to_string()
}

#[test]
fn refusal_of_a_changed_line() {
    let file = numbered(20).replace("line 10\n", "line 10 was rewritten\n");
    insta::assert_snapshot!(refusal(&[("mm/x.c", &file)], &[TEN]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c, hunk 1 of 1
      0001.patch:3: @@ -7,7 +7,7 @@ some function
      Closest is line 7 of mm/x.c, where 6 of its 7 old lines stand:
                    7 | line 7
                    8 | line 8
                    9 | line 9
        wanted      - | line 10
        found      10 | line 10 was rewritten
                   11 | line 11
                   12 | line 12
                   13 | line 13
    ");
}

#[test]
fn refusal_of_a_kernel_function_that_moved_and_changed() {
    let kernel = "\
/*
 * The caller needs to hold the pte lock.
 */
void page_remove_rmap(struct page *page,
	struct vm_area_struct *vma, bool compound)
{
	atomic_t *mapped;
	int nr = 0;

	VM_BUG_ON_PAGE(compound && !PageHead(page), page);

	lock_page_memcg(page);
	if (likely(!compound)) {
		nr = atomic_dec_return(&page->_mapcount);
	}
	unlock_page_memcg(page);
}
";
    let patch = "\
--- a/mm/rmap.c
+++ b/mm/rmap.c
@@ -1294,11 +1294,9 @@ out:
 	int nr = 0;
 
 	VM_BUG_ON_PAGE(compound && !PageHead(page), page);
-
-	/* Hugetlb pages are not counted in NR_*MAPPED */
 	lock_page_memcg(page);
 	if (likely(!compound)) {
-		nr = atomic_add_negative(-1, &page->_mapcount);
+		page_zap_pte_rmap(page);
 	}
 	unlock_page_memcg(page);
 }
";
    insta::assert_snapshot!(refusal(&[("mm/rmap.c", kernel)], &[patch]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/rmap.c, hunk 1 of 1
      0001.patch:3: @@ -1294,11 +1294,9 @@ out:
      Closest is line 8 of mm/rmap.c, where 9 of its 11 old lines stand:
                    8 |         int nr = 0;
                    9 |
                   10 |         VM_BUG_ON_PAGE(compound && !PageHead(page), page);
                   11 |
        wanted      - |         /* Hugetlb pages are not counted in NR_*MAPPED */
                   12 |         lock_page_memcg(page);
                   13 |         if (likely(!compound)) {
        wanted      - |                 nr = atomic_add_negative(-1, &page->_mapcount);
        found      14 |                 nr = atomic_dec_return(&page->_mapcount);
                   15 |         }
                   16 |         unlock_page_memcg(page);
                   17 | }
    ");
}

#[test]
fn refusal_in_a_second_patch_that_is_applied_already() {
    let first = "--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1,3 +1,4 @@\n line 1\n line 2\n+line 2b\n line 3\n";
    insta::assert_snapshot!(refusal(&[("mm/x.c", &numbered(20))], &[first, TEN, TEN]), @r"
    patch 3 of 3, 0003.patch, does not apply: mm/x.c, hunk 1 of 1
      0003.patch:3: @@ -7,7 +7,7 @@ some function
      It looks already applied, or reversed: mm/x.c has all that this patch makes of it.
      Closest is line 8 of mm/x.c, where 6 of its 7 old lines stand:
      (Lines of mm/x.c are those after the patches before this one.)
                    8 | line 7
                    9 | line 8
                   10 | line 9
        wanted      - | line 10
        found      11 | line ten
                   12 | line 11
                   13 | line 12
                   14 | line 13
    ");
}

#[test]
fn refusal_of_an_insertion_that_is_applied_already() {
    let patch = "--- a/mm/x.c\n+++ b/mm/x.c\n@@ -2,2 +2,4 @@\n line 2\n+inserted one\n+inserted two\n line 3\n";
    let file = numbered(6).replace("line 3\n", "inserted one\ninserted two\nline 3\n");
    insta::assert_snapshot!(refusal(&[("mm/x.c", &file)], &[patch]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c, hunk 1 of 1
      0001.patch:3: @@ -2,2 +2,4 @@
      It looks already applied, or reversed: mm/x.c has all that this patch makes of it.
      Its 2 old lines stand at line 2 of mm/x.c, with others between them:
                    2 | line 2
        found       3 | inserted one
        found       4 | inserted two
                    5 | line 3
    ");
}

#[test]
fn refusal_of_a_hunk_that_is_applied_already() {
    let second = "@@ -15,3 +15,3 @@\n line 15\n-line 16\n+line sixteen\n line 17\n";
    let file = numbered(20).replace("line 10\n", "line ten\n");
    insta::assert_snapshot!(refusal(&[("mm/x.c", &file)], &[&format!("{TEN}{second}")]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c, hunk 1 of 2
      0001.patch:3: @@ -7,7 +7,7 @@ some function
      It looks already applied, or reversed: line 7 of mm/x.c has what this hunk makes.
      Closest is line 7 of mm/x.c, where 6 of its 7 old lines stand:
                    7 | line 7
                    8 | line 8
                    9 | line 9
        wanted      - | line 10
        found      10 | line ten
                   11 | line 11
                   12 | line 12
                   13 | line 13
    ");
}

#[test]
fn refusal_where_nothing_resembles_the_hunk() {
    let patch = TEN.replace("line", "none");
    insta::assert_snapshot!(refusal(&[("mm/x.c", &numbered(20))], &[&patch]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c, hunk 1 of 1
      0001.patch:3: @@ -7,7 +7,7 @@ some function
      Nothing in mm/x.c resembles what it wants; line 7, where it belongs, reads as found:
        wanted        | none 7
        wanted        | none 8
        wanted        | none 9
        wanted      - | none 10
        wanted        | none 11
        wanted        | none 12
        wanted        | none 13
        found       7 | line 7
        found       8 | line 8
        found       9 | line 9
        found      10 | line 10
        found      11 | line 11
        found      12 | line 12
        found      13 | line 13
    ");
    insta::assert_snapshot!(refusal(&[("mm/x.c", &numbered(2))], &[&patch]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c, hunk 1 of 1
      0001.patch:3: @@ -7,7 +7,7 @@ some function
      It belongs at line 7, but mm/x.c has 2 lines, none like its own:
        wanted        | none 7
        wanted        | none 8
        wanted        | none 9
        wanted      - | none 10
        wanted        | none 11
        wanted        | none 12
        wanted        | none 13
    ");
}

#[test]
fn refusal_of_white_space_and_missing_newline() {
    let file = numbered(20).replace("line 10\n", "line\t10\n");
    let text = refusal(&[("mm/x.c", &file)], &[TEN]);
    assert!(text.ends_with("Wanted and found differ in white space only."), "{text}");
    let end = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a line that tells\n-end\n+END\n";
    let text = refusal(&[("x", "a line that tells\nend")], &[end]);
    assert!(text.contains("found       2 | end (no newline at end of file)"), "{text}");
}

#[test]
fn refusal_of_hunks_out_of_order() {
    let earlier = "@@ -2,3 +2,3 @@\n line 2\n-line 3\n+line three\n line 4\n";
    let text = refusal(&[("mm/x.c", &numbered(20))], &[&format!("{TEN}{earlier}")]);
    assert!(
        text.contains("Its 3 old lines stand at line 2 of mm/x.c, but above those of the hunk before it:"),
        "{text}"
    );
}

#[test]
fn refusal_of_whole_files() {
    let create = "--- /dev/null\n+++ b/mm/x.c\n@@ -0,0 +1 @@\n+a\n";
    let delete = "--- a/mm/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n";
    insta::assert_snapshot!(refusal(&[], &[TEN]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c is not in the tree
      0001.patch:1: the patch changes this file
    ");
    insta::assert_snapshot!(refusal(&[("x.c", "")], &[TEN]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c is not in the tree
      0001.patch:1: the tree has x.c; is the series' -p one too small?
    ");
    insta::assert_snapshot!(refusal(&[], &[delete]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c is not in the tree
      0001.patch:1: the patch deletes this file; it looks already applied
    ");
    insta::assert_snapshot!(refusal(&[("mm/x.c", "a\nb\nc\n")], &[delete]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c
      0001.patch:1: the patch deletes this file, but 2 of its lines are not in the patch
    ");
    insta::assert_snapshot!(refusal(&[("mm/x.c", "a\n")], &[create]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c is in the tree already
      0001.patch:1: the patch creates this file; it looks already applied: the content is the same
    ");
    insta::assert_snapshot!(refusal(&[("mm/x.c", "b\n")], &[create]), @r"
    patch 1 of 1, 0001.patch, does not apply: mm/x.c is in the tree already
      0001.patch:1: the patch creates this file; the tree's has other content
    ");
    let patches = series(&[TEN]);
    let broken = |_: &str| Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let error = apply(&broken, &[&patches[0]]).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r"patch 1 of 1, 0001.patch, does not apply: mm/x.c cannot be read: permission denied");
}

proptest! {
    #[test]
    fn no_patch_and_no_tree_panics(
        file in "[ab\n]{0,40}",
        body in prop::collection::vec(("[ +-]", "[ab]{0,2}"), 0..12),
        start in 0usize..30,
        no_newline in any::<bool>(),
    ) {
        let old = body.iter().filter(|(op, _)| op != "+").count();
        let new = body.iter().filter(|(op, _)| op != "-").count();
        let mut patch = format!("--- a/x\n+++ b/x\n@@ -{start},{old} +{start},{new} @@\n");
        for (op, line) in &body {
            patch.push_str(&format!("{op}{line}\n"));
        }
        if no_newline {
            patch.push_str("\\ No newline at end of file\n");
        }
        if let Ok(patch) = Patch::parse("p", 1, 1, 1, patch.into_bytes()) {
            match apply(&tree(&[("x", &file)]), &[&patch]) {
                Ok(applied) => {
                    let after = applied.files["x"].as_ref().map_or(0, Vec::len);
                    prop_assert!(after <= file.len() + body.len() * 3);
                }
                Err(error) => prop_assert!(error.to_string().lines().count() < 30),
            }
        }
    }
}

/// Xorshift: the same edits on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    /// Few words, so that lines repeat and hunks fit in more than one place.
    fn line(&mut self) -> String {
        format!("{}\n", ["{", "}", "", "\tif (page)", "\treturn nr;", "out:", "\tnr++;", "int x;"][self.below(8)])
    }

    fn file(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.line()).collect()
    }

    fn edited(&mut self, file: &[String], edits: usize) -> Vec<String> {
        let mut file = file.to_vec();
        for _ in 0..edits {
            let at = self.below(file.len() + 1);
            match self.below(3) {
                0 => file.insert(at, self.line()),
                1 if at < file.len() => drop(file.remove(at)),
                _ if at < file.len() => file[at] = self.line(),
                _ => (),
            }
        }
        file
    }
}

fn installed(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: no {tool} on this machine");
    }
    there
}

fn output(dir: &Path, tool: &str, args: &[&str]) -> (bool, Vec<u8>) {
    let run = Command::new(tool).args(args).current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap();
    (run.status.success(), run.stdout)
}

/// Edits a file, takes the difference, edits the file elsewhere, applies: as `patch` does it, to the byte.
#[test]
fn agrees_with_gnu_patch() {
    if !installed("patch") || !installed("diff") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).unwrap();
    let (mut clean, mut moved, mut failed, mut stricter) = (0, 0, 0, 0);
    for seed in 1..=300u64 {
        let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let size = 5 + draw.below(40);
        let old = draw.file(size);
        let edits = 1 + draw.below(4);
        let new = draw.edited(&old, edits);
        let drift = draw.below(5);
        let target = draw.edited(&old, drift);
        write("old", old.concat().as_bytes());
        write("new", new.concat().as_bytes());
        // No file, no last newline: what `diff` says about them must be understood too.
        let cut = |text: String, cut: bool| if cut { text.trim_end_matches('\n').to_owned() } else { text };
        let bare = draw.below(6) == 0;
        if bare {
            write("old", cut(old.concat(), true).as_bytes());
        }
        let target = cut(target.concat(), bare);
        let option = ["-U3", "-U3", "-U1", "-U0"][draw.below(4)];
        let (same, patch) = output(dir.path(), "diff", &[option, "--label", "a/f", "--label", "b/f", "old", "new"]);
        if same || new.is_empty() || target.is_empty() {
            continue;
        }
        write("f", target.as_bytes());
        write("p", &patch);
        let (gnu, said) = output(dir.path(), "patch", &["-f", "-p1", "-r-", "--no-backup-if-mismatch", "-i", "p"]);
        let patch_text = String::from_utf8(patch).unwrap();
        let ours = run(&[("f", &target)], &[&patch_text]);
        let patch_said = |what: &str| String::from_utf8_lossy(&said).contains(what);
        let context = || format!("seed {seed}\n{patch_text}\n--- on\n{target}\n{}", String::from_utf8_lossy(&said));
        match (&ours, gnu) {
            (Ok(applied), true) => {
                let theirs = fs::read_to_string(dir.path().join("f")).unwrap();
                assert_eq!(text(applied, "f"), theirs, "{}", context());
                if applied.notes.is_empty() {
                    clean += 1;
                } else {
                    moved += 1;
                }
                let fuzzed = String::from_utf8_lossy(&said).matches("with fuzz").count();
                assert_eq!(applied.notes.iter().filter(|n| n.fuzz > 0).count(), fuzzed, "{}", context());
            }
            (Err(_), false) => failed += 1,
            // Where we are stricter. Lines to insert behind the file's end, by their number alone: `patch` appends
            // them wherever that is, and completes a last line for it.
            (Err(ApplyError { why: Why::Hunk(miss), .. }), true) if miss.of_nothing => stricter += 1,
            // Fuzz that leaves no context, or makes a change twice.
            (Err(ApplyError { why: Why::Hunk(miss), .. }), true)
                if (option == "-U1" || miss.already != Already::No) && patch_said("with fuzz") =>
            {
                stricter += 1;
            }
            _ => panic!("ours {ours:?}\npatch succeeded: {gnu}\n{}", context()),
        }
    }
    println!("{clean} applied in place, {moved} moved or fuzzy, {failed} refused by both, {stricter} by us alone");
    assert!(clean > 20 && moved > 20 && failed > 20 && stricter < 20, "{clean} {moved} {failed} {stricter}");
}

/// Trees with files that come, go and change: `git diff` read by us is what `git apply` makes of it.
#[test]
fn agrees_with_git_apply() {
    if !installed("git") {
        return;
    }
    for seed in 1..=40u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut before = Vec::new();
        for side in ["a", "b", "t"] {
            fs::create_dir(dir.path().join(side)).unwrap();
        }
        for name in ["one", "two words", "three", "four"] {
            let size = draw.below(30);
            let old = draw.file(size);
            let edits = draw.below(6);
            let new = draw.edited(&old, edits);
            // 0: new file, 1: deleted, else both.
            let fate = draw.below(4);
            let bare = draw.below(3) == 0;
            let old_text = if bare { old.concat().trim_end().to_owned() } else { old.concat() };
            if fate != 0 {
                fs::write(dir.path().join("a").join(name), &old_text).unwrap();
                fs::write(dir.path().join("t").join(name), &old_text).unwrap();
                before.push((name, old_text));
            }
            if fate != 1 {
                fs::write(dir.path().join("b").join(name), new.concat()).unwrap();
            }
        }
        let args = ["diff", "--no-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-prefix", "a", "b"];
        let (same, patch) = output(dir.path(), "git", &args);
        if same {
            continue;
        }
        let patch = String::from_utf8(patch).unwrap();
        fs::write(dir.path().join("p"), &patch).unwrap();
        let files: Vec<(&str, &str)> = before.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let applied = run(&files, &[&patch]).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{patch}"));
        assert!(applied.notes.is_empty(), "seed {seed}: {:?}", applied.notes);
        let (ok, _) = output(&dir.path().join("t"), "git", &["apply", "-p1", "../p"]);
        assert!(ok, "seed {seed}: git apply refused\n{patch}");
        for name in ["one", "two words", "three", "four"] {
            let theirs = fs::read_to_string(dir.path().join("t").join(name)).ok();
            let ours = match applied.files.get(name) {
                Some(content) => content.clone().map(|c| String::from_utf8(c).unwrap()),
                None => before.iter().find(|(n, _)| *n == name).map(|(_, text)| text.clone()),
            };
            assert_eq!(ours, theirs, "seed {seed}: {name}\n{patch}");
        }
    }
}
