//! Hostile drivers for the fuzzer and for property tests: bytes become descriptor tables, rings and register accesses.

use super::interrupt::Interrupt;
use super::queue::{Broken, Chain, VirtQueue};
use super::worker::{drain, Job};
use super::{Block, Handler, OnStart, Transport, VirtioDevice};
use crate::bus::Device;
use crate::fuzz::{Digest, Input};
use std::cell::RefCell;
use std::fs::File;
use std::ops::Range;
use std::os::fd::FromRawFd;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_DRIVER_OK;
use virtio_bindings::virtio_mmio::*;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

/// Guest memory, small enough to look at every byte after every execution.
const MEMORY: usize = 64 << 10;
/// The disk.
const DISK: u64 = 64 << 10;
/// Descriptors of the queue.
const SIZE: u16 = 16;
// Where the driver has its things.
const TABLE: u64 = 0;
const AVAIL: u64 = 0x400;
const USED: u64 = 0x800;
const USED_END: u64 = USED + 6 + 8 * SIZE as u64;
const INDIRECT: u64 = 0x1000;
const TABLES_END: u64 = INDIRECT + 16 * SIZE as u64;
const RAW: u64 = 0x2000;

// Bits of a descriptor's flags that make it worse than its fields can say.
const HUGE_LENGTH: u8 = 1 << 6;
const FAR_AWAY: u8 = 1 << 7;

struct Guest {
    memory: GuestMemoryMmap,
    handlers: [Box<dyn Handler>; 2],
    transport: Transport,
    /// What memory was before the device had it, and is now.
    images: [Vec<u8>; 2],
}

impl Guest {
    fn new() -> crate::Result<Self> {
        let host = crate::Error::host::<std::io::Error>;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]);
        let memory = memory.map_err(crate::Error::host("cannot map memory"))?;
        // SAFETY: the name ends with a NUL.
        let fd = unsafe { libc::memfd_create(c"disk".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(host("memfd_create")(std::io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(DISK).map_err(host("cannot make a disk"))?;
        let read_only = Block::new(file.try_clone().map_err(host("dup"))?, true, "fuzz")?;
        let writable = Block::new(file, false, "fuzz")?;
        let handlers = [writable.handler(0), read_only.handler(0)];
        let irq = EventFd::new(libc::EFD_NONBLOCK).map_err(host("eventfd"))?;
        let on_start: OnStart = Arc::new(|| ());
        let transport = Transport::new(memory.clone(), Box::new(writable), irq, &on_start)?;
        Ok(Self { memory, handlers, transport, images: [vec![0; MEMORY], vec![0; MEMORY]] })
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        // What does not fit is not there.
        let room = (MEMORY as u64).saturating_sub(at) as usize;
        let _ = self.memory.write_slice(&bytes[..bytes.len().min(room)], GuestAddress(at));
    }

    /// Writes tables and rings as `input` says, and the rest of it as raw bytes. Returns what the device may write to,
    /// and whether that is all: not if there may be a descriptor that this did not write.
    fn prepare(&self, input: &mut Input<'_>) -> (Vec<Range<u64>>, bool) {
        let (mut writable, mut all) = (vec![], true);
        for slot in 0..2 * u64::from(SIZE) {
            let (addr, len) = (u16::from_le_bytes(input.take()), u16::from_le_bytes(input.take()));
            let [flags, next] = input.take();
            let addr = u64::from(addr) | if flags & FAR_AWAY != 0 { 0xffff_ffff_ffff_0000 } else { 0 };
            let len = u32::from(len) | if flags & HUGE_LENGTH != 0 { 0xffff_0000 } else { 0 };
            let at = if slot < SIZE.into() { TABLE + 16 * slot } else { INDIRECT + 16 * (slot - u64::from(SIZE)) };
            self.put(at, &addr.to_le_bytes());
            self.put(at + 8, &len.to_le_bytes());
            self.put(at + 12, &[flags & 7, 0, next, 0]);
            let end = addr.saturating_add(len.into());
            if flags & 2 != 0 {
                all &= addr >= TABLES_END && end >= addr;
                writable.push(addr..end);
            }
            if flags & 4 != 0 {
                all &= addr.is_multiple_of(16) && addr >= INDIRECT && end <= TABLES_END;
            }
        }
        let [index, flags] = input.take();
        self.put(AVAIL, &[flags & 1, 0, index, 0]);
        for slot in 0..u64::from(SIZE) {
            self.put(AVAIL + 4 + 2 * slot, &[input.byte(), 0]);
        }
        self.put(AVAIL + 4 + 2 * u64::from(SIZE), &[input.byte(), 0]);
        self.put(RAW, input.0);
        writable.push(USED..USED_END);
        (writable, all)
    }
}

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
}

/// Runs `with` on this thread's guest, whose memory is all zeros. Nothing happens where the host has no room for one.
fn with_guest(with: impl FnOnce(&mut Guest) -> u64) -> u64 {
    GUEST.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Guest::new().ok();
        }
        let Some(guest) = slot else { return 0 };
        guest.images[0].fill(0);
        guest.put(0, &guest.images[0]);
        with(guest)
    })
}

/// A disk's queue, without its thread: descriptor tables, rings, request headers. Asserts that the device writes only
/// where it may, as far as that can be told before.
pub fn block(data: &[u8]) -> u64 {
    with_guest(|guest| {
        let mut input = Input(data);
        let mode = input.byte();
        let (writable, all) = guest.prepare(&mut input);
        let [before, after] = &mut guest.images;
        let _ = guest.memory.read_slice(before, GuestAddress(0));

        let Ok(mut queue) = Queue::new(SIZE) else { return 0 };
        queue.set_desc_table_address(Some(TABLE as u32), None);
        queue.set_avail_ring_address(Some(AVAIL as u32), None);
        queue.set_used_ring_address(Some(USED as u32), None);
        queue.set_event_idx(mode & 1 != 0);
        queue.set_size(SIZE >> (mode >> 4 & 3));
        queue.set_ready(true);
        let Ok(irq) = EventFd::new(libc::EFD_NONBLOCK) else { return 0 };
        let job = Job {
            queue,
            memory: guest.memory.clone(),
            features: u64::from(mode & 2) << 8,
            interrupt: Arc::new(Interrupt::new(irq)),
        };
        let outcome = serve_once(&job, &mut *guest.handlers[usize::from(mode >> 2 & 1)]);

        let _ = guest.memory.read_slice(after, GuestAddress(0));
        for (at, (before, after)) in (0..).zip(before.iter().zip(after.iter())) {
            let allowed = || writable.iter().any(|range| range.contains(&at));
            assert!(before == after || !all || allowed(), "the device wrote to {at:#x}");
        }
        let mut digest = Digest::default();
        digest.add(&[mode & 7]);
        digest.add(outcome.err().map_or("", |broken| broken.0).as_bytes());
        digest.add(&after[USED as usize + 2..USED as usize + 3]);
        for range in writable.iter().take(4) {
            // Where a status is, if it is one.
            digest.add(&[after[range.end.saturating_sub(1).min(MEMORY as u64 - 1) as usize] & 3]);
        }
        digest.0
    })
}

fn serve_once(job: &Job, handler: &mut dyn Handler) -> Result<(), Broken> {
    let mut queue = VirtQueue::new(Queue::try_from(job.queue.state())?, &job.memory)?;
    let mut chain = Chain::default();
    queue.disable_notifications()?;
    drain(&mut queue, &mut chain, handler, job, &AtomicBool::new(false))?;
    queue.enable_notifications()?;
    Ok(())
}

/// Registers that a driver uses, and some that it should not.
const REGISTERS: [u32; 24] = [
    VIRTIO_MMIO_DEVICE_FEATURES_SEL,
    VIRTIO_MMIO_DRIVER_FEATURES,
    VIRTIO_MMIO_DRIVER_FEATURES_SEL,
    VIRTIO_MMIO_QUEUE_SEL,
    VIRTIO_MMIO_QUEUE_NUM,
    VIRTIO_MMIO_QUEUE_READY,
    VIRTIO_MMIO_QUEUE_NOTIFY,
    VIRTIO_MMIO_INTERRUPT_ACK,
    VIRTIO_MMIO_STATUS,
    VIRTIO_MMIO_QUEUE_DESC_LOW,
    VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_AVAIL_LOW,
    VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
    VIRTIO_MMIO_QUEUE_USED_LOW,
    VIRTIO_MMIO_QUEUE_USED_HIGH,
    VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_DEVICE_FEATURES,
    VIRTIO_MMIO_QUEUE_NUM_MAX,
    VIRTIO_MMIO_INTERRUPT_STATUS,
    VIRTIO_MMIO_SHM_LEN_LOW,
    VIRTIO_MMIO_CONFIG_GENERATION,
    VIRTIO_MMIO_CONFIG,
    VIRTIO_MMIO_CONFIG + 0x3c,
    VIRTIO_MMIO_CONFIG + 0xefc,
];

/// Register accesses, three bytes each, on a transport with its thread. The guest's memory holds what `block` would
/// make of the rest.
pub fn mmio(data: &[u8]) -> u64 {
    with_guest(|guest| {
        let mut input = Input(data);
        let count = input.byte();
        let (accesses, rest) =
            data.get(1..).unwrap_or_default().split_at((3 * usize::from(count)).min(data.len().saturating_sub(1)));
        guest.prepare(&mut Input(rest));
        let mut input = Input(accesses);
        let mut outcome = 0;
        while !input.is_empty() {
            let [register, value, how] = input.take();
            outcome |= access(&mut guest.transport, register, value, how);
        }
        // A reset stops the thread, whatever it is at.
        guest.transport.write(VIRTIO_MMIO_STATUS.into(), &[0; 4]);
        outcome
    })
}

/// One access. Says by one bit of 64 what status which register left.
fn access(transport: &mut Transport, register: u8, value: u8, how: u8) -> u64 {
    let offset = u64::from(REGISTERS[usize::from(register & 0x3f) % REGISTERS.len()]);
    let mut data = [0; 8];
    // Mostly a register is accessed as it should be: 32 bits, aligned.
    let (offset, len) = match how & 7 {
        0 => (offset + u64::from(how >> 3 & 3), 1 << (how >> 6)),
        1 => (u64::from(value) << 4 | u64::from(how >> 4), 4),
        _ => (offset, 4),
    };
    if register & 0x80 != 0 {
        transport.read(offset, &mut data[..len]);
        return 0;
    }
    let value = match how & 7 {
        2 => u32::from(value) << 8,
        3 => u32::from(value) << 24,
        4 => u32::MAX - u32::from(value),
        _ => value.into(),
    };
    data[..4].copy_from_slice(&value.to_le_bytes());
    transport.write(offset, &data[..len]);
    let mut status = [0; 4];
    transport.read(VIRTIO_MMIO_STATUS.into(), &mut status);
    if register & 0x40 != 0 && u32::from(status[0]) & VIRTIO_CONFIG_S_DRIVER_OK != 0 {
        // The device's thread gets a chance to be at work.
        std::thread::sleep(std::time::Duration::from_micros(10));
        transport.read(VIRTIO_MMIO_STATUS.into(), &mut status);
    }
    let mut digest = Digest::default();
    digest.add(&[status[0], offset as u8]);
    // The high bits of a product depend on all of its factor's.
    1 << (digest.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

// Seeds.

fn descriptor(addr: u16, len: u16, flags: u8, next: u8) -> Vec<u8> {
    [&addr.to_le_bytes()[..], &len.to_le_bytes(), &[flags, next]].concat()
}

/// A table and rings with one request of `kind`, as `prepare` reads them.
fn request(kind: u32, sector: u64, data: &[u8], data_len: u16, data_flags: u8, indirect: bool) -> Vec<u8> {
    let header = RAW as u16;
    let chain = [
        descriptor(header, 16, 1, 1),
        descriptor(header + 16, data_len, 1 | data_flags, 2),
        descriptor(header + 0x4000, 1, 2, 0),
    ]
    .concat();
    let blank = vec![0; 6 * usize::from(SIZE)];
    let pad = |mut bytes: Vec<u8>| {
        bytes.resize(blank.len(), 0);
        bytes
    };
    let (table, inner) = match indirect {
        true => (pad(descriptor(INDIRECT as u16, 3 * 16, 4, 0)), pad(chain)),
        false => (pad(chain), blank.clone()),
    };
    let rings = [&[1, 0][..], &[0; SIZE as usize + 1]].concat();
    let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
    [table, inner, rings, header, data.to_vec()].concat()
}

fn requests() -> Vec<Vec<u8>> {
    let range = [&8_u64.to_le_bytes()[..], &16_u32.to_le_bytes(), &1_u32.to_le_bytes()].concat();
    let mut all = vec![];
    for indirect in [false, true] {
        all.push(request(0, 0, &[], 4096, 2, indirect));
        all.push(request(1, 1, &[0xaa; 512], 512, 0, indirect));
        all.push(request(4, 0, &[], 0, 0, indirect));
        all.push(request(8, 0, &[], 20, 2, indirect));
        all.push(request(11, 0, &range, 16, 0, indirect));
        all.push(request(13, 0, &range, 16, 0, indirect));
    }
    all
}

/// Seeds of [`block`].
pub fn block_seeds() -> Vec<Vec<u8>> {
    let modes = [3, 0, 7];
    requests().iter().flat_map(|request| modes.map(|mode| [&[mode][..], request].concat())).collect()
}

/// Seeds of [`mmio`]: a driver that does all in order.
pub fn mmio_seeds() -> Vec<Vec<u8>> {
    let steps: [[u8; 3]; 18] = [
        [8, 1, 5],
        [8, 3, 5],
        [2, 1, 5],
        [1, 1, 5],
        [8, 11, 5],
        [3, 0, 5],
        [4, SIZE as u8, 5],
        [9, 0, 5],
        [11, (AVAIL >> 8) as u8, 2],
        [13, (USED >> 8) as u8, 2],
        [5, 1, 5],
        [8, 15, 5],
        [0x40 | 6, 0, 5],
        [0x80 | 18, 0, 5],
        [7, 1, 5],
        [0x80 | 21, 0, 5],
        [6, 0, 5],
        [5, 0, 5],
    ];
    let steps = steps.concat();
    requests().iter().map(|request| [&[18], &steps[..], request].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many answers the device's ring has after an input.
    fn answers(run: fn(&[u8]) -> u64, input: &[u8]) -> u16 {
        run(input);
        GUEST.with_borrow(|guest| guest.as_ref().unwrap().memory.read_obj(GuestAddress(USED + 2)).unwrap())
    }

    #[test]
    fn seeds_are_requests_that_are_answered() {
        for seed in block_seeds() {
            assert_eq!(answers(block, &seed), 1);
        }
        for seed in mmio_seeds() {
            let answered = (0..1000).any(|_| answers(mmio, &seed) == 1);
            assert!(answered, "not even once in a thousand times");
        }
    }
}
