//! What stands on the wire: Ethernet II with one 802.1Q tag, IPv4, IPv6, TCP and its options, the Internet checksum.
//!
//! Every header is read once, into a value that holds only what was checked ([`TcpPacket`], [`TcpOptions`]); nothing
//! behind this module looks at lengths or offsets again. Headers to be sent come from a [`HeaderTemplate`], built once per
//! connection. Nothing here owns a buffer: parsers borrow the received bytes, emitters write into the caller's.
//!
//! Absent on purpose: reassembly of IP fragments (refused as [`ParseError::Fragment`]), stacked VLAN tags, IPv6 jumbograms,
//! AH and ESP, ARP, ICMP but its errors, and neighbour discovery. Whether an address or a connection exists is the stack's question.
//!
//! Invariant: no `unsafe`, no allocation, and no input can make a parser panic. An emitter whose output does not fit
//! writes nothing and returns 0: that is the caller's bug, and `debug_assert!` says so.

#![forbid(unsafe_code)]

pub mod build;
mod bytes;
pub mod checksum;
mod error;
pub mod ethernet;
pub mod icmp;
pub mod int;
pub mod ipv4;
pub mod ipv6;
mod large;
pub mod packet;
pub mod seq;
pub(crate) mod syn;
pub mod tcp;
pub mod tcp_options;

pub(crate) use build::PLAIN_HEADER_LEN;
pub use build::{FamilyMismatch, HeaderTemplate, SegmentHead, tcp_checksum, write_tcp_checksum};
pub use checksum::Checksum;
pub use error::ParseError;
pub use ethernet::{EtherType, EthernetHeader, MacAddr, MacAddrError};
pub use icmp::{IcmpError, IcmpKind};
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use large::LargePacket;
pub use packet::{ChecksumVerdict, RxChecksum, TcpPacket};
pub(crate) use packet::{PlainSegment, continues};
pub use seq::SeqNum;
pub use tcp::{TcpFlags, TcpHeader};
pub use tcp_options::{SackBlocks, TcpOptions, fixed_timestamps};

/// The IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;

/// The longest header that is ever built: tagged Ethernet (18), IPv6 (40), TCP with all its options (60).
pub const MAX_HEADER_LEN: usize = 118;

static_assertions::const_assert_eq!(
    MAX_HEADER_LEN,
    ethernet::TAGGED_HEADER_LEN + ipv6::HEADER_LEN + tcp::MAX_HEADER_LEN
);
