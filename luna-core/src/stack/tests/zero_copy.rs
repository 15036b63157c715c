//! Payload is where the device put it, and goes out from where the application has it: by address, and by count.

use super::harness::*;
use crate::stack::*;
use crate::time::Duration;
use crate::zbuf::{Frag, Zbuf};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Whether every payload fragment that the driver was given lies inside `data`.
fn all_inside(p: &Pair, data: &Zbuf) -> bool {
    let start = data.as_ptr().addr().get();
    let seen = &p.a.stack.paths[0].queue.payload_seen;
    !seen.is_empty() && seen.iter().all(|(at, len)| *at >= start && at + *len as usize <= start + data.len() as usize)
}

#[test]
fn the_driver_is_given_the_applications_obj_and_the_application_reads_the_posted_one() {
    for checksum_offload in [false, true] {
        for mtu in [1500, 9000] {
            let (mut p, a, _) = Pair::open(&Options { checksum_offload, mtu, ..Options::default() });
            let data = p.a.buffer(16_000, 0);
            p.a.send(p.now, a, &data, 1).unwrap();
            p.run(MS(1));
            expect_pattern(&p.b.app.received, 16_000);
            assert!(all_inside(&p, &data), "first transmission");
            for (at, _) in &p.b.app.chunks {
                let ptr = core::ptr::NonNull::new(core::ptr::with_exposed_provenance_mut(*at)).unwrap();
                assert!(p.b.pools.rx.contains(ptr), "what is read lies in an obj that was posted");
            }
            let copies = p.a.stack.copies();
            assert_eq!((copies.small.bytes, copies.header.bytes, copies.foreign.bytes), (0, 0, 0));
        }
    }
}

#[test]
fn a_retransmission_too_leaves_from_the_applications_obj() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let data = p.a.buffer(16_000, 0);
    p.a.queue().fate = Box::new(|s, n| if s.payload_len > 0 && n.is_multiple_of(3) { Fate::Drop } else { Fate::Pass });
    p.a.send(p.now, a, &data, 1).unwrap();
    assert!(p.run_until(MS(100), |p| !p.a.app.released.is_empty()));
    expect_pattern(&p.b.app.received, 16_000);
    assert!(p.a.stack.counters().retransmits > 2);
    assert!(all_inside(&p, &data));
    assert_eq!(p.a.stack.copies().small.bytes, 0);
}

#[test]
fn the_obj_is_the_applications_again_once_it_is_acknowledged() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let data = p.a.buffer(16_000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    assert!(!data.is_unique());
    p.run(MS(1));
    assert_eq!(p.a.app.released, [(1, Released::Acked)]);
    assert!(data.try_into_mut().is_ok());
}

#[test]
fn headers_and_crumbs_are_copied_and_counted_apart() {
    let (mut p, a, _) = Pair::open(&Options::default());
    let all = p.a.buffer(4340, 0);
    let mut iov = heapless::Vec::<Frag, 4>::new();
    iov.push(Frag::header(all.slice(0..40))).unwrap();
    iov.push(Frag::from(all.slice(40..240))).unwrap();
    iov.push(Frag::from(all.slice(240..1240))).unwrap();
    iov.push(Frag::from(all.slice(1240..4340))).unwrap();
    p.a.stack.cx(p.now).send(a, &mut iov, 1).unwrap();
    p.run(MS(1));
    expect_pattern(&p.b.app.received, 4340);
    let copies = *p.a.stack.copies();
    assert_eq!((copies.header.bytes, copies.header.copies), (40, 1));
    assert_eq!((copies.small.bytes, copies.small.copies), (200, 1));
    assert!(all_inside(&p, &all), "everything else leaves from where it is");
}

#[test]
fn a_received_obj_goes_back_out_without_a_copy() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.b.app.echo = true;
    let data = p.a.buffer(10_000, 0);
    p.a.send(p.now, a, &data, 1).unwrap();
    p.run(MS(5));
    expect_pattern(&p.a.app.received, 10_000);
    let posted: Vec<_> = p.b.app.chunks.clone();
    let sent = &p.b.stack.paths[0].queue.payload_seen;
    // Each fragment that b sent lies in a chunk that b received.
    assert!(!sent.is_empty());
    for (at, len) in sent {
        assert!(posted.iter().any(|(start, n)| at >= start && at + *len as usize <= start + *n as usize));
    }
}
