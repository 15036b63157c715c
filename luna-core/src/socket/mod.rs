//! TCP as ordinary sockets over bare IP packets, with a clock that the caller sets: what embedders, script runners and
//! conformance suites drive.
//!
//! [`Sockets`] is a [`Stack`] with one path whose queue is the caller: [`Sockets::input`] takes an IP packet in,
//! [`Sockets::output`] gives the next one to send, [`Sockets::poll`] fires timers, [`Sockets::poll_at`] says when. The same
//! code runs as under DPDK; only the loop is somebody else's. Nothing blocks, nothing is allocated: memory, time and entropy
//! are the caller's, every table is bounded, and a full one is an answer.
//!
//! Calls mean what they mean to a kernel's sockets: `send` takes what there is room for, `recv` gives what there is and 0 at
//! the end, unread data closes the window, an error is reported once, `close` with unread data resets. Every constant is
//! a setting ([`TcpConfig`]), by socket.
//!
//! | file | what |
//! | --- | --- |
//! | `queue` | the caller as a NIC queue |
//! | `table` | the sockets, and what the stack tells them |
//! | `recv` | unread data, and how it closes the window |
//! | `life` | socket, bind, listen, connect, accept, shutdown, close, abort |
//! | `transfer` | send and recv, copying and by reference |
//! | `options` | settings |
//! | `look` | states, readiness, statistics |
//!
//! Absent: blocking calls, urgent data, `SO_LINGER` with a time, ancillary data, UDP, fragments.
//!
//! `examples/back_to_back.rs` joins two of them by nothing but a list of packets.

mod error;
mod life;
mod look;
mod options;
mod queue;
mod recv;
mod table;
mod transfer;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

pub use error::{SendZbufError, SetupError, SocketError};
pub use life::Shutdown;
pub use look::{Ready, SocketState};
pub use options::{KeepAlive, SocketOption};
pub use queue::{HEADROOM, InputError, TxPacket};
pub use recv::{Accounting, RecvChunk};
pub use table::{SocketId, SocketSlot, SocketStats};

use crate::counters::Counters;
use crate::stack::{CLIENT_PORTS, Cidr, PathConfig, PathId, Stack, StackConfig, Storage, Turn};
use crate::tcp::TcpConfig;
use crate::time::{Duration, Instant};
use crate::zbuf::{Pool, Zbuf, ZbufMut, copy_counted};
use queue::{IpQueue, THERE};
use table::Table;

/// What a set of sockets is like.
#[derive(Clone, Debug)]
pub struct SocketsConfig<'a> {
    /// Number of the stack below.
    pub id: u8,
    /// Unpredictable bytes: keys of sequence numbers, timestamps and ports.
    pub seed: [u8; 32],
    /// Largest packet of the link.
    pub mtu: u16,
    /// Our addresses. Everybody else is reached through the caller.
    pub addrs: &'a [IpAddr],
    /// Settings of sockets that have no others.
    pub tcp: TcpConfig,
    /// Ports for sockets that do not ask for one.
    pub ports: RangeInclusive<u16>,
    /// How unread data counts.
    pub accounting: Accounting,
}

impl<'a> SocketsConfig<'a> {
    /// With these addresses, an MTU of 1500 and `tcp`.
    #[must_use]
    pub const fn new(addrs: &'a [IpAddr], seed: [u8; 32], tcp: TcpConfig) -> Self {
        Self { id: 0, seed, mtu: 1500, addrs, tcp, ports: CLIENT_PORTS, accounting: Accounting::Bytes }
    }
}

/// The caller's memory. A pool of objs comes with it: each packet in and out, each piece of unread data and of data being
/// sent takes one.
pub struct SocketsStorage<'m> {
    /// The tables of TCP; at least 2 neighbours.
    pub stack: Storage<'m>,
    /// Sockets: listeners, connections and those closed ones whose connection is not over.
    pub sockets: &'m mut [SocketSlot],
    /// Pieces of unread data. `2 * rcv_wnd / obj size + 2` for each socket are always enough; with fewer, a connection that
    /// would need more is reset, and counted.
    pub chunks: &'m mut [RecvChunk],
    /// Packets that wait for [`Sockets::output`].
    pub packets: &'m mut [TxPacket],
}

/// TCP sockets over bare IP packets.
pub struct Sockets<'m> {
    stack: Stack<'m, IpQueue<'m>>,
    table: Table<'m>,
    path: PathId,
    pool: &'m Pool,
    ports: RangeInclusive<u16>,
    /// Where the search for a free port to listen on begins.
    next_port: u16,
    now: Instant,
    poll_at: Instant,
    /// The stack had more to send than there was room for.
    stalled: bool,
}

/// Turns at one moment before the rest is left to the next call.
const MAX_TURNS: usize = 64;
/// When to try again after that.
const RETRY: Duration = Duration::from_millis(1);

impl<'m> Sockets<'m> {
    /// No socket yet, at `now`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        config: SocketsConfig<'_>,
        storage: SocketsStorage<'m>,
        pool: &'m Pool,
        now: Instant,
    ) -> Result<Self, SetupError> {
        let SocketsStorage { stack, sockets, chunks, packets } = storage;
        if sockets.is_empty() || chunks.is_empty() || packets.is_empty() || stack.neighbors.len() < 2 {
            return Err(SetupError::EmptyTable);
        }
        if pool.data_capacity() < u32::from(config.mtu) + HEADROOM {
            return Err(SetupError::ObjTooSmall);
        }
        let tcp = options::effective(&config.tcp, config.accounting);
        let stack_config = StackConfig { id: config.id, seed: config.seed, tcp };
        let mut stack = Stack::new(stack_config, stack, now).map_err(SetupError::Stack)?;
        // All others are beyond a gateway, one for each family; which addresses these have nobody sees.
        let gateways: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let [gateway_v4, gateway_v6] = gateways.map(Some);
        let mut path = PathConfig { gateway_v4, gateway_v6, ..PathConfig::default() };
        for addr in config.addrs {
            let prefix = if addr.is_ipv4() { 32 } else { 128 };
            path.addrs.push(Cidr { addr: *addr, prefix }).map_err(|_| SetupError::TooManyAddresses)?;
        }
        let queue = IpQueue::new(pool, config.mtu, packets);
        if path.addrs.is_empty() {
            return Err(SetupError::Stack(crate::stack::ConfigError::NoAddress));
        }
        let path = stack.add_path(queue, path).map_err(SetupError::Stack)?;
        for gateway in gateways {
            stack.cx(now).neighbor(path, gateway, Some(THERE));
        }
        let [a, b, ..] = config.seed;
        Ok(Self {
            stack,
            table: Table::new(sockets, chunks, config.accounting),
            path,
            pool,
            next_port: u16::from_be_bytes([a, b]),
            ports: config.ports,
            now,
            poll_at: Instant::FAR,
            stalled: false,
        })
    }

    /// Takes in one IPv4 or IPv6 packet that arrived. What TCP makes of it, bad checksums included, is in
    /// [`Sockets::counters`].
    ///
    /// # Errors
    /// [`InputError`]; the packet is lost.
    pub fn input(&mut self, now: Instant, packet: &[u8]) -> Result<(), InputError> {
        let copy = |pool: &Pool| {
            let mut obj = pool.alloc_with_headroom(HEADROOM).ok_or(InputError::NoObj)?;
            let len = u32::try_from(packet.len()).map_err(|_| InputError::TooLong)?;
            let to = obj.append(len).ok_or(InputError::TooLong)?;
            to.copy_from_slice(packet);
            Ok(obj)
        };
        let obj = copy(self.pool).inspect_err(|e| self.count(*e))?;
        self.input_zbuf(now, obj)
    }

    /// As [`Sockets::input`], without the copy: `packet` has [`HEADROOM`].
    ///
    /// # Errors
    /// [`InputError`]; the packet is lost.
    pub fn input_zbuf(&mut self, now: Instant, packet: ZbufMut) -> Result<(), InputError> {
        self.now = self.now.max(now);
        let path = self.path;
        let put = self.stack.queue_mut(path).map_or(Err(InputError::NoObj), |queue| queue.put(packet));
        put.inspect_err(|e| self.count(*e))?;
        self.table.stats.packets_in += 1;
        self.pump();
        Ok(())
    }

    fn count(&mut self, e: InputError) {
        let stats = &mut self.table.stats;
        *match e {
            InputError::BadVersion => &mut stats.bad_version,
            InputError::TooLong => &mut stats.too_long,
            InputError::NoObj => &mut stats.no_obj,
        } += 1;
    }

    /// Copies the next packet to send into `buf` and returns its length; `None` when none waits, or when `buf` is smaller
    /// than the MTU and it does not fit.
    pub fn output(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let len = self.stack.queue_mut(self.path)?.next_len()? as usize;
        let to = buf.get_mut(..len)?;
        let packet = self.output_zbuf(now)?;
        to.copy_from_slice(&packet);
        Some(len)
    }

    /// The next packet to send, in the obj that it was laid out in.
    pub fn output_zbuf(&mut self, now: Instant) -> Option<Zbuf> {
        let packet = self.stack.queue_mut(self.path)?.take()?;
        self.table.stats.packets_out += 1;
        if self.stalled {
            self.now = self.now.max(now);
            self.pump();
        }
        Some(packet)
    }

    /// Fires the timers that are due; when the next are.
    pub fn poll(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.pump();
        self.poll_at
    }

    /// When to call [`Sockets::poll`] at the latest; [`Instant::FAR`] for never.
    #[must_use]
    pub fn poll_at(&self) -> Instant {
        self.poll_at
    }

    /// The clock moves on before a call acts: what was due until then happens first.
    fn advance(&mut self, now: Instant) {
        if now > self.now {
            self.now = now;
            self.pump();
        }
    }

    /// Turns the stack until it has nothing to do at this moment.
    fn pump(&mut self) {
        for _ in 0..MAX_TURNS {
            if let Turn::IdleUntil(at) = self.stack.turn(self.now, usize::MAX, &mut self.table) {
                self.poll_at = at;
                self.stalled = false;
                return;
            }
            if self.stack.queue_mut(self.path).is_some_and(|queue| queue.is_full()) {
                break;
            }
        }
        self.stalled = true;
        self.poll_at = self.now + RETRY;
    }

    /// Counters of TCP: everything dropped or refused, by reason.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.stack.counters()
    }

    /// Counters of this surface.
    #[must_use]
    pub fn stats(&self) -> &SocketStats {
        &self.table.stats
    }

    /// Socket slots in use, those of closed sockets whose connection is not over included.
    #[must_use]
    pub fn sockets(&self) -> usize {
        (self.table.slots.capacity() - self.table.slots.available()) as usize
    }

    /// Connections of TCP, those in TIME-WAIT included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.stack.connections()
    }
}

/// What was copied, with its reason.
fn copy_out(to: &mut [u8], from: &[u8], stats: &mut SocketStats) -> usize {
    copy_counted(to, from, &mut stats.received_copies)
}

#[cfg(test)]
mod tests;
