//! A server: the sessions of all connections of one thread, with the services behind them.

use core::net::SocketAddr;

use luna_core::rpc::{SessionConfig, SessionCounters};
use luna_core::time::{Duration, Instant};
use luna_core::zbuf::Zbuf;

use crate::link::{Closed, ConnKey, Endpoint, Transport};
use crate::peer::{Peer, Tables};
use crate::report::Counters;
use crate::service::{Services, Visitor};

/// Requests of one connection that may wait for a disk or for room.
const DETACHED: usize = 64;
/// How often sessions are asked for timeouts; a server's only has answers of its own to repeat.
const TIMEOUT_CHECK: Duration = Duration::from_micros(500);

struct Member {
    peer: Peer,
    visitor: Visitor,
    fin_received: bool,
}

/// An RPC server, over any transport.
pub struct Server {
    services: Services,
    members: Vec<Option<Box<Member>>>,
    spare: Vec<Tables>,
    /// Members with an answer to send or a FIN to answer.
    restless: Vec<usize>,
    next_check: Instant,
    ended: SessionCounters,
    protocol_errors: u64,
    refused_full: u64,
}

impl Server {
    /// A server that takes at most `connections` at once.
    #[must_use]
    pub fn new(services: Services, connections: usize) -> Self {
        Self {
            services,
            members: (0..connections).map(|_| None).collect(),
            spare: Vec::new(),
            restless: Vec::new(),
            next_check: Instant::ZERO,
            ended: SessionCounters::default(),
            protocol_errors: 0,
            refused_full: 0,
        }
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().flatten().count()
    }

    /// What the services and the sessions counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut all = self.services.counters();
        let live = self.members.iter().flatten().map(|m| *m.peer.session.counters());
        for c in live.chain([self.ended]) {
            all.add(&session_counters(&c));
        }
        all.push("connections_refused", self.refused_full);
        all.push("connections_aborted_for_protocol", self.protocol_errors);
        all
    }

    fn slot_of(&self, conn: ConnKey) -> Option<usize> {
        self.members.iter().position(|m| m.as_ref().is_some_and(|m| m.peer.conn == conn))
    }

    fn fidget(&mut self, user: u64) {
        let slot = user as usize;
        if !self.restless.contains(&slot) {
            self.restless.push(slot);
        }
    }

    fn settle<T: Transport>(&mut self, link: &mut T, slot: usize) -> bool {
        let Some(Some(member)) = self.members.get_mut(slot) else { return true };
        let Member { peer, visitor, fin_received } = &mut **member;
        visitor.retry(&mut self.services, &mut peer.session, link, peer.conn);
        if *fin_received && !visitor.is_waiting() && peer.session.is_idle() {
            link.shutdown(peer.conn);
            return true;
        }
        !visitor.is_waiting() && !*fin_received
    }
}

/// The part of a session's counters that a report has.
#[must_use]
pub fn session_counters(c: &SessionCounters) -> Counters {
    [
        ("frames_in", c.frames_in),
        ("frames_out", c.frames_out),
        ("requests", c.requests),
        ("calls", c.calls),
        ("responses", c.responses),
        ("stale_responses", c.stale_responses),
        ("calls_expired", c.calls_expired),
        ("calls_lost", c.calls_lost),
        ("detached_refused", c.detached_refused),
        ("unanswered", c.unanswered),
        ("stale_replies", c.stale_replies),
        ("late_replies", c.late_replies),
        ("corrupt_payloads", c.corrupt_payloads),
        ("fragmented_payloads", c.fragmented_payloads),
        ("discarded_bytes", c.discarded_bytes),
        ("copy_break_bytes", c.copy_break.bytes),
        ("protocol_errors", c.protocol_errors),
    ]
    .into_iter()
    .collect()
}

/// Sums of what ended sessions counted.
fn accumulate(sum: &mut SessionCounters, c: &SessionCounters) {
    sum.frames_in += c.frames_in;
    sum.frames_out += c.frames_out;
    sum.requests += c.requests;
    sum.calls += c.calls;
    sum.responses += c.responses;
    sum.stale_responses += c.stale_responses;
    sum.calls_expired += c.calls_expired;
    sum.calls_lost += c.calls_lost;
    sum.detached_refused += c.detached_refused;
    sum.unanswered += c.unanswered;
    sum.stale_replies += c.stale_replies;
    sum.late_replies += c.late_replies;
    sum.corrupt_payloads += c.corrupt_payloads;
    sum.fragmented_payloads += c.fragmented_payloads;
    sum.discarded_bytes += c.discarded_bytes;
    sum.copy_break.bytes += c.copy_break.bytes;
    sum.copy_break.copies += c.copy_break.copies;
    sum.protocol_errors += c.protocol_errors;
}

impl Endpoint for Server {
    fn on_accepted<T: Transport>(&mut self, _link: &mut T, conn: ConnKey, remote: SocketAddr) -> Option<u64> {
        let Some(slot) = self.members.iter().position(Option::is_none) else {
            self.refused_full += 1;
            return None;
        };
        let tables = self.spare.pop().unwrap_or_else(|| Tables::new(0, DETACHED));
        let config = SessionConfig { tag: slot as u16, ..SessionConfig::DEFAULT };
        match Peer::new(conn, config, tables) {
            Ok(peer) => {
                log::info!("{remote} connected");
                let member = Member { peer, visitor: Visitor::default(), fin_received: false };
                *self.members.get_mut(slot)? = Some(Box::new(member));
                Some(slot as u64)
            }
            Err(e) => {
                log::error!("{remote}: {e}");
                None
            }
        }
    }

    fn on_connected<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, _user: u64) {
        // A server connects to nobody.
    }

    #[inline]
    fn on_data<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64, data: Zbuf) -> u32 {
        let Self { services, members, protocol_errors, .. } = self;
        let Some(Some(member)) = members.get_mut(user as usize) else { return 0 };
        let Member { peer, visitor, .. } = &mut **member;
        match peer.on_data(link, data, &mut services.visit(conn, visitor)) {
            Ok(kept) => {
                if visitor.is_waiting() {
                    self.fidget(user);
                }
                kept
            }
            Err(e) => {
                log::warn!("connection aborted: {e}");
                *protocol_errors += 1;
                link.abort(conn);
                0
            }
        }
    }

    fn on_fin<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64) {
        if let Some(Some(member)) = self.members.get_mut(user as usize) {
            if !member.peer.session.is_between_frames() {
                log::warn!("connection aborted: it ended within a frame");
                self.protocol_errors += 1;
                return link.abort(conn);
            }
            member.fin_received = true;
            self.fidget(user);
        }
    }

    fn on_writable<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64) {
        let Self { services, members, .. } = self;
        if let Some(Some(member)) = members.get_mut(user as usize) {
            let Member { peer, visitor, .. } = &mut **member;
            peer.on_writable(link, &mut services.visit(conn, visitor));
            self.fidget(user);
        }
    }

    fn on_closed<T: Transport>(&mut self, link: &mut T, conn: ConnKey, closed: Closed) {
        let Some(slot) = self.slot_of(conn) else { return };
        let Some(mut member) = self.members.get_mut(slot).and_then(Option::take) else { return };
        let Member { peer, visitor, .. } = &mut *member;
        peer.on_closed(link, closed.maybe_delivered, &mut self.services.visit(conn, visitor));
        self.services.forget(conn);
        accumulate(&mut self.ended, member.peer.session.counters());
        self.spare.push(member.peer.into_tables());
        log::info!("connection closed: {}", closed.kind);
    }

    #[inline]
    fn poll<T: Transport>(&mut self, link: &mut T) {
        while let Some((conn, finished)) = self.services.poll() {
            if let Some(slot) = self.slot_of(conn)
                && let Some(Some(member)) = self.members.get_mut(slot)
            {
                member.visitor.finish(finished);
                self.fidget(slot as u64);
            }
        }
        let mut i = 0;
        while let Some(&slot) = self.restless.get(i) {
            if self.settle(link, slot) {
                self.restless.swap_remove(i);
            } else {
                i += 1;
            }
        }
        if link.now() < self.next_check {
            return;
        }
        self.next_check = link.now() + TIMEOUT_CHECK;
        for i in 0..self.members.len() {
            let Some(Some(member)) = self.members.get_mut(i) else { continue };
            let Member { peer, visitor, .. } = &mut **member;
            let conn = peer.conn;
            peer.poll(link, &mut self.services.visit(conn, visitor));
        }
    }
}
