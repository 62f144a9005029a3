//! The memory control group that the workload runs in.

use super::part::{write, write_if_there};
use super::{Acts, Dimension, Part, Settings};
use crate::size;
use mmtorture_protocol::Memcg;

/// In [`Memcg::DIR`]; a group of the second version has no such file, and moves no charges.
const MOVE_CHARGE: &str = "/sys/fs/cgroup/mmtorture/workload/memory.move_charge_at_immigrate";

pub(super) const TABLE: &[Dimension] = &[
    Dimension {
        name: "memcg",
        about: "the workload in a control group of the first or second version with that limit, two levels below the \
                root (mm/memcontrol.c, try_charge_memcg)",
        acts: Acts::Run,
        settings: Settings::Parsed {
            expected: "none, v1:SIZE or v2:SIZE as in v2:200M",
            pattern: "^(none|(v1|v2):[1-9][0-9]*[MG])$",
            parse: |setting| {
                let memcg = match setting.split_once(':') {
                    None if setting == "none" => Memcg::None,
                    Some(("v1", limit)) => Memcg::V1 { mib: size::mib(limit)? },
                    Some(("v2", limit)) => Memcg::V2 { mib: size::mib(limit)? },
                    _ => return None,
                };
                Some(vec![Part::Memcg(memcg)])
            },
        },
    },
    Dimension {
        name: "move-charge",
        about: "whether a task takes its anonymous and file pages with it to another group; on needs memcg v1 \
                (mm/memcontrol.c, mem_cgroup_move_charge_write)",
        acts: Acts::Run,
        settings: Settings::Words(&[("on", &[write(MOVE_CHARGE, "3")]), ("off", &[write_if_there(MOVE_CHARGE, "0")])]),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_move_in_the_workloads_group() {
        assert!(MOVE_CHARGE.starts_with(Memcg::DIR));
    }
}
