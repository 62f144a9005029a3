//! What a setting is made of.

use mmtorture_protocol::{Backing, Memcg, Shows, Swap};

/// One thing that a setting does, or one sign of it in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Build: lines of a Kconfig fragment on top of all others. Checked in the final .config.
    Kconfig(&'static [&'static str]),
    /// Boot: a parameter on the command line. Looked for in /proc/cmdline.
    Cmdline(&'static str),
    /// Run: a file to write and to read back.
    Write {
        /// Which.
        path: &'static str,
        /// What is written.
        value: Value,
        /// What it shows then; `None` where that is what was written.
        want: Option<&'static str>,
        /// How.
        shows: Shows,
        /// See [`mmtorture_protocol::Knob::or_absent`].
        or_absent: bool,
    },
    /// A file that must show this after boot.
    Check {
        /// Which.
        path: &'static str,
        /// What.
        want: &'static str,
        /// How.
        shows: Shows,
        /// See [`mmtorture_protocol::Knob::or_absent`].
        or_absent: bool,
    },
    /// Run: a file to write again and again.
    Repeat {
        /// Which.
        path: &'static str,
        /// What is written.
        value: &'static str,
        /// The pause, in milliseconds.
        every_ms: u32,
    },
    /// Run: an option of the workload's tmpfs; whether it is the default.
    Mount(&'static str, bool),
    /// Run: what the workload has for its files. A disk's name is not known yet.
    Backing(Backing),
    /// Run: the workload's control group.
    Memcg(Memcg),
    /// Run: what is swapped to.
    Swap(Swap),
    /// Boot: the machine's processors.
    Cpus(u32),
    /// Boot: the machine's memory, in MiB.
    MemoryMib(u64),
    /// Boot: NUMA nodes.
    Nodes(u32),
}

/// What is written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A word.
    Text(&'static str),
    /// A number.
    Number(u64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A file that shows what was written to it.
pub(super) const fn write(path: &'static str, value: &'static str) -> Part {
    Part::Write { path, value: Value::Text(value), want: None, shows: Shows::Plain, or_absent: false }
}

/// The same of a file that lists choices.
pub(super) const fn choose(path: &'static str, value: &'static str) -> Part {
    Part::Write { path, value: Value::Text(value), want: None, shows: Shows::Bracketed, or_absent: false }
}

/// A file that shows what was written to it, or is missing in a kernel that does as asked all the same.
pub(super) const fn write_if_there(path: &'static str, value: &'static str) -> Part {
    Part::Write { path, value: Value::Text(value), want: None, shows: Shows::Plain, or_absent: true }
}

/// A file that shows a number.
pub(super) fn number(path: &'static str, value: u64) -> Part {
    Part::Write { path, value: Value::Number(value), want: None, shows: Shows::Plain, or_absent: false }
}

/// What a file shows after boot.
pub(super) const fn check(path: &'static str, want: &'static str) -> Part {
    Part::Check { path, want, shows: Shows::Plain, or_absent: false }
}

/// A function that only a kernel with the option has. A kernel without /proc/kallsyms cannot prove it.
pub(super) const fn has_function(name: &'static str) -> Part {
    Part::Check { path: "/proc/kallsyms", want: name, shows: Shows::Word, or_absent: false }
}

/// A function that a kernel without the option lacks.
pub(super) const fn lacks_function(name: &'static str) -> Part {
    Part::Check { path: "/proc/kallsyms", want: name, shows: Shows::NoWord, or_absent: false }
}

/// A parameter that must not have been given.
pub(super) const fn no_parameter(parameter: &'static str) -> Part {
    Part::Check { path: "/proc/cmdline", want: parameter, shows: Shows::NoWord, or_absent: false }
}

/// A file that shows what was written to it, in some way.
pub(super) const fn write_as(path: &'static str, value: &'static str, shows: Shows) -> Part {
    Part::Write { path, value: Value::Text(value), want: None, shows, or_absent: false }
}
