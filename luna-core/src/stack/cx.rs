//! What an application may do, inside callbacks and outside: a view of the stack without its loop.

use core::hint::cold_path;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use heapless::VecView;

use super::flow::FlowKey;
use super::{Bind, ConnId, ConnectError, ListenError, ListenerId, PathId, SendError, Stack, Stale, listener, path};
use crate::counters::Counters;
use crate::nic::NicQueue;
use crate::tcp::connection::Flags;
use crate::tcp::send_queue::COPY_MAX;
use crate::tcp::{ProfileId, State, TcpInfo};
use crate::time::Instant;
use crate::wire::MacAddr;

use crate::zbuf::{CopyCounter, Frag, Pool, copy_counted, drain_all};

/// Ports that Luna's clients use (paper §7.1).
pub const CLIENT_PORTS: RangeInclusive<u16> = 61440..=65535;

/// Where to connect to, and from where.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The peer.
    pub remote: SocketAddr,
    /// Local address; `None` lets the path choose.
    pub local: Option<IpAddr>,
    /// Local ports to choose from.
    pub ports: RangeInclusive<u16>,
    /// The path; `None` for the first that has an address of the peer's family.
    pub path: Option<PathId>,
    /// The application's own number for the connection.
    pub user: u64,
    /// Its settings.
    pub profile: ProfileId,
}

impl Connect {
    /// To `remote`, everything else left to the stack.
    #[must_use]
    pub const fn to(remote: SocketAddr) -> Self {
        Self { remote, local: None, ports: CLIENT_PORTS, path: None, user: 0, profile: ProfileId::DEFAULT }
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Receiver's side of silly window avoidance (RFC 9293 §3.8.6.2.2): only a worthwhile opening is announced.
    #[cold]
    fn announce_window(&mut self, slot: u32) {
        let c = self.conns.at_mut(slot);
        if c.flags.fin_received() {
            // Nothing more can come.
            return;
        }
        let open = c.rcv_adv.distance_from(c.rcv_nxt);
        let gain = c.window_edge().distance_from(c.rcv_nxt).saturating_sub(open);
        if gain >= c.worthwhile_window(2) {
            c.flags.set_ack_now(true);
            self.mark_dirty(slot);
        }
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// What a send meets that is not plainly in order: whether it may go on all the same.
    #[cold]
    #[inline(never)]
    fn look_closer(
        &mut self,
        slot: u32,
        iov: &VecView<Frag>,
        total: u64,
        parts: u32,
        foreign: bool,
    ) -> Result<(), SendError> {
        if total == 0 {
            return Err(SendError::Empty);
        }
        if foreign && iov.iter().any(Frag::is_revoked) {
            return Err(SendError::Revoked);
        }
        let c = self.conns.at_mut(slot);
        let limit = u64::from(self.profiles.at(c.profile).snd_buf);
        if total > limit || parts > self.sends.capacity() {
            return Err(SendError::TooLarge);
        }
        let entries = self.sends.available() < parts;
        if entries || u64::from(c.send.queued()) + total > limit {
            c.flags.set_wants_room(true);
            if entries {
                self.entries_wanted = self.entries_wanted.max(parts);
            }
            self.counters.sends_refused += 1;
            return Err(SendError::Full);
        }
        Ok(())
    }
}

/// Flags of connections that take nothing more to send.
#[inline(always)]
pub(super) fn not_sending() -> Flags {
    let mut f = Flags::default();
    f.set_fin_queued(true);
    f.set_aborting(true);
    f
}

/// Copies and drops all of `iov`, of our own objs and as long as `to`.
#[inline(always)]
fn copy_small(mut to: &mut [u8], iov: &mut VecView<Frag>, copies: &mut CopyCounter) {
    for frag in drain_all(iov) {
        let rest = core::mem::take(&mut to);
        let n = copy_counted(rest, frag.bytes().unwrap_or_default(), copies);
        to = rest.get_mut(n..).unwrap_or_default();
    }
}

/// The stack as applications see it.
pub struct Cx<'s, 'm, Q> {
    pub(super) stack: &'s mut Stack<'m, Q>,
}

impl<Q: NicQueue> Cx<'_, '_, Q> {
    /// The time of this turn.
    #[must_use]
    #[inline(always)]
    pub fn now(&self) -> Instant {
        self.stack.now
    }

    /// Listens.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn listen(&mut self, bind: Bind, user: u64) -> Result<ListenerId, ListenError> {
        let s = &mut *self.stack;
        if bind.port == 0 {
            return Err(ListenError::BadPort);
        }
        let on_path = |i: usize| bind.path.is_none_or(|p| p.index() == i);
        let ours = bind.addr.is_none_or(|a| s.paths.iter().enumerate().any(|(i, p)| on_path(i) && p.owns(a)));
        if !ours || bind.path.is_some_and(|p| p.index() >= s.paths.len()) {
            return Err(ListenError::NotOurAddress);
        }
        if !s.profiles.contains(bind.profile) {
            return Err(ListenError::NoProfile);
        }
        let same = |b: Bind| b.port == bind.port && b.addr == bind.addr && b.path == bind.path;
        if s.listeners.iter().any(|l| l.bind.is_some_and(same)) {
            return Err(ListenError::InUse);
        }
        let slot = s.listeners.iter().position(|l| l.bind.is_none()).ok_or(ListenError::Full)?;
        let l = s.listeners.get_mut(slot).ok_or(ListenError::Full)?;
        // Who is flooded may be somebody else now.
        s.flood = None;
        l.bind = Some(bind);
        l.user = user;
        l.pending = 0;
        s.profiles.take(bind.profile);
        Ok(ListenerId { slot: slot as u32, generation: l.generation })
    }

    /// Stops listening. Connections already accepted stay; handshakes under way go on.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn unlisten(&mut self, id: ListenerId) -> Result<(), Stale> {
        let l = listener::get(self.stack.listeners, id).ok_or(Stale)?;
        l.generation = l.generation.wrapping_add(1);
        if let Some(bind) = l.bind.take() {
            self.stack.profiles.give_back(bind.profile);
        }
        Ok(())
    }

    /// Opens a connection. `on_connected` or `on_closed` tells how it went.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent.
    pub fn connect(&mut self, to: Connect) -> Result<ConnId, ConnectError> {
        let s = &mut *self.stack;
        let remote = to.remote.ip();
        if to.remote.port() == 0 || remote.is_multicast() || remote.is_unspecified() || *to.ports.start() == 0 {
            return Err(ConnectError::BadAddress);
        }
        if !s.profiles.contains(to.profile) {
            return Err(ConnectError::NoProfile);
        }
        let path = match to.path {
            Some(p) => p.index(),
            None => s.paths.iter().position(|p| p.source_for(remote).is_some()).ok_or(ConnectError::NoPath)?,
        };
        let p = s.paths.get(path).ok_or(ConnectError::NoPath)?;
        let local = to.local.or_else(|| p.source_for(remote)).ok_or(ConnectError::NoPath)?;
        if !p.owns(local) || local.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::NotOurAddress);
        }
        if p.next_hop(remote).is_none() {
            return Err(ConnectError::NoRoute);
        }
        let key = self.choose_port(&to, local)?;
        let s = &mut *self.stack;
        let slot = s.new_connection(State::SynSent, &key, path as u8, to.profile)?;
        let c = s.conns.at_mut(slot);
        c.cold.user = to.user;
        c.cold.give_up_at = s.now + s.profiles.at(c.profile).connect_timeout;
        c.cold.listener = crate::slab::NIL;
        s.set_template(slot, None);
        s.counters.active_opens += 1;
        s.mark_dirty(slot);
        s.arm(slot);
        Ok(s.id_of(slot))
    }

    /// A free port of the range, from a place that others cannot guess: RFC 6056 §3.3.4, two hashes, so that what one
    /// destination takes does not move another's place, and the search stays short when most of the range is in use.
    fn choose_port(&mut self, to: &Connect, local: IpAddr) -> Result<FlowKey, ConnectError> {
        let s = &mut *self.stack;
        let (low, high) = (u32::from(*to.ports.start()), u32::from(*to.ports.end()));
        let n = (high + 1).checked_sub(low).filter(|n| *n > 0).ok_or(ConnectError::PortsInUse)?;
        let key = |port: u32| FlowKey::new(to.remote.ip(), local, to.remote.port(), port as u16);
        let hash = s.secrets.port(&key(0));
        let turn = &mut s.port_turns[hash as usize % super::PORT_TURNS];
        let start = ((hash >> 32).wrapping_add(u64::from(*turn)) % u64::from(n)) as u32;
        let free = |k: &FlowKey| s.flows.find(k, |slot| s.conns.at(slot).key.matches(k)).is_none();
        let i = (0..n).find(|i| free(&key(low + (start + i) % n))).ok_or(ConnectError::PortsInUse)?;
        *turn = turn.wrapping_add(i + 1);
        Ok(key(low + (start + i) % n))
    }

    /// Queues all of `iov` for sending, or nothing. On success `iov` is drained, and `on_released` comes exactly once
    /// with `token`. A send of foreign memory is reported once nothing else refers to its buffers: whoever keeps a clone
    /// of one holds up the reports of later ones too. The data leaves at the end of this burst or turn.
    ///
    /// # Errors
    /// [`SendError`]; `iov` is untouched.
    #[inline]
    pub fn send(&mut self, conn: ConnId, iov: &mut VecView<Frag>, token: u64) -> Result<(), SendError> {
        stage!(before = self.stack.cycles, TcpOut);
        let queued = self.queue(conn, [&[]; 3], iov, Some(token));
        stage!(self.stack.cycles; back to before);
        queued
    }

    /// Queues the two parts of `head`, which are copied, and then all of `iov`, or nothing: a message of a protocol above.
    /// One that is small as a whole (256 bytes, none of them foreign) is copied as a whole. Without a `token` nobody is told
    /// when it was released.
    ///
    /// # Errors
    /// [`SendError`]; `iov` is untouched.
    #[inline(always)]
    pub fn send_message(
        &mut self,
        conn: ConnId,
        head: [&[u8]; 2],
        iov: &mut VecView<Frag>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let [first, second] = head;
        let usual = token.is_none() && second.is_empty();
        stage!(before = self.stack.cycles, TcpOut);
        if usual && self.queue_usual(conn, first, iov) {
            stage!(self.stack.cycles; back to before);
            return Ok(());
        }
        cold_path();
        let queued = self.queue_message(conn, first, second, iov, token);
        stage!(self.stack.cycles; back to before);
        queued
    }

    #[inline(never)]
    fn queue_message(
        &mut self,
        conn: ConnId,
        first: &[u8],
        second: &[u8],
        iov: &mut VecView<Frag>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        self.queue(conn, [first, second, &[]], iov, token)
    }

    /// [`Cx::send_message`] of a message that is small as a whole (256 bytes, or what an obj for headers holds): all is copied.
    /// Nobody is told when it was released.
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued.
    #[inline(always)]
    pub fn send_copied(&mut self, conn: ConnId, head: [&[u8]; 2], bytes: &[u8]) -> Result<(), SendError> {
        let [first, second] = head;
        let usual = second.is_empty() && !first.is_empty() && first.len() + bytes.len() <= COPY_MAX as usize;
        stage!(before = self.stack.cycles, TcpOut);
        if usual && self.queue_copied(conn, first, bytes) {
            stage!(self.stack.cycles; back to before);
            return Ok(());
        }
        cold_path();
        let queued = self.queue_parts(conn, [first, second, bytes]);
        stage!(self.stack.cycles; back to before);
        queued
    }

    #[inline(never)]
    fn queue_parts(&mut self, conn: ConnId, parts: [&[u8]; 3]) -> Result<(), SendError> {
        self.queue(conn, parts, &mut heapless::Vec::<Frag, 1>::new(), None)
    }

    #[inline(always)]
    fn queue(
        &mut self,
        conn: ConnId,
        head: [&[u8]; 3],
        iov: &mut VecView<Frag>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let s = &mut *self.stack;
        s.settle();
        let slot = s.slot_of(conn).map_err(|Stale| SendError::Stale)?;
        let c = s.conns.at_mut(slot);
        if !c.state.sends() && !matches!(c.state, State::SynSent | State::SynReceived)
            || c.flags.bits() & not_sending().bits() != 0
        {
            return Err(SendError::Closing);
        }
        let head_len = head[0].len() + head[1].len() + head[2].len();
        let mut total = head_len as u64;
        let mut foreign = false;
        for frag in iov.iter() {
            total += u64::from(frag.len());
            foreign |= frag.is_foreign();
        }
        let parts = iov.len() as u32 + u32::from(head_len > 0);
        let full = u64::from(c.send.queued()) + total > u64::from(s.profiles.at(c.profile).snd_buf);
        if total == 0 || foreign || full || s.sends.available() < parts {
            s.look_closer(slot, iov, total, parts, foreign)?;
        }
        let c = s.conns.at_mut(slot);
        if head_len == 0 {
            c.send.push_all(&mut s.sends, None, iov, token, foreign, total as u32);
        } else {
            let whole = total <= u64::from(COPY_MAX) && !foreign;
            let len = if whole { total as u32 } else { head_len as u32 };
            let Some(path) = s.paths.get_mut(usize::from(c.path)) else { return Err(SendError::Stale) };
            let leads = c.send.all_sent() && total <= u64::from(c.mss);
            let Some(mut room) = path.room_to_send(len, leads) else { return Err(SendError::NoObj) };
            let (first, rest) = room.bytes().split_at_mut(head[0].len());
            first.copy_from_slice(head[0]);
            let (second, rest) = rest.split_at_mut(head[1].len());
            second.copy_from_slice(head[1]);
            let (third, rest) = rest.split_at_mut(head[2].len());
            if !third.is_empty() {
                copy_counted(third, head[2], &mut s.copies.small);
            }
            if whole {
                copy_small(rest, iov, &mut s.copies.small);
                c.send.push_small(&mut s.sends, room, token, total == head_len as u64);
            } else {
                let head = room.into_frag(true);
                c.send.push_all(&mut s.sends, Some(head), iov, token, foreign, total as u32);
            }
        }
        s.mark_dirty(slot);
        Ok(())
    }

    /// Gives back receive window for `bytes` that [`super::Retained`] had taken.
    ///
    /// # Errors
    /// [`Stale`].
    #[inline]
    pub fn release(&mut self, conn: ConnId, bytes: u32) -> Result<(), Stale> {
        let s = &mut *self.stack;
        let slot = s.slot_of(conn)?;
        let c = s.conns.at_mut(slot);
        c.rcv_held = c.rcv_held.saturating_sub(bytes);
        // Only a window that has become small is worth a segment of its own.
        if c.rcv_adv.distance_from(c.rcv_nxt) < c.rcv_wnd / 2 {
            s.announce_window(slot);
        }
        Ok(())
    }

    /// Finishes sending: FIN goes out behind what is queued. Data still comes in.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn shutdown(&mut self, conn: ConnId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        s.settle();
        let slot = s.slot_of(conn)?;
        s.conns.at_mut(slot).flags.set_fin_queued(true);
        s.mark_dirty(slot);
        Ok(())
    }

    /// Finishes both ways: what is queued is sent and reported, then FIN; data that still arrives is answered with a
    /// reset. `on_closed` follows.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn close(&mut self, conn: ConnId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        s.settle();
        let slot = s.slot_of(conn)?;
        let now = s.now;
        let c = s.conns.at_mut(slot);
        let limit = s.profiles.at(c.profile).fin_wait_2;
        if c.state == State::SynSent {
            // Nothing was agreed on yet.
            c.flags.set_aborting(true);
        }
        c.flags.set_fin_queued(true);
        c.flags.set_closed(true);
        if c.state == State::FinWait2 {
            c.cold.give_up_at = now + limit;
        }
        s.mark_dirty(slot);
        s.arm(slot);
        Ok(())
    }

    /// Ends the connection at once: reset to the peer, queued sends reported as aborted, then `on_closed`; all within
    /// this burst or turn.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Stale> {
        let s = &mut *self.stack;
        s.settle();
        let slot = s.slot_of(conn)?;
        s.conns.at_mut(slot).flags.set_aborting(true);
        s.mark_dirty(slot);
        Ok(())
    }

    /// Takes in a neighbour's hardware address (`None`: it is gone). Connections that waited for it go on.
    /// False when the neighbour table is full.
    pub fn neighbor(&mut self, path: PathId, ip: IpAddr, mac: Option<MacAddr>) -> bool {
        let s = &mut *self.stack;
        if !path::update(s.neighbors, path.0, ip, mac) {
            return false;
        }
        let Some(mac) = mac else { return true };
        for slot in 0..s.conns.capacity() {
            let c = s.conns.at(slot);
            if c.state == State::Closed || c.path != path.0 {
                continue;
            }
            let hop = s.paths.get(path.index()).and_then(|p| p.next_hop(c.key.addrs().0));
            if hop != Some(ip) {
                continue;
            }
            let c = s.conns.at_mut(slot);
            match &mut c.cold.template {
                Some(template) => template.set_dst_mac(mac),
                None => {
                    s.set_template(slot, None);
                    s.mark_dirty(slot);
                }
            }
        }
        true
    }

    /// The application's number for a connection.
    ///
    /// # Errors
    /// [`Stale`].
    #[inline]
    pub fn user(&self, conn: ConnId) -> Result<u64, Stale> {
        let slot = self.stack.slot_of(conn)?;
        Ok(self.stack.conns.at(slot).cold.user)
    }

    /// Sets the application's number for a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn set_user(&mut self, conn: ConnId, user: u64) -> Result<(), Stale> {
        let slot = self.stack.slot_of(conn)?;
        self.stack.conns.at_mut(slot).cold.user = user;
        Ok(())
    }

    /// State and statistics of a connection.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn info(&self, conn: ConnId) -> Result<TcpInfo, Stale> {
        let info = self.stack.info(conn)?;
        Ok(TcpInfo { queued: info.queued + self.stack.unsettled_of(conn), ..info })
    }

    /// Both ends of a connection: local, remote.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn addrs(&self, conn: ConnId) -> Result<(SocketAddr, SocketAddr), Stale> {
        let slot = self.stack.slot_of(conn)?;
        let key = &self.stack.conns.at(slot).key;
        let (remote, local) = key.addrs();
        Ok((SocketAddr::new(local, key.local_port()), SocketAddr::new(remote, key.remote_port())))
    }

    /// Small objs of a connection's port, for headers of the layer above.
    ///
    /// # Errors
    /// [`Stale`].
    #[inline]
    pub fn header_pool(&self, conn: ConnId) -> Result<&Pool, Stale> {
        let slot = self.stack.slot_of(conn)?;
        let path = self.stack.conns.at(slot).path;
        self.stack.paths.get(usize::from(path)).map(|p| p.queue.header_pool()).ok_or(Stale)
    }

    /// The border to a stage of the layers above, within a callback. Returns the stage on this side of it.
    #[cfg(feature = "cycles")]
    #[inline(always)]
    pub fn enter(&mut self, stage: crate::cycles::Stage) -> crate::cycles::Stage {
        self.stack.cycles.enter(stage)
    }

    /// Counters of the stack.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.stack.counters
    }
}
