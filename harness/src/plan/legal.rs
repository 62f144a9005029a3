//! What no cell may be, whatever the matrix says.
//!
//! Only what cannot be is here. What is merely pointless is legal, because it is a control: `thp-defrag` under
//! `thp: never`, `swappiness` without swap, `shmem-huge: force` beside `thp: never` (shmem does not ask for it).

use super::factors::Factors;
use crate::cover::{Forbid, Literal};
use crate::matrix::dimension::Shape;
use crate::size;
use std::collections::BTreeMap;

/// A combination that is illegal in every matrix, in the form of an item of `forbid:`.
#[derive(Debug)]
pub struct Rule {
    /// All of these together.
    pub forbid: &'static [(&'static str, Is)],
    /// Why.
    pub why: &'static str,
    /// Where that is so.
    pub source: &'static str,
}

/// What a setting is.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    /// One of these; a kind stands for all its sizes, as `v1` for `v1:200M`.
    OneOf(&'static [&'static str]),
    /// None of these.
    NoneOf(&'static [&'static str]),
    /// Any number.
    Number,
    /// A smaller number than the setting of that dimension, which the rule names before.
    LessThan(&'static str),
    /// A size of less than so many MiB.
    Below(u64),
}

/// Every rule.
pub const TABLE: &[Rule] = &[
    Rule {
        forbid: &[("numa", Is::Number), ("cpus", Is::LessThan("numa"))],
        why: "each NUMA node has CPUs: both machines deal them out evenly",
        source: "arch/x86/mm/srat.c, acpi_numa_processor_affinity_init",
    },
    Rule {
        forbid: &[("move-charge", Is::OneOf(&["on"])), ("memcg", Is::NoneOf(&["v1"]))],
        why: "only groups of the first version move charges",
        source: "mm/memcontrol.c, mem_cgroup_legacy_files",
    },
    Rule {
        forbid: &[("tmpfs-huge", Is::NoneOf(&["never"])), ("backing", Is::OneOf(&["ext4-disk"]))],
        why: "there is no tmpfs to have huge pages",
        source: "mm/shmem.c, shmem_parse_one",
    },
    // 512 MiB must be left of `memory` when the kernel has taken its own: 20 to 60 MiB.
    Rule {
        forbid: &[("thp-default", Is::NoneOf(&[])), ("memory", Is::Below(576))],
        why: "a kernel that has less than 512 MiB boots with THP at never, whatever is built in",
        source: "mm/huge_memory.c, hugepage_init",
    },
];

impl Rule {
    /// `numa=N cpus<numa`.
    pub fn text(&self) -> String {
        let part = |(name, is): &(&str, Is)| match is {
            Is::OneOf(settings) => format!("{name}={}", settings.join("|")),
            Is::NoneOf([]) => format!("{name}=*"),
            Is::NoneOf(settings) => format!("{name}!={}", settings.join("|")),
            Is::Number => format!("{name}=N"),
            Is::LessThan(other) => format!("{name}<{other}"),
            Is::Below(mib) => format!("{name}<{mib}M"),
        };
        self.forbid.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    /// Whether a cell of these settings breaks it.
    pub(super) fn breaks(&self, settings: &BTreeMap<String, String>) -> bool {
        let mut chosen = Vec::new();
        self.forbid.iter().all(|&(name, is)| {
            let Some(setting) = settings.get(name).cloned().or_else(|| default(name)) else { return false };
            let holds = is.holds(&setting, &chosen);
            chosen.push((name, setting));
            holds
        })
    }

    /// The combinations of this matrix's settings that the rule is about.
    pub(super) fn forbids(&self, factors: &Factors<'_>) -> Vec<Forbid> {
        let mut forbids = Vec::new();
        self.extend(factors, &mut Vec::new(), &mut Vec::new(), &mut forbids);
        forbids
    }

    /// Goes on from the settings chosen for the first dimensions of the rule.
    fn extend(
        &self,
        factors: &Factors<'_>,
        chosen: &mut Vec<(&'static str, String)>,
        forbid: &mut Forbid,
        forbids: &mut Vec<Forbid>,
    ) {
        let Some(&(name, is)) = self.forbid.get(chosen.len()) else {
            forbids.push(forbid.clone());
            return;
        };
        // A dimension that the matrix does not name has its default, if we know it: no value of any factor.
        let (factor, settings) = match factors.find(name) {
            Some((factor, settings)) => (Some(factor), settings.iter().map(|&s| s.to_owned()).collect()),
            None => (None, default(name).into_iter().collect::<Vec<_>>()),
        };
        for (value, setting) in settings.into_iter().enumerate() {
            if !is.holds(&setting, chosen) {
                continue;
            }
            if let Some(factor) = factor {
                forbid.push(Literal { factor, values: 1 << value });
            }
            chosen.push((name, setting));
            self.extend(factors, chosen, forbid, forbids);
            chosen.pop();
            if factor.is_some() {
                forbid.pop();
            }
        }
    }
}

impl Is {
    fn holds(self, setting: &str, chosen: &[(&'static str, String)]) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        let among = |settings: &[&str]| settings.iter().any(|s| *s == setting || setting.split(':').next() == Some(s));
        match self {
            Self::OneOf(settings) => among(settings),
            Self::NoneOf(settings) => !among(settings),
            Self::Number => number(setting).is_some(),
            Self::LessThan(other) => {
                let other = chosen.iter().find(|(name, _)| *name == other).and_then(|(_, s)| number(s));
                number(setting).zip(other).is_some_and(|(a, b)| a < b)
            }
            Self::Below(limit) => size::mib(setting).is_some_and(|mib| mib < limit),
        }
    }
}

/// The setting of a dimension that a matrix does not name.
fn default(dimension: &str) -> Option<String> {
    let shape = Shape::default();
    match dimension {
        "cpus" => Some(shape.cpus.to_string()),
        "numa" => Some(shape.nodes.to_string()),
        "memcg" => Some("none".to_owned()),
        "backing" => Some("tmpfs".to_owned()),
        "memory" => Some(format!("{}M", shape.memory_mib)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::dimension;

    #[test]
    fn a_cell_of_its_own_is_held_to_the_rules() {
        let breaks = |settings: &[(&str, &str)]| {
            let settings = settings.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            TABLE.iter().any(|rule| rule.breaks(&settings))
        };
        assert!(breaks(&[("numa", "2"), ("cpus", "1")]) && !breaks(&[("numa", "2"), ("cpus", "2")]));
        assert!(breaks(&[("move-charge", "on")]), "no control group is the default");
        assert!(!breaks(&[("move-charge", "on"), ("memcg", "v1:200M")]));
        assert!(breaks(&[("thp-default", "always")]), "512M is the default");
        assert!(breaks(&[("thp-default", "madvise"), ("memory", "320M")]));
        assert!(!breaks(&[("thp-default", "always"), ("memory", "1G")]) && !breaks(&[("memory", "320M")]));
    }

    #[test]
    fn rules_name_dimensions_that_there_are() {
        for rule in TABLE {
            for (i, (name, is)) in rule.forbid.iter().enumerate() {
                assert!(dimension::find(name).is_ok(), "{name}");
                if let Is::LessThan(other) = is {
                    assert!(rule.forbid[..i].iter().any(|(n, _)| n == other), "{other} comes after {name}");
                }
            }
            assert!(!rule.why.is_empty() && !rule.source.is_empty());
        }
    }
}
