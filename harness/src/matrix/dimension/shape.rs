//! A guest's whole shape: every dimension's setting applied.

use super::{Effect, Part};
use mmtorture_protocol::{Knob, Memcg, MountOption, Repeat, Scratch, Shows, Swap};

/// What a cell asks of its kernel, its machine and its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What is built into the kernel, in order of dimensions' names: the same settings are the same kernel.
    pub build: Vec<BuildSetting>,
    /// Parameters on the command line.
    pub cmdline: Vec<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// NUMA nodes, which share processors and memory evenly.
    pub nodes: u32,
    /// Swap.
    pub swap: Swap,
    /// The workload's files.
    pub scratch: Scratch,
    /// The workload's control group.
    pub memcg: Memcg,
    /// Files to write or to look at, in the matrix's order.
    pub knobs: Vec<Knob>,
    /// Files to write again and again.
    pub repeat: Vec<Repeat>,
}

/// A setting that is built into the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildSetting {
    /// `DIMENSION=SETTING`.
    pub name: String,
    /// Its lines of a Kconfig fragment.
    pub kconfig: String,
}

impl Default for Shape {
    /// Two CPUs, because one has few races; half a GiB and no swap.
    fn default() -> Self {
        Self {
            build: Vec::new(),
            cmdline: Vec::new(),
            cpus: 2,
            memory_mib: 512,
            nodes: 1,
            swap: Swap::None,
            scratch: Scratch::default(),
            memcg: Memcg::None,
            knobs: Vec::new(),
            repeat: Vec::new(),
        }
    }
}

impl Shape {
    /// Applies `effect`.
    pub fn apply(&mut self, effect: Effect) {
        let dimension = || effect.dimension.to_owned();
        for part in effect.parts {
            match part {
                Part::Kconfig(lines) => {
                    let kconfig = lines.iter().flat_map(|line| [line, "\n"]).collect();
                    self.build.push(BuildSetting { name: format!("{}={}", effect.dimension, effect.setting), kconfig });
                    self.build.sort();
                }
                Part::Cmdline(parameter) => {
                    self.cmdline.push(parameter.to_owned());
                    // A parameter that holds several words is several parameters.
                    let words = parameter.split_whitespace();
                    self.knobs.extend(words.map(|word| look(dimension(), "/proc/cmdline", word, Shows::Word, false)));
                }
                Part::Check { path, want, shows, or_absent } => {
                    self.knobs.push(look(dimension(), path, want, shows, or_absent));
                }
                Part::Write { path, value, want, shows, or_absent } => {
                    let want = Some(want.map_or_else(|| value.to_string(), str::to_owned));
                    let (path, write) = (path.to_owned(), Some(value.to_string()));
                    self.knobs.push(Knob { dimension: dimension(), path, write, want, shows, or_absent });
                }
                Part::Repeat { path, value, every_ms } => {
                    let (path, value) = (path.to_owned(), value.to_owned());
                    self.repeat.push(Repeat { dimension: dimension(), path, value, every_ms });
                }
                Part::Mount(option, default) => {
                    let option = option.to_owned();
                    self.scratch.options.push(MountOption { dimension: dimension(), option, default });
                }
                Part::Backing(backing) => self.scratch.backing = backing,
                Part::Memcg(memcg) => self.memcg = memcg,
                Part::Swap(swap) => self.swap = swap,
                Part::Cpus(n) => self.cpus = n,
                Part::MemoryMib(n) => self.memory_mib = n,
                Part::Nodes(n) => self.nodes = n,
            }
        }
    }
}

fn look(dimension: String, path: &str, want: &str, shows: Shows, or_absent: bool) -> Knob {
    Knob { dimension, path: path.to_owned(), write: None, want: Some(want.to_owned()), shows, or_absent }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn shape(settings: &[(&str, &str)]) -> Shape {
        let mut shape = Shape::default();
        for (name, setting) in settings {
            shape.apply(find(name).unwrap().effect(setting).unwrap());
        }
        shape
    }

    #[test]
    fn a_shape_takes_every_effect() {
        let shape = shape(&[("cpus", "4"), ("memory", "320M"), ("swap", "zram:1G"), ("thp", "always")]);
        assert_eq!((shape.cpus, shape.memory_mib, shape.swap), (4, 320, Swap::Zram { mib: 1024 }));
        assert_eq!(shape.knobs[0].path, "/sys/kernel/mm/transparent_hugepage/enabled");
    }

    #[test]
    fn the_same_kernel_is_the_same_whatever_the_order() {
        let a = shape(&[("debug-vm", "off"), ("thp-default", "always")]);
        let b = shape(&[("thp-default", "always"), ("debug-vm", "off")]);
        assert_eq!(a.build, b.build);
        assert_eq!(a.build[0].name, "debug-vm=off");
        assert!(a.build[0].kconfig.contains("# CONFIG_DEBUG_VM is not set\n"));
    }

    #[test]
    fn what_is_on_the_command_line_is_looked_for() {
        let shape = shape(&[("page-poisoning", "on")]);
        assert_eq!(shape.cmdline, ["page_poison=1"]);
        let seen = |k: &&Knob| k.path == "/proc/cmdline" && k.want.as_deref() == Some("page_poison=1");
        assert!(shape.knobs.iter().any(|k| seen(&k) && k.write.is_none()));
    }
}
