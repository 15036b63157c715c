//! Where the control plane meets a NIC queue and the stack.
//!
//! [`SplitQueue`] is the queue that the stack gets: the driver's, less what is not for it. What is turned aside waits, a
//! bounded number of frames, until [`Control::turn`] after the stack's turn. A flood of it costs frames, never the stack
//! its turn.

use core::net::IpAddr;
use core::ops::Range;

use luna_core::nic::{Caps, NicQueue, QueueStats, RX_BURST, RxBurst, RxFrame, TxMeta};
use luna_core::stack::{PathId, Stack};
use luna_core::time::Instant;
use luna_core::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};
use luna_core::wire::{ChecksumVerdict, EtherType, EthernetHeader, Ipv6Header, MacAddr, PROTOCOL_TCP};
use luna_core::zbuf::{Frag, FragRef, FrameHead, Pool, Zbuf};

use super::{Attended, Control, Event, Port};
use crate::parts::IPV6;

/// Frames that wait for the control plane; more in one turn are dropped.
pub const MAX_ASIDE: usize = RX_BURST;
/// Bursts that may be turned aside whole before the stack gets its turn, TCP or not.
const BURSTS: usize = 8;

/// A driver's queue without the frames that are the control plane's.
pub struct SplitQueue<Q> {
    inner: Q,
    aside: heapless::Deque<(Zbuf, bool), MAX_ASIDE>,
    dropped: u64,
}

impl<Q: NicQueue> SplitQueue<Q> {
    /// Splits `inner`.
    pub const fn new(inner: Q) -> Self {
        Self { inner, aside: heapless::Deque::new(), dropped: 0 }
    }

    /// The driver's queue.
    pub fn inner(&mut self) -> &mut Q {
        &mut self.inner
    }

    /// Frames for the control plane that were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    #[inline(always)]
    fn turn_aside(&mut self, burst: &mut RxBurst, from: usize) {
        let Self { aside, dropped, .. } = self;
        burst.divert(
            from,
            |frame| is_control(&frame.data),
            |RxFrame { data, meta }| {
                if aside.push_back((data, meta.checksum.l4 == ChecksumVerdict::Good)).is_err() {
                    *dropped += 1;
                }
            },
        );
    }

    /// Sends a frame: `head`, cut into as many header objs as it takes, and `tail`. False when there are no objs or no room.
    fn send(&mut self, head: &[u8], tail: Option<Zbuf>) -> bool {
        let pool = self.inner.header_pool();
        let mut pieces = heapless::Vec::<Frag, 9>::new();
        let mut chunks = head.chunks(pool.data_capacity().max(1) as usize);
        let obj_of = |chunk: &[u8]| {
            let mut obj = pool.alloc()?;
            obj.append(chunk.len() as u32)?.copy_from_slice(chunk);
            Some(obj)
        };
        let Some(header) = chunks.next().and_then(obj_of) else { return false };
        for chunk in chunks {
            let Some(obj) = obj_of(chunk) else { return false };
            if pieces.push(obj.freeze().into()).is_err() {
                return false;
            }
        }
        if tail.is_some_and(|tail| pieces.push(tail.into()).is_err()) {
            return false;
        }
        let frags: heapless::Vec<FragRef<'_>, 9> = pieces.iter().map(Frag::lend).collect();
        if frags.len() + 1 > usize::from(self.inner.caps().max_tx_segments) {
            return false;
        }
        let meta = TxMeta { l2_len: 14, l3_len: 0, l4_len: 0, ipv6: false, offload_checksum: false, segment_size: 0 };
        let sent = self.inner.tx(header.into(), &frags, meta).is_ok();
        self.inner.flush();
        sent
    }
}

/// Whether the control plane takes a frame: ARP, and IP that is neither TCP nor an ICMP error (which are about TCP, or
/// about nothing that we sent). Not IP at all goes to the stack as well, which counts it.
fn is_control(frame: &[u8]) -> bool {
    // Untagged TCP over IPv4, or IPv6 without extension headers: the plain cases first.
    if let Some(head) = frame.first_chunk::<24>() {
        match [head[12], head[13]] {
            [0x08, 0x00] if head[23] == PROTOCOL_TCP => return false,
            [0x86, 0xdd] if head[20] == PROTOCOL_TCP => return false,
            _ => {}
        }
    }
    is_control_slow(frame)
}

#[cold]
fn is_control_slow(frame: &[u8]) -> bool {
    let Ok(link) = EthernetHeader::parse(frame) else { return false };
    let body = frame.get(usize::from(link.header_len)..).unwrap_or_default();
    match link.ethertype {
        EtherType::Arp => true,
        EtherType::Ipv4 => match body.get(9) {
            Some(&PROTOCOL_ICMP) => {
                let at = usize::from(body.first().map_or(0, |b| b & 15)) * 4;
                !matches!(body.get(at), Some(3 | 4 | 5 | 11 | 12))
            }
            Some(&protocol) => protocol != PROTOCOL_TCP,
            None => false,
        },
        EtherType::Ipv6 if IPV6 => match Ipv6Header::parse(body) {
            Ok(ip) if ip.next_header == PROTOCOL_ICMPV6 => {
                body.get(usize::from(ip.payload_offset)).is_some_and(|kind| *kind >= 128)
            }
            Ok(ip) => ip.next_header != PROTOCOL_TCP,
            Err(_) => false,
        },
        // Nobody's.
        EtherType::Ipv6 | EtherType::Other(_) => false,
    }
}

impl<Q: NicQueue> NicQueue for SplitQueue<Q> {
    #[inline(always)]
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    #[inline(always)]
    fn header_pool(&self) -> &Pool {
        self.inner.header_pool()
    }

    #[inline(always)]
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        let before = burst.len();
        // The stack takes an empty burst for an empty queue: what is behind a burst that was all turned aside comes now.
        for _ in 0..BURSTS {
            self.inner.rx_burst(burst);
            if burst.len() == before {
                return;
            }
            self.turn_aside(burst, before);
            if burst.len() > before {
                return;
            }
        }
    }

    #[inline(always)]
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        self.inner.tx(header, payload, meta)
    }

    #[inline(always)]
    fn flush(&mut self) {
        self.inner.flush();
    }

    #[inline(always)]
    fn reap(&mut self) -> usize {
        self.inner.reap()
    }

    fn stats(&self) -> QueueStats {
        self.inner.stats()
    }
}

impl Control {
    /// The interface's share of a turn, after the stack's: takes in what was turned aside, answers the application's
    /// questions about neighbours, does what is due, and tells the stack of neighbours and addresses. Returns when to come
    /// again at the latest, if nothing arrives.
    ///
    /// `tell` gets what is of note; the stack has been told already.
    pub fn turn<Q: NicQueue, A>(
        &mut self,
        now: Instant,
        stack: &mut Stack<'_, SplitQueue<Q>>,
        path: PathId,
        app: &mut Attended<A>,
        mut tell: impl FnMut(&mut Stack<'_, SplitQueue<Q>>, Event),
    ) -> Instant {
        let mut port = StackPort { now, stack, path, frame: None, events: heapless::Vec::new(), untold: 0 };
        while let Some(ip) = app.take(path) {
            self.resolve(now, ip, &mut port);
        }
        while let Some((frame, l4_good)) = port.stack.queue_mut(path).and_then(|q| q.aside.pop_front()) {
            port.frame = Some(frame.clone());
            self.input(now, &frame, l4_good, &mut port);
            port.frame = None;
            self.settle(&mut port, &mut tell);
        }
        let next = self.poll(now, &mut port);
        self.settle(&mut port, &mut tell);
        next
    }

    /// Tells the stack and the caller what changed.
    fn settle<'m, Q: NicQueue>(
        &mut self,
        port: &mut StackPort<'_, 'm, Q>,
        tell: &mut impl FnMut(&mut Stack<'m, SplitQueue<Q>>, Event),
    ) {
        if core::mem::take(&mut self.changed) {
            // The path exists, and needs no address while it waits for one.
            let _known = port.stack.readdress(port.now, port.path, self.path_config());
        }
        for event in core::mem::take(&mut port.events) {
            tell(port.stack, event);
        }
    }
}

/// [`Port`] by way of a stack and its queue.
struct StackPort<'s, 'm, Q> {
    now: Instant,
    stack: &'s mut Stack<'m, SplitQueue<Q>>,
    path: PathId,
    /// The frame that is being handled.
    frame: Option<Zbuf>,
    events: heapless::Vec<Event, 16>,
    untold: u64,
}

impl<Q: NicQueue> Port for StackPort<'_, '_, Q> {
    fn send(&mut self, head: &[u8], tail: Range<usize>) -> bool {
        let Some(queue) = self.stack.queue_mut(self.path) else { return false };
        let tail = match &self.frame {
            Some(frame) if !tail.is_empty() => Some(frame.slice(tail.start as u32..tail.end as u32)),
            _ => None,
        };
        queue.send(head, tail)
    }

    fn in_use(&mut self, ip: IpAddr) -> bool {
        self.stack.uses_neighbor(self.path, ip)
    }

    fn neighbor(&mut self, ip: IpAddr, mac: Option<MacAddr>) -> bool {
        self.stack.cx(self.now).neighbor(self.path, ip, mac)
    }

    fn event(&mut self, event: Event) {
        if self.events.push(event).is_err() {
            self.untold += 1;
        }
    }
}

#[cfg(all(test, feature = "dhcp", feature = "ipv6"))]
mod tests;
