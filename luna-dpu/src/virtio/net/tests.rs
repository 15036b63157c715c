//! The network device and its queues against a device made of Rust.

use core::alloc::Layout as Memory;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::sync::{Arc, Mutex, MutexGuard};

use luna_core::nic::{MAX_TSO_PAYLOAD, NicQueue, RxBurst, TxMeta};
use luna_core::wire::{ChecksumVerdict, MacAddr};
use luna_core::zbuf::{DeviceKey, Frag, FragRef, IoAddr, Pool, Region, ZONE_SIZE, ZbufMut, ZoneLayout};

use super::*;
use crate::dma::{Coherent, DmaArea};
use crate::mmio::Registers;
use crate::parts::{IPV6, PACKED};
use crate::virtio::ring::fake::{Chain, FakeDevice, IO_OFFSET, area, pointer};
use crate::virtio::ring::{Layout, RingConfig};
use crate::virtio::{DeviceType, Doorbell, Features, InitError, RingAddresses, Transport, Watch, feature, status};

mod mend;
mod mergeable;
mod noncoherent;

const SIZE: u16 = 8;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// What several hold, on whatever thread.
#[derive(Default)]
struct Common<T>(Arc<Mutex<T>>);

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Common<T> {
    fn borrow(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
    fn get(&self) -> T
    where
        T: Copy,
    {
        *self.borrow()
    }
    fn set(&self, value: T) {
        *self.borrow() = value;
    }
}

/// Counts doorbells, and shows the status.
#[derive(Clone, Default)]
struct Bells(Common<Vec<u16>>, Common<u8>, Common<u32>);

impl Registers for Bells {
    fn read8(&self, _: usize) -> u8 {
        *self.2.borrow() += 1;
        self.1.get()
    }
    fn read16(&self, _: usize) -> u16 {
        0
    }
    fn read32(&self, _: usize) -> u32 {
        0
    }
    fn write8(&self, _: usize, _: u8) {}
    fn write16(&self, _: usize, queue: u16) {
        self.0.borrow().push(queue);
    }
    fn write32(&self, _: usize, _: u32) {}
}

/// What a device is like, and what was done to it.
#[derive(Clone)]
struct FakeNet {
    kind: DeviceType,
    offers: Features,
    refuses: bool,
    stuck: bool,
    /// Offered no more.
    gone: Common<Features>,
    /// Does not come out of resets any more.
    jammed: Common<bool>,
    /// Resets, and reads of the status register.
    resets: Common<u32>,
    looks: Common<u32>,
    limit: u16,
    max_pairs: u16,
    accepted: Common<Features>,
    status: Common<u8>,
    queues: Common<Vec<(u16, u16, RingAddresses)>>,
    bells: Bells,
}

impl FakeNet {
    fn new(offers: Features) -> Self {
        Self {
            kind: DeviceType::NET,
            offers: offers.or(feature::VERSION_1).or(feature::NET_MAC),
            refuses: false,
            stuck: false,
            gone: Common::default(),
            jammed: Common::default(),
            resets: Common::default(),
            looks: Common::default(),
            limit: 256,
            max_pairs: 4,
            accepted: Common::default(),
            status: Common::default(),
            queues: Common::default(),
            bells: Bells::default(),
        }
    }

    /// The device's side of queue `queue`.
    fn ring(&self, queue: u16) -> FakeDevice {
        let (_, size, at) = *self.queues.borrow().iter().find(|q| q.0 == queue).unwrap();
        let accepted = self.accepted.get();
        let layout = if accepted.has(feature::RING_PACKED) { Layout::Packed } else { Layout::Split };
        FakeDevice::new(RingConfig { layout, size, event_idx: accepted.has(feature::EVENT_IDX) }, at)
    }
}

impl Transport for FakeNet {
    type Registers = Bells;
    fn device_type(&self) -> DeviceType {
        self.kind
    }
    fn status(&self) -> u8 {
        if self.stuck { 0x80 } else { self.status.get() }
    }
    fn set_status(&mut self, status: u8) {
        let taken = match status {
            _ if self.jammed.get() => return,
            0 => {
                *self.resets.borrow() += 1;
                0
            }
            _ if self.refuses => status & !status::FEATURES_OK,
            _ => status,
        };
        self.status.set(taken);
    }
    fn offered(&mut self) -> Features {
        self.offers.without(self.gone.get())
    }
    fn accept(&mut self, features: Features) {
        assert!(self.offers.has(features), "features that were not offered");
        self.accepted.set(features);
    }
    fn queue_limit(&mut self, queue: u16) -> u16 {
        if queue > 2 * self.max_pairs { 0 } else { self.limit }
    }
    fn set_queue(&mut self, queue: u16, size: u16, addresses: RingAddresses) {
        assert_eq!(self.status.get() & status::DRIVER_OK, 0, "set up before it goes");
        self.queues.borrow().push((queue, size, addresses));
    }
    fn doorbell(&mut self, queue: u16) -> Doorbell<Bells> {
        Doorbell::new(self.bells.clone(), 0, queue, false)
    }
    fn watch(&self) -> Watch<Bells> {
        Watch::new(Bells(self.bells.0.clone(), self.status.clone(), self.looks.clone()), 0, false)
    }
    fn config8(&self, offset: usize) -> u8 {
        MAC.get(offset).copied().unwrap_or(40)
    }
    fn config16(&self, offset: usize) -> u16 {
        match offset {
            8 => self.max_pairs,
            10 => 1400,
            _ => 128,
        }
    }
}

fn pool(size: u32) -> &'static Pool {
    // SAFETY: the size is not zero.
    let base = unsafe { alloc_zeroed(Memory::from_size_align(ZONE_SIZE, ZONE_SIZE).unwrap()) };
    let base = NonNull::new(base).unwrap();
    let at = base.as_ptr().expose_provenance() as u64;
    // SAFETY: fresh memory, never freed; the fake device adds the same offset.
    let region = unsafe { Region::new(base, 1, |_| IoAddr(at + IO_OFFSET), DeviceKey(0)) }.unwrap();
    Box::leak(Box::new(Pool::new(region, ZoneLayout { obj_size: size, prefix: 64 }).unwrap()))
}

fn nodes<T>(n: u16) -> &'static mut [crate::virtio::ring::Node<T>] {
    Vec::leak((0..n).map(|_| Default::default()).collect())
}

fn device(net: &FakeNet, config: NetConfig, area: &mut DmaArea) -> Result<NetDevice<'static, FakeNet>, InitError> {
    NetDevice::new(net.clone(), config, area, Box::leak(Box::default()))
}

/// A queue at work, with the device's sides of its rings.
struct Bench {
    queue: NetQueue<'static, Bells, Coherent>,
    rx: FakeDevice,
    tx: FakeDevice,
    rx_pool: &'static Pool,
    header_pool: &'static Pool,
    net: FakeNet,
}

impl Bench {
    fn new(offers: Features) -> Self {
        Self::with_device(offers).0
    }

    fn with_device(offers: Features) -> (Self, NetDevice<'static, FakeNet>) {
        let net = FakeNet::new(offers);
        let mut area = area(1 << 16);
        let mut device = device(&net, NetConfig::default(), &mut area).unwrap();
        let (rx_pool, header_pool) = (pool(2048), pool(512));
        let pair = device.pair(&mut area, SIZE, SIZE).unwrap();
        device.start(&[0; 40]).unwrap();
        let memory = QueueMemory { rx: nodes(SIZE), tx: nodes(SIZE) };
        let queue = pair.open(memory, rx_pool, header_pool, Coherent).unwrap();
        let (rx, tx) = (net.ring(0), net.ring(1));
        (Self { queue, rx, tx, rx_pool, header_pool, net }, device)
    }

    /// The device begins anew with its rings.
    fn meet_again(&mut self) {
        (self.rx, self.tx) = (self.net.ring(0), self.net.ring(1));
    }

    fn every() -> impl Iterator<Item = Self> {
        Self::offering(Features::NONE)
    }

    /// Every layout, of a device that offers `more`.
    fn offering(more: Features) -> impl Iterator<Item = Self> {
        let layouts = [Features::NONE, feature::RING_PACKED, feature::EVENT_IDX];
        layouts.into_iter().map(move |f| Self::new(f.or(more).or(feature::NET_CSUM).or(feature::NET_GUEST_CSUM)))
    }

    fn poll(&mut self) -> Vec<luna_core::nic::RxFrame> {
        let mut burst = RxBurst::new();
        self.queue.rx_burst(&mut burst);
        (0..burst.len()).filter_map(|i| burst.take(i)).collect()
    }

    /// The device fills the oldest posted obj: header with `flags` and `buffers`, then `frame`; claims `len`.
    fn receive(&mut self, flags: u8, buffers: u16, frame: &[u8], len: u32) -> Chain {
        while self.rx.take().is_some() {}
        let at = pointer(self.rx.held[0].buffers[0].addr.0);
        let mut header = [0; 12];
        header[0] = flags;
        header[10..].copy_from_slice(&buffers.to_le_bytes());
        // SAFETY: the posted buffer holds a header and a frame of the MTU.
        unsafe {
            at.copy_from(header.as_ptr(), 12);
            at.add(12).copy_from(frame.as_ptr(), frame.len());
        }
        self.rx.give(0, len).unwrap()
    }

    /// The device fills the oldest posted obj with more of a frame, without a header; claims `len`.
    fn receive_more(&mut self, bytes: &[u8], len: u32) -> Chain {
        while self.rx.take().is_some() {}
        let at = pointer(self.rx.held[0].buffers[0].addr.0);
        // SAFETY: the posted buffer has room.
        unsafe { at.copy_from(bytes.as_ptr(), bytes.len()) };
        self.rx.give(0, len).unwrap()
    }

    fn header(&self, bytes: &[u8]) -> ZbufMut {
        let mut obj = self.header_pool.alloc().unwrap();
        obj.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
        obj
    }
}

const PLAIN: TxMeta =
    TxMeta { l2_len: 14, l3_len: 20, l4_len: 20, ipv6: false, offload_checksum: false, segment_size: 0 };

#[test]
fn frames_arrive_in_the_objs_that_were_posted() {
    for mut b in Bench::every() {
        assert!(b.poll().is_empty());
        assert_eq!(b.queue.in_flight().0, usize::from(SIZE), "all posted");
        assert_eq!(b.net.bells.0.borrow().as_slice(), [0], "once");
        for round in 0..50u8 {
            let frame = [round; 100];
            let chain = b.receive(2, 1, &frame, 112);
            let got = b.poll();
            assert_eq!((got.len(), &*got[0].data), (1, &frame[..]));
            assert_eq!(got[0].data.io_addr().0, chain.buffers[0].addr.0 + 12, "not copied");
            assert!(got[0].data.as_ptr().addr().get().is_multiple_of(64), "where the obj's data begins");
            assert_eq!(got[0].meta.checksum.l4, ChecksumVerdict::Good);
            assert_eq!(chain.buffers[0].len, 12 + 2048 - 64);
        }
        let stats = b.queue.stats();
        assert_eq!((stats.rx_frames, stats.rx_bytes, stats.rx_copied.bytes), (50, 5000, 0));
        assert_eq!(b.rx_pool.outstanding(), usize::from(SIZE));
    }
}

#[test]
fn checksums_are_believed_only_when_that_was_agreed_on() {
    for (offers, flags, verdict) in [
        (feature::NET_GUEST_CSUM, 1, ChecksumVerdict::Good),
        (feature::NET_GUEST_CSUM, 2, ChecksumVerdict::Good),
        (feature::NET_GUEST_CSUM, 0, ChecksumVerdict::Unknown),
        (Features::NONE, 3, ChecksumVerdict::Unknown),
    ] {
        let mut b = Bench::new(offers);
        b.poll();
        b.receive(flags, 1, &[0; 60], 72);
        let got = b.poll();
        assert_eq!((got[0].meta.checksum.l4, got[0].meta.checksum.ip), (verdict, ChecksumVerdict::Unknown));
    }
}

#[test]
fn lengths_that_cannot_be_are_dropped_and_counted() {
    for mut b in Bench::every() {
        b.poll();
        let most = 12 + b.rx_pool.data_capacity();
        for len in [0, 11, most + 1, u32::MAX] {
            b.receive(0, 1, &[1; 60], len);
        }
        assert!(b.poll().is_empty());
        assert_eq!(b.queue.faults().bad_lengths, 4);
        b.receive(0, 1, &[1; 60], most);
        b.receive(0, 1, &[1; 60], 12);
        let got = b.poll();
        assert_eq!((got[0].data.len(), got[1].data.len()), (most - 12, 0));
        drop(got);
        b.poll();
        assert_eq!(b.rx_pool.outstanding(), usize::from(SIZE), "every dropped obj is posted again");
    }
}

#[test]
fn large_frames_are_left_to_a_device_that_cuts_them() {
    let (sums, v4, v6) = (feature::NET_CSUM, feature::NET_HOST_TSO4, feature::NET_HOST_TSO6);
    let most = MAX_TSO_PAYLOAD;
    let every = sums.or(v4).or(v6);
    let cases = [(sums, (0, 0)), (v4.or(v6), (0, 0)), (sums.or(v4), (most, 0)), (sums.or(v6), (0, most))];
    for (offers, cut) in cases.into_iter().chain([(every, (most, most))]) {
        let mut b = Bench::new(offers);
        let caps = b.queue.caps();
        let expected = (cut.0, if IPV6 { cut.1 } else { 0 });
        assert_eq!((caps.max_tso_payload, caps.max_tso_payload_v6), expected, "{offers:?}");
        let objs: Vec<Frag> = (0..3)
            .map(|_| {
                let mut obj = b.rx_pool.alloc().unwrap();
                obj.append(1900).unwrap().fill(7);
                Frag::from(obj.freeze())
            })
            .collect();
        let lent: Vec<FragRef<'_>> = objs.iter().map(Frag::lend).collect();
        // gso_type 1 is VIRTIO_NET_HDR_GSO_TCPV4, 4 is TCPV6.
        for (ipv6, l3_len, gso_type) in [(false, 20, 1), (true, 40, 4)] {
            let meta = TxMeta { ipv6, l3_len, l4_len: 32, offload_checksum: true, segment_size: 1428, ..PLAIN };
            let l4 = 14 + l3_len;
            let header = b.header(&[5; 86][..usize::from(l4 + 32)]);
            let header_io = header.io_addr().0;
            b.queue.tx(header.into(), &lent, meta).unwrap();
            b.queue.flush();
            let chain = b.tx.take().unwrap();
            let lens: Vec<u32> = chain.buffers.iter().map(|b| b.len).collect();
            assert_eq!(lens, [12 + u32::from(l4) + 32, 1900, 1900, 1900]);
            // SAFETY: the header that was just given.
            let head = unsafe { core::slice::from_raw_parts(pointer(header_io - 12), 12) };
            let size = 1428u16.to_le_bytes();
            assert_eq!(head, [1, gso_type, l4 + 32, 0, size[0], size[1], l4, 0, 16, 0, 0, 0]);
        }
        // One that claims to be a single frame is still too long.
        b.queue.tx(b.header(&[5; 66]).into(), &lent, PLAIN).unwrap();
        assert_eq!(b.queue.stats().tx_dropped, 1);
    }
}

#[test]
fn what_is_sent_lies_where_the_application_put_it() {
    for mut b in Bench::every() {
        let mut payload = b.rx_pool.alloc().unwrap();
        payload.append(1000).unwrap().fill(7);
        let payload = Frag::from(payload.freeze());
        let (first, second) = (payload.slice(0, 300), payload.slice(300, 700));
        let header = b.header(&[5; 54]);
        let header_io = header.io_addr().0;
        let meta = TxMeta { offload_checksum: true, ..PLAIN };
        let lent: Vec<FragRef<'_>> = [&first, &second].map(Frag::lend).into();
        b.queue.tx(header.into(), &lent, meta).unwrap();
        if !b.net.accepted.get().has(feature::RING_PACKED) {
            assert!(b.tx.take().is_none(), "not before the flush");
        }
        b.queue.flush();
        let chain = b.tx.take().unwrap();
        let io = payload.io_addr().unwrap().0;
        let expected = [(header_io - 12, 66), (io, 300), (io + 300, 700)];
        assert_eq!(chain.buffers.iter().map(|b| (b.addr.0, b.len)).collect::<Vec<_>>(), expected);
        assert!(chain.buffers.iter().all(|b| !b.device_writes));
        // SAFETY: the header that was just given.
        let head = unsafe { core::slice::from_raw_parts(pointer(header_io - 12), 12) };
        assert_eq!(head, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], "checksum from byte 34, to be put 16 further");
        drop((first, second, payload));
        assert_eq!((b.rx_pool.outstanding(), b.header_pool.outstanding()), (1, 1), "the device has them");
        assert_eq!(b.queue.reap(), 0);
        b.tx.give(0, 0).unwrap();
        assert_eq!(b.queue.reap(), 1);
        assert_eq!((b.rx_pool.outstanding(), b.header_pool.outstanding()), (0, 0));
        assert_eq!(b.queue.stats().tx_copied.bytes, 0);
    }
}

#[test]
fn a_full_ring_gives_the_header_back() {
    for mut b in Bench::every() {
        for _ in 0..SIZE {
            b.queue.tx(b.header(&[1; 60]).into(), &[], PLAIN).unwrap();
        }
        let refused = b.queue.tx(b.header(&[2; 60]).into(), &[], PLAIN).unwrap_err();
        assert_eq!(*refused, [2; 60]);
        b.queue.flush();
        b.tx.take().unwrap();
        b.tx.give(0, 0).unwrap();
        assert!(b.queue.tx(refused, &[], PLAIN).is_ok(), "what the device returned is taken back first");
        assert_eq!(b.queue.in_flight().1, usize::from(SIZE));
    }
}

/// QEMU 7.2 forgets to move its event index when a packed queue's backend was busy: nobody would ever ring again.
#[test]
fn a_device_that_does_nothing_is_reminded() {
    for mut b in Bench::every() {
        b.queue.flush();
        b.tx.want_doorbell(false);
        b.queue.tx(b.header(&[1; 60]).into(), &[], PLAIN).unwrap();
        b.queue.flush();
        b.net.bells.0.borrow().clear();
        for _ in 0..10 * 4096 {
            assert_eq!(b.queue.reap(), 0);
        }
        assert_eq!(b.net.bells.0.borrow().as_slice(), [1; 10], "now and then");
        b.queue.nudge();
        assert_eq!(b.net.bells.0.borrow().pop(), Some(1), "at once, after a sleep");
        assert_eq!(b.net.bells.0.borrow().len(), 10);
        b.tx.take().unwrap();
        b.tx.give(0, 0).unwrap();
        assert_eq!(b.queue.reap(), 1);
        for _ in 0..2 * 4096 {
            b.queue.reap();
        }
        b.queue.nudge();
        assert_eq!(b.net.bells.0.borrow().len(), 10, "it has nothing to do");
    }
}

#[test]
fn frames_above_the_mtu_and_foreign_headers_are_dropped_and_counted() {
    let mut b = Bench::new(Features::NONE);
    let mut long = b.rx_pool.alloc().unwrap();
    long.append(1500).unwrap();
    let long = Frag::from(long.freeze());
    assert!(b.queue.tx(b.header(&[1; 54]).into(), &[long.lend()], PLAIN).is_ok());
    let stray = pool(512).alloc().unwrap();
    assert!(b.queue.tx(stray.into(), &[], PLAIN).is_ok());
    assert_eq!((b.queue.stats().tx_dropped, b.queue.in_flight().1), (2, 0));
}

#[test]
fn a_ring_that_breaks_stops_the_queue_and_is_told() {
    for mut b in Bench::every() {
        b.poll();
        while b.rx.take().is_some() {}
        b.rx.say_used(0xffff, 100, 1);
        assert!(b.poll().is_empty() && b.poll().is_empty());
        assert!(b.queue.fault().is_some());
        assert_eq!((b.queue.faults().rx_ring, b.queue.faults().tx_ring), (1, 0));
        b.tx.say_used(3, 0, 1);
        assert_eq!(b.queue.reap(), 0);
        assert_eq!(b.queue.faults().tx_ring, 1);
        assert!(b.queue.tx(b.header(&[1; 60]).into(), &[], PLAIN).is_ok());
        assert_eq!(b.queue.stats().tx_dropped, 1);
    }
}

#[test]
fn devices_that_cannot_be_used_are_named() {
    let with = |change: fn(&mut FakeNet), config: NetConfig| {
        let mut net = FakeNet::new(Features::NONE);
        change(&mut net);
        let mut area = area(1 << 16);
        let made = device(&net, config, &mut area).and_then(|mut d| d.pair(&mut area, SIZE, SIZE).map(drop));
        (made.unwrap_err(), net.status.get())
    };
    let one = NetConfig::default();
    let two = NetConfig { pairs: 2, ..one };
    assert_eq!(with(|n| n.kind = DeviceType(2), one).0, InitError::WrongType(DeviceType(2)));
    assert_eq!(with(|n| n.stuck = true, one).0, InitError::NoReset);
    let legacy = with(|n| n.offers = feature::NET_MAC, one);
    assert_eq!(legacy, (InitError::Missing(feature::VERSION_1), status::FAILED));
    assert!(matches!(with(|n| n.refuses = true, one).0, InitError::FeaturesRefused(_)));
    assert_eq!(with(|_| {}, two).0, InitError::Missing(feature::NET_MQ.or(feature::NET_CTRL_VQ)));
    let mq = feature::NET_MQ.or(feature::NET_CTRL_VQ).or(feature::VERSION_1);
    assert_eq!(mq, Features(1 << 22 | 1 << 17 | 1 << 32));
    let few = |n: &mut FakeNet| (n.offers, n.max_pairs) = (Features(1 << 22 | 1 << 17 | 1 << 32), 1);
    assert_eq!(with(few, two).0, InitError::NoQueue(3));
    assert_eq!(with(|n| n.limit = 4, one).0, InitError::QueueTooSmall(0, 4));
    assert_eq!(with(|n| n.limit = 0, one).0, InitError::NoQueue(0));
}

#[test]
fn what_a_device_says_of_itself_is_taken() {
    let net = FakeNet::new(feature::NET_MTU);
    let info = device(&net, NetConfig::default(), &mut area(1 << 16)).unwrap().info();
    assert_eq!((info.mac, info.mtu, info.pairs), (MacAddr(MAC), 1400, 1));
    let mut silent = FakeNet::new(Features::NONE);
    silent.offers = feature::VERSION_1;
    let info = device(&silent, NetConfig::default(), &mut area(1 << 16)).unwrap().info();
    assert_eq!((info.mac, info.mtu), (NetConfig::default().mac, 1500));
}

#[test]
fn objs_that_do_not_suit_the_device_are_refused() {
    let net = FakeNet::new(Features::NONE);
    let mut area = area(1 << 16);
    let small = pool(1024);
    let mut device = device(&net, NetConfig::default(), &mut area).unwrap();
    let pair = device.pair(&mut area, SIZE, SIZE).unwrap();
    let memory = QueueMemory { rx: nodes(SIZE), tx: nodes(SIZE) };
    assert!(matches!(pair.open(memory, small, small, Coherent), Err(InitError::Pool(_))));
}

#[test]
fn what_is_offered_and_of_use_is_agreed_on() {
    let mut useful = vec![feature::EVENT_IDX, feature::NET_CSUM, feature::NET_GUEST_CSUM, feature::NET_MRG_RXBUF];
    if PACKED {
        useful.push(feature::RING_PACKED);
    }
    for one in useful {
        // What needs no other is agreed on by itself, and nothing that was not offered is.
        let b = Bench::new(one);
        assert!(b.net.accepted.get().has(one), "{one:?}");
        let others = [feature::EVENT_IDX, feature::RING_PACKED].into_iter().filter(|other| *other != one);
        others.for_each(|other| assert!(!b.net.accepted.get().has(other), "{other:?} with {one:?}"));
    }
}

/// Commands are answered by a device on another thread: the driver waits for it.
#[test]
fn pairs_and_rss_are_asked_for_by_command() {
    for (offers, answer) in [(Features::NONE, 0u8), (feature::NET_RSS, 0), (Features::NONE, 1)] {
        let mq = feature::NET_MQ.or(feature::NET_CTRL_VQ);
        let net = FakeNet::new(offers.or(mq));
        let mut area = area(1 << 16);
        let mut device = device(&net, NetConfig { pairs: 2, ..NetConfig::default() }, &mut area).unwrap();
        for _ in 0..2 {
            device.pair(&mut area, SIZE, SIZE).unwrap();
        }
        assert!(device.pair(&mut area, SIZE, SIZE).is_err(), "as many as were asked for");
        // Behind the pairs that the device has, not those that are used.
        let mut ring = net.ring(8);
        let patience = std::time::Instant::now() + core::time::Duration::from_secs(10);
        let answering = std::thread::spawn(move || {
            loop {
                let Some(chain) = ring.take() else {
                    if patience < std::time::Instant::now() {
                        // No command at all.
                        return Vec::new();
                    }
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!((chain.buffers.len(), chain.buffers[1].len), (2, 1));
                assert!(chain.buffers[1].device_writes && !chain.buffers[0].device_writes);
                let (at, len) = (pointer(chain.buffers[0].addr.0), chain.buffers[0].len as usize);
                // SAFETY: the command, and the byte for the answer.
                let command = unsafe {
                    pointer(chain.buffers[1].addr.0).write_volatile(answer);
                    core::slice::from_raw_parts(at, len).to_vec()
                };
                ring.give(0, 1).unwrap();
                return command;
            }
        });
        let started = device.start(&[9; 40]);
        let command = answering.join().unwrap();
        if answer != 0 {
            assert!(matches!(started, Err(InitError::Command(_))));
        } else if offers == Features::NONE {
            assert_eq!((started, command.as_slice()), (Ok(None), &[4, 0, 2, 0][..]));
        } else {
            let rss = started.unwrap().unwrap();
            assert_eq!((rss.entries, rss.pairs, rss.table[..4].to_vec()), (64, 2, vec![0, 1, 0, 1]));
            let mut expected = vec![4, 1, 0b11011, 0, 0, 0, 63, 0, 0, 0];
            expected.extend((0..64u16).flat_map(|i| (i % 2).to_le_bytes()));
            expected.extend([2, 0, 40]);
            expected.extend([9; 40]);
            assert_eq!(command, expected);
        }
        assert_eq!(net.status.get() & status::DRIVER_OK, status::DRIVER_OK);
    }
}
