//! Luna's own stack under the portable interface of [`crate::link`]: one thread, one stack, one port's queue.
//!
//! What arrives goes from the queue through TCP and the RPC session to the application within one call of `turn`, and
//! what the callbacks send leaves at the burst's end. Neighbours that the stack misses are asked of the kernel's table
//! where the port has one.

mod app;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use luna_core::nic::{NicQueue, QueueStats};
use luna_core::stack::{Bind, ListenError, PathConfig, PathId, Stack, StackConfig, Turn};
use luna_core::tcp::TcpConfig;
use luna_core::time::{Clock as _, Instant};
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;

use app::{Adapter, CxLink};

use crate::clock::{self, MonotonicClock};
use crate::link::{Driver, DriverError, Endpoint};
use crate::neighbor::Neighbors;
use crate::report::{CopyReport, Counters, PortReport, StackReport, TcpReport};
use crate::storage::Capacity;

/// Frames of one turn.
const BUDGET: usize = 256;

/// What a [`LunaStack`] is made of, beside its queue.
pub struct LunaConfig {
    /// The port, for reports.
    pub nic: String,
    /// Addresses and gateways.
    pub path: PathConfig,
    /// Hardware addresses that are known.
    pub neighbors: Vec<(IpAddr, MacAddr)>,
    /// The kernel's table, where the others come from.
    pub kernel: Option<Neighbors>,
    /// Settings of connections.
    pub tcp: TcpConfig,
    /// Sizes of the tables.
    pub capacity: Capacity,
    /// Objs for payload, in memory that the port reaches.
    pub payload: &'static Pool,
}

/// A stack with its queue.
pub struct LunaStack<Q> {
    stack: Stack<'static, Q>,
    path: PathId,
    clock: MonotonicClock,
    kernel: Option<Neighbors>,
    payload: &'static Pool,
    nic: String,
    port: PortReport,
    idle_until: Instant,
    #[cfg(feature = "cycles")]
    count: bool,
}

impl<Q: NicQueue> LunaStack<Q> {
    /// A stack on `queue`.
    ///
    /// # Errors
    /// [`DriverError::Port`] when queue, addresses and sizes do not go together.
    pub fn new(queue: Q, config: LunaConfig) -> Result<Self, DriverError> {
        let LunaConfig { nic, path, neighbors, kernel, tcp, capacity, payload } = config;
        let port = |e: &dyn core::fmt::Display| DriverError::Port(format!("{nic}: {e}"));
        let seed = clock::seed().map_err(|e| port(&e))?;
        let clock = MonotonicClock::new();
        let port_report = PortReport::from(queue.caps());
        let config = StackConfig { id: 0, seed, tcp };
        let mut stack = Stack::new(config, capacity.leak(), clock.now()).map_err(|e| port(&e))?;
        let path = stack.add_path(queue, path).map_err(|e| port(&e))?;
        let mut cx = stack.cx(clock.now());
        for (ip, mac) in neighbors {
            if !cx.neighbor(path, ip, Some(mac)) {
                return Err(port(&"more peers than the neighbour table holds"));
            }
        }
        Ok(Self {
            stack,
            path,
            clock,
            kernel,
            payload,
            nic,
            port: port_report,
            idle_until: Instant::ZERO,
            #[cfg(feature = "cycles")]
            count: false,
        })
    }

    /// Accepts connections to `addr`; an unspecified address stands for all of the port's.
    ///
    /// # Errors
    /// [`DriverError::Listen`].
    pub fn listen(&mut self, addr: SocketAddr) -> Result<(), DriverError> {
        let ip = Some(addr.ip()).filter(|ip| !ip.is_unspecified());
        let bind = Bind { addr: ip, ..Bind::port(addr.port()) };
        let listened = self.stack.cx(self.clock.now()).listen(bind, 0);
        listened.map(drop).map_err(|e| {
            let hint = match e {
                ListenError::NotOurAddress => "; --listen has to be the address in --nic",
                _ => "",
            };
            DriverError::Listen { addr, reason: format!("{e}{hint}") }
        })
    }

    /// The stack itself, for tests and tools.
    pub fn stack(&mut self) -> &mut Stack<'static, Q> {
        &mut self.stack
    }

    /// Its queue, for tests and tools.
    pub fn queue(&mut self) -> Option<&mut Q> {
        self.stack.queue_mut(self.path)
    }

    fn learn(&mut self) {
        if let Some(kernel) = &self.kernel {
            while let Some(update) = kernel.poll() {
                if !self.stack.cx(self.clock.now()).neighbor(self.path, update.ip, update.mac) {
                    log::warn!("the neighbour table is full: {} is not learned", update.ip);
                }
            }
        }
    }
}

impl<Q: NicQueue> Driver for LunaStack<Q> {
    #[inline]
    fn turn<E: Endpoint>(&mut self, endpoint: &mut E) -> Result<bool, DriverError> {
        let now = self.clock.now();
        let turn = self.stack.turn(now, BUDGET, &mut Adapter { endpoint, kernel: self.kernel.as_ref() });
        endpoint.poll(&mut CxLink(&mut self.stack.cx(now)));
        if let Turn::IdleUntil(at) = turn {
            self.idle_until = at;
            // Only a quiet turn looks at the kernel's table: whoever waits for a neighbour is quiet.
            if self.kernel.is_some() {
                self.learn();
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn doze<E: Endpoint>(&mut self, endpoint: &mut E, most: Duration) -> Result<bool, DriverError> {
        if self.turn(endpoint)? {
            return Ok(true);
        }
        let until_timer = Duration::from_nanos(self.idle_until.since(self.clock.now()).as_nanos());
        // There is nothing that wakes a sleeper when a frame arrives, so it sleeps for short.
        std::thread::sleep(most.min(until_timer));
        self.turn(endpoint)
    }

    fn report(&self) -> StackReport {
        let c = self.stack.counters();
        let queue = self.stack.queue_stats(self.path).unwrap_or_default();
        let copies = self.stack.copies();
        // What the port copies and what the stack copies; heads of RPC frames are no payload.
        let tx = copies.small.bytes + copies.foreign.bytes + queue.tx_copied.bytes;
        let mut report = StackReport {
            stack: "luna",
            nic: Some(self.nic.clone()),
            port: Some(self.port),
            tcp: TcpReport { retransmits: Some(c.retransmits), rtos: Some(c.rtos), others: Counters::new() },
            drops: Counters::new(),
            queue: queue_counters(&queue),
            copies: CopyReport::new(tx, c.bytes_out, queue.rx_copied.bytes, c.bytes_in),
            #[cfg(feature = "cycles")]
            cycles: self.count.then(|| self.stack.cycles().into()),
        };
        for (name, value) in c.iter() {
            match name {
                "retransmits" | "rtos" => {}
                _ if is_event(name) => report.tcp.others.push(name, value),
                _ => report.drops.push(name, value),
            }
        }
        report.tcp.others.push("rpc_header_bytes_copied", copies.header.bytes);
        report
    }

    fn payload_pool(&self) -> &'static Pool {
        self.payload
    }

    #[cfg(feature = "cycles")]
    fn count_cycles(&mut self, every: Option<u32>) {
        self.count = every.is_some();
        self.stack.count_cycles(every.map(crate::cycles::counter));
    }
}

/// Counters that tell what was done or seen, rather than what was dropped or refused.
const EVENTS: [&str; 49] = [
    "segments_in",
    "segments_out",
    "fast_path",
    "bytes_in",
    "bytes_out",
    "acks_out",
    "active_opens",
    "passive_opens",
    "established",
    "fast_recoveries",
    "tlp_probes",
    "repair_probes",
    "tlp_recoveries",
    "rack_timeouts",
    "reorderings",
    "lost_retransmits",
    "speculative",
    "undos_eifel",
    "undos_frto",
    "undos_dsack",
    "dsacks_in",
    "dsacks_out",
    "reneged",
    "syn_retransmits",
    "window_probes",
    "icmp_in",
    "pmtu_lowered",
    "black_holes",
    "pmtu_raised",
    "keepalives",
    "rtt_samples",
    "out_of_order",
    "fins_ahead",
    "challenge_acks",
    "resets_in",
    "resets_out",
    "timeouts",
    "syn_cookies_out",
    "syn_cookies_in",
    "ecn_agreed",
    "ce_in",
    "ece_in",
    "ecn_cuts",
    "telemetry_in",
    "idle_decays",
    "paced",
    "clock_jumps",
    "timers_held",
    "revoked",
];

fn is_event(name: &str) -> bool {
    EVENTS.contains(&name)
}

pub(crate) fn queue_counters(q: &QueueStats) -> Counters {
    [
        ("rx_frames", q.rx_frames),
        ("rx_bytes", q.rx_bytes),
        ("tx_frames", q.tx_frames),
        ("tx_bytes", q.tx_bytes),
        ("rx_no_obj", q.rx_no_obj),
        ("rx_too_long", q.rx_too_long),
        ("tx_dropped", q.tx_dropped),
        ("rx_copied_bytes", q.rx_copied.bytes),
        ("tx_copied_bytes", q.tx_copied.bytes),
    ]
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use luna_core::Counters;
    use luna_core::wire::ParseError;

    use super::EVENTS;

    /// What was dropped or refused. Who adds a counter says here or above what it is.
    const DROPS: [&str; 29] = [
        "bad_sacks",
        "sack_walks_cut",
        "recovery_full",
        "bad_tsecr",
        "icmp_ignored",
        "icmp_refusals",
        "duplicates",
        "outside_window",
        "paws",
        "bad_ack",
        "challenge_acks_limited",
        "unexpected",
        "out_of_order_full",
        "over_budget",
        "no_connection",
        "connections_full",
        "backlog_full",
        "syn_cookies_later",
        "syn_cookies_bad",
        "not_ours",
        "not_unicast",
        "tx_queue_full",
        "no_header_obj",
        "no_segment_record",
        "sends_refused",
        "no_neighbor",
        "data_after_close",
        "controls_full",
        "telemetry_refused",
    ];

    #[test]
    fn every_counter_is_told_as_an_event_or_as_a_drop() {
        let malformed: Vec<_> = ParseError::ALL.iter().map(|e| e.key()).collect();
        let apart = ["retransmits", "rtos"];
        let told = || EVENTS.iter().chain(&DROPS).chain(&apart).chain(&malformed);
        let all: Vec<_> = Counters::default().iter().map(|(name, _)| name).collect();
        for name in &all {
            assert_eq!(told().filter(|t| *t == name).count(), 1, "{name}");
        }
        assert_eq!(told().count(), all.len(), "of a counter that there is none any more");
    }
}
