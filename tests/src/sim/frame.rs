//! A frame on its way through the simulated network.

use core::net::{IpAddr, SocketAddr};
use luna_core::wire::{RxChecksum, SeqNum, TcpFlags, TcpOptions, TcpPacket};

/// What a frame is, beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tag {
    /// Bits that a checksum covers were changed on the way: nobody may take it for good.
    pub damaged: bool,
    /// No stack of the run sent it.
    pub forged: bool,
    /// One sent it, and another puts it on the wire again, who knows when.
    pub replayed: bool,
    /// Which stream of which connection it belongs to (see `monitor`); 0 for none.
    pub half: u32,
}

/// A frame, from its Ethernet header on.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What else is known of it.
    pub tag: Tag,
}

impl Frame {
    /// Length on the wire, with preamble, check sequence and gap: what it costs to send.
    #[must_use]
    pub fn wire_len(&self) -> u64 {
        self.bytes.len().max(60) as u64 + 24
    }

    /// Length of its IP packet: what an MTU speaks of.
    #[must_use]
    pub fn ip_len(&self) -> usize {
        let tagged = self.bytes.get(12..14) == Some(&[0x81, 0x00]);
        self.bytes.len().saturating_sub(if tagged { 18 } else { 14 })
    }
}

/// A TCP segment as those who watch the wire see it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window as it stands there.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// Bytes of payload.
    pub len: u32,
    /// ECN bits of the IP header.
    pub ecn: u8,
}

impl Segment {
    /// Reads a frame; `verify`: with its checksums.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn read(bytes: &[u8], verify: bool) -> Result<Self, String> {
        let checksum = if verify { RxChecksum::UNKNOWN } else { RxChecksum::GOOD };
        let p = TcpPacket::parse_frame(bytes, checksum).map_err(|e| e.to_string())?;
        let options = TcpOptions::parse(p.options(bytes)).map_err(|e| e.to_string())?;
        Ok(Self {
            src: SocketAddr::new(p.src, p.tcp.src_port),
            dst: SocketAddr::new(p.dst, p.tcp.dst_port),
            seq: p.tcp.seq,
            ack: p.tcp.ack,
            flags: p.tcp.flags,
            window: p.tcp.window,
            options,
            len: p.payload_len.into(),
            ecn: p.ecn(),
        })
    }

    /// How much of the sequence space it takes.
    #[must_use]
    pub fn space(&self) -> u32 {
        self.len + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

impl core::fmt::Display for Segment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let end = |a: SocketAddr| match a.ip() {
            IpAddr::V4(ip) => format!("{ip}.{}", a.port()),
            IpAddr::V6(ip) => format!("{ip}.{}", a.port()),
        };
        write!(f, "{} > {} {:?} seq {}", end(self.src), end(self.dst), self.flags, self.seq.0)?;
        if self.len > 0 {
            write!(f, ":{}", (self.seq + self.len).0)?;
        }
        if self.flags.ack() {
            write!(f, " ack {}", self.ack.0)?;
        }
        write!(f, " win {} len {}", self.window, self.len)?;
        if self.ecn != 0 {
            write!(f, " ecn {}", self.ecn)?;
        }
        let o = &self.options;
        if let Some(mss) = o.mss {
            write!(f, " mss {mss}")?;
        }
        if let Some(scale) = o.window_scale {
            write!(f, " wscale {scale}")?;
        }
        if o.sack_permitted {
            write!(f, " sackOK")?;
        }
        if let Some((val, ecr)) = o.timestamps {
            write!(f, " TS {val}/{ecr}")?;
        }
        for (left, right) in o.sack.iter() {
            write!(f, " sack {}:{}", left.0, right.0)?;
        }
        Ok(())
    }
}
