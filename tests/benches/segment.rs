//! The fast path: one in-order data segment, and one pure acknowledgment, through a live connection with all its features.
//!
//! 32 of them arrive in one burst and the turn that takes them in is timed: per segment that is parse, look-up, TCP and
//! callback, and a 32nd of a turn with its output. `segment_instructions` counts the same.

use core::time::Duration;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luna_tests::segments::{PIECES, Segments};

fn data(c: &mut Criterion, name: &str, checksum_offload: bool) {
    let mut segments = Segments::new(checksum_offload, false);
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Elements(PIECES));
    group.bench_function(name, |b| {
        b.iter_custom(|n| {
            let mut sum = Duration::ZERO;
            for _ in 0..n {
                segments.data(PIECES, |pair| {
                    let start = Instant::now();
                    pair.b.stack.turn(pair.now, 256, &mut pair.b.app);
                    sum += start.elapsed();
                });
            }
            sum
        });
    });
}

fn data_segment(c: &mut Criterion) {
    data(c, "32 in-order data segments, checksums offloaded", true);
    data(c, "32 in-order data segments, checksums in software", false);
}

fn pure_ack(c: &mut Criterion) {
    let mut segments = Segments::new(true, true);
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Elements(PIECES));
    group.bench_function("32 pure acknowledgments", |b| {
        b.iter_custom(|n| {
            let mut sum = Duration::ZERO;
            for _ in 0..n {
                segments.acks(PIECES, |pair| {
                    let start = Instant::now();
                    pair.a.stack.turn(pair.now, 256, &mut pair.a.app);
                    sum += start.elapsed();
                });
            }
            sum
        });
    });
}

criterion_group!(benches, data_segment, pure_ack);
criterion_main!(benches);
