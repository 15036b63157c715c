//! Zbuf: alloc, clone, free, slices, and translation to bus addresses.

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use luna_core::zbuf::{Frag, ZbufMut};
use luna_tests::memory;

fn alloc_and_free(c: &mut Criterion) {
    let pool = memory::pool(4, 2048);
    c.bench_function("zbuf/alloc and free", |b| b.iter(|| black_box(pool.alloc())));
    c.bench_function("zbuf/32 alloc, then 32 free", |b| {
        let mut objs = Vec::<ZbufMut>::with_capacity(32);
        b.iter(|| {
            objs.extend((0..32).map(|_| pool.alloc().expect("objs are left")));
            black_box(&objs);
            objs.clear();
        });
    });
}

fn handles(c: &mut Criterion) {
    let pool = memory::pool(1, 4096);
    let mut obj = pool.alloc().expect("a fresh pool");
    obj.append(4096).expect("the obj's size");
    let buf = obj.freeze();
    let frag = Frag::from(buf.clone());
    c.bench_function("zbuf/clone and drop", |b| b.iter(|| black_box(black_box(&buf).clone())));
    c.bench_function("zbuf/slice and drop", |b| b.iter(|| black_box(black_box(&buf).slice(black_box(100..1548)))));
    c.bench_function("zbuf/fragment slice and drop", |b| b.iter(|| black_box(black_box(&frag).slice(100, 1448))));
    c.bench_function("zbuf/address translation", |b| b.iter(|| black_box(black_box(&buf).io_addr())));
}

criterion_group!(benches, alloc_and_free, handles);
criterion_main!(benches);
