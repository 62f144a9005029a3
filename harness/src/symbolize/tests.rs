//! Against small programs that stand in for a vmlinux, made by the host's compiler.

use super::small_kernel::{address, in_work, kernel};
use super::*;

fn all_formats(check: impl Fn(&Path, &Vmlinux)) {
    let id = "-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567";
    for flags in [&[id][..], &["-gdwarf-4", id], &["-gz=zlib", id], &["-gdwarf-5", "-gno-as-loc-support", id]] {
        let Some((dir, path)) = kernel(flags) else { return };
        check(dir.path(), &Vmlinux::open(&path).unwrap());
    }
}

#[test]
fn inlined_functions_have_their_lines() {
    all_formats(|dir, file| {
        let mut symbols = Symbolizer::new(file, None);
        let (offset, size) = in_work(file, "mark_rip");
        let exact = symbols.resolve(&Query::new("work", offset).size(size).exact()).unwrap();
        assert_eq!(exact.to_string(), "mm/work.c:21 (inlined: inner mm/work.c:9)");
        assert_eq!((exact.function.as_str(), exact.telling()), ("work", Some(("mm/work.c", 9))));
        assert_eq!(symbols.source().as_deref(), Some(dir.canonicalize().unwrap().as_path()));
        // What a return address there would be: the call's line is that of the byte before.
        let (offset, _) = in_work(file, "mark_helper");
        let helper = symbols.resolve(&Query::new("work", offset).size(size).exact()).unwrap();
        assert_eq!(helper.to_string(), "mm/work.c:21 (inlined: helper include/helper.h:3, inner mm/work.c:10)");
        assert_eq!(helper.telling(), Some(("mm/work.c", 10)), "the header says less");
        let before = symbols.resolve(&Query::new("work", offset).size(size)).unwrap();
        assert_eq!(before.to_string(), exact.to_string());
        // `die()` does not return: its return address is behind the last byte of `work`.
        let call = symbols.resolve(&Query::new("work", size).size(size)).unwrap();
        assert_eq!(call.to_string(), "mm/work.c:22");
        // An address says the same.
        let by_address = symbols.resolve_address(address(file, "mark_helper"), true).unwrap();
        assert_eq!(by_address, helper);
    });
}

#[test]
fn functions_of_one_name_are_told_apart() {
    all_formats(|_, file| {
        let mut symbols = Symbolizer::new(file, None);
        let sizes: Vec<u64> =
            file.symbols().unwrap().iter().filter(|(name, _)| *name == "probe").map(|(_, s)| s.size).collect();
        let small = *sizes.iter().min().unwrap();
        let place = symbols.resolve(&Query::new("probe", 0).size(small)).unwrap();
        assert_eq!(place.to_string(), "mm/work.c:14");
        // The two large ones differ in their files: no guess.
        let large = *sizes.iter().max().unwrap();
        let why = symbols.resolve(&Query::new("probe", 0).size(large)).unwrap_err().to_string();
        assert_eq!(why, "2 functions of that name and size: mm/twin_a.c:2; mm/twin_b.c:2");
    });
}

#[test]
fn frames_without_a_place_say_why() {
    let Some((_dir, path)) = kernel(&[]) else { return };
    let file = Vmlinux::open(&path).unwrap();
    let mut symbols = Symbolizer::new(&file, None);
    let (_, size) = in_work(&file, "mark_rip");
    let mut why = |query: Query<'_>| symbols.resolve(&query).unwrap_err().to_string();
    assert_eq!(why(Query::new("absent", 1).size(2)), "no such function in the vmlinux");
    assert!(why(Query::new("work", 1).size(0x9000)).starts_with("0x9000 bytes in the log, 0x"));
    assert_eq!(why(Query::new("work", size + 1).size(size)), "the offset is beyond the function's end");
    assert_eq!(why(Query::new("work", size).size(size).exact()), "the offset is beyond the function's end");
    assert_eq!(why(Query::new("work", u64::MAX)), "the offset is beyond the function's end");
    assert_eq!(why(Query { offset: None, ..Query::new("work", 1) }), "no offset in the log");
    let module = Query { module: Some("zram"), ..Query::new("work", 1) };
    assert_eq!(why(module), "in module zram, whose symbols are not in vmlinux");
    assert_eq!(symbols.resolve_address(1, true), Err(Unresolved::NoLine(1)));
}

#[test]
fn a_vmlinux_names_itself() {
    let Some((_dir, path)) = kernel(&["-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567"]) else { return };
    let file = Vmlinux::open(&path).unwrap();
    let symbols = Symbolizer::new(&file, None);
    assert_eq!(
        symbols.identity().to_string(),
        "6.1.0-test #1 SMP now (build id 0123456789abcdef0123456789abcdef01234567)"
    );
}

#[test]
fn a_stripped_vmlinux_says_so() {
    let Some((dir, path)) = kernel(&["-g0"]) else { return };
    let why = |file: &Vmlinux| Symbolizer::new(file, None).resolve(&Query::new("work", 1)).unwrap_err().to_string();
    assert!(why(&Vmlinux::open(&path).unwrap()).starts_with("it has no debug information"));
    let text = dir.path().join("mm/work.c");
    assert!(format!("{:#}", Vmlinux::open(&text).unwrap_err()).contains("mm/work.c: not an ELF file"));
    assert!(Vmlinux::open(dir.path()).is_err() && Vmlinux::open(&dir.path().join("absent")).is_err());
}

#[test]
fn what_was_resolved_is_kept_for_this_vmlinux_only() {
    let Some((dir, path)) = kernel(&[]) else { return };
    let cache = Cache::at(dir.path().join("cache")).unwrap();
    let file = Vmlinux::open(&path).unwrap();
    let mut first = Symbolizer::new(&file, Some(&cache));
    let place = first.resolve(&Query::new("work", 1)).unwrap();
    first.save().unwrap();
    let kept: Vec<_> = std::fs::read_dir(cache.path("symbols", "")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);

    let mut second = Symbolizer::new(&file, Some(&cache));
    assert_eq!(second.resolve(&Query::new("work", 1)).as_ref(), Ok(&place));
    assert!(second.lines.is_none(), "no debug information was read");
    assert!(second.source().is_some(), "the tree is known");

    std::fs::write(&kept[0], "mmtorture-symbols-1 damaged\n{}\n").unwrap();
    let mut third = Symbolizer::new(&file, Some(&cache));
    assert_eq!(third.resolve(&Query::new("work", 1)).as_ref(), Ok(&place));
    third.save().unwrap();

    // Another file of the same build id, linked anew.
    let again = dir.path().join("again");
    std::fs::copy(&path, &again).unwrap();
    std::fs::File::options().append(true).open(&again).unwrap().set_len(file.size() + 1).unwrap();
    let again = Vmlinux::open(&again).unwrap();
    assert!(Symbolizer::new(&again, Some(&cache)).store.root().is_none());
}

/// Everything that can be asked of a file.
fn ask_all(path: &Path) {
    let Ok(file) = Vmlinux::open(path) else { return };
    let mut symbols = Symbolizer::new(&file, None);
    for name in ["work", "probe", "start_kernel", "twin", "die"] {
        for offset in [0, 1, 5, 16] {
            let _ = symbols.resolve(&Query::new(name, offset));
        }
    }
    for address in (0x40_1000..0x40_1200).step_by(16).chain([0, u64::MAX]) {
        let _ = symbols.resolve_address(address, true);
    }
}

/// Neither a file that was cut off nor one with wrong bytes makes it panic.
#[test]
fn damaged_files_are_survived() {
    // Relevant bytes are few in a file that small; a fixed generator makes failures repeatable.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for flags in [&[][..], &["-gdwarf-4"], &["-gz=zlib"]] {
        let Some((dir, path)) = kernel(flags) else { return };
        let whole = std::fs::read(&path).unwrap();
        let damaged = dir.path().join("damaged");
        for _ in 0..100 {
            std::fs::write(&damaged, &whole[..random(whole.len())]).unwrap();
            ask_all(&damaged);
        }
        // All that follows the code: notes, debug sections, symbols, section headers; and the ELF header.
        let behind = whole.windows(4).position(|w| w == b"GNU\0").unwrap_or(0x1000).max(0x1000);
        for _ in 0..rounds() {
            let mut bytes = whole.clone();
            for _ in 0..=random(8) {
                let at = if random(8) == 0 { random(64) } else { behind + random(whole.len() - behind) };
                bytes[at] = match random(3) {
                    0 => 0xff,
                    1 => bytes[at] ^ (1 << random(8)),
                    _ => u8::try_from(random(256)).unwrap(),
                };
            }
            // Not in place: that would be another file under a mapping.
            std::fs::write(&damaged, &bytes).unwrap();
            ask_all(&damaged);
        }
    }
}

/// `MMTORTURE_FUZZ` asks for more.
fn rounds() -> usize {
    std::env::var("MMTORTURE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}
