//! One core's loop.

use core::fmt;

use luna_core::Counters;
use luna_core::nic::{NicQueue, QueueStats};
use luna_core::stack::{Bind, ConfigError, Connect, PathId, Stack, StackConfig, Storage, Turn};
use luna_core::tcp::TcpConfig;
use luna_core::time::{Clock, Duration, Instant};
use luna_core::zbuf::Pool;

use super::app::{NodeApp, Sessions};
use super::bench::Bench;
use super::bench_types::{BenchError, BenchReport};
use super::settings::{Peers, Settings};
use crate::control::{Attended, Control, ControlConfig, ControlError, Event, NetArgs, SplitQueue};
use crate::lossy::Lossy;
use crate::parts::CLIENT;

/// Frames of one turn.
const BUDGET: usize = 256;
/// How long a node goes on after its work, for the last acknowledgments.
const LINGER: Duration = Duration::from_millis(50);

/// What a node is made of.
pub struct NodeParts<Q> {
    /// Its number: of the core, the queue and the stack.
    pub id: u8,
    /// The queue, its driver's.
    pub queue: Q,
    /// Tables of the stack.
    pub storage: Storage<'static>,
    /// Sessions.
    pub sessions: Sessions,
    /// Objs for the benchmark's payload.
    pub payload: &'static Pool,
    /// What to do.
    pub settings: Settings,
    /// The interface.
    pub net: NetArgs,
    /// Unpredictable.
    pub seed: [u8; 32],
}

/// Why a node cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeError {
    /// The stack.
    Stack(ConfigError),
    /// The control plane.
    Control(ControlError),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(e) => write!(f, "{e}"),
            Self::Control(e) => write!(f, "{e}"),
        }
    }
}

impl core::error::Error for NodeError {}

/// How a node ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The benchmark is done.
    Bench(BenchReport),
    /// It failed.
    Failed(BenchError),
    /// As many connections as wanted came and went.
    Served,
    /// The caller stopped it.
    Stopped,
}

/// What a node counted.
#[derive(Clone, Copy, Debug)]
pub struct NodeReport {
    /// How it ended.
    pub ending: Ending,
    /// Requests answered.
    pub served: u64,
    /// Connections refused because all sessions were in use, and aborted because the peer broke the protocol.
    pub refused: (u64, u64),
    /// The queue's.
    pub queue: QueueStats,
    /// The stack's.
    pub counters: Counters,
    /// Frames lost on purpose.
    pub lost: u64,
    /// Payload bytes that the stack copied.
    pub copied: u64,
}

/// A node.
pub struct Node<Q, C> {
    stack: Stack<'static, SplitQueue<Lossy<Q>>>,
    path: PathId,
    control: Control,
    app: Attended<NodeApp>,
    clock: C,
    settings: Settings,
    started: Instant,
    connected: bool,
    done_since: Option<Instant>,
}

impl<Q: NicQueue, C: Clock> Node<Q, C> {
    /// A node that has not begun.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn new(parts: NodeParts<Q>, clock: C) -> Result<Self, NodeError> {
        let NodeParts { id, queue, storage, sessions, payload, settings, net, seed } = parts;
        let now = clock.now();
        let caps = *queue.caps();
        let word = u64::from_le_bytes(*seed.last_chunk().unwrap_or(&[0; 8]));
        let control = ControlConfig { mac: caps.mac, mtu: caps.mtu, net, seed: word };
        let control = Control::new(&control, now).map_err(NodeError::Control)?;
        let tcp = match settings.tcp {
            Peers::Any => TcpConfig::INTEROP,
            Peers::Luna => TcpConfig::DATACENTER,
        };
        let config = StackConfig { id, seed, tcp };
        let mut stack = Stack::new(config, storage, now).map_err(NodeError::Stack)?;
        let queue = SplitQueue::new(Lossy::new(queue, settings.loss, word));
        let path = stack.add_path(queue, control.path_config()).map_err(NodeError::Stack)?;
        for (ip, mac) in settings.peers.into_iter().flatten() {
            let known = stack.cx(now).neighbor(path, ip, Some(mac));
            debug_assert!(known, "the table is empty");
        }
        if settings.listen != 0 && settings.connect.is_none() {
            // The only listener, on every address that the path will have.
            let listening = stack.cx(now).listen(Bind::port(settings.listen), 0);
            debug_assert!(listening.is_ok());
        }
        let bench = settings.connect.and_then(|_| Bench::new(settings, payload));
        let app = Attended::new(NodeApp::new(sessions, bench));
        Ok(Self { stack, path, control, app, clock, settings, started: now, connected: false, done_since: None })
    }

    /// Turns until the work is done or `idle` returns false. `idle` is asked after each turn that had nothing to do, with
    /// the moment until which that stays so if nothing arrives; `tell` gets what is of note.
    pub fn run(
        &mut self,
        mut tell: impl FnMut(Event),
        mut idle: impl FnMut(&mut SplitQueue<Lossy<Q>>, Instant) -> bool,
    ) -> NodeReport {
        let ending = loop {
            let now = self.clock.now();
            let (busy, next) = self.turn(now, &mut tell);
            if let Some(ending) = self.ending(now) {
                break ending;
            }
            if !busy
                && let Some(queue) = self.stack.queue_mut(self.path)
                && !idle(queue, next)
            {
                break Ending::Stopped;
            }
        };
        self.report(ending)
    }

    /// One turn. How it ended, if it did, and how many requests of the benchmark's were answered so far.
    #[cfg(feature = "client")]
    pub(super) fn step(&mut self, tell: &mut impl FnMut(Event)) -> (Option<Ending>, u32) {
        let now = self.clock.now();
        self.turn(now, tell);
        (self.ending(now), self.app.app.bench.as_ref().map_or(0, |bench| bench.report().completed))
    }

    /// One turn: the stack's, the application's, the control plane's. Whether there was anything to do, and until when not.
    fn turn(&mut self, now: Instant, tell: &mut impl FnMut(Event)) -> (bool, Instant) {
        let turn = self.stack.turn(now, BUDGET, &mut self.app);
        self.app.app.poll(&mut self.stack.cx(now));
        let mut addressed = false;
        let next = self.control.turn(now, &mut self.stack, self.path, &mut self.app, |_, event| {
            addressed |= matches!(event, Event::Address(..));
            tell(event);
        });
        if !self.connected && (addressed || !self.control.path_config().addrs.is_empty()) {
            self.connect(now);
        }
        match turn {
            Turn::Busy => (true, now),
            Turn::IdleUntil(at) => (false, at.min(next)),
        }
    }

    /// Begins the benchmark, once there is an address of the server's family.
    #[cold]
    fn connect(&mut self, now: Instant) {
        // Only the benchmark's client connects.
        let Some(remote) = self.settings.connect.filter(|_| CLIENT) else {
            self.connected = true;
            return;
        };
        let path = self.control.path_config();
        if !path.addrs.iter().any(|a| a.addr.is_ipv4() == remote.is_ipv4()) {
            return;
        }
        self.connected = true;
        let app = &mut self.app.app;
        match self.stack.cx(now).connect(Connect::to(remote)) {
            Ok(conn) => {
                let user = app.open(conn, true);
                let _ = self.stack.cx(now).set_user(conn, user.unwrap_or(u64::MAX));
            }
            Err(e) => {
                if let Some(bench) = &mut app.bench {
                    bench.fail(BenchError::Unreachable(e));
                }
                app.bench_closed = true;
            }
        }
    }

    fn ending(&mut self, now: Instant) -> Option<Ending> {
        let app = &mut self.app.app;
        let done = match &mut app.bench {
            Some(bench) => {
                let patience = Duration::from_secs(u64::from(self.settings.patience));
                if !app.bench_closed && now.since(self.started) > patience {
                    bench.fail(BenchError::Patience);
                    app.bench_closed = true;
                }
                app.bench_closed
            }
            None => self.settings.until != 0 && app.gone >= self.settings.until,
        };
        if !done || now.since(*self.done_since.get_or_insert(now)) < LINGER {
            return None;
        }
        Some(match &app.bench {
            Some(bench) => bench.failure().map_or(Ending::Bench(bench.report()), Ending::Failed),
            None => Ending::Served,
        })
    }

    pub(super) fn report(&mut self, ending: Ending) -> NodeReport {
        let copies = *self.stack.copies();
        let counters = *self.stack.counters();
        let app = &self.app.app;
        let (served, refused) = (app.served(), (app.refused, app.protocol_errors));
        let (queue, lost) = match self.stack.queue_mut(self.path) {
            Some(queue) => (queue.stats(), queue.inner().lost()),
            None => (QueueStats::default(), 0),
        };
        let copied = copies.small.bytes + copies.foreign.bytes + queue.rx_copied.bytes + queue.tx_copied.bytes;
        NodeReport { ending, served, refused, queue, counters, lost, copied }
    }
}
