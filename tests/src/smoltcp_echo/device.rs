//! The in-memory link for smoltcp: a ring of preallocated buffers each way, and one gather per frame.

use core::cell::RefCell;
use std::rc::Rc;

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// As many as Luna's in-memory pair has.
const RING: usize = luna_core::nic::MEM_RING;

struct Slot {
    bytes: Box<[u8]>,
    len: usize,
}

/// One direction of the link.
pub struct Lane {
    slots: Vec<Slot>,
    first: usize,
    filled: usize,
    sent: u64,
    dropped: u64,
}

/// Both ends of a lane hold it.
pub type SharedLane = Rc<RefCell<Lane>>;

impl Lane {
    /// An empty ring.
    #[must_use]
    pub fn new(mtu: u16) -> SharedLane {
        let slot = || Slot { bytes: vec![0; usize::from(mtu) + ETHERNET].into(), len: 0 };
        let slots = (0..RING).map(|_| slot()).collect();
        Rc::new(RefCell::new(Self { slots, first: 0, filled: 0, sent: 0, dropped: 0 }))
    }

    /// Frames sent into it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames that found it full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, frame: &[u8]) {
        if self.filled == RING {
            self.dropped += 1;
            return;
        }
        let slot = &mut self.slots[(self.first + self.filled) % RING];
        gather(&mut slot.bytes, frame);
        slot.len = frame.len();
        self.filled += 1;
        self.sent += 1;
    }
}

/// Copies a frame into the receiver's buffer, as a DMA engine would: the counterpart of the gather of Luna's in-memory
/// pair, out of line like that one.
#[inline(never)]
fn gather(into: &mut [u8], frame: &[u8]) {
    into[..frame.len()].copy_from_slice(frame);
}

/// One end's device.
pub struct PairDevice {
    rx: SharedLane,
    tx: SharedLane,
    frame: Box<[u8]>,
    mtu: u16,
    checksums: bool,
}

impl PairDevice {
    /// Receives from `rx`, sends to `tx`.
    #[must_use]
    pub fn new(rx: SharedLane, tx: SharedLane, mtu: u16, checksums: bool) -> Self {
        Self { rx, tx, frame: vec![0; usize::from(mtu) + ETHERNET].into(), mtu, checksums }
    }

    /// The lane that it sends to.
    #[must_use]
    pub fn tx_lane(&self) -> &SharedLane {
        &self.tx
    }
}

/// A frame that arrived.
pub struct Received<'d>(&'d RefCell<Lane>);

/// A frame to send.
pub struct Sender<'d> {
    lane: &'d RefCell<Lane>,
    frame: &'d mut [u8],
}

impl RxToken for Received<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let mut lane = self.0.borrow_mut();
        let slot = &lane.slots[lane.first];
        let result = f(&slot.bytes[..slot.len]);
        lane.first = (lane.first + 1) % RING;
        lane.filled -= 1;
        result
    }
}

impl TxToken for Sender<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let frame = &mut self.frame[..len];
        let result = f(frame);
        self.lane.borrow_mut().push(frame);
        result
    }
}

impl Device for PairDevice {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sender<'a>;

    #[inline]
    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sender<'_>)> {
        if self.rx.borrow().filled == 0 {
            return None;
        }
        Some((Received(&self.rx), Sender { lane: &self.tx, frame: &mut self.frame }))
    }

    #[inline]
    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        if self.tx.borrow().filled == RING {
            return None;
        }
        Some(Sender { lane: &self.tx, frame: &mut self.frame })
    }

    #[inline]
    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = usize::from(self.mtu) + ETHERNET;
        if !self.checksums {
            caps.checksum = ChecksumCapabilities::ignored();
        }
        caps
    }
}
