//! What the guest swaps to.

use super::part::write;
use super::{Acts, Dimension, Part, Settings};
use crate::size;
use mmtorture_protocol::Swap;

pub(super) const TABLE: &[Dimension] = &[Dimension {
    name: "swap",
    about: "nothing; zram; a disk; a file on an ext4 disk; a disk behind zswap (mm/swapfile.c, mm/zswap.c, \
            drivers/block/zram/zram_drv.c); disks need the fragment virtio, files also features, zswap mm-more",
    acts: Acts::Run,
    settings: Settings::Parsed {
        expected: "none, zram:SIZE, disk:SIZE, file:SIZE or zswap:SIZE as in zram:1G",
        pattern: "^(none|(zram|disk|file|zswap):[1-9][0-9]*[MG])$",
        parse,
    },
}];

fn parse(setting: &str) -> Option<Vec<Part>> {
    let Some((kind, size)) = setting.split_once(':') else {
        return (setting == "none").then(|| vec![Part::Swap(Swap::None)]);
    };
    let mib = size::mib(size)?;
    Some(match kind {
        "zram" => vec![Part::Swap(Swap::Zram { mib })],
        "disk" => vec![Part::Swap(Swap::Disk { mib })],
        "file" => vec![Part::Swap(Swap::File { mib })],
        "zswap" => vec![Part::Swap(Swap::Disk { mib }), write("/sys/module/zswap/parameters/enabled", "Y")],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_size() {
        assert_eq!(parse("none"), Some(vec![Part::Swap(Swap::None)]));
        assert_eq!(parse("file:1G"), Some(vec![Part::Swap(Swap::File { mib: 1024 })]));
        assert_eq!(parse("zswap:64M").unwrap().len(), 2);
        for wrong in ["zram", "none:1G", "zram:1024M", "tape:1G", ""] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
