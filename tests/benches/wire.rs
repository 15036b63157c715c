//! Headers and checksums: parse, emit, sum.

use core::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luna_core::wire::{
    Checksum, HeaderTemplate, MacAddr, RxChecksum, SegmentHead, SeqNum, TcpFlags, TcpPacket, tcp_checksum,
    write_tcp_checksum,
};

const PAYLOAD: usize = 1448;

fn template() -> HeaderTemplate {
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    HeaderTemplate::new(MacAddr([2; 6]), MacAddr([4; 6]), None, src, dst, 61440, 7000, 64).expect("both IPv4")
}

fn head() -> SegmentHead<'static> {
    let flags = TcpFlags::ACK;
    SegmentHead { seq: SeqNum(1), ack: SeqNum(2), flags, window: 512, ts: Some((3, 4)), ecn: 0, options: None }
}

/// A full segment with timestamps, all its checksums right.
fn frame() -> Vec<u8> {
    let (template, head) = (template(), head());
    let len = template.header_len(&head);
    let mut frame = vec![0; len + PAYLOAD];
    let (header, payload) = frame.split_at_mut(len);
    payload.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    assert_eq!(template.emit(header, &head, PAYLOAD as u32), len);
    let l4 = template.l2l3_len();
    let pseudo = template.pseudo_sum((len - l4 + PAYLOAD) as u32);
    let sum = tcp_checksum(pseudo, &header[l4..], [&*payload]);
    write_tcp_checksum(header, l4, sum);
    frame
}

fn parse(c: &mut Criterion) {
    let frame = frame();
    let parse = |rx| TcpPacket::parse_frame(black_box(&frame), rx);
    for rx in [RxChecksum::GOOD, RxChecksum::UNKNOWN] {
        let packet = parse(rx).expect("a good frame");
        assert_eq!((usize::from(packet.payload_len), packet.tcp.seq), (PAYLOAD, SeqNum(1)));
    }
    let mut bad = frame.clone();
    *bad.last_mut().expect("a payload") ^= 1;
    assert!(TcpPacket::parse_frame(&bad, RxChecksum::UNKNOWN).is_err(), "the checksum is looked at");
    c.bench_function("wire/parse, checksums offloaded", |b| b.iter(|| black_box(parse(RxChecksum::GOOD))));
    c.bench_function("wire/parse and verify 1448 bytes", |b| b.iter(|| black_box(parse(RxChecksum::UNKNOWN))));
}

fn emit(c: &mut Criterion) {
    let (template, head) = (template(), head());
    let mut out = [0; 66];
    c.bench_function("wire/emit a header", |b| {
        b.iter(|| black_box(&template).emit(black_box(&mut out), black_box(&head), PAYLOAD as u32));
    });
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire/checksum");
    for len in [64, 1448, 4096, 8948] {
        let bytes = vec![0xa5; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len} bytes"), |b| {
            b.iter(|| {
                let mut sum = Checksum::new();
                sum.add(black_box(&bytes));
                sum.finish()
            });
        });
    }
}

criterion_group!(benches, parse, emit, checksum);
criterion_main!(benches);
