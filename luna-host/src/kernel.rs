//! Kernel TCP under the same RPC sessions: non-blocking sockets, epoll, and Zbuf memory at both ends.
//!
//! `mio` does the polling: its sockets are non-blocking by construction, its epoll is edge-triggered, so one system call
//! tells of a whole burst, and it is the most used of its kind. A turn asks epoll without waiting (busy polling, the
//! strongest form of the competitor), reads straight into objs, calls back, and writes each connection's I/O vectors
//! with one `writev`. Copies made by the kernel are its own business and are not counted.
//!
//! Absent: TLS, UDP, anything but TCP_NODELAY among the options.

mod conn;
mod info;
mod net;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use luna_core::time::{Clock as _, Instant};
use luna_core::zbuf::Pool;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::clock::MonotonicClock;
use crate::link::{Driver, DriverError, Endpoint};
use crate::memory::{self, Pages};
use crate::report::{CopyReport, StackReport, TcpReport};

pub use net::KernelNet;

const LISTENER: Token = Token(usize::MAX);
/// Events of one turn.
const EVENTS: usize = 256;
/// Size of a receive obj; a read fills up to [`net::READ_OBJS`] of them.
const OBJ: u32 = 16 << 10;
/// Connections accepted in one turn.
const ACCEPT_BURST: usize = 16;

/// What a [`KernelStack`] may use.
#[derive(Clone, Copy, Debug)]
pub struct KernelConfig {
    /// Connections at once.
    pub connections: usize,
    /// Objs of 16 KiB for what arrives and, apart from these, as many for payload to send.
    pub objs: usize,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self { connections: 256, objs: 1_024 }
    }
}

/// One thread's kernel sockets.
pub struct KernelStack {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    /// The listener has more connections than one turn takes.
    accept_pending: bool,
    clock: MonotonicClock,
    net: KernelNet,
    payload: &'static Pool,
}

impl KernelStack {
    /// No sockets yet.
    ///
    /// # Errors
    /// [`DriverError`] without memory or descriptors.
    pub fn new(config: KernelConfig) -> Result<Self, DriverError> {
        let poll = Poll::new().map_err(os("epoll"))?;
        let registry = poll.registry().try_clone().map_err(os("epoll"))?;
        let rx = memory::pool(config.objs, OBJ, Pages::Ordinary)?;
        let heads = memory::pool(4_096, 320, Pages::Ordinary)?;
        let payload = Box::leak(Box::new(memory::pool(config.objs, OBJ, Pages::Ordinary)?));
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            listener: None,
            accept_pending: false,
            clock: MonotonicClock::new(),
            net: KernelNet::new(registry, rx, heads, config.connections),
            payload,
        })
    }

    /// Accepts connections to `addr`; returns the address with the port that was given for port 0.
    ///
    /// # Errors
    /// [`DriverError::Listen`].
    pub fn listen(&mut self, addr: SocketAddr) -> Result<SocketAddr, DriverError> {
        let failed = |e: io::Error| DriverError::Listen { addr, reason: listen_reason(&e, addr) };
        let mut listener = TcpListener::bind(addr).map_err(failed)?;
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        self.listener = Some(listener);
        Ok(local)
    }

    /// What the connections' callers may do; for tests and tools outside of callbacks.
    pub fn net(&mut self) -> &mut KernelNet {
        &mut self.net
    }

    fn run<E: Endpoint>(&mut self, endpoint: &mut E, wait: Duration) -> Result<bool, DriverError> {
        let wait = if self.net.has_work() || self.accept_pending { Duration::ZERO } else { wait };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(e) => return Err(os("epoll_wait")(e)),
        }
        let now: Instant = self.clock.now();
        self.net.set_now(now);
        for event in &self.events {
            match event.token() {
                LISTENER => self.accept_pending = true,
                Token(slot) => self.net.note(slot, event),
            }
        }
        let mut busy = !self.events.is_empty();
        if self.accept_pending {
            self.accept(endpoint);
        }
        busy |= self.net.take_in(endpoint);
        endpoint.poll(&mut self.net);
        busy |= self.net.send_out(endpoint);
        self.net.bury(endpoint);
        Ok(busy)
    }

    fn accept<E: Endpoint>(&mut self, endpoint: &mut E) {
        let Some(listener) = &self.listener else { return };
        for _ in 0..ACCEPT_BURST {
            match listener.accept() {
                Ok((stream, remote)) => self.net.accepted(stream, remote, endpoint),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_pending = false;
                    return;
                }
                // The connection that failed is gone; out of descriptors, the others wait in the kernel's queue.
                Err(e) => {
                    log::warn!("accept: {e}");
                    self.net.accept_failed();
                    return;
                }
            }
        }
    }
}

impl Driver for KernelStack {
    fn turn<E: Endpoint>(&mut self, endpoint: &mut E) -> Result<bool, DriverError> {
        self.run(endpoint, Duration::ZERO)
    }

    fn doze<E: Endpoint>(&mut self, endpoint: &mut E, most: Duration) -> Result<bool, DriverError> {
        self.run(endpoint, most)
    }

    fn report(&self) -> StackReport {
        let net = &self.net;
        StackReport {
            stack: "kernel",
            nic: None,
            port: None,
            // Linux tells an application its retransmissions, but not which of them were timeouts.
            tcp: TcpReport { retransmits: net.retransmits(), rtos: None, others: net.counters() },
            drops: net.refusals(),
            queue: net.io_counters(),
            copies: CopyReport::default(),
            #[cfg(feature = "cycles")]
            cycles: None,
        }
    }

    fn payload_pool(&self) -> &'static Pool {
        self.payload
    }
}

fn os(what: &'static str) -> impl Fn(io::Error) -> DriverError {
    move |source| DriverError::Os { what, source }
}

fn listen_reason(e: &io::Error, addr: SocketAddr) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse => format!("port {} is in use; `ss -ltnp` tells by whom", addr.port()),
        io::ErrorKind::AddrNotAvailable => format!("this machine does not have the address {}", addr.ip()),
        io::ErrorKind::PermissionDenied => "ports below 1024 need root".into(),
        _ => e.to_string(),
    }
}
