//! The control plane of an interface that no kernel looks after: who our neighbours are, what our addresses are, what is
//! answered that is not TCP.
//!
//! | file | what | source |
//! | --- | --- | --- |
//! | `address` | probing for our addresses, announcing and defending them | RFC 5227, RFC 4862 §5.4 |
//! | `arp`, `ndp` | asking for neighbours, answering for ourselves | RFC 826; RFC 4861, 4862 |
//! | `neighbor` | what is known of neighbours, and whether it still holds | RFC 4861 §7.3 |
//! | `icmp` | echo; errors, at a limited rate | RFC 792, 1122, 1812; RFC 4443 |
//! | `dhcp`, `lease` | an address for a time, and what it means for the others | RFC 2131 |
//! | `args` | settings from the device tree's `chosen` arguments | |
//! | `queue` | where it meets a NIC queue and the stack | |
//!
//! [`Control`] is pure: frames and time go in, frames and [`Event`]s come out by a [`Port`]. [`SplitQueue`] stands between
//! a driver and the stack and turns aside what is not TCP; [`Control::turn`] joins the two after each turn of the stack.
//! ICMP errors about TCP stay with the stack.
//!
//! ARP, DHCP and neighbour discovery messages are read and written by smoltcp's `wire` module (no heap, no panics on input).
//!
//! Absent on purpose: routers' advertisements and stateless autoconfiguration, redirects (ignored: they let a neighbour
//! move our traffic), multicast listener reports (switches that snoop must flood the solicited-node groups), IP reassembly.

mod address;
mod args;
mod arp;
mod attended;
mod counters;
#[cfg(feature = "dhcp")]
mod dhcp;
#[cfg(not(feature = "dhcp"))]
#[path = "no_dhcp.rs"]
mod dhcp;
mod frame;
mod icmp;
mod jitter;
#[cfg(feature = "dhcp")]
mod lease;
#[cfg(all(test, not(any(feature = "dhcp", feature = "ipv6"))))]
mod left_out;
mod limit;
mod ndp;
mod neighbor;
mod queue;
#[cfg(all(test, feature = "dhcp", feature = "ipv6"))]
mod testing;
#[cfg(all(test, feature = "dhcp", feature = "ipv6"))]
mod tests;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use luna_core::stack::{Cidr, MAX_ADDRS, PathConfig};
use luna_core::time::Instant;
use luna_core::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};
use luna_core::wire::{EtherType, EthernetHeader, Ipv4Header, Ipv6Header, MacAddr, ParseError};

use crate::parts::IPV6;

use address::{Addresses, Due, Verdict};
use dhcp::Dhcp;
use frame::Link;
use jitter::Jitter;
use limit::RateLimit;
use neighbor::{Ask, Neighbors};

pub use address::Origin;
pub(crate) use args::parse_ip;
pub use args::{ArgsError, NetArgs};
pub use attended::Attended;
pub use counters::ControlCounters;
pub use dhcp::Lease;
pub use neighbor::MAX_NEIGHBORS;
pub use queue::{MAX_ASIDE, SplitQueue};

const PROTOCOL_UDP: u8 = 17;

/// What an interface is to be.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Hardware address.
    pub mac: MacAddr,
    /// Largest IP packet.
    pub mtu: u16,
    /// Addresses, VLAN, gateways, DHCP.
    pub net: NetArgs,
    /// Unpredictable: spreads what many do at the same time, and names DHCP exchanges.
    pub seed: u64,
}

/// Why an interface cannot be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlError {
    /// Neither an address nor DHCP.
    NoAddress,
    /// A group, no address at all, or IPv6 where the feature of that name is off.
    BadAddress(IpAddr),
    /// More addresses than a path has.
    TooManyAddresses,
    /// DHCP is wanted, and the feature of that name is off.
    NoDhcp,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDhcp => f.write_str("this build has no DHCP client"),
            Self::NoAddress => f.write_str("no address: give net.addr=ADDRESS/PREFIX or net.addr=dhcp"),
            Self::BadAddress(IpAddr::V6(_)) if !IPV6 => f.write_str("this build has no IPv6"),
            Self::BadAddress(IpAddr::V4(ip)) => write!(f, "{ip} is not an address that a host can have"),
            Self::BadAddress(IpAddr::V6(ip)) => write!(f, "{ip} is not an address that a host can have"),
            Self::TooManyAddresses => f.write_str("more addresses than an interface can have (IPv6 needs one of them)"),
        }
    }
}

impl core::error::Error for ControlError {}

/// What the control plane tells. [`Control::turn`] has acted on it already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An address is ours to use.
    Address(Cidr, Origin),
    /// An address is not ours any more: its lease ended, or somebody else has it.
    AddressLost(IpAddr),
    /// An address was not taken, because somebody (this one) has it.
    Duplicate(IpAddr, MacAddr),
    /// Somebody else (this one) uses an address of ours; it was defended.
    Conflict(IpAddr, MacAddr),
    /// The DHCP server refused, and the search begins again.
    DhcpRefused,
    /// The lease was extended.
    LeaseExtended(Lease),
}

impl Event {
    /// Its number, for reports without text: its place in this list, from 1.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Address(..) => 1,
            Self::AddressLost(_) => 2,
            Self::Duplicate(..) => 3,
            Self::Conflict(..) => 4,
            Self::DhcpRefused => 5,
            Self::LeaseExtended(_) => 6,
        }
    }
}

/// What the control plane does to the world.
pub trait Port {
    /// Sends `head` and behind it the bytes `tail` of the frame that is being handled. False when that could not be.
    fn send(&mut self, head: &[u8], tail: Range<usize>) -> bool;
    /// Whether packets go to this neighbour.
    fn in_use(&mut self, ip: IpAddr) -> bool;
    /// Where a neighbour is that was asked for; `None`: it is gone. False when there was no room for that.
    fn neighbor(&mut self, ip: IpAddr, mac: Option<MacAddr>) -> bool;
    /// Something of note.
    fn event(&mut self, event: Event);
}

/// The control plane of one interface.
#[derive(Debug)]
pub struct Control {
    link: Link,
    mtu: u16,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
    /// Addresses that come later are probed for.
    #[cfg(feature = "dhcp")]
    detect: bool,
    addrs: Addresses,
    neighbors: Neighbors,
    dhcp: Option<Dhcp>,
    errors: RateLimit,
    rng: Jitter,
    counters: ControlCounters,
    /// Nothing is due before.
    next: Instant,
    /// Addresses came or went since the stack was told.
    changed: bool,
}

/// A received IP packet: where it stands and whom it is for.
#[derive(Clone, Copy)]
struct Packet<'f> {
    frame: &'f [u8],
    link: EthernetHeader,
    src: IpAddr,
    dst: IpAddr,
    hops: u8,
    /// Where the IP header begins.
    ip_at: usize,
    /// Where the payload is.
    payload_at: usize,
    payload: &'f [u8],
}

impl Control {
    /// An interface that begins at `now` to find out whether its addresses are free.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn new(config: &ControlConfig, now: Instant) -> Result<Self, ControlError> {
        let net = &config.net;
        if net.addrs.is_empty() && !net.dhcp {
            return Err(ControlError::NoAddress);
        }
        // Not the seed alone: DPUs that lack entropy still differ.
        let [a, b, c, d, e, f] = config.mac.0;
        let mut rng = Jitter::new(config.seed ^ u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        let mut addrs = Addresses::default();
        for cidr in net.addrs.iter().copied().chain(link_local(config)) {
            if cidr.addr.is_ipv6() && !IPV6
                || cidr.addr.is_multicast()
                || cidr.addr.is_unspecified()
                || cidr.addr.is_loopback()
            {
                return Err(ControlError::BadAddress(cidr.addr));
            }
            if !addrs.knows(cidr.addr) && !addrs.add(now, cidr, Origin::Static, net.detect, &mut rng) {
                return Err(ControlError::TooManyAddresses);
            }
        }
        let dhcp = dhcp::begin(now, config, &mut rng)?;
        if net.dhcp && addrs.all().count() == MAX_ADDRS {
            return Err(ControlError::TooManyAddresses);
        }
        Ok(Self {
            link: Link { mac: config.mac, vlan: net.vlan },
            mtu: config.mtu,
            gateway_v4: net.gateway_v4,
            gateway_v6: net.gateway_v6,
            #[cfg(feature = "dhcp")]
            detect: net.detect,
            addrs,
            neighbors: Neighbors::default(),
            dhcp,
            errors: RateLimit::default(),
            rng,
            counters: ControlCounters::default(),
            next: now,
            changed: false,
        })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counters(&self) -> &ControlCounters {
        &self.counters
    }

    /// The lease, once DHCP got one.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.dhcp.as_ref().and_then(Dhcp::lease)
    }

    /// What the stack's path is to be now: the addresses in use, and where to send what is for elsewhere.
    #[must_use]
    pub fn path_config(&self) -> PathConfig {
        PathConfig {
            addrs: self.addrs.taken().collect(),
            gateway_v4: self.gateway_v4.or_else(|| self.leased_router()).map(IpAddr::V4),
            gateway_v6: self.gateway_v6.map(IpAddr::V6),
            vlan: self.link.vlan,
        }
    }

    /// The stack wants to know where `ip` is: answered by [`Port::neighbor`], now or when it is known.
    pub fn resolve(&mut self, now: Instant, ip: IpAddr, port: &mut impl Port) {
        let (neighbors, _, mut ask) = self.split(port);
        neighbors.resolve(now, ip, &mut ask);
        self.next = self.next_timer();
    }

    /// Takes in a frame. `l4_good`: the device verified the UDP checksum, or it cannot be wrong.
    pub fn input(&mut self, now: Instant, frame: &[u8], l4_good: bool, port: &mut impl Port) {
        self.counters.frames_in += 1;
        let Ok(link) = EthernetHeader::parse(frame) else {
            self.counters.malformed += 1;
            return;
        };
        let vlan = |tci: Option<u16>| tci.map(|t| t & 0x0fff);
        let ours = link.dst == self.link.mac || link.dst.is_multicast();
        if !ours || vlan(link.vlan) != vlan(self.link.vlan) {
            self.counters.not_ours += 1;
            return;
        }
        if !link.src.is_unicast() || link.src == self.link.mac {
            // Our own frame came back, or a source that no station has.
            self.counters.malformed += 1;
            return;
        }
        let at = usize::from(link.header_len);
        let body = frame.get(at..).unwrap_or_default();
        match link.ethertype {
            EtherType::Arp => self.arp(now, &link, body, port),
            EtherType::Ipv4 => match Ipv4Header::parse(body, true) {
                Ok(ip) => {
                    let (start, end) = (at + usize::from(ip.header_len), at + usize::from(ip.total_len));
                    let payload = frame.get(start..end).unwrap_or_default();
                    let (src, dst) = (ip.src.into(), ip.dst.into());
                    let packet = Packet { frame, link, src, dst, hops: ip.ttl, ip_at: at, payload_at: start, payload };
                    self.ip(now, &packet, ip.protocol, l4_good, port);
                }
                Err(e) => self.refused(e),
            },
            EtherType::Ipv6 if IPV6 => match Ipv6Header::parse(body) {
                Ok(ip) => {
                    let start = at + usize::from(ip.payload_offset);
                    let payload = frame.get(start..start + usize::from(ip.payload_len)).unwrap_or_default();
                    let (src, dst) = (ip.src.into(), ip.dst.into());
                    let hops = ip.hop_limit;
                    let packet = Packet { frame, link, src, dst, hops, ip_at: at, payload_at: start, payload };
                    self.ip(now, &packet, ip.next_header, l4_good, port);
                }
                Err(e) => self.refused(e),
            },
            EtherType::Ipv6 | EtherType::Other(_) => self.counters.ignored += 1,
        }
        self.next = self.next_timer();
    }

    /// Does what is due, and returns when it is to be called again.
    pub fn poll(&mut self, now: Instant, port: &mut impl Port) -> Instant {
        if now < self.next {
            return self.next;
        }
        while let Some(due) = self.addrs.poll(now, &mut self.rng) {
            match due {
                Due::Probe(ip) => self.probe_for(ip, port),
                Due::Announce(ip) => self.announce(ip, port),
                Due::Take(cidr, origin) => {
                    self.changed = true;
                    self.announce(cidr.addr, port);
                    port.event(Event::Address(cidr, origin));
                }
            }
        }
        self.poll_dhcp(now, port);
        let (neighbors, _, mut ask) = self.split(port);
        neighbors.poll(now, &mut ask);
        self.next = self.next_timer();
        self.next
    }

    fn next_timer(&self) -> Instant {
        let dhcp = self.dhcp.as_ref().map_or(Instant::FAR, Dhcp::next);
        self.addrs.next().min(self.neighbors.next()).min(dhcp)
    }

    fn refused(&mut self, e: ParseError) {
        match e {
            ParseError::Fragment => self.counters.fragments += 1,
            _ => self.counters.malformed += 1,
        }
    }

    fn ip(&mut self, now: Instant, packet: &Packet<'_>, protocol: u8, l4_good: bool, port: &mut impl Port) {
        match (protocol, packet.dst) {
            (PROTOCOL_ICMP, IpAddr::V4(_)) => self.icmp(packet, port),
            (PROTOCOL_ICMPV6, IpAddr::V6(_)) if IPV6 => self.icmpv6(now, packet, port),
            (PROTOCOL_UDP, _) => self.udp(now, packet, l4_good, port),
            _ => self.unreachable(now, packet, icmp::Unreachable::Protocol, port),
        }
    }

    /// Somebody (`mac`) has, or wants, an address that we have or want.
    fn conflict(&mut self, now: Instant, addr: IpAddr, mac: MacAddr, port: &mut impl Port) {
        match self.addrs.conflict(now, addr) {
            Verdict::NotOurs => {}
            Verdict::Duplicate(cidr, origin) => {
                self.counters.duplicates += 1;
                port.event(Event::Duplicate(cidr.addr, mac));
                if origin == Origin::Dhcp {
                    self.decline(now, port);
                }
            }
            Verdict::Defend(addr) => {
                self.counters.conflicts += 1;
                self.announce(addr, port);
                port.event(Event::Conflict(addr, mac));
            }
            Verdict::Endure => self.counters.conflicts += 1,
            Verdict::GiveUp(cidr, _) => {
                self.counters.conflicts += 1;
                self.counters.duplicates += 1;
                self.changed = true;
                port.event(Event::AddressLost(cidr.addr));
                self.decline(now, port);
            }
        }
    }

    /// Asks whether anybody has an address that we want.
    fn probe_for(&mut self, ip: IpAddr, port: &mut impl Port) {
        let frame = match ip {
            IpAddr::V4(ip) => arp::probe(self.link, ip),
            IpAddr::V6(ip) if IPV6 => ndp::probe(self.link, ip),
            IpAddr::V6(_) => return,
        };
        self.send(frame.bytes(), 0..0, port);
    }

    /// Tells everybody where an address is.
    fn announce(&mut self, ip: IpAddr, port: &mut impl Port) {
        let frame = match ip {
            IpAddr::V4(ip) => arp::announcement(self.link, ip),
            IpAddr::V6(ip) if IPV6 => ndp::announcement(self.link, ip),
            IpAddr::V6(_) => return,
        };
        self.counters.announced += 1;
        self.send(frame.bytes(), 0..0, port);
    }

    fn send(&mut self, head: &[u8], tail: Range<usize>, port: &mut impl Port) -> bool {
        send(&mut self.counters, head, tail, port)
    }

    /// The neighbours and what they need from around them.
    fn split<'a, P: Port>(&'a mut self, port: &'a mut P) -> (&'a mut Neighbors, &'a mut Jitter, Around<'a, P>) {
        let Self { link, addrs, neighbors, rng, counters, .. } = self;
        (neighbors, rng, Around { link: *link, addrs, counters, port })
    }
}

fn send(counters: &mut ControlCounters, head: &[u8], tail: Range<usize>, port: &mut impl Port) -> bool {
    let sent = port.send(head, tail);
    if sent {
        counters.frames_out += 1;
    } else {
        counters.send_failed += 1;
    }
    sent
}

/// An interface with an IPv6 address has one of the link's too (RFC 4291 §2.8), made of its hardware address (RFC 2464 §4).
fn link_local(config: &ControlConfig) -> Option<Cidr> {
    let v6 = |c: &Cidr| match c.addr {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    };
    if !IPV6 {
        return None;
    }
    let mut ours = config.net.addrs.iter().filter_map(v6).peekable();
    ours.peek()?;
    if ours.any(|ip| ip.is_unicast_link_local()) {
        return None;
    }
    let [a, b, c, d, e, f] = config.mac.0;
    let addr = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Some(Cidr { addr: addr.into(), prefix: 64 })
}

/// [`Ask`] by way of frames and the [`Port`].
struct Around<'a, P> {
    link: Link,
    addrs: &'a Addresses,
    counters: &'a mut ControlCounters,
    port: &'a mut P,
}

impl<P: Port> Ask for Around<'_, P> {
    fn in_use(&mut self, ip: IpAddr) -> bool {
        self.port.in_use(ip)
    }

    fn solicit(&mut self, ip: IpAddr, to: Option<MacAddr>) {
        let frame = match (ip, self.addrs.source_for(ip)) {
            (IpAddr::V4(ip), Some(IpAddr::V4(us))) => arp::request(self.link, us, ip, to),
            (IpAddr::V6(ip), Some(IpAddr::V6(us))) if IPV6 => ndp::solicitation(self.link, us, ip, to),
            // No address to ask from: it is tried again, and may have one by then.
            _ => return,
        };
        match to {
            None => self.counters.solicited += 1,
            Some(_) => self.counters.probed += 1,
        }
        send(self.counters, frame.bytes(), 0..0, self.port);
    }

    fn tell(&mut self, ip: IpAddr, mac: Option<MacAddr>) -> bool {
        self.port.neighbor(ip, mac)
    }

    fn counters(&mut self) -> &mut ControlCounters {
        self.counters
    }
}
