//! How fast the oracle reads: ordinary console output, nothing but oopses, and oopses of one boot after its findings' limit.

mod text;

use criterion::{BenchmarkId, Criterion, Throughput};
use mmtorture_harness::oracle::Oracle;
use std::hint::black_box;

const SIZE: usize = 16 << 20;
/// What a pipe or a file hands over at once.
const CHUNK: usize = 64 << 10;

fn read(log: &[u8], per_boot: usize) {
    // A boot's findings are limited: a new oracle for as many bytes as a boot may hold.
    for boot in log.chunks(per_boot) {
        let mut oracle = Oracle::new();
        for chunk in boot.chunks(CHUNK) {
            black_box(oracle.feed(chunk));
        }
        black_box(oracle.finish());
    }
}

fn throughput(c: &mut Criterion) {
    let mut group = c.benchmark_group("oracle");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(SIZE as u64));
    let (ordinary, oopses) = (text::ordinary(SIZE), text::oopses(SIZE));
    group.bench_with_input(BenchmarkId::new("ordinary", SIZE), &ordinary, |b, log| b.iter(|| read(log, usize::MAX)));
    // About 200 oopses, all of which become findings.
    group.bench_with_input(BenchmarkId::new("oopses", SIZE), &oopses, |b, log| b.iter(|| read(log, 640 << 10)));
    group.bench_with_input(BenchmarkId::new("oopses-beyond-limit", SIZE), &oopses, |b, log| {
        b.iter(|| read(log, usize::MAX));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    throughput(&mut criterion);
    criterion.final_summary();
}
