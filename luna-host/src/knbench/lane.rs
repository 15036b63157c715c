//! One connection of the benchmark: requests leave, responses come, and what is learned of them.

use std::time::Instant;

use luna_core::rpc::{
    ByteStream, CallError, CallId, FragVec, Handler, Request, Response, RpcError, SessionCx, Status, StreamError,
};
use luna_core::zbuf::{Frag, Pool, Zbuf};

use super::client::KnbenchConfig;
use super::load::Schedule;
use super::payload;
use super::stats::Latencies;
use crate::client::ClientError;
use crate::peer::Peer;
use crate::service::wire;

/// How long one request may take.
const DEADLINE: luna_core::time::Duration = luna_core::time::Duration::from_secs(10);

/// One of the `iodepth` requests of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    /// From when its latency counts: when it was sent, or in an open loop, when it was due.
    since: Instant,
    seed: u64,
    in_flight: bool,
}

/// A connection.
pub(super) struct Lane {
    pub(super) peer: Option<Box<Peer>>,
    pub(super) tickets: Vec<Ticket>,
    /// Tickets to be sent: those that found no room before, and in a closed loop, at the beginning, all.
    pub(super) waiting: Vec<u32>,
    /// Tickets of an open loop for which nothing is due.
    pub(super) free: Vec<u32>,
    pub(super) up: bool,
}

/// What of the run counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counting {
    /// Nothing yet, or nothing any more.
    No,
    /// What completes (closed loop).
    Completions,
    /// What was due from the first moment on and before the second, if it is there already (open loop).
    Due(Instant, Option<Instant>),
}

/// What all lanes share.
pub(super) struct Shared {
    pub(super) config: KnbenchConfig,
    pub(super) pool: &'static Pool,
    /// The payload of every request, unless each has its own to be verified.
    pub(super) common: Vec<Zbuf>,
    /// In an open loop, while it runs.
    pub(super) schedule: Option<Schedule>,
    pub(super) counting: Counting,
    /// Whether responses of a closed loop make new requests.
    pub(super) sending: bool,
    pub(super) latencies: Latencies,
    pub(super) last_completion: Option<Instant>,
    pub(super) completed: u64,
    pub(super) errors: u64,
    pub(super) next_seed: u64,
    pub(super) failure: Option<ClientError>,
    pub(super) in_flight: u64,
}

/// The handler of one connection's session.
pub(super) struct LaneVisit<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) tickets: &'a mut [Ticket],
    pub(super) waiting: &'a mut Vec<u32>,
    pub(super) free: &'a mut Vec<u32>,
}

impl Lane {
    /// Not connected.
    pub(super) fn new(iodepth: u32) -> Self {
        let ticket = Ticket { since: Instant::now(), seed: 0, in_flight: false };
        Self {
            peer: None,
            tickets: vec![ticket; iodepth as usize],
            waiting: Vec::with_capacity(iodepth as usize),
            free: Vec::with_capacity(iodepth as usize),
            up: false,
        }
    }

    /// Since when requests have been waiting for their answers, or to be sent.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Instant> + '_ {
        let waits = |(i, t): &(usize, &Ticket)| t.in_flight || self.waiting.contains(&(*i as u32));
        self.tickets.iter().enumerate().filter(waits).map(|(_, t)| t.since)
    }
}

impl Shared {
    /// Takes what is due out of the schedule: since when it counts.
    #[inline]
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Instant> {
        let schedule = self.schedule.as_mut()?;
        let due = schedule.due();
        if due > now {
            return None;
        }
        if let Counting::Due(_, Some(end)) = self.counting
            && due >= end
        {
            self.schedule = None;
            return None;
        }
        schedule.advance();
        Some(due)
    }

    /// Whether what was due then, and is completed, is part of what is measured.
    #[inline]
    pub(super) fn counts(&self, since: Instant) -> bool {
        match self.counting {
            Counting::No => false,
            Counting::Completions => true,
            Counting::Due(start, end) => since >= start && end.is_none_or(|end| since < end),
        }
    }
}

impl LaneVisit<'_> {
    /// Sends a ticket; in an open loop `due` says since when it counts, if that is not known from an earlier try.
    #[inline]
    pub(super) fn send<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, ticket: u32, due: Option<Instant>) {
        let Some(slot) = self.tickets.get_mut(ticket as usize) else { return };
        let mut out = FragVec::new();
        let fresh;
        let pieces = if self.shared.config.verify {
            slot.seed = self.shared.next_seed;
            self.shared.next_seed += 1;
            match payload::make(self.shared.pool, self.shared.config.size, slot.seed) {
                Some(pieces) => {
                    fresh = pieces;
                    &fresh
                }
                None => {
                    slot.since = due.unwrap_or(slot.since);
                    return self.waiting.push(ticket);
                }
            }
        } else {
            &self.shared.common
        };
        for piece in pieces {
            if out.push(Frag::from(piece.clone())).is_err() {
                break;
            }
        }
        match (due, self.shared.config.is_open()) {
            (Some(due), _) => slot.since = due,
            (None, true) => {}
            (None, false) => slot.since = Instant::now(),
        }
        match cx.call(wire::ECHO, &[], &mut out, Some(DEADLINE), u64::from(ticket)) {
            Ok(_) => {
                slot.in_flight = true;
                self.shared.in_flight += 1;
            }
            Err(CallError::Stream(StreamError::Full) | CallError::NoObj | CallError::TooManyInFlight) => {
                self.waiting.push(ticket);
            }
            // The connection's end is told by itself.
            Err(CallError::Stream(StreamError::Closed)) => self.shared.errors += 1,
            Err(why) => {
                self.shared.errors += 1;
                self.shared.failure.get_or_insert(ClientError::NotSent { what: "an echo", why });
            }
        }
    }
}

impl Handler for LaneVisit<'_> {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _request: Request<'_>) {
        // The session answers in our stead should this fail.
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    #[inline]
    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        let Some(ticket) = self.tickets.get_mut(user as usize) else { return };
        ticket.in_flight = false;
        let ticket = *ticket;
        let shared = &mut *self.shared;
        let seed = shared.config.verify.then_some(ticket.seed);
        shared.in_flight -= 1;
        match result {
            Ok(r) if r.status.is_ok() && payload::is_right(&r.payload, shared.config.size, seed) => {
                shared.completed += 1;
                if shared.counts(ticket.since) {
                    let now = Instant::now();
                    shared.latencies.record(now.duration_since(ticket.since).as_nanos() as u64);
                    shared.last_completion = Some(now);
                }
            }
            // Told once, by the connection's end.
            Err(RpcError::ConnectionLost { .. }) => {
                shared.errors += 1;
                return;
            }
            Ok(r) if !r.status.is_ok() => {
                shared.failure.get_or_insert(ClientError::Refused {
                    what: "an echo",
                    status: r.status,
                    message: String::from_utf8_lossy(r.metadata).into_owned(),
                });
            }
            Ok(_) => {
                shared.errors += 1;
                shared.failure.get_or_insert(ClientError::Nonsense("an echo"));
            }
            Err(why) => {
                shared.errors += 1;
                shared.failure.get_or_insert(ClientError::Call { what: "an echo", why });
            }
        }
        if shared.config.is_open() {
            match shared.take_due(Instant::now()) {
                Some(due) => self.send(cx, user as u32, Some(due)),
                None => self.free.push(user as u32),
            }
        } else if shared.sending {
            self.send(cx, user as u32, None);
        }
    }
}
