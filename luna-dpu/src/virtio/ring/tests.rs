//! Rings of both layouts against a device that does right, and against one that does not.

use core::cell::RefCell;
use std::rc::Rc;

use super::fake::{FakeDevice, piece};
use super::*;

const SIZE: u16 = 8;

/// An obj that knows whether it came back.
#[derive(Debug)]
struct Obj {
    name: u64,
    alive: Rc<RefCell<Vec<u64>>>,
}

impl Drop for Obj {
    fn drop(&mut self) {
        let mut alive = self.alive.borrow_mut();
        let at = alive.iter().position(|n| *n == self.name).expect("dropped once");
        alive.remove(at);
    }
}

struct Pair {
    ring: Ring<'static, Obj>,
    device: FakeDevice,
    alive: Rc<RefCell<Vec<u64>>>,
    next: u64,
}

fn configs() -> impl Iterator<Item = RingConfig> {
    [Layout::Split, Layout::Packed]
        .into_iter()
        .flat_map(|layout| [false, true].map(|event_idx| RingConfig { layout, size: SIZE, event_idx }))
}

impl Pair {
    fn new(config: RingConfig) -> Self {
        let nodes: Vec<Node<Obj>> = (0..config.size).map(|_| Node::EMPTY).collect();
        let memory = piece(config);
        let device = FakeDevice::new(config, config.addresses(&memory));
        let ring = Ring::new(config, memory, Vec::leak(nodes)).unwrap();
        Self { ring, device, alive: Rc::default(), next: 0 }
    }

    fn piece(next: &mut u64, alive: &Rc<RefCell<Vec<u64>>>) -> (Buffer, Obj) {
        let name = *next;
        *next += 1;
        alive.borrow_mut().push(name);
        let buffer = Buffer { addr: IoAddr(name << 12), len: name as u32 + 1, device_writes: name.is_multiple_of(3) };
        (buffer, Obj { name, alive: Rc::clone(alive) })
    }

    /// Adds a chain; its objs' names, as many as fitted.
    fn add(&mut self, count: usize) -> Vec<u64> {
        let first = self.next;
        let Self { ring, alive, next, .. } = self;
        let added = ring.add((0..count).map(|_| Self::piece(next, alive)));
        (first..first + added as u64).collect()
    }

    fn pop(&mut self) -> Option<(Vec<u64>, u32)> {
        let mut names = Vec::new();
        let len = self.ring.pop(|obj| names.push(obj.name))?;
        Some((names, len))
    }

    fn names(chain: &fake::Chain) -> Vec<u64> {
        chain.buffers.iter().map(|b| b.addr.0 >> 12).collect()
    }
}

#[test]
fn chains_arrive_whole_and_come_back_with_their_objs() {
    for config in configs() {
        let mut p = Pair::new(config);
        // Long enough for indices and wrap counters to go round many times.
        let mut seed = 7u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        let mut expected: Vec<Vec<u64>> = Vec::new();
        for _ in 0..200_000 {
            match random(4) {
                0 => {
                    let want = 1 + random(4) as usize;
                    if want <= p.ring.room() {
                        let names = p.add(want);
                        assert_eq!(names.len(), want);
                        expected.push(names);
                        p.ring.publish();
                    }
                }
                1 => {
                    if let Some(chain) = p.device.take() {
                        let names = Pair::names(&chain);
                        assert!(expected.contains(&names), "{config:?}: {names:?} was never added");
                        for b in &chain.buffers {
                            let name = b.addr.0 >> 12;
                            assert_eq!((u64::from(b.len), b.device_writes), (name + 1, name.is_multiple_of(3)));
                        }
                    }
                }
                2 => {
                    let held = p.device.held.len() as u64;
                    if held > 0 {
                        let len = random(5000) as u32;
                        p.device.give(random(held) as usize, len);
                    }
                }
                _ => {
                    if let Some((names, _)) = p.pop() {
                        let at = expected.iter().position(|e| *e == names).expect("exactly a chain, once");
                        expected.remove(at);
                    }
                }
            }
            let held: usize = expected.iter().map(Vec::len).sum();
            assert_eq!(p.ring.room(), usize::from(SIZE) - held);
            assert_eq!(p.alive.borrow().len(), held);
            assert_eq!(p.ring.in_flight(), expected.len());
        }
        assert!(p.ring.fault().is_none() && p.next > 50_000);
    }
}

#[test]
fn a_full_ring_refuses_and_keeps_nothing() {
    for config in configs() {
        let mut p = Pair::new(config);
        assert_eq!(p.add(20).len(), usize::from(SIZE), "as many as there is room for");
        assert_eq!(p.alive.borrow().len(), usize::from(SIZE), "the rest was not even made");
        let (buffer, obj) = Pair::piece(&mut p.next, &p.alive);
        assert!(p.ring.add_one(buffer, obj).is_err());
        assert_eq!((p.ring.room(), p.add(1).len()), (0, 0));
    }
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let config = RingConfig { layout: Layout::Split, size: SIZE, event_idx: false };
    let mut p = Pair::new(config);
    p.add(2);
    assert!(p.device.take().is_none());
    assert!(p.ring.publish());
    assert!(!p.ring.publish(), "nothing new");
    assert_eq!(Pair::names(&p.device.take().unwrap()), [0, 1]);
}

#[test]
fn doorbells_as_the_device_wants_them() {
    for config in configs() {
        let mut p = Pair::new(config);
        if !config.event_idx {
            p.device.want_doorbell(false);
            p.add(1);
            assert!(!p.ring.publish(), "{config:?}");
            p.device.want_doorbell(true);
            p.add(1);
            assert!(p.ring.publish(), "{config:?}");
            continue;
        }
        for round in 0..100 {
            p.device.want_doorbell_at(1);
            p.add(1);
            assert!(!p.ring.publish(), "{config:?} round {round}: the first of two");
            p.add(1);
            assert!(p.ring.publish(), "{config:?} round {round}: the second");
            p.add(1);
            assert!(!p.ring.publish(), "{config:?} round {round}: and no more");
            while p.device.take().is_some() {
                p.device.give(0, 0);
            }
            while p.pop().is_some() {}
        }
    }
}

/// Whatever it is told, the ring keeps the objs that the device may still touch, and hands none out twice.
#[track_caller]
fn assert_contained(mut p: Pair, fault: Fault, kept: usize) {
    assert_eq!(p.pop(), None);
    assert_eq!(p.ring.fault(), Some(fault));
    assert_eq!(p.alive.borrow().len(), kept);
    // It stays so, and takes nothing more.
    p.device.say_used(0, 0, 1);
    assert_eq!((p.pop(), p.ring.room(), p.add(1).len()), (None, 0, 0));
    let alive = Rc::clone(&p.alive);
    let mut drained = 0;
    // SAFETY: this device is Rust, and is not asked again.
    unsafe { p.ring.restart(|_| drained += 1) };
    assert_eq!((drained, alive.borrow().len()), (kept, 0));
    assert_eq!((p.ring.fault(), p.ring.in_flight(), p.ring.room()), (None, 0, p.ring.size()), "as good as new");
}

fn with_two_in_flight(config: RingConfig) -> Pair {
    let mut p = Pair::new(config);
    p.add(2);
    p.add(1);
    p.ring.publish();
    p.device.take().unwrap();
    p.device.take().unwrap();
    p
}

#[test]
fn the_device_is_asked_for_no_interrupt() {
    for config in configs() {
        let mut p = Pair::new(config);
        assert!(p.device.is_to_be_quiet(), "{config:?}, before anything is used");
        for _ in 0..3 {
            p.add(1);
            p.ring.publish();
            p.device.take().unwrap();
        }
        assert!(p.device.is_to_be_quiet(), "{config:?}");
    }
}

#[test]
fn ids_out_of_range_are_a_fault() {
    for config in configs() {
        for id in [u32::from(SIZE), 0x7fff, 0xffff] {
            let mut p = with_two_in_flight(config);
            p.device.say_used(id, 0, 1);
            assert_contained(p, Fault::UnknownId(id), 3);
        }
    }
    let split = RingConfig { layout: Layout::Split, size: SIZE, event_idx: false };
    let mut p = with_two_in_flight(split);
    // The low half alone would be a good one.
    p.device.say_used(0x1_0000, 0, 1);
    assert_contained(p, Fault::UnknownId(0x1_0000), 3);
}

#[test]
fn ids_that_the_device_does_not_hold_are_a_fault() {
    for config in configs() {
        // The second of a chain, a free one.
        for id in [1, 3] {
            let mut p = with_two_in_flight(config);
            p.device.say_used(id, 0, 1);
            assert_contained(p, Fault::UnknownId(id), 3);
        }
        // One that it returned before.
        let mut p = with_two_in_flight(config);
        p.device.give(0, 0).unwrap();
        assert_eq!(p.pop(), Some((vec![0, 1], 0)));
        p.device.say_used(0, 0, 1);
        assert_contained(p, Fault::UnknownId(0), 1);
    }
}

#[test]
fn an_index_that_jumps_is_a_fault() {
    let config = RingConfig { layout: Layout::Split, size: SIZE, event_idx: false };
    for (idx, by) in [(3, 3), (u16::MAX, u16::MAX), (0x8000, 0x8000)] {
        let mut p = with_two_in_flight(config);
        p.device.jump(idx);
        assert_contained(p, Fault::IndexJump(by), 3);
    }
    // A device that reset itself begins again at 0.
    let mut p = with_two_in_flight(config);
    p.device.give(1, 0).unwrap();
    assert_eq!(p.pop(), Some((vec![2], 0)));
    p.device.jump(0);
    assert_contained(p, Fault::IndexJump(u16::MAX), 2);
}

#[test]
fn a_packed_ring_that_looks_used_when_nothing_is_out_is_a_fault() {
    let mut p = Pair::new(RingConfig { layout: Layout::Packed, size: SIZE, event_idx: false });
    p.device.say_used(0, 0, 1);
    assert_contained(p, Fault::UnknownId(0), 0);
}

#[test]
fn a_device_that_writes_over_descriptors_gets_nothing_by_it() {
    for config in configs() {
        for byte in [0, 0x55, 0xff] {
            let mut p = with_two_in_flight(config);
            if config.layout == Layout::Split {
                // The table is scribbled over: chains are still freed as they were made.
                p.device.scribble(byte);
                p.device.give(0, 9).unwrap();
                assert_eq!(p.pop(), Some((vec![0, 1], 9)));
                p.device.give(0, 9).unwrap();
                assert_eq!(p.pop(), Some((vec![2], 9)));
                assert_eq!(p.ring.room(), usize::from(SIZE));
            } else {
                // Here it may look like used descriptors, of ids that are or are not held: no more comes out than went in.
                p.device.scribble(byte);
                let mut out = 0;
                while let Some((names, _)) = p.pop() {
                    out += names.len();
                }
                assert!(out <= 3);
                assert_eq!(p.alive.borrow().len(), 3 - out);
            }
        }
    }
}

#[test]
fn lengths_are_the_devices_claim() {
    for config in configs() {
        let mut p = with_two_in_flight(config);
        p.device.give(0, u32::MAX).unwrap();
        assert_eq!(p.pop(), Some((vec![0, 1], u32::MAX)), "told as it is: the queue knows what it posted");
    }
}

#[test]
fn memory_that_does_not_fit_is_refused() {
    for config in configs() {
        let nodes = |n: u16| Vec::leak((0..n).map(|_| Node::<Obj>::EMPTY).collect());
        assert!(Ring::new(config, piece(config), nodes(SIZE - 1)).is_none());
        let odd = RingConfig { size: 6, ..config };
        assert!(Ring::new(odd, piece(config), nodes(6)).is_none());
        let none = RingConfig { size: 0, ..config };
        assert!(Ring::new(none, piece(config), nodes(0)).is_none());
        let larger = RingConfig { size: 2 * SIZE, ..config };
        assert!(Ring::new(larger, piece(config), nodes(2 * SIZE)).is_none());
    }
}

#[test]
fn dropping_a_ring_frees_nothing_that_the_device_may_write_to() {
    for config in configs() {
        let Pair { ring, alive, .. } = with_two_in_flight(config);
        let ring = Box::new(ring);
        drop(ring);
        assert_eq!(alive.borrow().len(), 3);
    }
}
