//! Building frames: link and IP headers around a payload, in one buffer on the stack.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use luna_core::wire::{Checksum, EtherType, EthernetHeader, Ipv4Header, Ipv6Header, MacAddr};

use crate::parts::IPV6;

/// The longest frame that is built here: DHCP's. What is quoted or echoed does not count, it goes out from where it lies.
pub(super) const MAX_HEAD: usize = 512;

/// Hop limits: what neighbour discovery demands (RFC 4861 §7.1), and the usual.
pub(super) const HOPS_ON_LINK: u8 = 255;
pub(super) const HOPS: u8 = 64;

/// Who sends, on which VLAN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) mac: MacAddr,
    /// 802.1Q tag control information.
    pub(super) vlan: Option<u16>,
}

/// A frame under construction.
pub(super) struct Frame {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Frame {
    /// A frame with its Ethernet header.
    pub(super) fn new(link: Link, dst: MacAddr, ethertype: EtherType) -> Self {
        let mut bytes = [0; MAX_HEAD];
        let len = EthernetHeader::new(dst, link.mac, link.vlan, ethertype).emit(&mut bytes);
        Self { bytes, len }
    }

    /// Appends `n` zeros and lends them; an empty slice when there is no room, which a caller's constant would have to cause.
    pub(super) fn space(&mut self, n: usize) -> &mut [u8] {
        let at = self.len;
        debug_assert!(at + n <= MAX_HEAD, "a frame longer than ever built");
        match self.bytes.get_mut(at..at + n) {
            Some(space) => {
                self.len += n;
                space
            }
            None => &mut [],
        }
    }

    /// Appends `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.space(bytes.len()).iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Appends an IPv4 header, `payload_len` bytes of `protocol` to follow.
    pub(super) fn ipv4(&mut self, (src, dst): (Ipv4Addr, Ipv4Addr), protocol: u8, hops: u8, payload_len: usize) {
        let total_len = (payload_len + 20) as u16;
        let header =
            Ipv4Header { src, dst, protocol, ttl: hops, tos: 0, id: 0, header_len: 20, total_len, dont_fragment: true };
        header.emit(self.space(20));
    }

    /// Appends an IPv6 header, `payload_len` bytes of `next_header` to follow.
    pub(super) fn ipv6(&mut self, (src, dst): (Ipv6Addr, Ipv6Addr), next_header: u8, hops: u8, payload_len: usize) {
        let header = Ipv6Header {
            src,
            dst,
            next_header,
            hop_limit: hops,
            traffic_class: 0,
            flow_label: 0,
            payload_offset: 40,
            payload_len: payload_len as u16,
        };
        header.emit(self.space(40));
    }

    /// The frame so far.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The pseudo-header's sum for ICMPv6; ICMP has none.
pub(super) fn icmp_pseudo(src: IpAddr, dst: IpAddr, len: usize) -> Checksum {
    let mut sum = Checksum::new();
    if IPV6 && let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) {
        sum.add_pseudo_v6(src.octets(), dst.octets(), luna_core::wire::icmp::PROTOCOL_ICMPV6, len as u32);
    }
    sum
}

/// The group that a holder of `ip` listens to (RFC 4291 §2.7.1).
pub(super) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The hardware address of an IPv6 group (RFC 2464 §7).
pub(super) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}
