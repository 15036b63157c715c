//! A `NicQueue` over a file of the kernel's that takes and gives a frame with each system call: a tap, a datagram socket.
//! The kernel copies both ways, as a NIC's DMA would.

use std::io::IoSlice;

use luna_core::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{MacAddr, RxChecksum};
use luna_core::zbuf::{FragRef, FrameHead, Pool};

/// What frames go through, without waiting.
pub trait FrameIo {
    /// Reads a frame; `None` when there is none.
    fn receive(&mut self, to: &mut [u8]) -> Option<usize>;
    /// Sends a frame of these pieces. Whether the kernel took it: if not, it is lost on the wire.
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> bool;
}

/// The queue.
pub struct FrameQueue<P> {
    io: P,
    rx_pool: &'static Pool,
    header_pool: &'static Pool,
    caps: Caps,
    stats: QueueStats,
}

impl<P: FrameIo> FrameQueue<P> {
    /// Over `io`, without any offload.
    pub fn new(io: P, mac: MacAddr, mtu: u16, rx_pool: &'static Pool, header_pool: &'static Pool) -> Self {
        let caps = Caps {
            mac,
            mtu,
            max_tx_segments: (MAX_TX_FRAGS + 1) as u8,
            tx_checksum: false,
            foreign: false,
            prompt_completion: true,
            max_tso_payload: 0,
            max_tso_payload_v6: 0,
        };
        Self { io, rx_pool, header_pool, caps, stats: QueueStats::default() }
    }

    /// Where received frames are.
    #[must_use]
    pub fn rx_pool(&self) -> &'static Pool {
        self.rx_pool
    }
}

impl<P: FrameIo> NicQueue for FrameQueue<P> {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn header_pool(&self) -> &Pool {
        self.header_pool
    }

    fn rx_burst(&mut self, burst: &mut RxBurst) {
        while burst.room() > 0 {
            let Some(mut obj) = self.rx_pool.alloc() else {
                self.stats.rx_no_obj += 1;
                return;
            };
            obj.set_len(u32::MAX);
            let Some(len) = self.io.receive(&mut obj) else { return };
            obj.truncate(len as u32);
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += len as u64;
            let meta = RxMeta { checksum: RxChecksum::UNKNOWN, rss_hash: 0 };
            assert!(burst.push(RxFrame { data: obj.freeze(), meta }).is_ok(), "there was room");
        }
    }

    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], _: TxMeta) -> Result<(), FrameHead> {
        let mut pieces = heapless::Vec::<IoSlice<'_>, { MAX_TX_FRAGS + 1 }>::new();
        let bytes = payload.iter().map(|f| f.bytes().expect("no foreign memory, by our own word"));
        for piece in core::iter::once(&header[..]).chain(bytes) {
            assert!(pieces.push(IoSlice::new(piece)).is_ok(), "more fragments than a frame has");
        }
        if self.io.send(&pieces) {
            self.stats.tx_frames += 1;
            self.stats.tx_bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        } else {
            self.stats.tx_dropped += 1;
        }
        Ok(())
    }

    fn flush(&mut self) {}

    fn reap(&mut self) -> usize {
        0
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}
