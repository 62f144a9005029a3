//! The DSDT: devices that cannot be found by asking them.

use super::aml::{device, eisa_id, integer, interrupt, io, irq, memory, name, package, resources, scope, string};
use super::table;
use crate::boot::VirtioSlot;
use crate::layout::{CMOS, CMOS_PORTS, COM1, COM1_IRQ, COM2, COM2_IRQ, COM_PORTS, PVPANIC, SLEEP_TYPE_S5, VIRTIO_SIZE};

/// The RTC's line on every PC. It stays quiet.
const RTC_IRQ: u32 = 8;

/// The DSDT, with these virtio-mmio devices.
///
/// There is no keyboard controller in it although there is one to reset by: it knows no other command, and a driver that
/// probes it waits half a second (I8042_CTL_TIMEOUT of drivers/input/serio/i8042.h) for each answer.
pub(super) fn dsdt(virtio: &[VirtioSlot]) -> Vec<u8> {
    let mut devices = vec![
        serial("COM1", 1, COM1, COM1_IRQ),
        serial("COM2", 2, COM2, COM2_IRQ),
        device(
            "RTC",
            &[name("_HID", &eisa_id("PNP0B00")), name("_CRS", &resources(&[io(CMOS, CMOS_PORTS as u8), irq(RTC_IRQ)]))],
        ),
        // drivers/misc/pvpanic/pvpanic-mmio.c.
        device("PEVT", &[name("_HID", &string("QEMU0001")), name("_CRS", &resources(&[io(PVPANIC, 1)]))]),
    ];
    devices.extend((0..).zip(virtio).map(|(i, slot)| virtio_mmio(i, slot)));
    // The second value is for PM1b, which is not there.
    let s5 = [SLEEP_TYPE_S5.into(), 0, 0, 0].map(integer);
    table(b"DSDT", 2, &[name("\\_S5", &package(&s5)), scope("\\_SB", &devices)].concat())
}

fn serial(path: &str, uid: u32, port: u16, line: u32) -> Vec<u8> {
    device(
        path,
        &[
            name("_HID", &eisa_id("PNP0501")),
            name("_UID", &integer(uid)),
            name("_CRS", &resources(&[io(port, COM_PORTS as u8), irq(line)])),
        ],
    )
}

/// drivers/virtio/virtio_mmio.c, virtio_mmio_acpi_match.
fn virtio_mmio(index: u32, slot: &VirtioSlot) -> Vec<u8> {
    // The layout has all of them below 4 GiB.
    let registers = memory(slot.address as u32, VIRTIO_SIZE as u32);
    device(
        &format!("VR{index:02X}"),
        &[
            name("_HID", &string("LNRO0005")),
            name("_UID", &integer(index)),
            name("_CRS", &resources(&[registers, interrupt(slot.irq)])),
        ],
    )
}
