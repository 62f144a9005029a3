//! Tests of the parser.

use super::*;
use proptest::prelude::*;

const PLAIN: &str = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@ fn\n one\n-two\n+2\n three\n";

fn one(patch: &str) -> FilePatch {
    let mut files = parse(patch.as_bytes(), 1).unwrap();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

fn refusal(patch: &str) -> String {
    parse(patch.as_bytes(), 1).unwrap_err().to_string()
}

fn body(hunk: &Hunk) -> Vec<(Op, &[u8])> {
    hunk.lines.iter().map(|l| (l.op, l.text.as_slice())).collect()
}

#[test]
fn plain_diff() {
    let file = one(&format!("Why.\n\nIndex: x\n=====\n{PLAIN}-- \n2.39.0\n"));
    assert_eq!((file.path.as_str(), file.line, file.kind), ("x", 5, Kind::Modify));
    let hunk = &file.hunks[0];
    assert_eq!((hunk.line, hunk.header.as_str()), (7, "@@ -1,3 +1,3 @@ fn"));
    let want: [(Op, &[u8]); 4] =
        [(Op::Context, b"one\n"), (Op::Delete, b"two\n"), (Op::Add, b"2\n"), (Op::Context, b"three\n")];
    assert_eq!(body(hunk), want);
}

#[test]
fn names_lose_stamps_and_components() {
    let with = |old: &str, new: &str, strip| {
        let patch = format!("--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n");
        parse(patch.as_bytes(), strip).map(|files| files[0].path.clone()).map_err(|e| e.to_string())
    };
    assert_eq!(with("a/mm/x.c\t2022-11-06 10:00:00.0 +0000", "b/mm/x.c", 1).unwrap(), "mm/x.c");
    assert_eq!(with("linux.orig/mm/x.c", "linux/mm/x.c", 1).unwrap(), "mm/x.c");
    assert_eq!(with("mm/./x y.c\t", "mm//x y.c\t", 0).unwrap(), "mm/x y.c");
    assert_eq!(with("w/a/mm/x.c", "w/b/mm/x.c", 2).unwrap(), "mm/x.c");
    let escapes = "line 1: path `a/../../etc/x` leads out of the tree";
    assert_eq!(with("a/../../etc/x", "b/../../etc/x", 1).unwrap_err(), escapes);
    assert_eq!(with("../x", "../x", 1).unwrap_err(), "line 1: path `../x` leads out of the tree");
    assert_eq!(with("/etc/x", "/etc/x", 1).unwrap_err(), "line 1: path `/etc/x` is absolute");
    assert_eq!(with("a/x", "x", 1).unwrap_err(), "line 2: path `x` has nothing left after -p1");
    let quoted = "line 1: path `\"a/\\303\"` is not plain text (quoted, not UTF-8, or with control characters)";
    assert_eq!(with("\"a/\\303\"", "\"b/\\303\"", 1).unwrap_err(), quoted);
    let two = "line 1: the old file is `x` but the new file is `y`; a rename says so, as `git diff` does";
    assert_eq!(with("a/x", "b/y", 1).unwrap_err(), two);
    assert_eq!(with("/dev/null", "/dev/null", 1).unwrap_err(), "line 1: expected the name of a file");
}

#[test]
fn files_come_and_go() {
    let new =
        "diff --git a/s.sh b/s.sh\nnew file mode 100755\nindex 0..1\n--- /dev/null\n+++ b/s.sh\n@@ -0,0 +1 @@\n+x\n";
    assert_eq!((one(new).kind, one(new).executable), (Kind::Create, Some(true)));
    let gone = "diff --git a/s b/s\ndeleted file mode 100644\n--- a/s\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
    assert_eq!((one(gone).path.as_str(), one(gone).kind), ("s", Kind::Delete));
    let empty = "diff --git a/an empty file b/an empty file\nnew file mode 100644\nindex 0..e69de29\n";
    let file = one(empty);
    assert_eq!((file.path.as_str(), file.kind, file.executable), ("an empty file", Kind::Create, Some(false)));
    assert!(file.hunks.is_empty());
    let dated = "--- a/s\t1970-01-01 00:00:00.000000000 +0000\n+++ b/s\t2022-11-06 10:00:00 +0000\n@@ -0,0 +1 @@\n+x\n";
    assert_eq!((one(dated).kind, one(dated).executable), (Kind::Create, None));
    assert_eq!(
        refusal("--- /dev/null\n+++ b/s\n@@ -1 +1 @@\n-x\n+y\n"),
        "line 1: the header says that the file is new, but its hunks have old lines"
    );
    assert_eq!(
        refusal("--- a/s\n+++ /dev/null\n@@ -1,2 +1 @@\n-x\n y\n"),
        "line 1: the header says that the file is deleted, but its hunks leave lines"
    );
}

#[test]
fn what_text_cannot_carry_is_refused() {
    let git = |lines: &str| refusal(&format!("Subject: x\n\ndiff --git a/x b/y\n{lines}\n"));
    assert_eq!(git("index 1..2 100644\nGIT binary patch"), "line 5: binary files are not supported");
    assert_eq!(git("new file mode 120000"), "line 4: symbolic links and submodules are not supported");
    assert_eq!(refusal("Binary files a/x and b/x differ\n"), "line 1: binary files are not supported");
    assert_eq!(refusal("*** a/x\n--- b/x\n***************\n"), "line 1: context diffs are not supported");
    let merge = "--- a/x\n+++ b/x\n@@@ -1,1 -1,1 +1,1 @@@\n";
    assert_eq!(refusal(merge), "line 3: merges (combined diffs) are not supported");
}

#[test]
fn names_and_modes_change() {
    let git = |lines: &str| one(&format!("diff --git a/x b/y\n{lines}\n"));
    let renamed = Kind::Move { from: "x".into(), copy: false };
    let pure = git("similarity index 100%\nrename from x\nrename to y");
    assert_eq!((pure.path.as_str(), &pure.kind, pure.hunks.len()), ("y", &renamed, 0));
    let hunk = "index 1..2 100644\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b";
    let changed = git(&format!("similarity index 90%\nrename from x\nrename to y\n{hunk}"));
    assert_eq!((changed.path.as_str(), &changed.kind, changed.hunks.len()), ("y", &renamed, 1));
    let copied = git(&format!("similarity index 90%\ncopy from x\ncopy to y\n{hunk}"));
    assert_eq!(copied.kind, Kind::Move { from: "x".into(), copy: true });
    let mode = one("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n");
    assert_eq!((mode.path.as_str(), mode.kind, mode.executable), ("x", Kind::Modify, Some(true)));
    let outside = refusal("diff --git a/x b/y\nrename from ../x\nrename to y\n");
    assert_eq!(outside, "line 2: path `../x` leads out of the tree");
    let other = "diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/z\n@@ -1 +1 @@\n-a\n+b\n";
    assert_eq!(
        refusal(other),
        "line 1: the old file is `x` but the new file is `z`; a rename says so, as `git diff` does"
    );
}

#[test]
fn counts_are_verified() {
    let hunk = |text: &str| refusal(&format!("--- a/x\n+++ b/x\n{text}"));
    assert_eq!(
        hunk("@@ -1,3 +1,3 @@\n one\n-two\n+2\n"),
        "line 7: the hunk's header says 3 old and 3 new lines, but the patch ends after 2 and 2"
    );
    assert_eq!(
        hunk("@@ -1,2 +1,2 @@\n one\n-two\n+2\n three\n"),
        "line 7: the hunk's header says 2 old and 2 new lines, but this line follows them"
    );
    assert_eq!(
        hunk("@@ -1,2 +1,1 @@\n one\n+2\n"),
        "line 5: the hunk's header says 2 old and 1 new lines, but this line follows them"
    );
    assert_eq!(
        hunk("@@ -1,2 +1,2 @@\n one\ntwo\n"),
        "line 5: the hunk's header says 2 old and 2 new lines, but this line is none of a hunk's: `two`"
    );
    assert_eq!(
        hunk("@@ -x +1 @@\n"),
        "line 3: `@@ -x +1 @@` is no hunk header; expected `@@ -LINE,COUNT +LINE,COUNT @@`"
    );
    assert!(hunk("@@ -1,9999999999 +1 @@\n").contains("is no hunk header"));
    assert!(hunk("@@ -0 +1 @@\n").contains("is no hunk header"));
    assert_eq!(hunk("text\n"), "line 3: expected a hunk header");
    assert_eq!(refusal("--- a/x\n+++ b/x\n"), "line 3: expected a hunk header");
    assert_eq!(refusal("@@ -1 +1 @@\n-a\n+b\n"), "line 1: a hunk without a `---`/`+++` pair before it");
    assert_eq!(
        refusal("diff --git a/x b/x\nindex 1..2\n"),
        "line 3: expected the file's `---` line, or a header line of git's"
    );
}

#[test]
fn a_deleted_line_may_look_like_a_header() {
    let file = one("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a/y\n+++ b/y\n z\n");
    assert_eq!(body(&file.hunks[0])[..2], [(Op::Delete, &b"-- a/y\n"[..]), (Op::Add, &b"++ b/y\n"[..])]);
    let two = parse(format!("{PLAIN}{}", PLAIN.replace("/x", "/y")).as_bytes(), 1).unwrap();
    assert_eq!(two.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn no_newline_at_the_end() {
    let file =
        one("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n");
    assert_eq!(body(&file.hunks[0]), [(Op::Delete, &b"a"[..]), (Op::Add, &b"b"[..])]);
    let early = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n\\ No newline at end of file\n-b\n+c\n";
    let text = "line 6: `\\ No newline at end of file` stands before a line that is not the file's last";
    assert_eq!(refusal(early), text);
    // The patch's own last newline is lost: the file's is not.
    assert_eq!(one(PLAIN.trim_end()), one(PLAIN));
}

#[test]
fn carriage_returns_are_the_files_or_the_transports() {
    let files = one("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\r\n+b\r\n\r\n");
    let want: [(Op, &[u8]); 3] = [(Op::Delete, b"a\r\n"), (Op::Add, b"b\r\n"), (Op::Context, b"\r\n")];
    assert_eq!(body(&files.hunks[0]), want);
    let mail = one(&PLAIN.replace('\n', "\r\n"));
    assert_eq!(body(&mail.hunks[0]), body(&one(PLAIN).hunks[0]));
    assert_eq!(mail.path, "x");
}

#[test]
fn bytes_need_not_be_utf8() {
    let files = parse(b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xff\xfe\n+\xe9\n", 1).unwrap();
    assert_eq!(files[0].hunks[0].lines[1].text, b"\xe9\n");
}

proptest! {
    #[test]
    fn a_damaged_patch_is_read_or_refused(cut in 0usize..400, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), strip in 0usize..3) {
        let git = "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1,2 @@\n+x\n+y\n\\ No newline at end of file\n";
        let mut patch = format!("Subject: x\n{PLAIN}@@ -9,2 +9,3 @@\n x\n+\n y\n{git}").into_bytes();
        for (at, byte) in edits {
            let at = at.index(patch.len());
            patch[at] = byte;
        }
        patch.truncate(cut);
        let lines = patch.split_inclusive(|b| *b == b'\n').count();
        match parse(&patch, strip) {
            Ok(files) => for hunk in files.iter().flat_map(|f| &f.hunks) {
                prop_assert_eq!(hunk.old_side().len(), hunk.old_count);
                prop_assert_eq!(hunk.new_side().len(), hunk.new_count);
            },
            Err(error) => prop_assert!(error.line >= 1 && error.line <= lines + 1),
        }
    }
}
