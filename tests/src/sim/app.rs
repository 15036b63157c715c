//! The application of every simulated stack: does what the flows' plans say, and checks what it is told.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::rc::Rc;

use luna_core::nic::NicQueue;
use luna_core::stack::{App, Closed, ConnId, Connect, ConnectError, Cx, PathId, Released, Retained, SendError};
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Frag, Pool, Zbuf};

use super::events::Time;
use super::flow::{CLIENT, Chunks, Ending, Flow, Held, Pending, Reader, SERVER};
use super::guest::Guest;
use super::pattern::Pattern;
use super::rng::Rng;

/// Most fragments of one send.
pub(super) const MAX_FRAGS: usize = 8;
/// How long an application waits that found no memory.
/// Largest head of a message: header objs hold it.
const MAX_HEAD: u32 = 256;
const NO_MEMORY: Time = 200_000;

/// What all applications of a run share.
#[derive(Default)]
pub struct Shared {
    /// All flows.
    pub flows: Vec<Flow>,
    /// The first thing that was wrong.
    pub violation: Option<String>,
    /// The network died.
    pub dead: bool,
    /// Hardware addresses that neighbours have.
    pub neighbors: Vec<(core::net::IpAddr, MacAddr)>,
    /// What happened, for the log; only when it is kept.
    pub notes: Option<Vec<String>>,
}

/// An I/O vector of a stream.
struct Parts {
    iov: heapless::Vec<Frag, MAX_FRAGS>,
    bytes: u64,
    /// Buffers of foreign memory in it.
    lent: u32,
}

impl Shared {
    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    fn wrong(&mut self, text: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(text());
        }
    }
}

/// The application of one stack.
pub struct SimApp<'p> {
    /// Which stack.
    pub stack: usize,
    /// The simulated time, set before each turn.
    pub now: Rc<Cell<Time>>,
    /// What it shares.
    pub shared: Rc<RefCell<Shared>>,
    /// Where sends come from.
    pub data: &'p Pool,
    /// Objs of it that a connection may have.
    pub share: usize,
    /// Its choices.
    pub rng: Rng,
    /// Which flow and side a connection is.
    pub conns: Vec<(ConnId, usize, usize)>,
    /// Connections opened again by the cookie of one that is over.
    pub again: Vec<ConnId>,
    /// When it wants to be looked at.
    pub wake: Time,
    /// Neighbours are answered so much later.
    pub neighbor_delay: Time,
    /// Neighbours asked for.
    pub neighbors_wanted: Vec<(Time, PathId, core::net::IpAddr)>,
}

impl SimApp<'_> {
    fn find(&self, conn: ConnId) -> Option<(usize, usize)> {
        self.conns.iter().find(|c| c.0 == conn).map(|c| (c.1, c.2))
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = self.wake.min(at);
    }

    /// Begins a flow on the side that connects. False: its stack is full, and it has to be tried again.
    pub fn connect<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, flow: usize, side: usize) -> bool {
        let shared = &mut *self.shared.borrow_mut();
        let f = &mut shared.flows[flow];
        let (local, remote) = (f.plan.addrs[side], f.plan.addrs[1 - side]);
        let mut to = Connect::to(remote);
        to.local = Some(local.ip());
        if local.port() != 0 {
            to.ports = local.port()..=local.port();
        }
        to.user = (flow * 2 + side) as u64;
        if f.sides[side].known {
            return true;
        }
        match cx.connect(to) {
            Ok(conn) => {
                f.sides[side].conn = Some(conn);
                f.sides[side].known = true;
                f.sides[side].moved = self.now.get();
                self.conns.push((conn, flow, side));
                shared.note(|| format!("flow {flow} side {side}: connect, {conn:?}"));
            }
            Err(ConnectError::Full | ConnectError::ControlsFull) => {
                f.sides[side].moved = self.now.get();
                return false;
            }
            Err(e) => shared.wrong(|| format!("flow {flow}: connect failed: {e}")),
        }
        true
    }

    /// What time brings: releases, ends of rests, closes at an agreed moment.
    pub fn tick<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>) {
        let now = self.now.get();
        self.wake = Time::MAX;
        for i in (0..self.neighbors_wanted.len()).rev() {
            let (at, path, ip) = self.neighbors_wanted[i];
            if at <= now {
                self.neighbors_wanted.swap_remove(i);
                self.answer_neighbor(cx, path, ip);
            } else {
                self.wake_at(at);
            }
        }
        for i in 0..self.conns.len() {
            let (conn, flow, side) = self.conns[i];
            let mut next = Time::MAX;
            {
                let shared = &mut *self.shared.borrow_mut();
                let f = &mut shared.flows[flow];
                let s = &mut f.sides[side];
                if s.conn != Some(conn) {
                    continue;
                }
                while let Some(h) = s.held.front() {
                    if h.until > now {
                        next = next.min(h.until);
                        break;
                    }
                    // A connection that is over takes nothing back.
                    let _ = cx.release(conn, h.size);
                    s.held.pop_front();
                    s.moved = now;
                }
                let patience = f.plan.ending.patience(side, f.close_at);
                for until in [s.resting, f.close_at, patience].into_iter().flatten() {
                    if until > now {
                        next = next.min(until);
                    }
                }
                if s.resting.is_some_and(|t| t <= now) {
                    s.resting = None;
                }
            }
            self.wake_at(next);
            self.go_on(cx, conn, flow, side);
        }
    }

    fn answer_neighbor<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, path: PathId, ip: core::net::IpAddr) {
        let shared = &mut *self.shared.borrow_mut();
        let mac = shared.neighbors.iter().find(|n| n.0 == ip).map(|n| n.1);
        if mac.is_none() || !cx.neighbor(path, ip, mac) {
            shared.wrong(|| format!("no room for the neighbour {ip}, or nobody has that address"));
        }
    }

    /// Sends what can be sent, and ends the connection when its time has come.
    fn go_on<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, flow: usize, side: usize) {
        let rc = self.shared.clone();
        let shared = &mut *rc.borrow_mut();
        let f = &mut shared.flows[flow];
        if f.sides[side].closed.is_some() || !f.sides[side].open {
            return;
        }
        self.pump(cx, conn, f, side, shared.dead);
        if let Some(what) = self.end(cx, conn, f, side) {
            shared.note(|| format!("flow {flow} side {side}: {what}"));
        }
    }

    /// Queues data while there is room.
    fn pump<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, f: &mut Flow, side: usize, dead: bool) {
        if f.plan.halves[SERVER].reader == Reader::Echoes && side == SERVER {
            return self.echo(cx, conn, f);
        }
        let half = f.plan.halves[side];
        let pattern = f.pattern(side);
        // The last part waits for the other side's end, or the network's.
        let holds_back = match f.plan.ending {
            Ending::HalfCloses(first) => first != side && !f.sides[side].fin,
            Ending::PathDies => !dead,
            _ => false,
        };
        let limit = if holds_back { half.total / 2 } else { half.total };
        let s = &mut f.sides[side];
        while s.queued < limit && !s.blocked && !s.shut && !s.left && !s.revoked && s.resting.is_none() {
            if let Some((after, pause)) = half.rest
                && !s.rested
                && s.queued >= after
            {
                s.rested = true;
                s.resting = Some(self.now.get() + pause);
                self.wake_at(self.now.get() + pause);
                return;
            }
            // Its share, or the others would never find an obj.
            if s.objs >= self.share {
                return;
            }
            let want = match half.chunks {
                Chunks::Fixed(n) => n,
                Chunks::UpTo(n) | Chunks::Headed(n) => self.rng.range(1, n.into()) as u32,
                Chunks::Bytes(n) if s.tokens < n.into() => 1,
                Chunks::Bytes(_) => self.rng.range(1, 16 << 10) as u32,
            };
            let want = u64::from(want).min(limit - s.queued) as u32;
            let headed = matches!(half.chunks, Chunks::Headed(_));
            let guest = s.guest.as_mut();
            let Some(Parts { mut iov, bytes: n, lent }) = self.parts(want, s.queued, pattern, guest, headed) else {
                self.wake_at(self.now.get() + NO_MEMORY);
                return;
            };
            let token = (f.index as u64) << 40 | (side as u64) << 39 | s.tokens;
            let objs = iov.len();
            let headed = headed && iov.first().is_some_and(|f| !f.is_foreign() && f.len() <= MAX_HEAD);
            let mut n = n;
            let sent = if headed {
                let first = iov.remove(0);
                let bytes = first.bytes().unwrap_or_default();
                // Of part of it nobody wants to hear: what follows may join it.
                let (quiet, head) = bytes.split_at(if self.rng.one_in(2) { bytes.len() / 2 } else { 0 });
                let mut nothing = heapless::Vec::<Frag, 1>::new();
                let mut sent = Ok(());
                if !quiet.is_empty() {
                    sent = cx.send_message(conn, [quiet, &[]], &mut nothing, None);
                    if sent.is_ok() {
                        s.queued += quiet.len() as u64;
                        n -= quiet.len() as u64;
                        s.moved = self.now.get();
                    }
                }
                sent.and_then(|()| {
                    cx.send_message(conn, [&head[..head.len() / 3], &head[head.len() / 3..]], &mut iov, Some(token))
                })
            } else {
                cx.send(conn, &mut iov, token)
            };
            match sent {
                Ok(()) => {
                    s.queued += n;
                    s.tokens += 1;
                    s.objs += objs;
                    s.pending.push_back(Pending { token, end: s.queued, pins: 0, objs, lent });
                    s.moved = self.now.get();
                }
                Err(e) => {
                    drop(iov);
                    if let Some(guest) = &mut s.guest {
                        guest.take_back(lent);
                    }
                    s.blocked |= e == SendError::Full;
                    if e == SendError::NoObj {
                        self.wake_at(self.now.get() + NO_MEMORY);
                    }
                    // Anything else: the other side reset it meanwhile; `on_closed` tells.
                    return;
                }
            }
        }
    }

    /// The next `want` bytes of a stream, or fewer when there is no more memory; some of them a guest's. A head is our own.
    fn parts(
        &mut self,
        want: u32,
        at: u64,
        pattern: Pattern,
        mut guest: Option<&mut Guest>,
        headed: bool,
    ) -> Option<Parts> {
        let mut iov = heapless::Vec::new();
        let (mut n, mut lent) = (0, 0);
        while n < want && !iov.is_full() {
            if let Some(guest) = &mut guest
                && !(headed && iov.is_empty())
                && !self.rng.one_in(4)
                && let Some((frag, mask)) = guest.buffer(self.data, want - n, at + u64::from(n), pattern)
            {
                n += frag.len();
                lent |= mask;
                // There is room: it was asked.
                drop(iov.push(frag));
                continue;
            }
            let Some(mut obj) = self.data.alloc() else { break };
            let most = obj.tailroom().min(want - n);
            let part = if self.rng.one_in(4) { self.rng.range(1, most.into()) as u32 } else { most };
            let out = obj.append(part)?;
            pattern.fill(at + u64::from(n), out);
            n += part;
            // There is room: it was asked.
            drop(iov.push(Frag::from(obj.freeze())));
        }
        (n > 0).then_some(Parts { iov, bytes: n.into(), lent })
    }

    /// Sends back what came, as it is.
    fn echo<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, f: &mut Flow) {
        let s = &mut f.sides[SERVER];
        while let Some(data) = s.backlog.front() {
            if s.blocked || s.left {
                return;
            }
            let (n, pins) = (u64::from(data.len()), data.true_size());
            let mut iov = heapless::Vec::<Frag, 1>::new();
            drop(iov.push(Frag::from(data.clone())));
            let token = (f.index as u64) << 40 | 1 << 39 | s.tokens;
            match cx.send(conn, &mut iov, token) {
                Ok(()) => {
                    s.backlog.pop_front();
                    s.queued += n;
                    s.tokens += 1;
                    s.pending.push_back(Pending { token, end: s.queued, pins, objs: 0, lent: 0 });
                }
                Err(SendError::Full) => s.blocked = true,
                Err(_) => return,
            }
        }
    }

    /// Does the next step of the connection's end, if its time has come.
    fn end<Q: NicQueue>(
        &mut self,
        cx: &mut Cx<'_, '_, Q>,
        conn: ConnId,
        f: &mut Flow,
        side: usize,
    ) -> Option<&'static str> {
        let now = self.now.get();
        let complete = f.complete(side);
        let both = f.complete(CLIENT) && f.complete(SERVER);
        let s = &f.sides[side];
        if s.left {
            let due = f.plan.ending.patience(side, f.close_at).is_some_and(|t| t <= now);
            // A connection that ended meanwhile is stale: `on_closed` was or will be called.
            return (due && cx.abort(conn).is_ok()).then_some("abort, out of patience");
        }
        let all_queued = s.queued == f.plan.halves[side].total;
        let what = match f.plan.ending {
            Ending::Closes(first) if complete && (side == first || s.fin) => "close",
            ending if ending.at_one_moment() && both && f.close_at.is_none() => {
                // Far enough off for both to be woken.
                f.close_at = Some(now + 50_000);
                self.wake_at(now + 50_000);
                return None;
            }
            ending if ending.at_one_moment() && f.close_at.is_some_and(|t| t <= now) => "close",
            Ending::HalfCloses(first) if side == first && all_queued && !s.shut => "shutdown",
            Ending::HalfCloses(first) if complete && (side != first || s.fin) => "close",
            Ending::BothShutDown if all_queued && !s.shut => "shutdown",
            Ending::Aborts(who, after) if side == who && s.received >= after => "abort",
            Ending::Revokes(who, after) if side == who && s.received >= after && !s.revoked => "revoke",
            // It ends by itself when something of that memory is sent once more; if not, then so.
            Ending::Revokes(who, _) if side == who && s.revoked && s.pending.is_empty() => "abort",
            Ending::ClosesEarly(who, after) if side == who && s.received >= after => "close",
            _ => return None,
        };
        if what == "revoke" {
            let s = &mut f.sides[side];
            s.revoked = true;
            if let Some(guest) = &s.guest {
                guest.revoke();
            }
            return if s.pending.is_empty() { self.end(cx, conn, f, side) } else { Some(what) };
        }
        // A connection that ended meanwhile is stale: `on_closed` was or will be called.
        let _ = match what {
            "close" => cx.close(conn),
            "shutdown" => cx.shutdown(conn),
            _ => cx.abort(conn),
        };
        let s = &mut f.sides[side];
        s.moved = now;
        if what == "shutdown" {
            s.shut = true;
        } else {
            s.left = true;
        }
        Some(what)
    }

    fn opened<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, flow: usize, side: usize) {
        {
            let shared = &mut *self.shared.borrow_mut();
            let f = &mut shared.flows[flow];
            let s = &mut f.sides[side];
            let twice = core::mem::replace(&mut s.open, true);
            if f.plan.halves[side].foreign && s.guest.is_none() {
                s.guest = Guest::new(self.data);
            }
            s.conn = Some(conn);
            s.known = true;
            s.moved = self.now.get();
            if twice {
                shared.wrong(|| format!("flow {flow} side {side}: opened twice"));
            }
            shared.note(|| format!("flow {flow} side {side}: open, {conn:?}"));
        }
        self.go_on(cx, conn, flow, side);
    }

    /// What is to become of a piece of data: how much of it is kept.
    fn keep(&mut self, f: &mut Flow, side: usize, data: Zbuf) -> Retained {
        let now = self.now.get();
        let reader = f.plan.halves[side].reader;
        let s = &mut f.sides[side];
        let until = match reader {
            Reader::Prompt => return Retained::NOTHING,
            Reader::Echoes => {
                // Until it is acknowledged on its way back.
                let size = data.true_size();
                s.backlog.push_back(data);
                return Retained(size);
            }
            Reader::Holds(time) => now + time,
            Reader::Stops(from, _) if s.received < from => return Retained::NOTHING,
            Reader::Stops(_, time) => *s.stopped.get_or_insert(now + time),
        };
        if until <= now {
            return Retained::NOTHING;
        }
        let size = data.true_size();
        s.held.push_back(Held { data, size, until });
        self.wake_at(until);
        Retained(size)
    }
}

impl<Q: NicQueue> App<Q> for SimApp<'_> {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, listener_user: u64, _remote: SocketAddr) {
        let flow = listener_user as usize;
        let again = {
            let f = &self.shared.borrow().flows[flow];
            f.cookies && f.sides[SERVER].closed.is_some()
        };
        if again {
            // What its cookie has opened, and the application ended, opens once more when the peer, not yet told, sends its
            // first segment again: nothing remembers that a cookie was used (`tcp::cookie`). While it lives, never.
            self.again.push(conn);
            self.shared.borrow_mut().note(|| format!("flow {flow}: opened again by its cookie, {conn:?}"));
            // It was opened just now.
            let _ = cx.abort(conn);
            return;
        }
        self.conns.push((conn, flow, SERVER));
        self.opened(cx, conn, flow, SERVER);
    }

    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        match self.find(conn) {
            Some((flow, side)) => self.opened(cx, conn, flow, side),
            None => self.shared.borrow_mut().wrong(|| format!("{conn:?} connected, but nobody asked for it")),
        }
    }

    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        let Some((flow, side)) = self.find(conn) else {
            self.shared.borrow_mut().wrong(|| format!("data for {conn:?}, which nobody knows"));
            return Retained::NOTHING;
        };
        let kept = {
            let rc = self.shared.clone();
            let shared = &mut *rc.borrow_mut();
            let f = &mut shared.flows[flow];
            let wrong = f.pattern(1 - side).first_wrong(f.sides[side].received, &data);
            let s = &mut f.sides[side];
            let end = s.received + u64::from(data.len());
            s.moved = self.now.get();
            let misplaced = s.fin || s.left || s.closed.is_some() || data.is_empty();
            let received = s.received;
            let kept = self.keep(f, side, data);
            f.sides[side].received = end;
            let sent = f.sides[1 - side].queued;
            if let Some(at) = wrong {
                shared.wrong(|| format!("flow {flow} side {side}: byte {at} is wrong (piece begins at {received})"));
            }
            if end > sent {
                shared.wrong(|| format!("flow {flow} side {side}: received {end} bytes, only {sent} were sent"));
            }
            if misplaced {
                shared.wrong(|| format!("flow {flow} side {side}: data behind the end, or no data"));
            }
            kept
        };
        self.go_on(cx, conn, flow, side);
        kept
    }

    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let Some((flow, side)) = self.find(conn) else { return };
        {
            let shared = &mut *self.shared.borrow_mut();
            let f = &mut shared.flows[flow];
            let again = core::mem::replace(&mut f.sides[side].fin, true);
            f.sides[side].moved = self.now.get();
            let (got, sent) = (f.sides[side].received, f.sides[1 - side].queued);
            let other = &f.sides[1 - side];
            let asked = other.shut || other.left;
            shared.note(|| format!("flow {flow} side {side}: told of the end after {got} bytes"));
            if again || got != sent || !asked {
                shared.wrong(|| {
                    format!(
                        "flow {flow} side {side}: end at {got} of {sent} bytes (asked for: {asked}, again: {again})"
                    )
                });
            }
        }
        self.go_on(cx, conn, flow, side);
    }

    fn on_released(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, token: u64, outcome: Released) {
        let Some((flow, side)) = self.find(conn) else {
            self.shared.borrow_mut().wrong(|| format!("token {token:#x} of {conn:?}, which nobody knows"));
            return;
        };
        {
            let shared = &mut *self.shared.borrow_mut();
            let f = &mut shared.flows[flow];
            // What came together with the piece at which the other application left was taken in, and nobody wanted it.
            let other = &f.sides[1 - side];
            let got = if other.left && !f.plan.ending.complete() { u64::MAX } else { other.received };
            let s = &mut f.sides[side];
            // Foreign memory is told of later, when devices let go of it; each kind in its own order.
            let place = s.pending.iter().position(|p| p.token == token).unwrap_or(0);
            let overtaken =
                s.pending.iter().take(place).filter(|p| (p.lent == 0) == (s.pending[place].lent == 0)).count();
            let front = if overtaken == 0 { s.pending.remove(place) } else { s.pending.pop_front() };
            s.moved = self.now.get();
            s.objs -= front.map_or(0, |p| p.objs);
            if let (Some(guest), Some(p)) = (&mut s.guest, front) {
                guest.take_back(p.lent);
            }
            if let Some(p) = front.filter(|p| p.pins > 0) {
                // A connection that is over takes nothing back.
                let _ = cx.release(conn, p.pins);
            }
            match (front, outcome) {
                (Some(p), _) if p.token != token => {
                    shared.wrong(|| format!("flow {flow} side {side}: token {token:#x} released, not {:#x}", p.token));
                }
                (None, _) => {
                    shared.wrong(|| format!("flow {flow} side {side}: token {token:#x} released once too often"));
                }
                (Some(p), Released::Acked) => {
                    s.acked = s.acked.max(p.end);
                    if got < p.end {
                        shared.wrong(|| {
                            format!("flow {flow} side {side}: {} bytes reported acknowledged, {got} arrived", p.end)
                        });
                    }
                }
                (Some(_), _) => s.aborted += 1,
            }
        }
        self.go_on(cx, conn, flow, side);
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let Some((flow, side)) = self.find(conn) else { return };
        self.shared.borrow_mut().flows[flow].sides[side].blocked = false;
        self.go_on(cx, conn, flow, side);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, closed: Closed) {
        let stale = cx.info(conn).is_err();
        if let Some(i) = self.again.iter().position(|c| *c == conn) {
            self.again.swap_remove(i);
            return;
        }
        let shared = &mut *self.shared.borrow_mut();
        let Some((flow, side)) = self.conns.iter().find(|c| c.0 == conn).map(|c| (c.1, c.2)) else {
            shared.wrong(|| format!("{conn:?} is over, but nobody knows it"));
            return;
        };
        let s = &mut shared.flows[flow].sides[side];
        s.moved = self.now.get();
        s.backlog.clear();
        let again = s.closed.replace(closed).is_some();
        // Foreign memory may still be in a device's hands.
        let left = s.pending.iter().filter(|p| p.lent == 0).count();
        shared.note(|| format!("flow {flow} side {side}: over: {}", closed.reason));
        if again || left > 0 || !stale {
            shared.wrong(|| {
                format!("flow {flow} side {side}: over; again: {again}, tokens left: {left}, stale: {stale}")
            });
        }
    }

    fn on_neighbor_needed(&mut self, cx: &mut Cx<'_, '_, Q>, path: PathId, ip: core::net::IpAddr) {
        if self.neighbor_delay == 0 {
            return self.answer_neighbor(cx, path, ip);
        }
        let at = self.now.get() + self.neighbor_delay;
        self.neighbors_wanted.push((at, path, ip));
        self.wake_at(at);
    }
}
