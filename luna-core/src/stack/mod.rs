//! The stack: one thread's queues, connections and timers, and the inline run-to-completion loop over them (paper §5).
//!
//! [`Stack::turn`] takes a burst of frames from each path's queue; every frame goes through TCP to the application's
//! callback in one go ([`App`]), and what the callbacks sent leaves at the burst's end, acknowledgments riding on it.
//! Then timers fire. There is no queue between these steps, no lock and no atomic operation.
//!
//! The stack owns nothing but what the caller gave: tables ([`Storage`]), queues, time, entropy.

mod burst;
mod cx;
mod deliver;
mod demux;
mod events;
mod flood;
pub(crate) mod flow;
mod icmp;
mod ids;
#[cfg(any(test, feature = "invariants"))]
mod invariants;
mod keepalive;
mod large;
mod listener;
mod message;
mod output;
mod pace;
mod passive;
mod path;
mod readdress;
mod retransmit;
mod secrets;
mod settings;
mod storage;
mod stream;
mod telemetry;
mod timers;
mod transmit;
mod wheel;

use core::net::IpAddr;

use crate::counters::Counters;
use crate::nic::{NicQueue, QueueStats, RX_BURST, RxBurst};
use crate::parts::CONTROLLERS;
use crate::slab::{NIL, Slab};
use crate::tcp::congestion::Controls;
use crate::tcp::connection::Connection;
use crate::tcp::input::Env;
use crate::tcp::reassembly::OutOfOrders;
use crate::tcp::recovery::Recoveries;
use crate::tcp::segments::Segments;
use crate::tcp::send_queue::{OwnFrags, SendEntries};
use crate::tcp::{AckEnv, Profiles, TcpConfig, TxCopies};
use crate::time::{Duration, Instant};
use crate::zbuf::Arena;

pub use cx::{CLIENT_PORTS, Connect, Cx};
pub use events::{App, CloseReason, Closed, ConnectError, Limit, ListenError, Released, Retained, SendError, Stale};
pub use flow::FlowEntry;
pub use ids::{ConnId, ListenerId, PathId};
#[cfg(any(test, feature = "invariants"))]
pub use invariants::Broken;
pub use listener::{Bind, Listener};
pub use path::{Cidr, ConfigError, MAX_ADDRS, MAX_PATHS, PathConfig};
pub use storage::{Neighbor, Storage};
pub use stream::ConnStream;

use flood::Flood;
use flow::FlowTable;
use message::Behind;
use pace::PaceRing;
use path::Path;
use secrets::Secrets;
use wheel::Wheel;

/// Settings of a stack.
#[derive(Clone, Copy, Debug)]
pub struct StackConfig {
    /// Its number within the process: part of every connection's name.
    pub id: u8,
    /// Unpredictable bytes: keys of sequence numbers (RFC 6528), timestamps, the flow table and port choice.
    pub seed: [u8; 32],
    /// Settings of its connections: profile 0. Others join it by [`Stack::add_profile`].
    pub tcp: TcpConfig,
}

/// What a turn says about the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Something was done or is waiting: turn again at once.
    Busy,
    /// Nothing to do until this moment ([`Instant::FAR`] for ever), unless a frame arrives or the application acts.
    IdleUntil(Instant),
}

/// At most so many challenge acknowledgments in each 10 ms (RFC 5961 §7).
#[derive(Debug)]
pub(crate) struct ChallengeLimit {
    left: u16,
    until: Instant,
}

impl ChallengeLimit {
    const PER_PERIOD: u16 = 100;

    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        if now >= self.until {
            self.left = Self::PER_PERIOD;
            self.until = now + Duration::from_millis(10);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Destinations are spread over so many counters.
const PORT_TURNS: usize = 64;

/// One thread's TCP stack.
pub struct Stack<'m, Q> {
    config: StackConfig,
    profiles: Profiles,
    conns: Slab<'m, Connection>,
    flows: FlowTable<'m>,
    segments: Segments<'m>,
    sends: SendEntries<'m>,
    out_of_order: OutOfOrders<'m>,
    recoveries: Recoveries<'m>,
    controls: Controls<'m>,
    listeners: &'m mut [Listener],
    neighbors: &'m mut [Neighbor],
    paths: heapless::Vec<Path<Q>, MAX_PATHS>,
    wheel: Wheel,
    /// Connections that wait for their pace.
    pace: PaceRing,
    challenge: ChallengeLimit,
    counters: Counters,
    copies: TxCopies,
    /// Connections with output to do at the burst's end, in order.
    dirty: List,
    /// Connections whose output could not leave; tried again in the next turn.
    stalled: List,
    /// One of them waits for a device or an obj, which only turning again shows; the others wait for segment records, which
    /// frames, timers and the application free.
    stalled_busy: bool,
    /// Acknowledged foreign memory that a device may still hold.
    linger: List,
    secrets: Secrets,
    /// Cookies that may still hold were sent: acknowledgments of no connection are looked at until then.
    cookies_until: Instant,
    flood: Option<Flood>,
    /// Where the search for a local port goes on, by destination (RFC 6056 §3.3.4).
    port_turns: [u32; PORT_TURNS],
    /// Sends were refused for want of entries that other connections had: so many are to be free before they are told.
    entries_wanted: u32,
    /// The connection that was told of free entries last: the others come before it.
    told_last: u32,
    /// The connection of the last segment: bursts come in runs.
    last: u32,
    /// The connection whose data a callback is being given: what that does to it needs no second look at the name.
    called: Option<ConnId>,
    behind: Behind,
    now: Instant,
    now_ms: u32,
    /// When the last turn began.
    turned: Instant,
    /// Turns in a row whose timers were put off.
    put_off: u8,
    /// The last turn may have sent something.
    was_busy: bool,
    /// No retransmission timer fires before: what the last turn sent may be younger than its time stamp.
    hold_until: Instant,
    /// Timers have not fired since that hold began: no other begins before.
    hold_spent: bool,
    frags: OwnFrags,
    #[cfg(feature = "cycles")]
    cycles: crate::cycles::Cycles,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: Self = Self { head: NIL, tail: NIL };
}

impl<'m, Q: NicQueue> Stack<'m, Q> {
    /// A stack without paths, at `now`.
    ///
    /// # Errors
    /// [`ConfigError`] about the tables' sizes.
    pub fn new(config: StackConfig, mut storage: Storage<'m>, now: Instant) -> Result<Self, ConfigError> {
        let n = storage.connections.len();
        if n == 0 || n > 1 << 24 {
            return Err(ConfigError::ConnectionCount);
        }
        if storage.flows.len() * 3 / 4 < n {
            return Err(ConfigError::FlowTableSize);
        }
        storage.clear(config.id);
        let secrets = Secrets::new(&config.seed);
        let flows = FlowTable::new(storage.flows, secrets.flows).ok_or(ConfigError::FlowTableSize)?;
        Ok(Self {
            config,
            profiles: Profiles::new(config.tcp),
            conns: Slab::new(storage.connections),
            flows,
            segments: Slab::new(storage.segments),
            sends: Slab::new(storage.sends),
            out_of_order: Slab::new(storage.out_of_order),
            recoveries: Slab::new(storage.recoveries),
            controls: Slab::new(storage.controls),
            listeners: storage.listeners,
            neighbors: storage.neighbors,
            paths: heapless::Vec::new(),
            wheel: Wheel::new(now),
            pace: PaceRing::new(now),
            challenge: ChallengeLimit { left: 0, until: Instant::ZERO },
            counters: Counters::default(),
            copies: TxCopies::default(),
            dirty: List::EMPTY,
            stalled: List::EMPTY,
            stalled_busy: false,
            linger: List::EMPTY,
            secrets,
            cookies_until: Instant::ZERO,
            flood: None,
            port_turns: [0; PORT_TURNS],
            entries_wanted: 0,
            told_last: 0,
            last: NIL,
            called: None,
            behind: Behind::default(),
            now,
            now_ms: now.as_millis_u32(),
            turned: now,
            put_off: 0,
            was_busy: false,
            hold_until: Instant::ZERO,
            hold_spent: false,
            frags: OwnFrags::new(),
            #[cfg(feature = "cycles")]
            cycles: crate::cycles::Cycles::new(),
        })
    }

    /// Adds a queue with its addresses. One without any waits for them ([`Stack::readdress`]).
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn add_path(&mut self, queue: Q, config: PathConfig) -> Result<PathId, ConfigError> {
        path::check(&queue, &config)?;
        let id = self.paths.len() as u8;
        self.paths.push(Path { arena: Arena::new(), queue, config }).map_err(|_| ConfigError::TooManyPaths)?;
        Ok(PathId(id))
    }

    /// Takes in what arrived, up to about `budget` frames, lets `app` act on it, sends what is to be sent, fires timers.
    pub fn turn<A: App<Q>>(&mut self, now: Instant, budget: usize, app: &mut A) -> Turn {
        #[cfg(feature = "cycles")]
        self.cycles.begin();
        let jumped = now.since(self.turned) > Duration::from_nanos(self.config.tcp.min_rto.as_nanos() / 2);
        if jumped && self.was_busy && !self.hold_spent {
            // The last turn took that long (a callback, a stolen CPU), and all that it sent bears its first moment.
            self.hold_until = now + self.config.tcp.min_rto;
            self.hold_spent = true;
        }
        self.turned = now;
        self.now = now;
        self.now_ms = now.as_millis_u32();
        if self.stalled.head != NIL {
            self.retry_stalled();
        }
        let mut frames = 0;
        let mut drained = true;
        let mut path = 0;
        while path < self.paths.len() {
            drained &= self.receive(path, budget, &mut frames, app);
            path += 1;
        }
        // A stolen CPU looks like lost acknowledgments: after a jump of the clock the waiting frames go first.
        let fire = drained || !jumped && self.put_off == 0 || self.put_off >= 8;
        let mut fired = false;
        if fire {
            self.put_off = 0;
            fired = self.fire_timers(app);
            // What was held had its chance. Turns that are always slow may hold anew, never again and again.
            self.hold_spent &= now < self.hold_until;
        } else {
            self.put_off += 1;
            self.counters.clock_jumps += 1;
        }
        self.release_lingering(app);
        if self.entries_wanted > 0 && self.sends.available() >= self.entries_wanted {
            self.tell_writable(app);
        }
        if CONTROLLERS && !self.pace.is_empty() {
            self.resume_paced();
        }
        stage!(self.cycles, TcpOut);
        let sent = self.dirty.head != NIL && self.flush_last(app);
        stage!(self.cycles, DriverTx);
        for path in &mut self.paths {
            path.queue.flush();
        }
        stage!(self.cycles, Loop);
        self.was_busy = frames > 0 || sent || !drained;
        #[cfg(feature = "cycles")]
        self.cycles.end(self.was_busy || fired);
        if self.was_busy || fired || self.stalled_busy || self.linger.head != NIL {
            Turn::Busy
        } else {
            self.paths.iter_mut().for_each(|path| path.arena.give_back());
            let timer = self.wheel.next();
            Turn::IdleUntil(if !CONTROLLERS || self.pace.is_empty() { timer } else { timer.min(self.pace.next()) })
        }
    }

    /// Bursts from one queue until it is empty or the budget is spent. True when it is empty.
    fn receive<A: App<Q>>(&mut self, path: usize, budget: usize, frames: &mut usize, app: &mut A) -> bool {
        let mut burst = RxBurst::new();
        loop {
            let Some(p) = self.paths.get_mut(path) else { return true };
            stage!(self.cycles, DriverRx);
            p.queue.rx_burst(&mut burst);
            let n = burst.len();
            if n == 0 {
                stage!(self.cycles, DriverTx);
                p.queue.reap();
                stage!(self.cycles, Loop);
                return true;
            }
            while self.run(path as u8, &mut burst, app) {}
            burst.clear();
            stage!(self.cycles, TcpOut);
            self.flush_dirty(app);
            stage!(self.cycles, DriverTx);
            if let Some(p) = self.paths.get_mut(path) {
                p.queue.flush();
                p.queue.reap();
            }
            stage!(self.cycles, Loop);
            *frames += n;
            if n < RX_BURST {
                return true;
            }
            if *frames >= budget {
                return false;
            }
        }
    }

    /// What the application may do, outside callbacks. Output leaves with the next turn.
    pub fn cx(&mut self, now: Instant) -> Cx<'_, 'm, Q> {
        self.now = self.now.max(now);
        self.now_ms = self.now.as_millis_u32();
        self.was_busy = true;
        Cx { stack: self }
    }

    /// Counts cycles by stage from now on, or no more. What was counted before is forgotten.
    #[cfg(feature = "cycles")]
    pub fn count_cycles(&mut self, counter: Option<crate::cycles::CycleCounter>) {
        self.cycles.set(counter);
    }

    /// What was counted since.
    #[cfg(feature = "cycles")]
    #[must_use]
    pub fn cycles(&self) -> crate::cycles::CycleReport {
        self.cycles.report()
    }

    /// Counters of the stack.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Payload copies that the stack made on the way out.
    #[must_use]
    pub fn copies(&self) -> &TxCopies {
        &self.copies
    }

    /// Counters of a path's queue.
    #[must_use]
    pub fn queue_stats(&self, path: PathId) -> Option<QueueStats> {
        self.paths.get(path.index()).map(|p| p.queue.stats())
    }

    /// A path's queue.
    pub fn queue_mut(&mut self, path: PathId) -> Option<&mut Q> {
        self.paths.get_mut(path.index()).map(|p| &mut p.queue)
    }

    /// Connections in the table, those in TIME-WAIT included.
    #[must_use]
    pub fn connections(&self) -> usize {
        (self.conns.capacity() - self.conns.available()) as usize
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &StackConfig {
        &self.config
    }

    #[inline(always)]
    fn id_of(&self, slot: u32) -> ConnId {
        self.conns.at(slot).id
    }

    /// The slot that a name stands for.
    #[inline(always)]
    fn slot_of(&self, id: ConnId) -> Result<u32, Stale> {
        let slot = id.slot();
        if self.called == Some(id) {
            return Ok(slot);
        }
        if id.stack() != self.config.id || slot >= self.conns.capacity() {
            return Err(Stale);
        }
        let c = self.conns.at(slot);
        if c.id == id && !c.flags.detached() { Ok(slot) } else { Err(Stale) }
    }

    /// Puts a connection on the list of those with output to do.
    #[inline(always)]
    fn mark_dirty(&mut self, slot: u32) {
        let c = self.conns.at_mut(slot);
        if c.flags.dirty() {
            return;
        }
        c.flags.set_dirty(true);
        c.next_dirty = NIL;
        if self.dirty.tail == NIL {
            self.dirty.head = slot;
        } else {
            self.conns.at_mut(self.dirty.tail).next_dirty = slot;
        }
        self.dirty.tail = slot;
    }

    /// There are some.
    #[cold]
    fn retry_stalled(&mut self) {
        let List { head, tail } = core::mem::replace(&mut self.stalled, List::EMPTY);
        self.stalled_busy = false;
        // The first had its turn: it goes last, or it would take all room again.
        let mut slot = core::mem::replace(&mut self.conns.at_mut(head).next_dirty, NIL);
        if slot == NIL {
            slot = head;
        } else {
            self.conns.at_mut(tail).next_dirty = head;
        }
        while slot != NIL {
            let c = self.conns.at_mut(slot);
            let next = c.next_dirty;
            c.flags.set_dirty(false);
            self.mark_dirty(slot);
            slot = next;
        }
    }

    /// A connection and the rest of the stack as TCP sees it.
    #[inline(always)]
    fn split(&mut self, slot: u32) -> (&mut Connection, Env<'_, 'm>) {
        let conn = self.conns.at_mut(slot);
        conn.write_record(&mut self.segments, &self.sends);
        let ack = AckEnv {
            now: self.now,
            config: self.profiles.at(conn.profile),
            segments: &mut self.segments,
            sends: &mut self.sends,
            recoveries: &mut self.recoveries,
            controls: &mut self.controls,
            counters: &mut self.counters,
            ece: false,
        };
        let env =
            Env { ack, out_of_order: &mut self.out_of_order, challenge: &mut self.challenge, now_ms: self.now_ms };
        (conn, env)
    }

    fn mss_for(&self, path: u8, remote: IpAddr, config: &TcpConfig) -> u16 {
        let mtu = self.paths.get(usize::from(path)).map_or(576, |p| p.queue.caps().mtu);
        crate::tcp::handshake::advertised_mss(mtu, remote.is_ipv6(), config)
    }
}

#[cfg(test)]
mod tests;
