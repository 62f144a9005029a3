//! A small program that stands in for a vmlinux in tests, made by the host's compiler.

use super::Vmlinux;
use std::path::PathBuf;
use std::process::Command;

const MAIN: &str = "\
const char linux_banner[] = \"Linux version 6.1.0-test (a@b) (gcc #9) #1 SMP now\\n\";
void work(int), twin_a(void), twin_b(void);
__attribute__((noreturn)) void start_kernel(void)
{
	work(3);
	twin_a();
	twin_b();
	for (;;)
		;
}
";
const WORK: &str = "\
#include \"../include/helper.h\"
__attribute__((noinline, noreturn)) static void die(void)
{
	asm volatile(\"mark_die: ud2\");
	__builtin_unreachable();
}
static inline __attribute__((always_inline)) void inner(int x)
{
	asm volatile(\"mark_rip: nop\");
	helper(x);
}
__attribute__((noinline, used)) static int probe(int x)
{
	asm volatile(\"mark_probe: nop\");
	return x * 3;
}
void work(int x)
{
	if (probe(x) == 4)
		return;
	inner(x);
	die();
}
";
const TWINS: &str = "\
__attribute__((noinline, used)) static int probe(int x)
{
	asm volatile(\".skip 99, 0x90\");
	return x;
}
__attribute__((noinline, used)) static void twin(void)
{
	asm volatile(\"nop\");
}
void NAME(void)
{
	twin();
	probe(1);
}
";
const HELPER: &str = "\
static inline __attribute__((always_inline)) void helper(int x)
{
	asm volatile(\"mark_helper: nop\");
}
";

/// A folder with a small kernel in it; none where the host cannot make one.
pub(crate) fn kernel(flags: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["init", "mm", "include"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    std::fs::write(at("init/main.c"), MAIN).unwrap();
    std::fs::write(at("mm/work.c"), WORK).unwrap();
    std::fs::write(at("mm/twin_a.c"), TWINS.replace("NAME", "twin_a")).unwrap();
    std::fs::write(at("mm/twin_b.c"), TWINS.replace("NAME", "twin_b")).unwrap();
    std::fs::write(at("include/helper.h"), HELPER).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.current_dir(dir.path()).args(["-O2", "-g", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-fno-pie"]);
    gcc.args(["-Wl,-e,start_kernel", "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-o", "vmlinux"]);
    gcc.args(flags).args(["init/main.c", "mm/work.c", "mm/twin_a.c", "mm/twin_b.c"]);
    match gcc.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: gcc is missing");
            None
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let path = at("vmlinux");
            Some((dir, path))
        }
    }
}

/// Where symbols are: the only one of a name.
pub(crate) fn address(file: &Vmlinux, name: &str) -> u64 {
    file.symbols().unwrap().iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}")).1.address
}

/// The offset of `mark` in `work` and the size of `work`.
pub(crate) fn in_work(file: &Vmlinux, mark: &str) -> (u64, u64) {
    let work = file.symbols().unwrap().iter().find(|(n, _)| *n == "work").unwrap().1;
    (address(file, mark) - work.address, work.size)
}
