//! Our addresses, from the first probe to the last announcement: RFC 5227 for IPv4, RFC 4862 §5.4 for IPv6.
//!
//! An address is tentative while it is probed for, then announced (gratuitous ARP, unsolicited neighbour advertisement),
//! then simply ours, and defended. This file decides when what is due; it sends nothing.

use core::net::IpAddr;

use luna_core::stack::{Cidr, MAX_ADDRS};
use luna_core::time::{Duration, Instant};

use super::jitter::Jitter;

/// RFC 5227 §1.1.
const PROBE_WAIT_MS: u64 = 1_000;
const PROBE_NUM: u8 = 3;
const PROBE_MS: (u64, u64) = (1_000, 2_000);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_NUM: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// RFC 4861 §10: MAX_RTR_SOLICITATION_DELAY, RETRANS_TIMER; RFC 4862 §5.1: DupAddrDetectTransmits.
const SOLICIT_DELAY_MS: u64 = 1_000;
const RETRANS_TIMER: Duration = Duration::from_secs(1);
const DUP_ADDR_DETECT_TRANSMITS: u8 = 1;

/// Where an address comes from: decides what a conflict does to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Configured: defended, and never given up once it was taken (RFC 5227 §2.4 (c)).
    Static,
    /// Leased: defended once, then given up and declined (§2.4 (b)).
    Dhcp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// So many probes were sent.
    Probing(u8),
    /// So many announcements were sent.
    Announcing(u8),
    Ours,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    cidr: Cidr,
    origin: Origin,
    phase: Phase,
    due: Instant,
    defended: Option<Instant>,
}

/// What is due for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Ask whether somebody has it.
    Probe(IpAddr),
    /// Nobody has: it is ours from now on, and to be announced.
    Take(Cidr, Origin),
    /// Announce it once more.
    Announce(IpAddr),
}

/// What a conflict about an address comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is none of ours.
    NotOurs,
    /// It was not ours yet, and will not be.
    Duplicate(Cidr, Origin),
    /// Announce it again: it is ours.
    Defend(IpAddr),
    /// Already defended lately; go on using it.
    Endure,
    /// Give it up.
    GiveUp(Cidr, Origin),
}

/// The addresses of an interface.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    list: heapless::Vec<Address, MAX_ADDRS>,
}

impl Addresses {
    /// Begins with an address: probes first when `detect`, else takes it at once. False when there is no room.
    pub(super) fn add(&mut self, now: Instant, cidr: Cidr, origin: Origin, detect: bool, rng: &mut Jitter) -> bool {
        let wait = if cidr.addr.is_ipv4() { PROBE_WAIT_MS } else { SOLICIT_DELAY_MS };
        let (phase, due) =
            if detect { (Phase::Probing(0), now + rng.millis(0, wait)) } else { (Phase::Announcing(0), now) };
        self.list.push(Address { cidr, origin, phase, due, defended: None }).is_ok()
    }

    /// Drops the address from `origin`, whatever became of it; says whether it was in use.
    #[cfg(feature = "dhcp")]
    pub(super) fn remove(&mut self, addr: IpAddr) -> bool {
        let Some(i) = self.list.iter().position(|a| a.cidr.addr == addr) else { return false };
        let gone = self.list.swap_remove(i);
        gone.taken()
    }

    /// Whether it is ours to use.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.taken().any(|c| c.addr == ip)
    }

    /// Whether it is ours, or will be if nobody objects.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.list.iter().any(|a| a.cidr.addr == ip)
    }

    /// Whether it is being probed for.
    pub(super) fn is_tentative(&self, ip: IpAddr) -> bool {
        self.list.iter().any(|a| a.cidr.addr == ip && !a.taken())
    }

    /// Those in use.
    pub(super) fn taken(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.list.iter().filter(|a| a.taken()).map(|a| a.cidr)
    }

    /// All that are known.
    pub(super) fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.list.iter().map(|a| a.cidr.addr)
    }

    /// Ours towards `remote`: of its network if there is one, else the first of its family.
    pub(super) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let near = self.taken().find(|c| c.contains(remote));
        near.or_else(|| self.taken().find(|c| c.addr.is_ipv4() == remote.is_ipv4())).map(|c| c.addr)
    }

    /// Whether `ip` is a network's broadcast address, or everybody's.
    pub(super) fn is_broadcast(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        ip.is_broadcast()
            || self.list.iter().any(|a| match a.cidr.addr {
                IpAddr::V4(ours) if a.cidr.prefix < 31 => {
                    let host = u32::MAX.checked_shr(a.cidr.prefix.into()).unwrap_or(0);
                    ip.to_bits() == ours.to_bits() | host || ip.to_bits() == ours.to_bits() & !host
                }
                _ => false,
            })
    }

    /// The next timer.
    pub(super) fn next(&self) -> Instant {
        self.list.iter().map(|a| a.due).min().unwrap_or(Instant::FAR)
    }

    /// One thing that is due; call it until there is none.
    pub(super) fn poll(&mut self, now: Instant, rng: &mut Jitter) -> Option<Due> {
        let a = self.list.iter_mut().find(|a| a.due <= now)?;
        let v4 = a.cidr.addr.is_ipv4();
        let probes = if v4 { PROBE_NUM } else { DUP_ADDR_DETECT_TRANSMITS };
        match a.phase {
            Phase::Probing(n) if n < probes => {
                a.phase = Phase::Probing(n + 1);
                let last = n + 1 == probes;
                a.due = now
                    + match (v4, last) {
                        (true, false) => rng.millis(PROBE_MS.0, PROBE_MS.1),
                        (true, true) => ANNOUNCE_WAIT,
                        (false, _) => RETRANS_TIMER,
                    };
                Some(Due::Probe(a.cidr.addr))
            }
            Phase::Probing(_) | Phase::Announcing(0) => {
                a.phase = Phase::Announcing(1);
                a.due = now + ANNOUNCE_INTERVAL;
                Some(Due::Take(a.cidr, a.origin))
            }
            Phase::Announcing(n) if n < ANNOUNCE_NUM => {
                (a.phase, a.due) = (Phase::Ours, Instant::FAR);
                Some(Due::Announce(a.cidr.addr))
            }
            Phase::Announcing(_) | Phase::Ours => {
                (a.phase, a.due) = (Phase::Ours, Instant::FAR);
                None
            }
        }
    }

    /// Somebody else uses or (while it is probed for) also probes for `addr`.
    pub(super) fn conflict(&mut self, now: Instant, addr: IpAddr) -> Verdict {
        let Some(i) = self.list.iter().position(|a| a.cidr.addr == addr) else { return Verdict::NotOurs };
        let Some(a) = self.list.get_mut(i) else { return Verdict::NotOurs };
        let (cidr, origin) = (a.cidr, a.origin);
        if !a.taken() {
            self.list.swap_remove(i);
            return Verdict::Duplicate(cidr, origin);
        }
        let lately = a.defended.is_some_and(|t| now.since(t) < DEFEND_INTERVAL);
        match (lately, origin) {
            (false, _) => {
                a.defended = Some(now);
                Verdict::Defend(addr)
            }
            (true, Origin::Static) => Verdict::Endure,
            (true, Origin::Dhcp) => {
                self.list.swap_remove(i);
                Verdict::GiveUp(cidr, origin)
            }
        }
    }
}

impl Address {
    fn taken(&self) -> bool {
        matches!(self.phase, Phase::Announcing(1..) | Phase::Ours)
    }
}
