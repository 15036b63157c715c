//! The table of kernel connections, and what a turn does with those that are ready.

mod calls;

use core::net::SocketAddr;
use std::io::{self, IoSliceMut, Read};

use luna_core::rpc::StreamError;
use luna_core::time::Instant;
use luna_core::zbuf::{Frag, Pool, Zbuf, ZbufMut};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::conn::{Conn, Phase, kind_of};
use crate::link::{CloseKind, ConnKey, Endpoint, Transport};
use crate::report::Counters;

/// Objs that one read may fill.
pub(super) const READ_OBJS: usize = 4;
/// Reads of one connection in one turn, so that it does not keep the others waiting.
const READS: usize = 4;
/// Memory that an application may keep of one connection's data before reading stops.
const RETAIN_LIMIT: u64 = 8 << 20;

#[derive(Clone, Copy, Default, Debug)]
struct Count {
    accepted: u64,
    connected: u64,
    closed: u64,
    reset: u64,
    refused_full: u64,
    refused_app: u64,
    accept_errors: u64,
    no_obj: u64,
    retransmits: u64,
    /// Some connection's retransmissions are not known.
    untold: bool,
    reads: u64,
    bytes_read: u64,
    writes: u64,
    bytes_written: u64,
}

struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

/// Connections over kernel sockets; what callbacks get.
pub struct KernelNet {
    registry: Registry,
    slots: Vec<Slot>,
    free: Vec<usize>,
    now: Instant,
    rx: Pool,
    /// Objs for the next read.
    spare: heapless::Vec<ZbufMut, READ_OBJS>,
    heads: Pool,
    /// Connections to look at, and those of the turn that runs.
    ready: Vec<usize>,
    running: Vec<usize>,
    dirty: Vec<usize>,
    dead: Vec<usize>,
    count: Count,
}

fn key(slot: usize, generation: u32) -> ConnKey {
    ConnKey(u64::from(generation) << 32 | slot as u64)
}

impl KernelNet {
    pub(super) fn new(registry: Registry, rx: Pool, heads: Pool, connections: usize) -> Self {
        let slots = (0..connections).map(|_| Slot { generation: 0, conn: None }).collect();
        Self {
            registry,
            slots,
            free: (0..connections).rev().collect(),
            now: Instant::ZERO,
            rx,
            spare: heapless::Vec::new(),
            heads,
            ready: Vec::new(),
            running: Vec::new(),
            dirty: Vec::new(),
            dead: Vec::new(),
            count: Count::default(),
        }
    }

    fn slot_of(&self, conn: ConnKey) -> Option<usize> {
        let slot = (conn.0 & u64::from(u32::MAX)) as usize;
        let Slot { generation, conn: live } = self.slots.get(slot)?;
        (u64::from(*generation) == conn.0 >> 32 && live.is_some()).then_some(slot)
    }

    fn get(&mut self, conn: ConnKey) -> Option<&mut Conn> {
        let slot = self.slot_of(conn)?;
        self.at(slot)
    }

    fn at(&mut self, slot: usize) -> Option<&mut Conn> {
        self.slots.get_mut(slot)?.conn.as_mut()
    }

    fn key_at(&self, slot: usize) -> ConnKey {
        key(slot, self.slots.get(slot).map_or(0, |s| s.generation))
    }

    fn insert(&mut self, mut stream: TcpStream, phase: Phase, user: u64) -> io::Result<Option<ConnKey>> {
        let Some(slot) = self.free.pop() else { return Ok(None) };
        if let Err(e) = self.registry.register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE) {
            self.free.push(slot);
            return Err(e);
        }
        let Some(entry) = self.slots.get_mut(slot) else { return Ok(None) };
        entry.generation = entry.generation.wrapping_add(1);
        entry.conn = Some(Conn::new(stream, phase, user));
        Ok(Some(key(slot, entry.generation)))
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Whether a turn has something to do without any event.
    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.dirty.is_empty() || !self.dead.is_empty()
    }

    /// epoll says something of `slot`.
    pub(super) fn note(&mut self, slot: usize, event: &Event) {
        let Some(conn) = self.at(slot) else { return };
        conn.readable |= event.is_readable() || event.is_error() || event.is_read_closed();
        conn.read_closed |= event.is_read_closed();
        conn.writable |= event.is_writable() || event.is_error();
        self.list(slot);
    }

    fn list(&mut self, slot: usize) {
        if let Some(conn) = self.at(slot)
            && !conn.listed
        {
            conn.listed = true;
            self.ready.push(slot);
        }
    }

    fn mark_dirty(&mut self, slot: usize) {
        if let Some(conn) = self.at(slot)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn kill(&mut self, slot: usize, kind: CloseKind) {
        if let Some(conn) = self.at(slot)
            && !matches!(conn.phase, Phase::Dead(_))
        {
            conn.phase = Phase::Dead(conn.closed(kind));
            self.dead.push(slot);
        }
    }

    pub(super) fn accepted<E: Endpoint>(&mut self, stream: TcpStream, remote: SocketAddr, endpoint: &mut E) {
        if let Err(e) = stream.set_nodelay(true) {
            log::warn!("{remote}: TCP_NODELAY: {e}");
        }
        // Whom nobody here takes gets a reset, as from Luna's stack: a FIN would say that it had been served.
        if self.free.is_empty() {
            self.count.refused_full += 1;
            close_with_reset(&stream);
            return;
        }
        match self.insert(stream, Phase::Open, 0) {
            Ok(Some(conn)) => match endpoint.on_accepted(self, conn, remote) {
                Some(user) => {
                    self.count.accepted += 1;
                    self.set_user(conn, user);
                }
                None => {
                    self.count.refused_app += 1;
                    if let Some(slot) = self.slot_of(conn) {
                        if let Some(conn) = self.at(slot) {
                            close_with_reset(&conn.stream);
                        }
                        self.remove(slot);
                    }
                }
            },
            Ok(None) | Err(_) => self.count.accept_errors += 1,
        }
    }

    pub(super) fn accept_failed(&mut self) {
        self.count.accept_errors += 1;
    }

    /// Reads from every connection that is ready.
    pub(super) fn take_in<E: Endpoint>(&mut self, endpoint: &mut E) -> bool {
        let mut busy = false;
        core::mem::swap(&mut self.ready, &mut self.running);
        for i in 0..self.running.len() {
            let Some(&slot) = self.running.get(i) else { break };
            if let Some(conn) = self.at(slot) {
                conn.listed = false;
                busy |= self.serve(slot, endpoint);
            }
        }
        self.running.clear();
        busy
    }

    fn serve<E: Endpoint>(&mut self, slot: usize, endpoint: &mut E) -> bool {
        let name = self.key_at(slot);
        let Some(conn) = self.get(name) else { return false };
        let (user, phase, writable, dirty) = (conn.user, conn.phase, conn.writable, !conn.is_drained());
        match phase {
            Phase::Dead(_) => return false,
            Phase::Connecting if !writable => return false,
            Phase::Connecting => {
                if !self.finish_connect(slot) {
                    return true;
                }
                endpoint.on_connected(self, name, user);
            }
            Phase::Open => {}
        }
        if writable && dirty {
            self.mark_dirty(slot);
        }
        let mut busy = false;
        for _ in 0..READS {
            match self.read(name) {
                Got::Data(bufs) => {
                    busy = true;
                    for buf in bufs {
                        let Some(conn) = self.get(name) else { return true };
                        let user = conn.user;
                        let kept = endpoint.on_data(self, name, user, buf);
                        if let Some(conn) = self.get(name) {
                            conn.retained += u64::from(kept);
                        }
                    }
                }
                Got::Fin => {
                    endpoint.on_fin(self, name, user);
                    // Whoever has sent its FIN too is done.
                    self.finish_if_both(slot);
                    return true;
                }
                Got::Nothing => return busy,
                // Memory is short: look again next turn.
                Got::Later => {
                    self.list(slot);
                    return busy;
                }
            }
        }
        self.list(slot);
        busy
    }

    /// Whether the connection is established now.
    fn finish_connect(&mut self, slot: usize) -> bool {
        let Some(conn) = self.at(slot) else { return false };
        let problem = match conn.stream.take_error() {
            Ok(None) => conn.stream.peer_addr().err(),
            Ok(Some(e)) | Err(e) => Some(e),
        };
        match problem {
            None => {
                conn.phase = Phase::Open;
                self.count.connected += 1;
                true
            }
            // Not yet (ENOTCONN is what connect(2) gives for that).
            Some(e) if e.kind() == io::ErrorKind::NotConnected => false,
            Some(e) => {
                let kind = kind_of(&e);
                self.kill(slot, kind);
                false
            }
        }
    }

    fn read(&mut self, name: ConnKey) -> Got {
        while !self.spare.is_full() {
            let Some(mut obj) = self.rx.alloc() else { break };
            obj.set_len(u32::MAX);
            if self.spare.push(obj).is_err() {
                break;
            }
        }
        let Some(slot) = self.slot_of(name) else { return Got::Nothing };
        let Self { slots, spare, count, .. } = self;
        let Some(conn) = slots.get_mut(slot).and_then(|s| s.conn.as_mut()) else { return Got::Nothing };
        if !conn.readable || conn.fin_received || conn.phase != Phase::Open {
            return Got::Nothing;
        }
        if spare.is_empty() || conn.retained > RETAIN_LIMIT {
            count.no_obj += 1;
            return Got::Later;
        }
        let mut room = 0;
        let mut iovs: heapless::Vec<IoSliceMut<'_>, READ_OBJS> = heapless::Vec::new();
        for obj in spare.iter_mut() {
            room += obj.len() as usize;
            if iovs.push(IoSliceMut::new(obj)).is_err() {
                break;
            }
        }
        let result = conn.stream.read_vectored(&mut iovs);
        drop(iovs);
        count.reads += 1;
        match result {
            Ok(0) => {
                conn.fin_received = true;
                Got::Fin
            }
            Ok(n) => {
                count.bytes_read += n as u64;
                // A short read has emptied the socket: the next arrival is a new edge (epoll(7), questions 9). A FIN that
                // came along with the data is none.
                if n < room && !conn.read_closed {
                    conn.readable = false;
                }
                let mut bufs = heapless::Vec::new();
                let mut left = n as u32;
                while left > 0 && !spare.is_empty() {
                    let mut obj = spare.remove(0);
                    let take = left.min(obj.len());
                    obj.truncate(take);
                    left -= take;
                    if bufs.push(obj.freeze()).is_err() {
                        break;
                    }
                }
                Got::Data(bufs)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                conn.readable = false;
                Got::Nothing
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Got::Later,
            Err(e) => {
                let kind = kind_of(&e);
                self.kill(slot, kind);
                Got::Nothing
            }
        }
    }

    /// Writes what was queued.
    pub(super) fn send_out<E: Endpoint>(&mut self, endpoint: &mut E) -> bool {
        if self.dirty.is_empty() {
            return false;
        }
        let mut starved: heapless::Vec<usize, 64> = heapless::Vec::new();
        let mut list = core::mem::take(&mut self.dirty);
        for slot in list.drain(..) {
            let Self { slots, count, .. } = self;
            let Some(conn) = slots.get_mut(slot).and_then(|s| s.conn.as_mut()) else { continue };
            conn.dirty = false;
            if conn.phase != Phase::Open {
                continue;
            }
            match conn.write() {
                Ok(written) => {
                    count.writes += written.calls;
                    count.bytes_written += written.bytes;
                    if conn.starved && conn.has_drained_enough() && starved.push(slot).is_ok() {
                        conn.starved = false;
                    }
                    self.finish_if_both(slot);
                }
                Err(e) => {
                    let kind = kind_of(&e);
                    self.kill(slot, kind);
                }
            }
        }
        // Keep the allocation, and what callbacks add from here on.
        list.append(&mut self.dirty);
        self.dirty = list;
        for slot in starved {
            let name = self.key_at(slot);
            if let Some(conn) = self.get(name) {
                let user = conn.user;
                endpoint.on_writable(self, name, user);
            }
        }
        true
    }

    fn finish_if_both(&mut self, slot: usize) {
        if self.at(slot).is_some_and(|c| c.fin_received && c.fin_sent) {
            self.kill(slot, CloseKind::Finished);
        }
    }

    /// Tells of connections that ended, and frees their slots.
    pub(super) fn bury<E: Endpoint>(&mut self, endpoint: &mut E) {
        while let Some(slot) = self.dead.pop() {
            let name = self.key_at(slot);
            let Some(Conn { phase: Phase::Dead(closed), .. }) = self.at(slot) else { continue };
            let closed = *closed;
            self.count.closed += 1;
            self.count.reset += u64::from(closed.kind == CloseKind::Reset);
            self.remove(slot);
            endpoint.on_closed(self, name, closed);
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(mut conn) = self.slots.get_mut(slot).and_then(|s| s.conn.take()) else { return };
        match conn.retransmits() {
            Some(n) => self.count.retransmits += n,
            None => self.count.untold = true,
        }
        if matches!(conn.phase, Phase::Dead(c) if c.kind == CloseKind::AbortedHere) {
            close_with_reset(&conn.stream);
        }
        if let Err(e) = self.registry.deregister(&mut conn.stream) {
            log::debug!("deregister: {e}");
        }
        self.free.push(slot);
    }

    /// Segments sent again, by all connections there were.
    pub(super) fn retransmits(&self) -> Option<u64> {
        let live = self.slots.iter().filter_map(|s| s.conn.as_ref());
        let sum = live.map(Conn::retransmits).sum::<Option<u64>>()?;
        (!self.count.untold).then_some(self.count.retransmits + sum)
    }

    pub(super) fn counters(&self) -> Counters {
        let Count { accepted, connected, closed, reset, .. } = self.count;
        [("accepted", accepted), ("connected", connected), ("closed", closed), ("resets_received", reset)]
            .into_iter()
            .collect()
    }

    pub(super) fn refusals(&self) -> Counters {
        let Count { refused_full, refused_app, accept_errors, no_obj, .. } = self.count;
        [
            ("connections_full", refused_full),
            ("refused_by_application", refused_app),
            ("accept_errors", accept_errors),
            ("reads_delayed_for_memory", no_obj),
        ]
        .into_iter()
        .collect()
    }

    pub(super) fn io_counters(&self) -> Counters {
        let Count { reads, bytes_read, writes, bytes_written, .. } = self.count;
        [("reads", reads), ("bytes_read", bytes_read), ("writes", writes), ("bytes_written", bytes_written)]
            .into_iter()
            .collect()
    }

    /// Copies foreign memory, which the kernel must not read while somebody writes it, into objs of ours.
    fn copy_foreign(&mut self, frag: &Frag, out: &mut Vec<Frag>) -> Result<(), StreamError> {
        let mut at = 0;
        while at < frag.len() {
            let Some(mut obj) = self.rx.alloc() else { return Err(StreamError::Full) };
            let n = obj.set_len(frag.len() - at);
            if frag.slice(at, n).copy_to(&mut obj).is_none() {
                return Err(StreamError::Revoked);
            }
            at += n;
            out.push(obj.freeze().into());
        }
        Ok(())
    }
}

/// What one read gave.
enum Got {
    Data(heapless::Vec<Zbuf, READ_OBJS>),
    Fin,
    Nothing,
    Later,
}

/// Makes the close that follows a reset.
fn close_with_reset(stream: &TcpStream) {
    if let Err(e) = rustix::net::sockopt::set_socket_linger(stream, Some(core::time::Duration::ZERO)) {
        log::debug!("SO_LINGER: {e}");
    }
}
