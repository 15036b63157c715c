//! The driver against a device in plain Rust, well-behaved and not.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::vec::Vec;

use luna_core::nic::{NicQueue, RxBurst, TxMeta};
use luna_core::wire::{Checksum, ChecksumVerdict, MacAddr, RxChecksum};
use luna_core::zbuf::{DeviceKey, Frag, IoAddr, Pool, Region, ZONE_SIZE, ZbufMut, ZoneLayout};

use super::fake::{Fake, Report};
use super::queue::{Sent, verdict};
use super::registers::*;
use super::*;
use crate::dma::Coherent;
use crate::dma::fake::Caches;
use crate::virtio::ring::fake::{IO_OFFSET, area};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 1, 2, 3]);
type Queue = E1000eQueue<'static, Fake, Coherent>;

fn pool(size: u32) -> &'static Pool {
    let layout = Layout::from_size_align(ZONE_SIZE, ZONE_SIZE).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    let at = base.as_ptr().expose_provenance() as u64;
    // SAFETY: fresh memory, never freed; the fake device reaches it at these addresses.
    let region = unsafe { Region::new(base, 1, |_| IoAddr(at + IO_OFFSET), DeviceKey(0)) }.unwrap();
    Box::leak(Box::new(Pool::new(region, ZoneLayout::plain(size)).unwrap()))
}

fn slots<T>(n: usize) -> &'static mut [Slot<T>] {
    let list: Vec<Slot<T>> = core::iter::repeat_with(Slot::default).take(n).collect();
    Box::leak(list.into_boxed_slice())
}

struct World {
    device: Fake,
    queue: Queue,
    rx: &'static Pool,
    header: &'static Pool,
}

fn world_of(rx_slots: usize, tx_slots: usize, mtu: u16, obj: u32) -> Result<World, SetupError> {
    let device = Fake::new(Some(MAC));
    let (rx, header) = (pool(obj), pool(256));
    let memory = QueueMemory { rx: slots(rx_slots), tx: slots::<Sent>(tx_slots) };
    let reset = Device::reset(device.clone())?;
    assert_eq!(reset.mac(), MAC);
    let queue = reset.start(mtu, &mut area(1 << 18), memory, rx, header, Coherent)?;
    Ok(World { device, queue, rx, header })
}

fn world() -> World {
    world_of(64, 64, 1500, 2048).unwrap()
}

impl World {
    fn burst(&mut self) -> Vec<(Vec<u8>, RxChecksum)> {
        let mut burst = RxBurst::new();
        self.queue.rx_burst(&mut burst);
        (0..burst.len()).map(|i| burst.take(i).unwrap()).map(|f| (f.data.to_vec(), f.meta.checksum)).collect()
    }

    /// Looks as an idle core does; how often the device was started again.
    fn idle(&mut self) -> Result<usize, SetupError> {
        let mut started = 0;
        for _ in 0..600 {
            started += usize::from(self.queue.look()?);
        }
        Ok(started)
    }

    fn header(&self, bytes: &[u8]) -> ZbufMut {
        let mut obj = self.header.alloc().unwrap();
        obj.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
        obj
    }

    fn payload(&self, bytes: &[u8]) -> Frag {
        let mut obj = self.rx.alloc().unwrap();
        obj.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
        obj.freeze().into()
    }
}

const PLAIN: TxMeta =
    TxMeta { l2_len: 14, l3_len: 20, l4_len: 20, ipv6: false, offload_checksum: false, segment_size: 0 };
const SUMMED: TxMeta = TxMeta { offload_checksum: true, ..PLAIN };
const IXSM: u32 = ring::rx::IXSM;
const SEEN: u32 = ring::rx::IPCS | ring::rx::TCPCS;

#[test]
fn set_up_is_as_the_datasheet_has_it() {
    let w = world();
    let d = &w.device;
    assert_eq!(d.get(CTRL) & (ctrl::SLU | ctrl::RST), ctrl::SLU);
    assert_ne!(d.get(CTRL_EXT) & ctrl_ext::DRV_LOAD, 0);
    assert_eq!(d.get(IMC), u32::MAX, "no interrupt");
    assert_eq!((d.get(RDLEN), d.get(TDLEN)), (1024, 1024));
    assert_eq!(d.get(RDBAL) % 4096 + d.get(TDBAL) % 4096, 0);
    assert_eq!(d.posted(), 63, "all but the one that tells full from empty");
    // Buffers of 2048 bytes, no more: objs have no more.
    assert_eq!(d.get(RCTL) & (rctl::BSEX | 3 << rctl::BSIZE_SHIFT | rctl::LPE), 0);
    let jumbo = world_of(64, 64, 9000, 16384).unwrap();
    let rctl = jumbo.device.get(RCTL);
    assert_eq!(
        rctl & (rctl::BSEX | 3 << rctl::BSIZE_SHIFT | rctl::LPE),
        rctl::BSEX | 1 << rctl::BSIZE_SHIFT | rctl::LPE
    );
}

#[test]
fn what_cannot_work_is_refused() {
    let failed = |r: Result<World, SetupError>| r.err().unwrap();
    assert_eq!(Device::reset(Fake::absent()).unwrap_err(), SetupError::Absent);
    assert_eq!(Device::reset(Fake::stuck()).unwrap_err(), SetupError::Stuck);
    assert_eq!(Device::reset(Fake::new(None)).unwrap_err(), SetupError::NoMac);
    assert_eq!(Device::reset(Fake::new(Some(MacAddr([1; 6])))).unwrap_err(), SetupError::NoMac, "a group");
    for n in [0, 4, 48, 8192] {
        assert!(matches!(failed(world_of(n, 64, 1500, 2048)), SetupError::RingSize | SetupError::NoMemory), "{n}");
        assert!(matches!(failed(world_of(64, n, 1500, 2048)), SetupError::RingSize | SetupError::NoMemory), "{n}");
    }
    assert_eq!(failed(world_of(64, 64, 1500, 1024)), SetupError::ObjTooSmall);
    assert_eq!(failed(world_of(64, 64, 9000, 2048)), SetupError::ObjTooSmall);
}

#[test]
fn received_frames_lie_in_the_objs_that_were_posted() {
    let mut w = world();
    for round in 0..200u32 {
        let frames: Vec<Vec<u8>> = (0..1 + round % 40).map(|n| vec![n as u8; 60 + n as usize]).collect();
        for frame in &frames {
            assert!(w.device.receive(frame, Report { status: SEEN, len: None }));
        }
        let mut got = w.burst();
        got.extend(w.burst());
        assert_eq!(got.iter().map(|g| &g.0).collect::<Vec<_>>(), frames.iter().collect::<Vec<_>>());
        assert!(got.iter().all(|g| g.1 == RxChecksum::GOOD));
        assert_eq!(w.device.posted(), 63);
    }
    assert_eq!(w.queue.stats().rx_frames, (0..200u64).map(|r| 1 + r % 40).sum::<u64>());
    assert_eq!(w.rx.outstanding(), 63);
}

#[test]
fn verdicts_about_checksums_are_only_of_what_was_looked_at() {
    use ChecksumVerdict::{Bad, Good, Unknown};
    use ring::rx::{IPCS, IPE, TCPCS, TCPE};
    let of = |status| (verdict(status).ip, verdict(status).l4);
    assert_eq!(of(0), (Unknown, Unknown));
    assert_eq!(of(IPCS | TCPCS), (Good, Good));
    assert_eq!(of(IPCS | TCPCS | IXSM), (Unknown, Unknown));
    assert_eq!(of(TCPCS | TCPE), (Unknown, Bad));
    assert_eq!(of(IPCS | IPE), (Bad, Unknown));
    assert_eq!(of(IPE | TCPE), (Unknown, Unknown));
}

#[test]
fn frames_that_do_not_fit_or_are_damaged_are_dropped_and_counted() {
    let mut w = world();
    let good = vec![7; 100];
    assert!(w.device.receive(&[1; 5000], Report::default()), "three buffers");
    assert!(w.device.receive(&good, Report::default()));
    for error in [24, 25, 26, 28, 31] {
        assert!(w.device.receive(&good, Report { status: 1 << error, len: None }));
    }
    for len in [0, 2049, 0xffff] {
        assert!(w.device.receive(&good, Report { status: 0, len: Some(len) }));
    }
    let got = w.burst();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].0, good);
    assert_eq!(w.queue.stats().rx_too_long, 1);
    assert_eq!(w.queue.faults(), E1000eFaults { bad_lengths: 3, bad_frames: 5 });
    assert_eq!(w.rx.outstanding(), 63, "all were posted again");
}

#[test]
fn frames_leave_from_where_they_lie_and_come_back_when_reported() {
    let mut w = world();
    let head: Vec<u8> = (0..54).collect();
    for n in 0..500usize {
        let payload: Vec<Frag> = (0..n % 5).map(|i| w.payload(&vec![i as u8; 100 * i + 1])).collect();
        let lent: Vec<_> = payload.iter().map(Frag::lend).collect();
        w.queue.tx(w.header(&head).into(), &lent, PLAIN).unwrap();
        w.queue.flush();
        let expected: Vec<u8> =
            head.iter().copied().chain(payload.iter().flat_map(|f| f.bytes().unwrap().to_vec())).collect();
        drop(lent);
        drop(payload);
        assert_eq!(w.header.outstanding(), 1, "the device still reads it");
        assert_eq!(w.device.transmit(), [expected]);
        assert_eq!(w.queue.reap(), 1);
        assert_eq!((w.header.outstanding(), w.queue.in_flight().1), (0, 0));
    }
    assert_eq!(w.rx.outstanding(), 63);
}

#[test]
fn checksums_are_asked_for_with_a_context_that_is_sent_once() {
    let mut w = world();
    // A pseudo-header's sum is in the field; the device adds the rest.
    let frame = |tag: usize| {
        let mut bytes: Vec<u8> = (0..54 + tag as u8).map(|b| b.wrapping_mul(37)).collect();
        bytes[50 + tag..52 + tag].copy_from_slice(&[0x12, 0x34]);
        bytes
    };
    for (round, tag) in [(0, 0), (1, 0), (2, 4), (3, 4), (4, 0)] {
        let payload = w.payload(b"odd number of bytes");
        let meta = TxMeta { l2_len: 14 + tag as u8, ..SUMMED };
        let before = w.queue.in_flight().1;
        w.queue.tx(w.header(&frame(tag)).into(), &[payload.lend()], meta).unwrap();
        let took = w.queue.in_flight().1 - before;
        assert_eq!(took, if [0, 2, 4].contains(&round) { 3 } else { 2 }, "{round}");
        w.queue.flush();
        let sent = w.device.transmit().remove(0);
        let mut expected = frame(tag);
        expected.extend(b"odd number of bytes");
        let mut sum = Checksum::new();
        sum.add(&expected[34 + tag..]);
        expected[50 + tag..52 + tag].copy_from_slice(&sum.finish().to_be_bytes());
        assert_eq!(sent, expected);
        w.queue.reap();
    }
}

#[test]
fn a_full_ring_hands_the_frame_back_and_goes_on() {
    let mut w = world_of(64, 32, 1500, 2048).unwrap();
    let mut sent = 0;
    while w.queue.tx(w.header(&[sent; 60]).into(), &[], PLAIN).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 31);
    w.queue.flush();
    assert_eq!(w.device.transmit().len(), 31);
    w.queue.tx(w.header(&[1; 60]).into(), &[], PLAIN).unwrap();
    assert_eq!(w.queue.in_flight().1, 1, "it looked for itself");
    // Too long for the wire: dropped, not handed back for ever.
    let long: Vec<Frag> = (0..17).map(|_| w.payload(&[0; 100])).collect();
    let lent: Vec<_> = long.iter().map(Frag::lend).collect();
    w.queue.tx(w.header(&[1; 60]).into(), &lent, PLAIN).unwrap();
    assert_eq!((w.queue.stats().tx_dropped, w.queue.in_flight().1), (1, 1));
}

#[test]
fn no_objs_means_dropped_frames_and_then_it_goes_on() {
    let mut w = world();
    let held: Vec<ZbufMut> = core::iter::from_fn(|| w.rx.alloc()).collect();
    let mut got = 0;
    while w.device.receive(&[1; 60], Report::default()) {
        got += 1;
    }
    assert_eq!(got, 63);
    let first = w.burst();
    // 32 came, and were dropped by the test: their objs are posted again.
    assert_eq!((first.len(), w.device.posted()), (32, 0));
    let second = w.burst();
    assert_eq!((second.len(), w.device.posted()), (31, 32));
    drop(held);
    w.burst();
    assert_eq!(w.device.posted(), 63);
}

/// A device that writes anything into its descriptors at any time: no obj comes out twice or before its time, and after
/// it nothing is lost.
#[test]
fn whatever_the_device_writes_memory_stays_whole() {
    let mut rng = 1u64;
    let mut random = move || {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rng >> 33
    };
    for _ in 0..200 {
        let mut w = world_of(8, 32, 1500, 2048).unwrap();
        let (rx_total, header_total) = (w.rx.available() + w.rx.outstanding(), w.header.available());
        for _ in 0..200 {
            match random() % 5 {
                0 => {
                    let high = random() << 32 ^ random() << 16 ^ random();
                    w.device.write(RDBAL, random() as u32 % 8, high);
                }
                1 => {
                    let high = random() << 32 ^ random();
                    w.device.write(TDBAL, random() as u32 % 32, high);
                }
                2 => {
                    let n = random() as usize % 4;
                    let payload: Vec<Frag> = (0..n).filter_map(|_| w.rx.alloc()).map(|o| o.freeze().into()).collect();
                    let lent: Vec<_> = payload.iter().map(Frag::lend).collect();
                    if let Some(mut header) = w.header.alloc() {
                        header.append(60).unwrap();
                        let _full = w.queue.tx(header.into(), &lent, if n.is_multiple_of(2) { PLAIN } else { SUMMED });
                    }
                    w.queue.flush();
                }
                3 => {
                    w.queue.reap();
                }
                _ => {
                    for (frame, _) in w.burst() {
                        assert!(frame.len() <= 2048);
                    }
                }
            }
            let (posted, sending) = w.queue.in_flight();
            assert!(posted < 8 && sending < 32);
            assert_eq!(w.rx.available() + w.rx.outstanding(), rx_total);
        }
        w.device.set(RCTL, 0);
        assert_eq!(w.idle(), Ok(1));
        assert_eq!((w.queue.in_flight(), w.rx.outstanding()), ((7, 0), 7), "all came back, and some were posted again");
        assert_eq!(w.header.available(), header_total);
    }
}

#[test]
fn a_device_that_stops_is_started_again() {
    let mut w = world();
    assert_eq!(w.idle(), Ok(0), "nothing is wrong");
    let set_up: Vec<u32> = [RCTL, TCTL, RDBAL, RDLEN, TDBAL, TDLEN, RFCTL, RXCSUM].map(|r| w.device.get(r)).into();
    for round in 0..10 {
        // Under way, both ways, and a context that the device forgets.
        let payload = w.payload(&[3; 100]);
        w.queue.tx(w.header(&[1; 54]).into(), &[payload.lend()], SUMMED).unwrap();
        w.queue.flush();
        drop(payload);
        assert!(w.device.receive(&[2; 60], Report::default()));
        match round % 3 {
            // It stopped receiving, or sending, or was reset.
            0 => w.device.set(RCTL, w.device.get(RCTL) & !rctl::EN),
            1 => w.device.set(TCTL, 0),
            _ => w.device.forget(),
        }
        assert_eq!(w.idle(), Ok(1), "round {round}");
        let anew: Vec<u32> = [RCTL, TCTL, RDBAL, RDLEN, TDBAL, TDLEN, RFCTL, RXCSUM].map(|r| w.device.get(r)).into();
        assert_eq!(anew, set_up);
        assert_eq!((w.queue.in_flight(), w.device.posted()), ((63, 0), 63), "posted anew, nothing to send");
        assert_eq!((w.rx.outstanding(), w.header.outstanding()), (63, 0), "what it held came back");
        // It works again, checksums too.
        assert!(w.device.receive(&[5; 60], Report::default()));
        assert_eq!(w.burst().len(), 1);
        w.queue.tx(w.header(&[0; 54]).into(), &[], SUMMED).unwrap();
        w.queue.flush();
        let sent = w.device.transmit();
        assert_eq!((sent.len(), &sent[0][50..52]), (1, &[0xff, 0xff][..]), "the sum over zeros");
        assert_eq!(w.queue.reap(), 1);
    }
}

#[test]
fn a_device_that_is_gone_or_another_one_or_of_no_use_ends_the_queue() {
    let mut w = world();
    w.device.vanish();
    assert_eq!(w.idle(), Err(SetupError::Absent));
    assert_eq!(w.rx.outstanding(), 63, "whatever it may still write to is never used again");
    let mut w = world();
    w.device.forget();
    w.device.become_another(MacAddr([2, 0, 0, 0, 0, 99]));
    assert_eq!(w.idle(), Err(SetupError::Changed));
    let mut w = world();
    for _ in 0..3 {
        w.device.forget();
        assert_eq!(w.idle(), Ok(1));
    }
    w.device.forget();
    assert_eq!(w.idle(), Err(SetupError::Again));
}

/// Registers are slow to read: idle cores do it now and then.
#[test]
fn the_device_is_looked_at_now_and_then() {
    let mut w = world();
    let before = w.device.reads();
    for _ in 0..256 * 10 {
        assert_eq!(w.queue.look(), Ok(false));
        w.burst();
        w.queue.reap();
    }
    assert_eq!(w.device.reads() - before, 2 * 10, "receive and transmit control");
}

/// A queue on a machine whose device does not snoop the caches.
#[test]
fn without_coherence_memory_has_what_was_sent_and_the_core_sees_what_arrived() {
    let caches = Caches::default();
    let device = Fake::new(Some(MAC));
    let [rx, header] = [2048, 256].map(|size| caches.pool(ZoneLayout::plain(size)));
    let memory = QueueMemory { rx: slots(8), tx: slots::<Sent>(64) };
    let reset = Device::reset(device.clone()).unwrap();
    let mut queue = reset.start(1500, &mut area(1 << 18), memory, rx, header, caches.clone()).unwrap();
    let mut burst = RxBurst::new();
    for round in 0..100usize {
        let frame: Vec<u8> = (0..60 + round * 13 % 1400).map(|i| (i * 7 + round) as u8).collect();
        // As many as are posted: each in an obj that was soiled and posted, and not evicted since.
        for _ in 0..7 {
            assert!(device.receive(&frame, Report::default()));
        }
        caches.evict();
        // Caches are full of what nobody needs, of objs that are posted next.
        for pool in [rx, header] {
            let objs: Vec<ZbufMut> = (0..16).filter_map(|_| pool.alloc()).collect();
            for mut obj in objs {
                obj.append(obj.tailroom()).unwrap().fill(0xee);
            }
        }
        queue.rx_burst(&mut burst);
        assert_eq!(burst.len(), 7);
        for i in 0..7 {
            assert_eq!(&*burst.take(i).unwrap().data, &*frame, "round {round}");
        }
        burst.clear();
        let mut payload = rx.alloc().unwrap();
        payload.append(1000).unwrap().copy_from_slice(&[round as u8; 1000]);
        let payload = Frag::from(payload.freeze());
        let pieces = [payload.slice(round as u32, 300), payload.slice(500, 400)];
        let mut head = header.alloc().unwrap();
        head.append(54).unwrap().fill(!round as u8);
        let expected = [&*head, pieces[0].bytes().unwrap(), pieces[1].bytes().unwrap()].concat();
        queue.tx(head.into(), &[pieces[0].lend(), pieces[1].lend()], PLAIN).unwrap();
        queue.flush();
        assert_eq!(device.transmit(), [expected], "round {round}");
        assert_eq!(queue.reap(), 1);
    }
}
