//! The queue under the sockets: bare IP packets from and to the caller, as frames of a link that only this file knows.
//!
//! One packet at a time comes in; what the stack sends is laid out in one obj each and waits in a bounded ring until the
//! caller takes it. A full ring is a full transmit queue: the stack tries again when there is room.

use crate::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use crate::wire::{MacAddr, RxChecksum};
use crate::zbuf::{FragRef, FrameHead, Pool, Zbuf, ZbufMut};

/// Bytes of the Ethernet header that packets wear inside: the headroom that [`super::Sockets::input_zbuf`] wants.
pub const HEADROOM: u32 = 14;

/// Our end of the imaginary link.
const HERE: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);
/// Everybody else.
pub(super) const THERE: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 2]);

/// A place for a packet that waits to be taken by [`super::Sockets::output`].
#[derive(Debug, Default)]
pub struct TxPacket {
    packet: Option<Zbuf>,
}

/// Why a packet was not looked at. Each is counted as well ([`super::SocketStats`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputError {
    /// Neither IPv4 nor IPv6, or nothing at all.
    BadVersion,
    /// It does not fit an obj of the pool, or lacks [`HEADROOM`].
    TooLong,
    /// The pool is exhausted: as if the packet had been lost on the way.
    NoObj,
}

impl core::fmt::Display for InputError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BadVersion => "neither an IPv4 nor an IPv6 packet",
            Self::TooLong => "the packet does not fit an obj of the pool (or lacks headroom)",
            Self::NoObj => "no obj is free for the packet",
        })
    }
}

impl core::error::Error for InputError {}

pub(super) struct IpQueue<'m> {
    pool: &'m Pool,
    caps: Caps,
    /// The frame that waits for the stack.
    rx: Option<Zbuf>,
    tx: &'m mut [TxPacket],
    tx_first: usize,
    tx_len: usize,
    stats: QueueStats,
}

impl<'m> IpQueue<'m> {
    pub(super) fn new(pool: &'m Pool, mtu: u16, tx: &'m mut [TxPacket]) -> Self {
        tx.fill_with(TxPacket::default);
        let caps = Caps {
            mac: HERE,
            mtu,
            max_tx_segments: (MAX_TX_FRAGS + 1) as u8,
            tx_checksum: false,
            foreign: false,
            prompt_completion: true,
            max_tso_payload: 0,
            max_tso_payload_v6: 0,
        };
        Self { pool, caps, rx: None, tx, tx_first: 0, tx_len: 0, stats: QueueStats::default() }
    }

    /// Takes a packet in, its Ethernet header put in front.
    pub(super) fn put(&mut self, mut packet: ZbufMut) -> Result<(), InputError> {
        let ethertype: [u8; 2] = match packet.first().map(|b| b >> 4) {
            Some(4) => [0x08, 0x00],
            Some(6) => [0x86, 0xdd],
            _ => return Err(InputError::BadVersion),
        };
        let head = packet.prepend(HEADROOM).ok_or(InputError::TooLong)?;
        for (to, from) in head.iter_mut().zip(HERE.0.iter().chain(&THERE.0).chain(&ethertype)) {
            *to = *from;
        }
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += u64::from(packet.len());
        self.rx = Some(packet.freeze());
        Ok(())
    }

    /// Whether the ring has no room: what the stack still wants to send has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.tx_len == self.tx.len()
    }

    /// Length of the next packet to send.
    pub(super) fn next_len(&self) -> Option<u32> {
        let first = self.tx.get(self.tx_first).filter(|_| self.tx_len > 0)?;
        first.packet.as_ref().map(Zbuf::len)
    }

    /// The next packet to send.
    pub(super) fn take(&mut self) -> Option<Zbuf> {
        if self.tx_len == 0 {
            return None;
        }
        let packet = self.tx.get_mut(self.tx_first)?.packet.take();
        self.tx_first = (self.tx_first + 1) % self.tx.len();
        self.tx_len -= 1;
        packet
    }
}

impl NicQueue for IpQueue<'_> {
    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline]
    fn header_pool(&self) -> &Pool {
        self.pool
    }

    fn rx_burst(&mut self, burst: &mut RxBurst) {
        if burst.room() == 0 {
            return;
        }
        let Some(data) = self.rx.take() else { return };
        let meta = RxMeta { checksum: RxChecksum::UNKNOWN, rss_hash: 0 };
        if burst.push(RxFrame { data, meta }).is_err() {
            self.stats.rx_no_obj += 1;
        }
    }

    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], _: TxMeta) -> Result<(), FrameHead> {
        if self.is_full() {
            return Err(header);
        }
        let head = header.len();
        // Into the header's obj, which has room for a packet of the MTU, unless others share it.
        let mut packet = match header.try_into_mut() {
            Ok(packet) => packet,
            Err(header) => {
                let Some(mut packet) = self.pool.alloc() else { return Err(header) };
                let Some(to) = packet.append(head) else { return Err(header) };
                to.copy_from_slice(&header);
                packet
            }
        };
        let fits = payload.iter().all(|f| {
            let Some(to) = packet.append(f.len()) else { return false };
            f.copy_to(to) == Some(f.len() as usize)
        });
        self.stats.tx_copied.bytes += u64::from(packet.len() - head);
        self.stats.tx_copied.copies += 1;
        if !fits {
            self.stats.tx_dropped += 1;
            return Ok(());
        }
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += u64::from(packet.len());
        let mut packet = packet.freeze();
        packet.trim_front(HEADROOM);
        let place = (self.tx_first + self.tx_len) % self.tx.len();
        if let Some(slot) = self.tx.get_mut(place) {
            slot.packet = Some(packet);
            self.tx_len += 1;
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
