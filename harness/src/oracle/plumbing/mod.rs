//! Which functions of a trace are not what a developer looks for. Lists of prefixes, blank-separated; whole names end in `$`.

use std::sync::LazyLock;

use super::finding::Frame;
use super::trigger::{Triggers, MIN_LITERAL};

mod lists;

use lists::{COMMON, DISPATCHERS, ENTRIES, PLUMBING, SERVICES, WAITING, WAITS};

/// Prefixes of names, whole names with `$`; by their first byte, since every entry of every trace is looked up.
#[derive(Debug)]
struct Prefixes(Box<[Vec<&'static str>; 128]>);

impl Prefixes {
    fn new(list: &'static str) -> Prefixes {
        let mut by_first: Box<[Vec<&'static str>; 128]> = Box::new(std::array::from_fn(|_| Vec::new()));
        for entry in list.split_whitespace() {
            by_first[usize::from(entry.as_bytes()[0] & 0x7f)].push(entry);
        }
        Prefixes(by_first)
    }

    fn cover(&self, name: &str) -> bool {
        let first = name.as_bytes().first().map_or(0, |b| usize::from(b & 0x7f));
        listed(name, &self.0[first])
    }
}

/// Fragments of names: `^` binds to a name's start, `$` to its end. The long ones are found all at once.
#[derive(Debug)]
struct Fragments {
    entries: Vec<&'static str>,
    short: Vec<&'static str>,
    triggers: Triggers,
}

impl Fragments {
    fn new(list: &'static str) -> Fragments {
        let bare = |entry: &'static str| entry.trim_start_matches('^').trim_end_matches('$');
        let (entries, short): (Vec<_>, Vec<_>) = list.split_whitespace().partition(|e| bare(e).len() >= MIN_LITERAL);
        let numbered = entries.iter().enumerate().map(|(i, entry)| (bare(entry), u16::try_from(i).unwrap_or(u16::MAX)));
        let triggers = Triggers::new(numbered);
        Fragments { entries, short, triggers }
    }

    fn in_name(&self, name: &str) -> bool {
        let mut held = false;
        self.triggers.find(name.as_bytes(), |i| {
            held = self.entries.get(usize::from(i)).is_some_and(|entry| holds(name, &[entry]));
            !held
        });
        held || holds(name, &self.short)
    }
}

static PLUMBING_NAMES: LazyLock<Prefixes> = LazyLock::new(|| Prefixes::new(PLUMBING));
static WAITING_NAMES: LazyLock<Prefixes> = LazyLock::new(|| Prefixes::new(WAITING));
static ENTRY_NAMES: LazyLock<Prefixes> = LazyLock::new(|| Prefixes::new(ENTRIES));
static SERVICE_NAMES: LazyLock<Prefixes> = LazyLock::new(|| Prefixes::new(SERVICES));
static COMMON_PARTS: LazyLock<Fragments> = LazyLock::new(|| Fragments::new(COMMON));
static WAIT_PARTS: LazyLock<Fragments> = LazyLock::new(|| Fragments::new(WAITS));
static DISPATCHER_PARTS: LazyLock<Fragments> = LazyLock::new(|| Fragments::new(DISPATCHERS));

/// A function's name without what the compiler appended, which changes from build to build.
pub(super) fn base_name(function: &str) -> &str {
    const SUFFIXES: [&str; 7] = [".constprop", ".isra", ".part", ".cold", ".llvm", ".cfi", ".clone"];
    if !function.contains('.') {
        return function;
    }
    let cut = SUFFIXES.iter().filter_map(|s| function.find(s)).filter(|&at| at > 0).min();
    &function[..cut.unwrap_or(function.len())]
}

fn listed(name: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('$') {
        Some(whole) => name == whole,
        None => name.starts_with(entry),
    })
}

/// Whether a name holds one of the fragments: `^` binds to its start, `$` to its end.
fn holds(name: &str, fragments: &[&str]) -> bool {
    fragments.iter().any(|entry| match (entry.strip_prefix('^'), entry.strip_suffix('$')) {
        (Some(start), None) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (Some(start), Some(_)) => name == &start[..start.len() - 1],
        (None, None) => name.contains(entry),
    })
}

/// The first specific function of a trace as fuzzers' dashboards see it: `named` is what the report's head named, `skip` are
/// fragments that this kind of report passes over besides the common ones, `reporters` prefixes of those who found it.
pub(super) fn specific<'a>(
    named: impl Iterator<Item = &'a str>,
    frames: &'a [Frame],
    skip: &[&str],
    reporters: &[&str],
) -> Option<String> {
    let passed = |name: &str| COMMON_PARTS.in_name(name) || holds(name, skip) || listed(name, reporters);
    named.chain(solid(frames)).map(base_name).find(|name| !passed(name)).map(str::to_owned)
}

/// The function that a dispatcher of the kernel handed on to, nearest to the trace's inner end.
pub(super) fn dispatched(frames: &[Frame], skip: &[&str]) -> Option<String> {
    let mut names = solid(frames).map(base_name).filter(|name| !holds(name, skip));
    let mut inner = names.next()?;
    if DISPATCHER_PARTS.in_name(inner) {
        return Some(inner.to_owned());
    }
    for name in names {
        if DISPATCHER_PARTS.in_name(name) {
            return Some(inner.to_owned());
        }
        inner = name;
    }
    None
}

/// What a stuck task waits for. Grace periods are one bucket, whoever waits for them: the task is their victim.
pub(super) fn waited_for(frames: &[Frame]) -> Option<String> {
    const GRACE: [&str; 4] = ["synchronize_rcu", "synchronize_srcu", "synchronize_net", "synchronize_sched"];
    let names = || solid(frames).map(base_name);
    if let Some(grace) = names().find(|name| GRACE.iter().any(|g| name.starts_with(g)) || *name == "rtnl_lock") {
        return Some(grace.to_owned());
    }
    names().find(|name| !WAIT_PARTS.in_name(name) && !COMMON_PARTS.in_name(name)).map(str::to_owned)
}

/// A system call without its calling convention: `sys_rmdir` for `__x64_sys_rmdir`, `mount` for `compat_SyS_mount`.
pub(super) fn system_call(function: &str) -> Option<&str> {
    const CONVENTIONS: [&str; 5] = ["__x64_", "__ia32_", "__arm64_", "__riscv_", "__s390x_"];
    const WRAPPERS: [&str; 4] = ["compat_SyS_", "compat_SYSC_", "SyS_", "SYSC_"];
    let call = CONVENTIONS.iter().find_map(|c| function.strip_prefix(c)).filter(|call| call.contains("sys_"));
    call.or_else(|| WRAPPERS.iter().find_map(|w| function.strip_prefix(w)))
}

/// Names of entries that the unwinder vouches for.
fn solid(frames: &[Frame]) -> impl Iterator<Item = &str> {
    frames.iter().filter(|f| !f.unreliable).map(|f| f.function.as_str())
}

/// The way of a Rust panic, in mangled names: `core::panicking`, the panic handler.
fn is_rust_panic(name: &str) -> bool {
    name.starts_with("_R") && (name.contains("9panicking") || name.ends_with("rust_begin_unwind"))
}

/// A function's name as its author wrote it, where it is Rust's.
pub(super) fn readable(name: String) -> String {
    if name.starts_with("_R") {
        return format!("{:#}", rustc_demangle::demangle(&name));
    }
    name
}

/// What one report holds for plumbing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plumbing {
    /// Functions that only report it, in the same notation as the lists here.
    pub reporters: &'static [&'static str],
    /// Its task does not come back, so functions that wait are not to blame.
    pub waiting: bool,
}

impl Plumbing {
    /// Whether a function is plumbing.
    pub fn covers(self, function: &str) -> bool {
        let name = base_name(function);
        is_rust_panic(name)
            || PLUMBING_NAMES.cover(name)
            || listed(name, self.reporters)
            || (self.waiting && WAITING_NAMES.cover(name))
    }

    /// The first function that is not plumbing; entries marked `?` only where there is none else.
    pub fn first_guilty(self, frames: &[Frame]) -> Option<String> {
        self.first(frames, |_| true)
    }

    /// The same among what is no service either.
    pub fn first_user(self, frames: &[Frame]) -> Option<String> {
        self.first(frames, |name| !SERVICE_NAMES.cover(name))
    }

    fn first(self, frames: &[Frame], wanted: impl Fn(&str) -> bool) -> Option<String> {
        let find = |unreliable: bool| {
            let mut names = frames.iter().filter(|f| f.unreliable == unreliable).map(|f| base_name(&f.function));
            names.find(|name| !self.covers(name) && wanted(name)).map(str::to_owned)
        };
        find(false).or_else(|| find(true))
    }

    /// The function that the task's way into the kernel led to: the outermost that is neither plumbing nor an entry.
    pub fn outermost(self, frames: &[Frame]) -> Option<String> {
        let mut names = frames.iter().rev().filter(|f| !f.unreliable).map(|f| base_name(&f.function));
        names.find(|name| !self.covers(name) && !ENTRY_NAMES.cover(name)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Plumbing = Plumbing { reporters: &[], waiting: false };

    #[test]
    fn mm_is_not_plumbing() {
        for mm in [
            "migrate_folio_unmap",
            "rmap_walk_anon",
            "try_to_unmap_one.constprop.0",
            "__alloc_pages",
            "free_unref_page",
        ] {
            assert!(!NONE.covers(mm), "{mm}");
        }
        for other in ["dump_stack_lvl", "asm_exc_invalid_op", "_raw_spin_lock", "__list_del_entry_valid.cold"] {
            assert!(NONE.covers(other), "{other}");
        }
        assert_eq!(base_name("foo.constprop.0.isra.1.cold"), "foo");
    }
}
