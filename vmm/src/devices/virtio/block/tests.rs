//! A driver's requests, on a disk's queue without its thread; and one with it.

use super::*;

type Result<T> = std::result::Result<T, Broken>;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::testing::{memory, until, Buffer, Driver, Registers, BUFFERS, EVENT_IDX, VERSION_1};
use crate::devices::virtio::worker::{drain, Job};
use crate::devices::virtio::{Broken, Chain};
use proptest::prelude::*;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::AtomicBool;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const LENGTH: u64 = 8 << 20;
const HEADER: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = BUFFERS + 0x1000;
const FLUSH: u64 = 1 << VIRTIO_BLK_F_FLUSH;
const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;

struct Bench {
    memory: GuestMemoryMmap,
    file: File,
    handler: Box<dyn Handler>,
    indirect: bool,
}

impl Bench {
    fn new(read_only: bool) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH).unwrap();
        let block = Block::new(file.try_clone().unwrap(), read_only, "vda").unwrap();
        Self { memory: memory(), file, handler: block.handler(0), indirect: false }
    }

    /// Makes a request of these data buffers, and returns status and bytes written.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> Result<(u8, u32)> {
        let header = [u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat();
        self.memory.write_slice(&header, GuestAddress(HEADER)).unwrap();
        self.memory.write_obj(0xee_u8, GuestAddress(STATUS)).unwrap();
        self.chain(&[&[(HEADER, 16, false)], data, &[(STATUS, 1, true)]].concat())
    }

    fn chain(&mut self, buffers: &[Buffer]) -> Result<(u8, u32)> {
        let mut driver = Driver::new(&self.memory, 256);
        let head = if self.indirect { driver.indirect(buffers) } else { driver.direct(buffers) };
        driver.offer(head);
        let interrupt = Arc::new(Interrupt::new(EventFd::new(libc::EFD_NONBLOCK).unwrap()));
        let job = Job { queue: driver.queue(true), memory: self.memory.clone(), features: FLUSH, interrupt };
        let mut queue = driver.virt_queue(true, &self.memory);
        drain(&mut queue, &mut Chain::default(), &mut *self.handler, &job, &AtomicBool::new(false))?;
        let (id, written) = driver.take().unwrap();
        assert_eq!((id, driver.take()), (head.into(), None));
        assert_eq!(job.interrupt.status(), 1);
        Ok((self.memory.read_obj(GuestAddress(STATUS)).unwrap(), written))
    }

    fn status(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> u8 {
        self.request(kind, sector, data).unwrap().0
    }

    /// Asks to discard or zero ranges of sector, sectors, flags.
    fn ranges(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> u8 {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(sector, sectors, flags)| {
                [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
            })
            .collect();
        self.memory.write_slice(&bytes, GuestAddress(DATA)).unwrap();
        self.status(kind, 0, &[(DATA, bytes.len() as u32, false)])
    }

    fn memory(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn file(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

#[test]
fn what_is_written_is_read() {
    for indirect in [false, true] {
        let mut bench = Bench { indirect, ..Bench::new(false) };
        bench.memory.write_slice(&pattern(8192), GuestAddress(DATA)).unwrap();
        // Buffers need not be whole sectors.
        let write = [(DATA, 100, false), (DATA + 100, 5000, false), (DATA + 5100, 3092, false)];
        assert_eq!(bench.request(VIRTIO_BLK_T_OUT, 3, &write), Ok((OK, 1)));
        assert_eq!(bench.file(3 * 512, 8192), pattern(8192));
        let to = DATA + 0x10000;
        let read = [(to, 4096, true), (to + 4096, 1, true), (to + 4097, 4095, true)];
        assert_eq!(bench.request(VIRTIO_BLK_T_IN, 3, &read), Ok((OK, 8193)));
        assert_eq!(bench.memory(to, 8192), pattern(8192));
        assert_eq!(bench.status(VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    }
}

#[test]
fn header_and_status_may_be_in_pieces() {
    let mut bench = Bench::new(false);
    bench.file.write_all_at(&[7; 512], 512).unwrap();
    let header = [&0_u64.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
    bench.memory.write_slice(&header, GuestAddress(HEADER)).unwrap();
    // The status right after the data, in one buffer with it.
    let buffers = [(HEADER, 3, false), (HEADER + 3, 13, false), (STATUS - 512, 500, true), (STATUS - 12, 13, true)];
    assert_eq!(bench.chain(&buffers), Ok((OK, 513)));
    assert_eq!(bench.memory(STATUS - 512, 513), [&[7; 512][..], &[OK]].concat());
}

#[test]
fn a_request_has_as_many_buffers_as_promised() {
    let mut bench = Bench { indirect: true, ..Bench::new(false) };
    let bytes = pattern(SEG_MAX as usize * 4096);
    bench.memory.write_slice(&bytes, GuestAddress(DATA)).unwrap();
    let buffers: Vec<_> = (0..SEG_MAX.into()).map(|i: u64| (DATA + 4096 * i, 4096, false)).collect();
    assert_eq!(bench.status(VIRTIO_BLK_T_OUT, 0, &buffers), OK);
    assert_eq!(bench.file(0, bytes.len()), bytes);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut bench = Bench::new(false);
    let last = LENGTH / 512 - 1;
    let (read, write) = ((DATA, 512, true), (DATA, 512, false));
    assert_eq!(bench.status(VIRTIO_BLK_T_IN, last, &[read]), OK);
    for (kind, sector, data) in [
        (VIRTIO_BLK_T_IN, last + 1, &[read][..]),
        (VIRTIO_BLK_T_IN, last, &[read, read]),
        (VIRTIO_BLK_T_IN, u64::MAX, &[read]),
        (VIRTIO_BLK_T_OUT, last + 1, &[write]),
        (VIRTIO_BLK_T_OUT, u64::MAX / 512, &[write]),
        (VIRTIO_BLK_T_IN, 0, &[(DATA, 511, true)]),
        (VIRTIO_BLK_T_IN, 0, &[]),
        (VIRTIO_BLK_T_IN, 0, &[write]),
        (VIRTIO_BLK_T_IN, 0, &[write, read]),
        (VIRTIO_BLK_T_OUT, 0, &[read]),
        (VIRTIO_BLK_T_OUT, 0, &[write, read]),
        (VIRTIO_BLK_T_FLUSH, 0, &[write]),
        (VIRTIO_BLK_T_DISCARD, 0, &[(DATA, 15, false)]),
        (VIRTIO_BLK_T_DISCARD, 0, &[(DATA, 16 * RANGES + 16, false)]),
        (VIRTIO_BLK_T_DISCARD, 0, &[]),
        (VIRTIO_BLK_T_WRITE_ZEROES, 0, &[(DATA, 16, true)]),
    ] {
        assert_eq!(bench.status(kind, sector, data), IOERR, "{kind} {sector} {data:?}");
    }
    for kind in [2, 3, 14, u32::MAX] {
        assert_eq!(bench.status(kind, 0, &[]), UNSUPP, "{kind}");
    }
    assert_eq!(bench.chain(&[(HEADER, 15, false), (STATUS, 1, true)]), Ok((IOERR, 1)), "half a header");
    assert_eq!(bench.chain(&[(STATUS, 1, true)]), Ok((IOERR, 1)), "no header");
    assert!(bench.chain(&[(HEADER, 16, false)]).is_err(), "no status");
    assert!(bench.chain(&[(HEADER, 16, false), (STATUS, 0, true)]).is_err(), "no room for the status");
    // More than any request may have, within memory: the same buffer many times.
    let huge = vec![(0, 15 << 20, true); 10];
    assert_eq!(bench.status(VIRTIO_BLK_T_IN, 0, &huge), IOERR);
    assert_eq!(bench.file(0, LENGTH as usize), vec![0; LENGTH as usize]);
}

#[test]
fn a_read_only_disk_stays_as_it_is() {
    let mut bench = Bench::new(true);
    assert_eq!(bench.status(VIRTIO_BLK_T_OUT, 0, &[(DATA, 512, false)]), IOERR);
    assert_eq!(bench.ranges(VIRTIO_BLK_T_DISCARD, &[(0, 8, 0)]), IOERR);
    assert_eq!(bench.ranges(VIRTIO_BLK_T_WRITE_ZEROES, &[(0, 8, 0)]), IOERR);
    assert_eq!(bench.status(VIRTIO_BLK_T_IN, 0, &[(DATA, 512, true)]), OK);
    assert_eq!(bench.status(VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    let features = |read_only| Block::new(tempfile::tempfile().unwrap(), read_only, "vda").unwrap().features();
    let changes = 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
    assert_eq!(features(true) & (changes | 1 << VIRTIO_BLK_F_RO), 1 << VIRTIO_BLK_F_RO);
    assert_eq!(features(false) & (changes | 1 << VIRTIO_BLK_F_RO), changes);
}

#[test]
fn a_disk_says_its_name() {
    let mut bench = Bench::new(false);
    bench.memory.write_slice(&[0xff; 32], GuestAddress(DATA)).unwrap();
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[(DATA, 20, true)]), Ok((OK, 21)));
    assert_eq!(bench.memory(DATA, 21), *b"vda\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff");
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[(DATA, 2, true)]), Ok((OK, 3)));
}

#[test]
fn discarded_space_is_given_back() {
    let mut bench = Bench::new(false);
    bench.file.write_all_at(&vec![1; 2 << 20], 0).unwrap();
    let full = bench.file.metadata().unwrap().blocks();
    assert_eq!(bench.ranges(VIRTIO_BLK_T_DISCARD, &[(0, 1024, 0), (2048, 1024, 0)]), OK);
    let sparse = bench.file.metadata().unwrap();
    assert!(sparse.blocks() <= full - 2000, "{full} blocks before, {} after", sparse.blocks());
    assert_eq!(sparse.len(), LENGTH);
    assert_eq!(bench.file(0, 512 << 10), vec![0; 512 << 10]);
    assert_eq!(bench.file(512 << 10, 512 << 10), vec![1; 512 << 10]);
    // Zeroes, with and without giving back; not even a page.
    assert_eq!(bench.ranges(VIRTIO_BLK_T_WRITE_ZEROES, &[(1024, 1, 0), (1026, 1, 1)]), OK);
    assert_eq!(bench.file(1024 * 512, 2048), [[0; 512], [1; 512], [0; 512], [1; 512]].concat());
    // What is bad in one range stops all of them.
    for (kind, bad, status) in [
        (VIRTIO_BLK_T_DISCARD, (2048, 1, 1), UNSUPP),
        (VIRTIO_BLK_T_WRITE_ZEROES, (2048, 1, 2), UNSUPP),
        (VIRTIO_BLK_T_DISCARD, (LENGTH / 512, 1, 0), IOERR),
        (VIRTIO_BLK_T_DISCARD, (u64::MAX, 1, 0), IOERR),
        (VIRTIO_BLK_T_DISCARD, (0, u32::MAX, 0), IOERR),
    ] {
        assert_eq!(bench.ranges(kind, &[(1025, 1, 0), bad]), status);
        assert_eq!(bench.file(1025 * 512, 1), [1]);
    }
    assert_eq!(bench.ranges(VIRTIO_BLK_T_DISCARD, &[(LENGTH / 512, 0, 0)]), OK, "nothing of nothing");
}

#[test]
fn a_file_that_shrinks_reads_as_zeros() {
    let mut bench = Bench::new(false);
    bench.file.write_all_at(&[9; 4096], 0).unwrap();
    bench.file.set_len(1000).unwrap();
    bench.memory.write_slice(&[0xff; 4096], GuestAddress(DATA)).unwrap();
    let read = [(DATA, 1500, true), (DATA + 1500, 548, true)];
    assert_eq!(bench.status(VIRTIO_BLK_T_IN, 0, &read), OK);
    assert_eq!(bench.memory(DATA, 2049), [vec![9; 1000], vec![0; 1048], vec![0xff]].concat());
}

#[test]
fn a_host_that_fails_is_an_error_of_the_disk() {
    // Every write to it fails with ENOSPC; it has no length, so a sector is made up.
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let disk = Disk::new(full, false, "vda").unwrap();
    assert_eq!(disk.sectors(), 0);
    let mut byte = [0_u8; 512];
    let iovec = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 512 };
    let error = disk.write(vec![iovec], 0, false).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let mut bench = Bench::new(false);
    let write_only = File::options().write(true).open("/dev/null").unwrap();
    let disk = Arc::new(Disk::with_sectors(write_only, 8));
    bench.handler = Box::new(Requests::new(disk));
    assert_eq!(bench.status(VIRTIO_BLK_T_IN, 0, &[(DATA, 512, true)]), IOERR, "EBADF");
}

#[test]
fn a_pipe_is_no_disk_and_a_missing_file_is_named() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let why = Block::new(File::from(std::os::fd::OwnedFd::from(reader)), true, "vda").err().unwrap();
    assert_eq!(why.exit_status(), 2);
    let why = Block::open(Path::new("/nowhere/disk.img"), true, "vda").err().unwrap();
    assert!(why.to_string().contains("/nowhere/disk.img"), "{why}");
}

#[test]
fn many_requests_go_through_the_thread() {
    let memory = memory();
    let irq = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(LENGTH).unwrap();
    let disk = Block::new(file.try_clone().unwrap(), false, "vda").unwrap();
    let mut registers = Registers::new(&memory, Box::new(disk), &irq);
    let features = registers.features();
    assert_eq!(features & FLUSH, FLUSH);
    registers.start(features, 64);
    let mut driver = Driver::new(&memory, 64);
    let (rounds, batch) = (400_u64, 16_u64);
    let mut interrupts = 0;
    for round in 0..rounds {
        driver.set_used_event(driver.used_index().wrapping_add(batch as u16 - 1));
        for slot in 0..batch {
            let (header, data) = (HEADER + 32 * slot, DATA + 4096 * slot);
            let sector = (round * batch + slot) % (LENGTH / 4096) * 8;
            memory.write_slice(&[1_u64.to_le_bytes(), sector.to_le_bytes()].concat(), GuestAddress(header)).unwrap();
            memory.write_obj(sector, GuestAddress(data)).unwrap();
            let head = driver.direct(&[(header, 16, false), (data, 4096, false), (header + 16, 1, true)]);
            driver.offer(head);
            if driver.wanted(true) {
                registers.0.queue_events()[0].write(1).unwrap();
            }
        }
        for _ in 0..batch {
            assert_eq!(driver.wait().1, 1);
        }
        until("the interrupt", || irq.read().inspect(|count| interrupts += count).is_ok());
    }
    assert_eq!(interrupts, rounds, "one for each batch, as asked");
    for at in (0..LENGTH).step_by(4096) {
        let mut sector = [0; 8];
        file.read_exact_at(&mut sector, at).unwrap();
        assert_eq!(u64::from_le_bytes(sector), at / 512);
    }
    assert_eq!(features & EVENT_IDX, EVENT_IDX);
    assert_eq!(features & VERSION_1, VERSION_1);
}

proptest! {
    #[test]
    fn no_ring_does_harm(data in prop::collection::vec(any::<u8>(), 0..500)) {
        crate::devices::virtio::fuzz::block(&data);
    }

    #[test]
    fn no_ring_near_a_good_one_does_harm(
        seed in prop::sample::select(crate::devices::virtio::fuzz::block_seeds()),
        changes in prop::collection::vec((0..300_usize, any::<u8>()), 0..12),
    ) {
        let mut input = seed;
        for (at, byte) in changes {
            if let Some(slot) = input.get_mut(at) {
                *slot = byte;
            }
        }
        crate::devices::virtio::fuzz::block(&input);
    }
}
