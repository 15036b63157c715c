//! The neighbour cache, for ARP and neighbour discovery alike: unreachability detection after RFC 4861 §7.3.
//!
//! The stack does not tell of every packet, so "in use" is a question: does a connection's next hop need this neighbour
//! ([`Ask::in_use`])? A neighbour that is used and was not heard of for its reachable time is probed; one that is not
//! used ages until it is forgotten. Only neighbours that the stack asked for are told to it.

use core::net::IpAddr;

use luna_core::time::{Duration, Instant};
use luna_core::wire::MacAddr;

use super::counters::ControlCounters;
use super::jitter::Jitter;

/// Entries of the cache.
pub const MAX_NEIGHBORS: usize = 32;

/// RFC 4861 §10.
const MAX_SOLICIT: u8 = 3;
const RETRANS_TIMER: Duration = Duration::from_millis(1_000);
const DELAY_FIRST_PROBE_TIME: Duration = Duration::from_secs(5);
/// BASE_REACHABLE_TIME (30 s) times MIN_RANDOM_FACTOR and MAX_RANDOM_FACTOR.
const REACHABLE_MS: (u64, u64) = (15_000, 45_000);
/// How often a stale neighbour is looked at, and one that does not answer is tried again while it is in use.
const RECHECK: Duration = Duration::from_secs(5);
/// A neighbour that nobody uses is forgotten so long after it was last confirmed.
const FORGET: Duration = Duration::from_secs(600);

/// RFC 4861 §7.3.2. The number counts solicitations sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Incomplete(u8),
    Reachable,
    Stale,
    Delay,
    Probe(u8),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ip: IpAddr,
    /// Nothing yet while incomplete.
    mac: MacAddr,
    state: State,
    /// The stack asked for it.
    wanted: bool,
    /// When its state's timer is due.
    due: Instant,
    /// When it was last heard of.
    heard: Instant,
}

/// How an address was heard of (RFC 4861 §7.2.3, §7.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    /// It answers what we asked.
    pub(super) solicited: bool,
    /// It replaces an address that differs.
    pub(super) overrides: bool,
    /// It makes an entry where there is none: it asks for us, so we are about to answer.
    pub(super) creates: bool,
}

/// What the cache needs from around it.
pub(super) trait Ask {
    /// Whether packets go to it.
    fn in_use(&mut self, ip: IpAddr) -> bool;
    /// Asks for it: on the link, or, to see whether it is still there, at its address.
    fn solicit(&mut self, ip: IpAddr, to: Option<MacAddr>);
    /// Tells where it is now, or that it is gone. False when there is no room for that.
    fn tell(&mut self, ip: IpAddr, mac: Option<MacAddr>) -> bool;
    /// The counters.
    fn counters(&mut self) -> &mut ControlCounters;
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Neighbors {
    entries: heapless::Vec<Entry, MAX_NEIGHBORS>,
}

impl Neighbors {
    #[cfg(all(test, feature = "dhcp", feature = "ipv6"))]
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<MacAddr> {
        self.entries.iter().find(|e| e.ip == ip && !matches!(e.state, State::Incomplete(_))).map(|e| e.mac)
    }

    /// Whether an answer of it is awaited.
    pub(super) fn awaits(&self, ip: IpAddr) -> bool {
        self.entries.iter().any(|e| e.ip == ip && matches!(e.state, State::Incomplete(_) | State::Probe(_)))
    }

    #[cfg(all(test, feature = "dhcp", feature = "ipv6"))]
    pub(super) fn state(&self, ip: IpAddr) -> Option<State> {
        self.entries.iter().find(|e| e.ip == ip).map(|e| e.state)
    }

    /// The next timer.
    pub(super) fn next(&self) -> Instant {
        self.entries.iter().map(|e| e.due).min().unwrap_or(Instant::FAR)
    }

    /// The stack wants to know where `ip` is.
    pub(super) fn resolve(&mut self, now: Instant, ip: IpAddr, ask: &mut impl Ask) {
        if let Some(e) = self.entries.iter_mut().find(|e| e.ip == ip) {
            e.wanted = true;
            if matches!(e.state, State::Incomplete(_)) {
                return;
            }
            if e.state == State::Stale {
                e.state = State::Delay;
                e.due = now + DELAY_FIRST_PROBE_TIME;
            }
            let mac = e.mac;
            tell(ask, ip, Some(mac));
            return;
        }
        if !self.make_room(ask, true) {
            ask.counters().neighbors_full += 1;
            return;
        }
        ask.solicit(ip, None);
        let entry = Entry {
            ip,
            mac: MacAddr::default(),
            state: State::Incomplete(1),
            wanted: true,
            due: now + RETRANS_TIMER,
            heard: now,
        };
        let _full = self.entries.push(entry);
    }

    /// `ip` says that it is at `mac`, or (`None`) only that it is there.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        (ip, mac): (IpAddr, Option<MacAddr>),
        how: Heard,
        rng: &mut Jitter,
        ask: &mut impl Ask,
    ) {
        let Some(e) = self.entries.iter_mut().find(|e| e.ip == ip) else {
            let Some(mac) = mac.filter(|_| how.creates) else { return };
            if !self.make_room(ask, false) {
                ask.counters().neighbors_full += 1;
                return;
            }
            let entry = Entry { ip, mac, state: State::Stale, wanted: false, due: now + RECHECK, heard: now };
            let _full = self.entries.push(entry);
            return;
        };
        let incomplete = matches!(e.state, State::Incomplete(_));
        if incomplete && mac.is_none() {
            return;
        }
        let differs = incomplete || mac.is_some_and(|mac| mac != e.mac);
        if differs && !incomplete && !how.overrides {
            if e.state == State::Reachable {
                e.state = State::Stale;
                e.due = now;
            }
            return;
        }
        e.heard = now;
        if let Some(mac) = mac {
            e.mac = mac;
        }
        if how.solicited {
            e.state = State::Reachable;
            e.due = now + rng.millis(REACHABLE_MS.0, REACHABLE_MS.1);
        } else if differs {
            e.state = State::Stale;
            e.due = now;
        }
        let (wanted, mac) = (e.wanted, e.mac);
        if differs && wanted {
            tell(ask, ip, Some(mac));
        }
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Instant, ask: &mut impl Ask) {
        let mut i = 0;
        while let Some(e) = self.entries.get_mut(i) {
            if e.due > now || step(e, now, ask) {
                i += 1;
            } else {
                self.entries.swap_remove(i);
            }
        }
    }

    /// Room for one more, at the cost of the stale neighbour heard of longest ago that nobody uses; what only peers made
    /// us remember goes first, and `wanted` neighbours never for the sake of a peer.
    fn make_room(&mut self, ask: &mut impl Ask, for_us: bool) -> bool {
        if !self.entries.is_full() {
            return true;
        }
        let mut victim: Option<(usize, bool, Instant)> = None;
        for (i, e) in self.entries.iter().enumerate() {
            let older = victim.is_none_or(|(_, wanted, heard)| (e.wanted, e.heard) < (wanted, heard));
            if e.state == State::Stale && older && (!e.wanted || for_us && !ask.in_use(e.ip)) {
                victim = Some((i, e.wanted, e.heard));
            }
        }
        let Some((i, wanted, _)) = victim else { return false };
        let gone = self.entries.swap_remove(i);
        if wanted {
            tell(ask, gone.ip, None);
        }
        ask.counters().neighbors_evicted += 1;
        true
    }
}

fn tell(ask: &mut impl Ask, ip: IpAddr, mac: Option<MacAddr>) {
    if !ask.tell(ip, mac) {
        ask.counters().neighbors_full += 1;
    }
}

/// An entry whose timer is due. False when it is to be removed.
fn step(e: &mut Entry, now: Instant, ask: &mut impl Ask) -> bool {
    match e.state {
        State::Incomplete(n) if n < MAX_SOLICIT => {
            e.state = State::Incomplete(n + 1);
            e.due = now + RETRANS_TIMER;
            ask.solicit(e.ip, None);
        }
        State::Incomplete(n) => {
            // RFC 4861 §7.2.2 gives up here. A connection asked once and waits: as long as it does, so do we.
            if n == MAX_SOLICIT {
                e.state = State::Incomplete(n + 1);
                ask.counters().unresolved += 1;
            }
            if !ask.in_use(e.ip) {
                return false;
            }
            e.due = now + RECHECK;
            ask.solicit(e.ip, None);
        }
        State::Reachable => {
            e.state = State::Stale;
            e.due = now;
            return step(e, now, ask);
        }
        State::Stale => {
            if e.wanted && ask.in_use(e.ip) {
                e.state = State::Delay;
                e.due = now + DELAY_FIRST_PROBE_TIME;
            } else if now.since(e.heard) >= FORGET {
                if e.wanted {
                    tell(ask, e.ip, None);
                }
                return false;
            } else {
                e.due = now + RECHECK;
            }
        }
        State::Delay => {
            e.state = State::Probe(1);
            e.due = now + RETRANS_TIMER;
            ask.solicit(e.ip, Some(e.mac));
        }
        State::Probe(n) if n < MAX_SOLICIT => {
            e.state = State::Probe(n + 1);
            e.due = now + RETRANS_TIMER;
            ask.solicit(e.ip, Some(e.mac));
        }
        State::Probe(_) => {
            ask.counters().unresolved += 1;
            tell(ask, e.ip, None);
            if !ask.in_use(e.ip) {
                return false;
            }
            e.state = State::Incomplete(1);
            e.due = now + RETRANS_TIMER;
            ask.solicit(e.ip, None);
        }
    }
    true
}

#[cfg(test)]
mod tests;
