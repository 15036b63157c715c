//! The same traffic where devices do not snoop the caches.

use super::*;
use crate::dma::fake::Caches;

struct World {
    caches: Caches,
    queue: NetQueue<'static, Bells, Caches>,
    rx: FakeDevice,
    tx: FakeDevice,
    rx_pool: &'static Pool,
    header_pool: &'static Pool,
}

impl World {
    fn every() -> impl Iterator<Item = Self> {
        [Features::NONE, feature::RING_PACKED, feature::EVENT_IDX].into_iter().map(Self::new)
    }

    fn new(offers: Features) -> Self {
        let net = FakeNet::new(offers.or(feature::NET_CSUM).or(feature::NET_GUEST_CSUM).or(feature::NET_MRG_RXBUF));
        let mut area = area(1 << 16);
        let mut device = device(&net, NetConfig::default(), &mut area).unwrap();
        let caches = Caches::default();
        let [rx_pool, header_pool] = [2048, 512].map(|obj_size| caches.pool(ZoneLayout { obj_size, prefix: 64 }));
        let pair = device.pair(&mut area, SIZE, SIZE).unwrap();
        device.start(&[0; 40]).unwrap();
        let memory = QueueMemory { rx: nodes(SIZE), tx: nodes(SIZE) };
        let queue = pair.open(memory, rx_pool, header_pool, caches.clone()).unwrap();
        Self { caches, queue, rx: net.ring(0), tx: net.ring(1), rx_pool, header_pool }
    }

    /// Applications write objs and give them back: caches are full of what nobody needs.
    fn soil(&self) {
        for pool in [self.rx_pool, self.header_pool] {
            let objs: Vec<ZbufMut> = (0..32).filter_map(|_| pool.alloc()).collect();
            for mut obj in objs {
                obj.append(obj.tailroom()).unwrap().fill(0xee);
            }
        }
    }

    /// The device writes to the oldest posted buffer, as far as memory goes.
    fn receive(&mut self, bytes: &[u8]) {
        while self.rx.take().is_some() {}
        let at = pointer(self.rx.held[0].buffers[0].addr.0);
        // SAFETY: the posted buffer has room.
        unsafe { at.copy_from(bytes.as_ptr(), bytes.len()) };
        self.rx.give(0, bytes.len() as u32).unwrap();
    }

    fn poll(&mut self) -> Vec<luna_core::nic::RxFrame> {
        let mut burst = RxBurst::new();
        self.queue.rx_burst(&mut burst);
        (0..burst.len()).filter_map(|i| burst.take(i)).collect()
    }
}

fn with_header(flags: u8, buffers: u8, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0];
    bytes.extend(frame);
    bytes
}

#[test]
fn what_the_device_wrote_is_what_is_received() {
    for mut w in World::every() {
        for round in 0..100 {
            w.soil();
            let stale = w.poll();
            assert!(stale.is_empty());
            // Lengths at and around the ends of cache lines.
            let frame: Vec<u8> = (0..60 + round * 13 % 1400).map(|i| (i * 7 + round) as u8).collect();
            w.receive(&with_header(if round % 2 == 0 { 2 } else { 0 }, 1, &frame));
            let (first, rest) = frame.split_at(frame.len() / 3);
            w.receive(&with_header(2, 2, first));
            w.receive(rest);
            w.caches.evict();
            let got = w.poll();
            assert_eq!((&*got[0].data, &*got[1].data), (&*frame, &*frame), "round {round}");
            let verdict = if round % 2 == 0 { ChecksumVerdict::Good } else { ChecksumVerdict::Unknown };
            assert_eq!(got[0].meta.checksum.l4, verdict, "the header's, too");
        }
    }
}

#[test]
fn what_is_sent_is_in_memory_when_the_device_reads_it() {
    for mut w in World::every() {
        for round in 0..100usize {
            w.soil();
            let mut payload = w.rx_pool.alloc().unwrap();
            for (i, byte) in payload.append(1200).unwrap().iter_mut().enumerate() {
                *byte = (i * 3 + round) as u8;
            }
            let payload = Frag::from(payload.freeze());
            let pieces = [payload.slice(round as u32, 300), payload.slice(700 - round as u32, 500)];
            let mut header = w.header_pool.alloc().unwrap();
            header.append(54).unwrap().fill(round as u8);
            let mut expected = vec![1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
            expected.extend(&*header);
            expected.extend(pieces.iter().flat_map(|p| p.bytes().unwrap().to_vec()));
            let lent: Vec<FragRef<'_>> = pieces.iter().map(Frag::lend).collect();
            w.queue.tx(header.into(), &lent, TxMeta { offload_checksum: true, ..PLAIN }).unwrap();
            w.queue.flush();
            let chain = w.tx.take().unwrap();
            let sent: Vec<u8> = (chain.buffers.iter())
                // SAFETY: what the driver lends until the chain is returned, in memory.
                .flat_map(|b| unsafe { core::slice::from_raw_parts(pointer(b.addr.0), b.len as usize) }.to_vec())
                .collect();
            assert_eq!(sent, expected, "round {round}");
            w.tx.give(0, 0).unwrap();
            assert_eq!(w.queue.reap(), 1);
        }
    }
}
