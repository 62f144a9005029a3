//! The dimensions of a matrix: one axis each, with where its settings act.
//!
//! To add one: a row in the table of the file that it belongs to ([`knob`] for a file under /sys or /proc, [`machine`]
//! for the guest's shape), or a new file with its own table, named in [`TABLES`].

mod knob;
mod machine;

use mmtorture_protocol::{Knob, Swap};

/// One axis of a matrix.
#[derive(Debug)]
pub struct Dimension {
    /// Its name in a matrix.
    pub name: &'static str,
    /// What it means, with the kernel's own name for it.
    pub about: &'static str,
    /// What its settings look like, for errors.
    pub expected: &'static str,
    /// The effect of a setting, or `None` where the dimension has no such setting.
    parse: fn(&Dimension, &str) -> Option<Effect>,
    /// For dimensions that are one file in the guest: which, how it shows its value, and the choices it has.
    knob: Option<knob::File>,
}

/// What one setting does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run time: write a file in the guest, and read it back.
    Knob(Knob),
    /// The machine's processors.
    Cpus(u32),
    /// The machine's memory, in MiB.
    MemoryMib(u64),
    /// NUMA nodes.
    Nodes(u32),
    /// What the guest swaps to.
    Swap(Swap),
}

/// A guest's whole shape: every dimension's setting applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// NUMA nodes, which share processors and memory evenly.
    pub nodes: u32,
    /// Swap.
    pub swap: Swap,
    /// Files to write, in the matrix's order.
    pub knobs: Vec<Knob>,
}

impl Default for Shape {
    /// Two CPUs, because one has few races; half a GiB and no swap.
    fn default() -> Self {
        Self { cpus: 2, memory_mib: 512, nodes: 1, swap: Swap::None, knobs: Vec::new() }
    }
}

impl Shape {
    /// Applies `effect`.
    pub fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Knob(knob) => self.knobs.push(knob),
            Effect::Cpus(n) => self.cpus = n,
            Effect::MemoryMib(n) => self.memory_mib = n,
            Effect::Nodes(n) => self.nodes = n,
            Effect::Swap(swap) => self.swap = swap,
        }
    }
}

impl Dimension {
    /// What `setting` does.
    ///
    /// # Errors
    /// The dimension has no such setting; the message says which it has.
    pub fn effect(&self, setting: &str) -> Result<Effect, String> {
        (self.parse)(self, setting).ok_or_else(|| format!("{} '{setting}', expected {}", self.name, self.expected))
    }
}

/// Every table of dimensions.
const TABLES: &[&[Dimension]] = &[knob::TABLE, machine::TABLE];

/// All dimensions.
pub fn all() -> impl Iterator<Item = &'static Dimension> {
    TABLES.iter().copied().flatten()
}

/// The dimension called `name`.
///
/// # Errors
/// There is none; the message lists those there are.
pub fn find(name: &str) -> Result<&'static Dimension, String> {
    all().find(|d| d.name == name).ok_or_else(|| {
        let names: Vec<_> = all().map(|d| d.name).collect();
        format!("unknown dimension '{name}', expected one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|d| d.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn a_shape_takes_every_effect() {
        let mut shape = Shape::default();
        for (name, setting) in [("cpus", "4"), ("memory", "320M"), ("swap", "zram:1G"), ("thp", "always")] {
            shape.apply(find(name).unwrap().effect(setting).unwrap());
        }
        assert_eq!((shape.cpus, shape.memory_mib, shape.swap), (4, 320, Swap::Zram { mib: 1024 }));
        assert_eq!(shape.knobs[0].path, "/sys/kernel/mm/transparent_hugepage/enabled");
    }
}
