//! The pair of rings as luna-core's `NicQueue`.
//!
//! Receive: each descriptor is an obj of the receive pool, which the device fills. Transmit: header obj and payload
//! fragments are a descriptor each, their references held until the frame's last descriptor is reported; where the
//! checksum is, a context descriptor says, only when it changed. Nothing is copied, nothing interrupts.

use core::ptr::NonNull;

use luna_core::nic::{Caps, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{ChecksumVerdict, RxChecksum};
use luna_core::zbuf::{Frag, FragRef, FrameHead, Pool, ZbufMut};

use super::care::{Care, device_works};
use super::device::{self, SetupError};
use super::registers::{RCTL, RDT, STATUS, TCTL, TDT, status};
use super::ring::{Descriptor, Ring, Slot, rx, tx};
use crate::dma::DmaSync;
use crate::mmio::Registers;

/// What is remembered of a transmit descriptor.
#[derive(Debug)]
pub struct Sent {
    /// What it sends, held until it was sent; nothing for a context.
    #[expect(dead_code, reason = "its drop is what it is for")]
    frag: Option<Frag>,
    /// Descriptors of the frame that begins here; 0 behind its first.
    count: u16,
}

/// What a driver remembers of its descriptors.
pub struct QueueMemory<'m> {
    /// 8 to 4096, a power of two.
    pub rx: &'m mut [Slot<ZbufMut>],
    /// 32 (a frame of the most fragments, and a context) to 4096, a power of two.
    pub tx: &'m mut [Slot<Sent>],
}

/// What the device reported that it should not; cumulative. The frames were dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct E1000eFaults {
    /// Lengths of 0, or beyond the buffer.
    pub bad_lengths: u64,
    /// Damaged frames (CRC and the like), which it was not asked for.
    pub bad_frames: u64,
}

/// A pair of rings.
pub struct E1000eQueue<'m, R, D> {
    registers: R,
    caps: Caps,
    rx: Ring<'m, ZbufMut>,
    tx: Ring<'m, Sent>,
    rx_pool: &'m Pool,
    header_pool: &'m Pool,
    sync: D,
    /// Bytes that the device may write into an obj.
    buffer: u32,
    /// The rest of a frame that did not fit one obj is coming.
    skipping: bool,
    context: Option<tx::Context>,
    /// What RCTL has beside the usual.
    receive: u32,
    care: Care,
    stats: QueueStats,
    faults: E1000eFaults,
}

pub(super) struct Parts<'m, R, D> {
    pub(super) registers: R,
    pub(super) caps: Caps,
    pub(super) rx: Ring<'m, ZbufMut>,
    pub(super) tx: Ring<'m, Sent>,
    pub(super) rx_pool: &'m Pool,
    pub(super) header_pool: &'m Pool,
    pub(super) sync: D,
    pub(super) buffer: u32,
    pub(super) receive: u32,
}

impl<'m, R: Registers, D: DmaSync> E1000eQueue<'m, R, D> {
    pub(super) fn new(parts: Parts<'m, R, D>) -> Self {
        let Parts { registers, caps, rx, tx, rx_pool, header_pool, sync, buffer, receive } = parts;
        let mut queue = Self {
            registers,
            caps,
            rx,
            tx,
            rx_pool,
            header_pool,
            sync,
            buffer,
            skipping: false,
            context: None,
            receive,
            care: Care::default(),
            stats: QueueStats::default(),
            faults: E1000eFaults::default(),
        };
        queue.refill();
        queue
    }

    /// Whether the PHY has a partner.
    #[must_use]
    pub fn link_up(&self) -> bool {
        self.registers.read32(STATUS) & status::LU != 0
    }

    /// What the device did wrong so far.
    #[must_use]
    pub fn faults(&self) -> E1000eFaults {
        self.faults
    }

    /// Objs posted for receiving, and descriptors of frames being sent.
    #[must_use]
    pub fn in_flight(&self) -> (u16, u16) {
        (self.rx.in_flight(), self.tx.in_flight())
    }

    /// To be called whenever the core has nothing to do: looks at the device now and then, and starts one again that stopped, or
    /// was reset. What it held is lost on its way, and connections send it again. True when it was started again.
    ///
    /// # Errors
    /// [`SetupError`]: it is gone, or of no use any more.
    #[inline]
    pub fn look(&mut self) -> Result<bool, SetupError> {
        if !self.care.is_due() || device_works(&self.registers) {
            return Ok(false);
        }
        self.restart()?;
        Ok(true)
    }

    #[cold]
    #[inline(never)]
    fn restart(&mut self) -> Result<(), SetupError> {
        self.care.may_reset(self.stats.rx_frames)?;
        if device::reset(&self.registers)? != self.caps.mac {
            return Err(SetupError::Changed);
        }
        // SAFETY: it was just reset.
        unsafe {
            self.rx.restart();
            self.tx.restart();
        }
        (self.skipping, self.context) = (false, None);
        device::program(&self.registers, [self.rx.place(), self.tx.place()], self.receive);
        self.refill();
        Ok(())
    }

    /// Stops the device as a reset does, for seeing what becomes of one that was (QEMU 7.2's does not stop by CTRL's).
    #[cold]
    pub fn confuse(&mut self) {
        self.registers.write32(RCTL, 0);
        self.registers.write32(TCTL, 0);
    }

    /// Posts objs until the ring is full.
    #[inline(always)]
    fn refill(&mut self) {
        while self.rx.room() > 0 {
            let Some(obj) = self.rx_pool.alloc() else { break };
            self.sync.device_writes(NonNull::from(&obj[..]).cast(), self.buffer as usize);
            self.rx.give(rx::buffer(obj.io_addr()), Some(obj));
        }
        if let Some(tail) = self.rx.publish() {
            self.registers.write32(RDT, tail);
        }
    }

    /// A frame, or nothing when it is to be dropped.
    #[inline(always)]
    fn accept(&mut self, descriptor: Descriptor, mut obj: ZbufMut) -> Option<RxFrame> {
        let (status, len) = (rx::status(descriptor), rx::len(descriptor));
        let whole = status & rx::EOP != 0;
        if self.skipping || !whole {
            // Objs hold a frame of the MTU: this one is longer.
            if !self.skipping {
                self.stats.rx_too_long += 1;
            }
            self.skipping = !whole;
            return None;
        }
        if status & rx::FRAME != 0 {
            self.faults.bad_frames += 1;
            return None;
        }
        if len == 0 || len > self.buffer {
            self.faults.bad_lengths += 1;
            return None;
        }
        self.sync.device_wrote(NonNull::from(&obj[..]).cast(), len as usize);
        obj.set_len(len);
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += u64::from(len);
        Some(RxFrame { data: obj.freeze(), meta: RxMeta { checksum: verdict(status), rss_hash: 0 } })
    }

    /// Drops what was sent. Returns how many frames.
    #[inline(always)]
    fn reap_sent(&mut self) -> usize {
        let mut frames = 0;
        while let Some(count) = self.tx.front().map(|sent| sent.count.max(1)) {
            if !self.tx.peek(count - 1).is_some_and(tx::is_done) {
                break;
            }
            for _ in 0..count {
                drop(self.tx.take());
            }
            frames += 1;
        }
        frames
    }
}

/// What the device says of checksums. Errors of a kind that was not looked at mean nothing.
#[inline(always)]
pub(super) fn verdict(status: u32) -> RxChecksum {
    let of = |looked: u32, error: u32| match (status & looked != 0, status & error != 0) {
        _ if status & rx::IXSM != 0 => ChecksumVerdict::Unknown,
        (false, _) => ChecksumVerdict::Unknown,
        (true, false) => ChecksumVerdict::Good,
        (true, true) => ChecksumVerdict::Bad,
    };
    RxChecksum { ip: of(rx::IPCS, rx::IPE), l4: of(rx::TCPCS, rx::TCPE) }
}

impl<R: Registers, D: DmaSync> NicQueue for E1000eQueue<'_, R, D> {
    #[inline(always)]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline(always)]
    fn header_pool(&self) -> &Pool {
        self.header_pool
    }

    #[inline(always)]
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        // Every look is bounded, whatever a device reports.
        for _ in 0..RX_BURST {
            let done = self.rx.peek(0).is_some_and(|d| rx::status(d) & rx::DD != 0);
            if !done || burst.room() == 0 {
                break;
            }
            let Some((descriptor, Some(obj))) = self.rx.take() else { break };
            if let Some(frame) = self.accept(descriptor, obj) {
                let pushed = burst.push(frame);
                debug_assert!(pushed.is_ok(), "there was room");
            }
        }
        if self.rx.room() > 0 {
            self.refill();
            if self.rx.in_flight() == 0 {
                self.stats.rx_no_obj += 1;
            }
        }
    }

    #[inline(always)]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        let bytes = payload.iter().fold(header.len(), |sum, frag| sum.saturating_add(frag.len()));
        let longest = u32::from(self.caps.mtu) + 18;
        // Foreign memory has no single address: the stack copies it for ports that do not declare it.
        if bytes > longest || payload.iter().any(|frag| frag.is_foreign()) {
            self.stats.tx_dropped += 1;
            return Ok(());
        }
        let context = meta.offload_checksum.then(|| tx::Context {
            ip_at: meta.l2_len,
            tcp_at: meta.l2_len.saturating_add(meta.l3_len).max(1),
            ipv6: meta.ipv6,
        });
        let new_context = context.filter(|c| self.context != Some(*c));
        let count = (1 + payload.len() + usize::from(new_context.is_some())) as u16;
        if self.tx.room() < count {
            self.reap_sent();
            if self.tx.room() < count {
                return Err(header);
            }
        }
        let mut first = count;
        if let Some(context) = new_context {
            self.context = Some(context);
            self.tx.give(context.descriptor(), Some(Sent { frag: None, count: core::mem::take(&mut first) }));
        }
        let checksum = context.is_some();
        let mut give = |ring: &mut Ring<'_, Sent>, sync: &D, frag: Frag, last: bool| {
            let (Some(io), Some(bytes)) = (frag.io_addr(), frag.bytes()) else { return };
            sync.device_reads(NonNull::from(bytes).cast(), bytes.len());
            let descriptor = tx::data(io, frag.len(), last, checksum);
            ring.give(descriptor, Some(Sent { frag: Some(frag), count: core::mem::take(&mut first) }));
        };
        give(&mut self.tx, &self.sync, header.into_zbuf().into(), payload.is_empty());
        for (i, frag) in payload.iter().enumerate() {
            give(&mut self.tx, &self.sync, frag.to_frag(), i + 1 == payload.len());
        }
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += u64::from(bytes);
        Ok(())
    }

    #[inline(always)]
    fn flush(&mut self) {
        if let Some(tail) = self.tx.publish() {
            self.registers.write32(TDT, tail);
        }
    }

    #[inline(always)]
    fn reap(&mut self) -> usize {
        self.reap_sent()
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}
