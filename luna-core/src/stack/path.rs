//! A path: one queue of one port, the addresses that are ours there, and where packets go next.

use core::fmt;
use core::net::IpAddr;

use super::storage::Neighbor;
use crate::nic::NicQueue;
use crate::parts::IPV6;
use crate::parts::LEADS;
use crate::wire::{MAX_HEADER_LEN, MacAddr};
use crate::zbuf::{Arena, Room};

/// Paths of one stack.
pub const MAX_PATHS: usize = 4;
/// Addresses of one path.
pub const MAX_ADDRS: usize = 8;

/// An address and the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    /// The address.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `ip` is inside the prefix.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.addr, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) if IPV6 => {
                let shift = 128 - u32::from(self.prefix.min(128));
                a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

/// What a path is like, beside its queue.
#[derive(Clone, Debug, Default)]
pub struct PathConfig {
    /// Our addresses.
    pub addrs: heapless::Vec<Cidr, MAX_ADDRS>,
    /// Where IPv4 packets go that leave every prefix.
    pub gateway_v4: Option<IpAddr>,
    /// The same for IPv6.
    pub gateway_v6: Option<IpAddr>,
    /// 802.1Q tag control information of what we send; what we receive must have the same VLAN.
    pub vlan: Option<u16>,
}

/// Why a stack or a path could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The stack has its most paths already.
    TooManyPaths,
    /// Sockets without an address.
    NoAddress,
    /// No such path.
    NoPath,
    /// The flow table is no power of two, or smaller than 4/3 of the connections.
    FlowTableSize,
    /// No connections, or more than 2^24.
    ConnectionCount,
    /// The port's header objs cannot hold the longest header.
    HeaderObjTooSmall,
    /// The port's MTU is below 576 (IPv4) or 1280 (with an IPv6 address).
    MtuTooSmall,
    /// An IPv6 address, and the feature `ipv6` is off.
    NoIpv6,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyPaths => "a stack has at most 4 paths",
            Self::NoAddress => "at least one address is needed",
            Self::NoPath => "the stack has no such path",
            Self::FlowTableSize => "the flow table must be a power of two and at least 4/3 of the connections",
            Self::ConnectionCount => "a stack has between 1 and 2^24 connections",
            Self::HeaderObjTooSmall => "header objs must have at least 128 bytes",
            Self::MtuTooSmall => "the MTU must be at least 576, with IPv6 at least 1280",
            Self::NoIpv6 => "this build has no IPv6",
        })
    }
}

impl core::error::Error for ConfigError {}

pub(crate) struct Path<Q> {
    /// Heads and small messages to send are written here. Before the queue, which may be what keeps the pool alive.
    pub(crate) arena: Arena,
    pub(crate) queue: Q,
    pub(crate) config: PathConfig,
}

/// Whether a queue can have these addresses.
pub(crate) fn check<Q: NicQueue>(queue: &Q, config: &PathConfig) -> Result<(), ConfigError> {
    if (queue.header_pool().data_capacity() as usize) < MAX_HEADER_LEN {
        return Err(ConfigError::HeaderObjTooSmall);
    }
    let v6 = config.addrs.iter().any(|c| c.addr.is_ipv6());
    if v6 && !IPV6 {
        return Err(ConfigError::NoIpv6);
    }
    let least = if v6 { 1280 } else { 576 };
    if queue.caps().mtu < least { Err(ConfigError::MtuTooSmall) } else { Ok(()) }
}

impl<Q: NicQueue> Path<Q> {
    /// Room for `len` bytes to send: `leads`, if they are likely to begin a frame, whose headers then stand before them in the
    /// same obj.
    #[inline(always)]
    pub(crate) fn room_to_send(&mut self, len: u32, leads: bool) -> Option<Room<'_>> {
        let pool = self.queue.header_pool();
        if LEADS && leads { self.arena.leading_room(pool, len) } else { self.arena.room(pool, len) }
    }

    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.config.addrs.iter().any(|c| c.addr == ip)
    }

    /// Our address towards `remote`: of its subnet if there is one, else the first of its family.
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let near = self.config.addrs.iter().find(|c| c.contains(remote));
        near.or_else(|| self.config.addrs.iter().find(|c| c.addr.is_ipv4() == remote.is_ipv4())).map(|c| c.addr)
    }

    pub(crate) fn next_hop(&self, remote: IpAddr) -> Option<IpAddr> {
        if self.config.addrs.iter().any(|c| c.contains(remote)) {
            return Some(remote);
        }
        if remote.is_ipv4() { self.config.gateway_v4 } else { self.config.gateway_v6 }
    }
}

pub(crate) fn lookup(neighbors: &[Neighbor], path: u8, ip: IpAddr) -> Option<MacAddr> {
    neighbors.iter().find_map(|n| n.entry.filter(|e| e.0 == path && e.1 == ip).map(|e| e.2))
}

/// Sets, changes or (with `None`) removes a neighbour. False when the table is full.
pub(crate) fn update(neighbors: &mut [Neighbor], path: u8, ip: IpAddr, mac: Option<MacAddr>) -> bool {
    let known = neighbors.iter().position(|n| n.entry.is_some_and(|e| e.0 == path && e.1 == ip));
    let place = known.or_else(|| neighbors.iter().position(|n| n.entry.is_none()));
    match (place.and_then(|i| neighbors.get_mut(i)), mac) {
        (Some(n), Some(mac)) => n.entry = Some((path, ip, mac)),
        (Some(n), None) => n.entry = None,
        (None, mac) => return mac.is_none(),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn prefixes() {
        let c = |s: &str, prefix| Cidr { addr: s.parse().unwrap(), prefix };
        let ip = |s: &str| s.parse().unwrap();
        assert!(c("10.0.0.1", 24).contains(ip("10.0.0.255")));
        assert!(!c("10.0.0.1", 24).contains(ip("10.0.1.0")));
        assert!(c("10.0.0.1", 0).contains(ip("192.0.2.1")));
        assert!(!c("10.0.0.1", 32).contains(ip("10.0.0.2")));
        assert!(!c("10.0.0.1", 0).contains(ip("::1")));
        assert!(c("2001:db8::1", 64).contains(ip("2001:db8::ffff")));
        assert!(!c("2001:db8::1", 64).contains(ip("2001:db8:0:1::1")));
    }

    #[test]
    fn neighbours_are_set_changed_removed_and_bounded() {
        let mut table = [Neighbor::default(); 2];
        let (a, b, c) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap());
        let mac = |n| Some(MacAddr([n; 6]));
        assert!(update(&mut table, 0, a, mac(1)) && update(&mut table, 1, a, mac(2)));
        assert!(!update(&mut table, 0, b, mac(3)), "full");
        assert!(update(&mut table, 0, a, mac(4)));
        assert_eq!((lookup(&table, 0, a), lookup(&table, 1, a), lookup(&table, 0, c)), (mac(4), mac(2), None));
        assert!(update(&mut table, 1, a, None) && update(&mut table, 0, b, mac(5)));
        assert_eq!(lookup(&table, 1, a), None);
    }
}
