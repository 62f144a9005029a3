//! How fast a disk answers, without a guest: a driver thread and the disk's own thread share memory. Requests of 4 KiB,
//! so many at once, from a file in the page cache.
//!
//!     cargo run --release -p mmtorture-vmm --example disk -- [REQUESTS [THINK_US]]

use mmtorture_vmm::bus::Device;
use mmtorture_vmm::devices::virtio::{Block, OnStart, Transport, VirtioDevice};
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const SIZE: u16 = 256;
const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x4000;
const USED: u64 = 0x5000;
const BUFFERS: u64 = 0x10_0000;
const FILE: u64 = 64 << 20;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let (requests, think) = (args.next().unwrap_or(100_000), args.next().unwrap_or(0));
    for depth in [1, 4, 32] {
        for (name, write, random) in
            [("sequential read", false, false), ("random read", false, true), ("random write", true, true)]
        {
            run(name, requests, depth, write, random, Duration::from_micros(think));
        }
    }
}

fn run(name: &str, requests: u64, depth: u64, write: bool, random: bool, think: Duration) {
    let memory: GuestMemoryMmap = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 16 << 20)]).unwrap();
    let path = std::env::temp_dir().join(format!("disk-{}", std::process::id()));
    std::fs::write(&path, vec![1; FILE as usize]).unwrap();
    let block = Block::open(&path, false, "vda").unwrap();
    std::fs::remove_file(&path).unwrap();
    let irq = EventFd::new(0).unwrap();
    let on_start: OnStart = Arc::new(|| ());
    let features = block.features() | 1 << 32 | 1 << 29 | 1 << 28;
    let mut transport = Transport::new(memory.clone(), Box::new(block), irq.try_clone().unwrap(), &on_start).unwrap();
    let mut set = |register: u64, value: u32| transport.write(register, &value.to_le_bytes());
    for (register, value) in [
        (0x70, 1),
        (0x70, 3),
        (0x24, 0),
        (0x20, features as u32),
        (0x24, 1),
        (0x20, (features >> 32) as u32),
        (0x70, 11),
        (0x38, SIZE.into()),
        (0x80, TABLE as u32),
        (0x90, AVAIL as u32),
        (0xa0, USED as u32),
        (0x44, 1),
        (0x70, 15),
    ] {
        set(register, value);
    }
    let event = transport.queue_events()[0].try_clone().unwrap();
    let put = |at, bytes: &[u8]| memory.write_slice(bytes, GuestAddress(at)).unwrap();
    let (mut avail, mut used, mut kicks, mut waits, mut seed) = (0_u16, 0_u16, 0_u64, 0_u64, 1_u64);
    for slot in 0..depth {
        let base = BUFFERS + 0x2000 * slot;
        let parts = [(base, 16_u32, 1_u16), (base + 0x1000, 4096, 1 | if write { 0 } else { 2 }), (base + 16, 1, 2)];
        for (i, (addr, len, flags)) in (0..).zip(parts) {
            let index = 3 * slot + i;
            let next = (index + 1) as u16;
            put(
                TABLE + 16 * index,
                &[&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat(),
            );
        }
    }
    let load = |at| memory.load::<u16>(GuestAddress(at), Ordering::Acquire).unwrap();
    let started = Instant::now();
    let mut free: Vec<u64> = (0..depth).collect();
    let (mut sent, mut done) = (0, 0);
    while done < requests {
        let old = avail;
        while sent < requests {
            let Some(slot) = free.pop() else { break };
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let page = if random { (seed >> 33) % (FILE / 4096) } else { sent % (FILE / 4096) };
            put(BUFFERS + 0x2000 * slot, &[u64::from(write).to_le_bytes(), (8 * page).to_le_bytes()].concat());
            put(AVAIL + 4 + 2 * u64::from(avail % SIZE), &(3 * slot as u16).to_le_bytes());
            avail = avail.wrapping_add(1);
            sent += 1;
        }
        memory.store(avail, GuestAddress(AVAIL + 2), Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
        // Linux's vring_need_event.
        let wanted = load(USED + 4 + 8 * u64::from(SIZE));
        if avail.wrapping_sub(wanted).wrapping_sub(1) < avail.wrapping_sub(old) {
            event.write(1).unwrap();
            kicks += 1;
        }
        // Wants an interrupt for the next answer.
        memory.store(used, GuestAddress(AVAIL + 4 + 2 * u64::from(SIZE)), Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
        while load(USED + 2) == used {
            irq.read().unwrap();
            waits += 1;
        }
        while load(USED + 2) != used {
            let id: u32 = memory.read_obj(GuestAddress(USED + 4 + 8 * u64::from(used % SIZE))).unwrap();
            free.push(u64::from(id) / 3);
            used = used.wrapping_add(1);
            done += 1;
        }
        let until = Instant::now() + think;
        while !think.is_zero() && Instant::now() < until {
            std::hint::spin_loop();
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{name:15} {depth:2} at once: {:7.0} a second, {:5.2} us each; {:.3} notifications, {:.3} interrupts waited for, each",
        done as f64 / seconds, seconds * 1e6 / done as f64, kicks as f64 / done as f64, waits as f64 / done as f64,
    );
}
