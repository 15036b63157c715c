//! The DHCP client (RFC 2131 §4.4), as a state machine: what to send when, what an answer means.
//!
//! The first good offer is taken. An acknowledged address is probed for before it is used ([`super::address`] does that;
//! [`Dhcp::decline`] when somebody has it). Absent: INIT-REBOOT (nothing is remembered across starts), INFORM, RELEASE (a
//! DPU that stops has no time for it), option overload, authentication.

use core::net::Ipv4Addr;

use luna_core::stack::Cidr;
use luna_core::time::{Duration, Instant};
use luna_core::wire::MacAddr;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress};

use super::jitter::Jitter;
use super::{ControlConfig, ControlError};

pub(super) const SERVER_PORT: u16 = 67;
pub(super) const CLIENT_PORT: u16 = 68;
/// The length of a BOOTP message (RFC 951): shorter ones are dropped by some relays.
pub(super) const MIN_LEN: usize = 300;

/// RFC 2131 §4.1: 4 s, doubled up to 64 s, a second more or less.
const FIRST_TIMEOUT_MS: u64 = 4_000;
const LAST_TIMEOUT_MS: u64 = 64_000;
/// Requests of one offer, before it all begins again.
const REQUESTS: u8 = 4;
/// §4.4.5: renewals are not repeated faster.
const LEAST_RENEWAL: Duration = Duration::from_secs(60);
/// §3.1 step 5: after a decline.
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// §4.4.1 has clients wait 1 to 10 s, against all of them starting at once; a rack of DPUs is content with less.
const START_MS: u64 = 1_000;

const WANTED: &[u8] = &[option::SUBNET_MASK, option::ROUTER, option::LEASE_TIME, option::T1, option::T2];

/// RFC 2132.
mod option {
    pub(super) const SUBNET_MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER_ID: u8 = 54;
    pub(super) const T1: u8 = 58;
    pub(super) const T2: u8 = 59;
}

/// An address for a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The address and its network.
    pub addr: Ipv4Addr,
    /// Prefix length, in bits.
    pub prefix: u8,
    /// The first router that the server named.
    pub router: Option<Ipv4Addr>,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// When to renew it with that server (T1).
    pub renew_at: Instant,
    /// When to ask any server (T2).
    pub rebind_at: Instant,
    /// When it is over.
    pub expires_at: Instant,
    /// Where the server's (or its relay's) answer came from: where a renewal goes.
    pub(super) server_mac: MacAddr,
}

impl Lease {
    pub(super) fn cidr(&self) -> Cidr {
        Cidr { addr: self.addr.into(), prefix: self.prefix }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Init,
    Selecting,
    Requesting {
        addr: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// Acknowledged, or in use: the lease runs.
    Bound(Lease),
    Renewing(Lease),
    Rebinding(Lease),
}

/// A message to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) kind: DhcpMessageType,
    pub(super) to: (MacAddr, Ipv4Addr),
    /// Our address, or none.
    pub(super) ciaddr: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    xid: u32,
    secs: u16,
}

/// What an answer or the passing of time came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// An address, to be probed for and used.
    Leased(Lease),
    /// The address in use, for longer; and the router until now.
    Extended(Lease, Option<Ipv4Addr>),
    /// The server takes the address back.
    Refused(Option<Ipv4Addr>),
    /// The lease ran out.
    Expired(Ipv4Addr),
    /// The server moved us to another address.
    Replaced(Ipv4Addr, Lease),
}

/// The client.
#[derive(Debug)]
pub(super) struct Dhcp {
    mac: MacAddr,
    state: State,
    xid: u32,
    secs: u16,
    began: Instant,
    due: Instant,
    /// Messages sent in this state.
    sent: u8,
}

/// The client that `config` asks for.
#[expect(clippy::unnecessary_wraps, reason = "a build without a client refuses")]
pub(super) fn begin(now: Instant, config: &ControlConfig, rng: &mut Jitter) -> Result<Option<Dhcp>, ControlError> {
    Ok(config.net.dhcp.then(|| Dhcp::new(now, config.mac, rng)))
}

impl Dhcp {
    pub(super) fn new(now: Instant, mac: MacAddr, rng: &mut Jitter) -> Self {
        let due = now + rng.millis(0, START_MS);
        Self { mac, state: State::Init, xid: 0, secs: 0, began: due, due, sent: 0 }
    }

    /// The next timer.
    pub(super) fn next(&self) -> Instant {
        self.due
    }

    /// The lease, once there is one.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease) | State::Renewing(lease) | State::Rebinding(lease) => Some(lease),
            _ => None,
        }
    }

    /// Does what is due: a message, or the end of a lease.
    pub(super) fn poll(&mut self, now: Instant, rng: &mut Jitter) -> Result<Option<Message>, Outcome> {
        if now < self.due {
            return Ok(None);
        }
        match self.state {
            State::Init => {
                self.xid = rng.next() as u32;
                (self.began, self.secs) = (now, 0);
                self.enter(State::Selecting, now);
                Ok(Some(self.again(now, rng)))
            }
            State::Requesting { .. } if self.sent >= REQUESTS => {
                self.enter(State::Init, now);
                self.poll(now, rng)
            }
            State::Selecting | State::Requesting { .. } => Ok(Some(self.again(now, rng))),
            State::Bound(lease) => {
                self.xid = rng.next() as u32;
                (self.began, self.secs) = (now, 0);
                self.enter(State::Renewing(lease), now);
                self.poll(now, rng)
            }
            State::Renewing(lease) if now >= lease.rebind_at => {
                self.enter(State::Rebinding(lease), now);
                self.poll(now, rng)
            }
            State::Rebinding(lease) if now >= lease.expires_at => {
                self.enter(State::Init, now);
                Err(Outcome::Expired(lease.addr))
            }
            State::Renewing(lease) => Ok(Some(self.extend(now, lease.rebind_at))),
            State::Rebinding(lease) => Ok(Some(self.extend(now, lease.expires_at))),
        }
    }

    /// Somebody else has the leased address: tells the server, and begins again later.
    pub(super) fn decline(&mut self, now: Instant, lease: &Lease) -> Message {
        self.enter(State::Init, now + AFTER_DECLINE);
        Message {
            kind: DhcpMessageType::Decline,
            to: (MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested: Some(lease.addr),
            server: Some(lease.server),
            xid: self.xid,
            secs: 0,
        }
    }

    /// Takes in a message to the client port that came from `from`. `Err`: it is not for us, or not now.
    pub(super) fn input(&mut self, now: Instant, from: MacAddr, message: &[u8]) -> Result<Option<Outcome>, ()> {
        let answer = Answer::read(message, self.mac, self.xid).ok_or(())?;
        match (self.state, answer.kind) {
            (State::Selecting, DhcpMessageType::Offer) => {
                let addr = answer.addr.ok_or(())?;
                self.enter(State::Requesting { addr, server: answer.server }, now);
                Ok(None)
            }
            (State::Requesting { server, .. }, DhcpMessageType::Ack) if answer.server == server => {
                let lease = answer.lease(now, from).ok_or(())?;
                self.enter(State::Bound(lease), lease.renew_at);
                Ok(Some(Outcome::Leased(lease)))
            }
            (State::Requesting { server, .. }, DhcpMessageType::Nak) if answer.server == server => {
                self.enter(State::Init, now);
                Ok(Some(Outcome::Refused(None)))
            }
            (State::Renewing(old) | State::Rebinding(old), DhcpMessageType::Ack) => {
                let lease = answer.lease(now, from).ok_or(())?;
                self.enter(State::Bound(lease), lease.renew_at);
                let moved = (old.addr, old.prefix) != (lease.addr, lease.prefix);
                Ok(Some(if moved { Outcome::Replaced(old.addr, lease) } else { Outcome::Extended(lease, old.router) }))
            }
            (State::Renewing(old) | State::Rebinding(old), DhcpMessageType::Nak) => {
                self.enter(State::Init, now);
                Ok(Some(Outcome::Refused(Some(old.addr))))
            }
            _ => Err(()),
        }
    }

    fn enter(&mut self, state: State, due: Instant) {
        self.state = state;
        self.due = due;
        self.sent = 0;
    }

    /// DISCOVER or REQUEST, and when to repeat it.
    fn again(&mut self, now: Instant, rng: &mut Jitter) -> Message {
        let timeout = (FIRST_TIMEOUT_MS << self.sent.min(4)).min(LAST_TIMEOUT_MS);
        self.due = now + rng.millis(timeout - 1_000, timeout + 1_000);
        self.sent = self.sent.saturating_add(1);
        let (kind, requested, server) = match self.state {
            State::Requesting { addr, server } => (DhcpMessageType::Request, Some(addr), Some(server)),
            _ => {
                self.secs = u16::try_from(now.since(self.began).as_nanos() / 1_000_000_000).unwrap_or(u16::MAX);
                (DhcpMessageType::Discover, None, None)
            }
        };
        Message {
            kind,
            to: (MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested,
            server,
            xid: self.xid,
            // §4.4.1: the same in a request as in the discover before it.
            secs: self.secs,
        }
    }

    /// A REQUEST for more time, and when to repeat it: after half of what is left until `end`.
    fn extend(&mut self, now: Instant, end: Instant) -> Message {
        let left = end.since(now);
        let half = Duration::from_nanos(left.as_nanos() / 2).max(LEAST_RENEWAL);
        self.due = (now + half).min(end);
        self.secs = u16::try_from(now.since(self.began).as_nanos() / 1_000_000_000).unwrap_or(u16::MAX);
        let (to, ciaddr) = match self.state {
            State::Renewing(lease) => ((lease.server_mac, lease.server), lease.addr),
            State::Rebinding(lease) => ((MacAddr::BROADCAST, Ipv4Addr::BROADCAST), lease.addr),
            _ => ((MacAddr::BROADCAST, Ipv4Addr::BROADCAST), Ipv4Addr::UNSPECIFIED),
        };
        let kind = DhcpMessageType::Request;
        Message { kind, to, ciaddr, requested: None, server: None, xid: self.xid, secs: self.secs }
    }

    /// The message as it stands behind the UDP header.
    pub(super) fn emit(&self, message: &Message, out: &mut [u8]) -> bool {
        let asks = matches!(message.kind, DhcpMessageType::Discover | DhcpMessageType::Request);
        let repr = DhcpRepr {
            message_type: message.kind,
            transaction_id: message.xid,
            secs: message.secs,
            client_hardware_address: EthernetAddress(self.mac.0),
            client_ip: message.ciaddr,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: message.requested,
            client_identifier: Some(EthernetAddress(self.mac.0)),
            server_identifier: message.server,
            parameter_request_list: asks.then_some(WANTED),
            dns_servers: None,
            max_size: asks.then_some(576),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        DhcpPacket::new_checked(out).is_ok_and(|mut packet| repr.emit(&mut packet).is_ok())
    }
}

/// What a server says, with what is needed of it checked.
struct Answer {
    kind: DhcpMessageType,
    server: Ipv4Addr,
    addr: Option<Ipv4Addr>,
    prefix: Option<u8>,
    router: Option<Ipv4Addr>,
    lease: Option<u32>,
    t1: Option<u32>,
    t2: Option<u32>,
}

impl Answer {
    /// `None`: it is not an answer to `xid` for `mac`, or it makes no sense.
    fn read(message: &[u8], mac: MacAddr, xid: u32) -> Option<Self> {
        let packet = DhcpPacket::new_checked(message).ok()?;
        let ours = packet.transaction_id() == xid
            && packet.hardware_len() == 6
            && packet.client_hardware_address().0 == mac.0
            && packet.magic_number() == 0x6382_5363
            // BOOTREPLY
            && message.first() == Some(&2);
        if !ours {
            return None;
        }
        let mut kind = None;
        let mut server = None;
        let (mut prefix, mut router, mut lease, mut t1, mut t2) = (None, None, None, None, None);
        for o in packet.options() {
            let word = || o.data.first_chunk::<4>().copied();
            match (o.kind, o.data.len()) {
                (option::MESSAGE_TYPE, 1) => kind = o.data.first().map(|k| DhcpMessageType::from(*k)),
                (option::SERVER_ID, 4) => server = word().map(Ipv4Addr::from),
                (option::SUBNET_MASK, 4) => prefix = word().and_then(prefix_of),
                (option::ROUTER, 4..) => router = word().map(Ipv4Addr::from).filter(|r| is_host(*r)),
                (option::LEASE_TIME, 4) => lease = word().map(u32::from_be_bytes),
                (option::T1, 4) => t1 = word().map(u32::from_be_bytes),
                (option::T2, 4) => t2 = word().map(u32::from_be_bytes),
                _ => {}
            }
        }
        let addr = Some(packet.your_ip()).filter(|a| is_host(*a));
        Some(Self { kind: kind?, server: server?, addr, prefix, router, lease, t1, t2 })
    }

    /// The lease, if the answer has what one needs.
    fn lease(&self, now: Instant, from: MacAddr) -> Option<Lease> {
        let (addr, prefix, seconds) = (self.addr?, self.prefix?, self.lease.filter(|s| *s > 0)?);
        let after = |s: u64| if seconds == u32::MAX { Instant::FAR } else { now + Duration::from_secs(s) };
        let seconds = u64::from(seconds);
        // §4.4.5: T1 at half, T2 at seven eighths, unless the server says otherwise and it is in order.
        let t2 = self.t2.map(u64::from).filter(|t| (1..seconds).contains(t)).unwrap_or(seconds * 7 / 8);
        let t1 = self.t1.map(u64::from).filter(|t| (1..=t2).contains(t)).unwrap_or(t2.min(seconds / 2));
        Some(Lease {
            addr,
            prefix,
            router: self.router,
            server: self.server,
            renew_at: after(t1),
            rebind_at: after(t2),
            expires_at: after(seconds),
            server_mac: if from.is_unicast() { from } else { MacAddr::BROADCAST },
        })
    }
}

/// Whether it can be a host's address.
fn is_host(addr: Ipv4Addr) -> bool {
    !(addr.is_unspecified() || addr.is_broadcast() || addr.is_multicast() || addr.is_loopback())
}

/// The length of a mask without holes.
fn prefix_of(mask: [u8; 4]) -> Option<u8> {
    let mask = u32::from_be_bytes(mask);
    (mask.leading_ones() == mask.count_ones() && mask != 0).then_some(mask.leading_ones() as u8)
}

#[cfg(all(test, feature = "ipv6"))]
mod tests;
