//! In-band network telemetry: a shim of ours between IP and TCP, for HPCC (Li et al., SIGCOMM 2019, §3.1, §4).
//!
//! A sender reserves room for records; every switch on the way stamps one in place, when the frame leaves its queue; the
//! receiver returns the records in a shim of its next segment. Frames never change their length on the way.
//!
//! The shim has IP protocol number (IPv6: next header) 253, for experiments (RFC 3692), so that a switch knows it without
//! knowing connections. It is outside of TCP: neither the TCP checksum nor its pseudo-header (protocol 6, length of the TCP
//! segment) covers it, and stamping touches no other layer. A checksum of its own covers it. All fields big-endian:
//!
//! ```text
//!  byte 0  next header: 6, TCP      1  length of the shim in units of 4 bytes
//!       2  checksum (RFC 1071) over the shim
//!       4  version: 1               5  room for records
//!       6  switches passed          7  records returned
//!       8  exclusive or of the numbers of the switches passed
//!      10  the same of the path that the returned records came by
//!      12  room × record, then returned × record
//!
//!  record: 0 rate of the link in 10 Mb/s   2 bytes queued in units of 64
//!          4 time in ns                    8 bytes sent on the link, headers included
//! ```
//!
//! Switches passed may exceed the room: such records are incomplete and not used. Negotiation: `tcp_options`, an
//! experimental option (RFC 6994) in both SYNs. SYNs themselves carry no shim. Segments are smaller by [`MAX_LEN`], so that
//! no frame exceeds the MTU. What it costs: NICs see no TCP behind such a header, so checksums are software's, and RSS goes
//! by addresses alone.

use super::bytes::{be16, be32, put};
use super::ethernet::EthernetHeader;
use super::{Checksum, EtherType, PROTOCOL_TCP, ParseError, ipv4, ipv6};
use crate::parts::CONTROLLERS;

/// The IP protocol number of the shim (RFC 3692).
pub const PROTOCOL: u8 = 253;
/// Length of the shim without records.
pub const HEADER_LEN: usize = 12;
/// Length of a record.
pub const HOP_LEN: usize = 12;
/// Records that a path may collect. The paper's network has at most 4 switches between any two hosts (§9).
pub const MAX_HOPS: usize = 5;
/// The longest shim.
pub const MAX_LEN: usize = HEADER_LEN + 2 * MAX_HOPS * HOP_LEN;

const VERSION: u8 = 1;

/// What a switch says about one of its links, at the moment when the frame leaves its queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hop {
    /// Rate in units of 10 Mb/s.
    pub rate: u16,
    /// Queue in units of 64 bytes, rounded up.
    pub queue: u16,
    /// The switch's clock in ns; wraps.
    pub time: u32,
    /// Bytes sent since whenever; wraps.
    pub sent: u32,
}

impl Hop {
    /// A record. A rate below 10 Mb/s counts as that, a queue of more than 4 MiB as 4 MiB.
    #[must_use]
    pub fn new(bits_per_second: u64, queue: u64, time_ns: u64, sent: u64) -> Self {
        Self {
            rate: u16::try_from(bits_per_second / 10_000_000).unwrap_or(u16::MAX).max(1),
            queue: u16::try_from(queue.div_ceil(64)).unwrap_or(u16::MAX),
            time: time_ns as u32,
            sent: sent as u32,
        }
    }

    /// The link's rate.
    #[must_use]
    pub const fn bytes_per_second(&self) -> u64 {
        self.rate as u64 * (10_000_000 / 8)
    }

    /// The queue's length.
    #[must_use]
    pub const fn queue_bytes(&self) -> u64 {
        self.queue as u64 * 64
    }

    fn parse(bytes: &[u8; HOP_LEN]) -> Self {
        Self {
            rate: be16::<0, _>(bytes),
            queue: be16::<2, _>(bytes),
            time: be32::<4, _>(bytes),
            sent: be32::<8, _>(bytes),
        }
    }

    fn emit(&self) -> [u8; HOP_LEN] {
        let mut bytes = [0; HOP_LEN];
        put::<0, 2, _>(&mut bytes, self.rate.to_be_bytes());
        put::<2, 2, _>(&mut bytes, self.queue.to_be_bytes());
        put::<4, 4, _>(&mut bytes, self.time.to_be_bytes());
        put::<8, 4, _>(&mut bytes, self.sent.to_be_bytes());
        bytes
    }
}

/// The records of one frame's path, first switch first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Telemetry {
    hops: [Hop; MAX_HOPS],
    len: u8,
    truncated: bool,
    /// Exclusive or of the switches' numbers: another one is another path.
    pub path: u16,
}

impl Telemetry {
    /// No record.
    pub const EMPTY: Self =
        Self { hops: [Hop { rate: 0, queue: 0, time: 0, sent: 0 }; MAX_HOPS], len: 0, truncated: false, path: 0 };

    /// Appends a record; one too many marks the whole as truncated.
    pub fn push(&mut self, hop: Hop) {
        match self.hops.get_mut(usize::from(self.len)) {
            Some(slot) => {
                *slot = hop;
                self.len += 1;
            }
            None => self.truncated = true,
        }
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().take(self.len.into())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Switches were passed that found no room.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// A received shim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shim {
    /// Its length.
    pub len: u16,
    /// The protocol behind it.
    pub next_header: u8,
    /// Stamped into this frame.
    pub stamped: Telemetry,
    /// Returned by the peer, if it returned any.
    pub returned: Option<Telemetry>,
}

/// The fixed part, checked: (length, room, passed, returned).
fn read_head(bytes: &[u8]) -> Result<(usize, u8, u8, u8), ParseError> {
    let head = bytes.first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
    let (len, room, passed, returned) = (usize::from(head[1]) * 4, head[5], head[6], head[7]);
    let records = usize::from(room) + usize::from(returned);
    let fits = usize::from(room) <= MAX_HOPS && usize::from(returned) <= MAX_HOPS;
    if head[4] != VERSION || !fits || len != HEADER_LEN + records * HOP_LEN || len > bytes.len() {
        return Err(ParseError::BadShim);
    }
    Ok((len, room, passed, returned))
}

impl Shim {
    /// Reads the shim at the start of `bytes`.
    ///
    /// # Errors
    /// [`ParseError::Short`], [`ParseError::BadShim`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (len, room, passed, returned) = read_head(bytes)?;
        let shim = bytes.get(..len).ok_or(ParseError::Short)?;
        let mut sum = Checksum::new();
        sum.add(shim);
        if sum.finish() != 0 {
            return Err(ParseError::BadShim);
        }
        let (head, records) = shim.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let (reserved, echo) = records.split_at_checked(usize::from(room) * HOP_LEN).ok_or(ParseError::Short)?;
        let read = |bytes: &[u8], n: u8, path: u16| {
            let mut t = Telemetry { path, ..Telemetry::EMPTY };
            bytes.as_chunks::<HOP_LEN>().0.iter().take(n.into()).for_each(|b| t.push(Hop::parse(b)));
            t
        };
        let mut stamped = read(reserved, passed, be16::<8, _>(head));
        stamped.truncated = passed > room;
        let returned = (returned > 0).then(|| read(echo, returned, be16::<10, _>(head)));
        Ok(Self { len: len as u16, next_header: head[0], stamped, returned })
    }
}

/// Length of a shim with room for `room` records that returns `returned`.
#[must_use]
pub fn encoded_len(room: usize, returned: Option<&Telemetry>) -> usize {
    HEADER_LEN + HOP_LEN * (room.min(MAX_HOPS) + returned.map_or(0, Telemetry::len))
}

/// Writes a shim in front of TCP, with room for `room` records; returns its length, 0 if `out` is too short. Truncated
/// records are not worth returning: the caller keeps them.
pub fn emit(out: &mut [u8], room: usize, returned: Option<&Telemetry>) -> usize {
    let len = encoded_len(room, returned);
    let Some(out) = out.get_mut(..len) else { return 0 };
    out.fill(0);
    let records = room.min(MAX_HOPS);
    if let Some((head, rest)) = out.split_first_chunk_mut::<HEADER_LEN>() {
        put::<0, 2, _>(head, [PROTOCOL_TCP, (len / 4) as u8]);
        put::<4, 2, _>(head, [VERSION, records as u8]);
        if let Some(t) = returned {
            head[7] = t.len;
            put::<10, 2, _>(head, t.path.to_be_bytes());
            let echo = rest.get_mut(records * HOP_LEN..).unwrap_or_default();
            for (to, hop) in echo.as_chunks_mut::<HOP_LEN>().0.iter_mut().zip(t.iter()) {
                *to = hop.emit();
            }
        }
    }
    seal(out);
    len
}

/// Makes the checksum right.
fn seal(shim: &mut [u8]) {
    let mut sum = Checksum::new();
    if let Some(head) = shim.first_chunk_mut::<HEADER_LEN>() {
        put::<2, 2, _>(head, [0, 0]);
    }
    sum.add(shim);
    if let Some(head) = shim.first_chunk_mut::<HEADER_LEN>() {
        put::<2, 2, _>(head, sum.finish().to_be_bytes());
    }
}

/// Stamps a record of switch `id` into the shim at the start of `bytes`, in place.
///
/// # Errors
/// [`ParseError`]: there is no whole shim. A full one is no error: it counts the switch.
pub fn stamp(bytes: &mut [u8], hop: &Hop, id: u16) -> Result<(), ParseError> {
    // A damaged shim must not become a right one.
    let len = usize::from(Shim::parse(bytes)?.len);
    let shim = bytes.get_mut(..len).ok_or(ParseError::Short)?;
    let (head, records) = shim.split_first_chunk_mut::<HEADER_LEN>().ok_or(ParseError::Short)?;
    let (room, passed) = (usize::from(head[5]), usize::from(head[6]));
    if passed < room
        && let Some(record) = records.as_chunks_mut::<HOP_LEN>().0.get_mut(passed)
    {
        *record = hop.emit();
    }
    head[6] = head[6].saturating_add(1);
    let path = be16::<8, _>(head) ^ id;
    put::<8, 2, _>(head, path.to_be_bytes());
    seal(shim);
    Ok(())
}

/// Where the shim of an Ethernet frame begins, if it has one.
#[must_use]
pub fn find(frame: &[u8]) -> Option<usize> {
    let link = EthernetHeader::parse(frame).ok()?;
    let l2 = usize::from(link.header_len);
    let packet = frame.get(l2..)?;
    match link.ethertype {
        EtherType::Ipv4 => {
            let head = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
            let header_len = usize::from(head[0] & 0x0f) * 4;
            (head[0] >> 4 == 4 && head[9] == PROTOCOL && header_len >= ipv4::HEADER_LEN).then_some(l2 + header_len)
        }
        EtherType::Ipv6 => {
            let head = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
            (head[0] >> 4 == 6 && head[6] == PROTOCOL).then_some(l2 + ipv6::HEADER_LEN)
        }
        _ => None,
    }
}

/// What a switch does to every frame that leaves it. True if the frame had a shim.
pub fn stamp_frame(frame: &mut [u8], hop: &Hop, id: u16) -> bool {
    find(frame).and_then(|at| frame.get_mut(at..)).is_some_and(|shim| stamp(shim, hop, id).is_ok())
}

/// Makes room for a shim: `header` has Ethernet and IP (`l2l3` bytes), TCP (`tcp` bytes), and a gap of the shim's length
/// behind. TCP moves to the end of the gap, `shim` takes its place, IP's length, protocol and checksum follow. False if
/// `header` does not have that shape.
pub(crate) fn insert(header: &mut [u8], l2l3: usize, tcp: usize, ipv6: bool, shim: &[u8]) -> bool {
    let n = shim.len();
    let Some(head) = header.get_mut(..l2l3 + tcp + n) else { return false };
    head.copy_within(l2l3..l2l3 + tcp, l2l3 + n);
    let Some((ip, rest)) = head.split_at_mut_checked(l2l3) else { return false };
    let Some(place) = rest.get_mut(..n) else { return false };
    place.copy_from_slice(shim);
    if ipv6 {
        let Some(ip) = ip.last_chunk_mut::<{ ipv6::HEADER_LEN }>() else { return false };
        let len = be16::<4, _>(ip).wrapping_add(n as u16);
        put::<4, 2, _>(ip, len.to_be_bytes());
        ip[6] = PROTOCOL;
    } else {
        let Some(ip) = ip.last_chunk_mut::<{ ipv4::HEADER_LEN }>() else { return false };
        let len = be16::<2, _>(ip).wrapping_add(n as u16);
        put::<2, 2, _>(ip, len.to_be_bytes());
        ip[9] = PROTOCOL;
        put::<10, 2, _>(ip, [0, 0]);
        let mut sum = Checksum::new();
        sum.add(ip);
        put::<10, 2, _>(ip, sum.finish().to_be_bytes());
    }
    true
}

/// The protocol and length of what stands behind IP: a shim in front of TCP is skipped.
pub(super) fn skip(protocol: u8, payload: &[u8]) -> Result<(u8, u16), ParseError> {
    if !CONTROLLERS || protocol != PROTOCOL {
        return Ok((protocol, 0));
    }
    let shim = Shim::parse(payload)?;
    Ok((shim.next_header, shim.len))
}

/// The same of a packet that an error quotes: what is cut off cannot be checked. `None` when that is the shim's begin.
pub(super) fn skip_quoted(protocol: u8, payload: &[u8]) -> Option<(u8, usize)> {
    if !CONTROLLERS || protocol != PROTOCOL {
        return Some((protocol, 0));
    }
    let [next_header, units] = *payload.first_chunk::<2>()?;
    Some((next_header, usize::from(units) * 4))
}

#[cfg(test)]
mod tests;
