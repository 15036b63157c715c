//! From what a user asks for to a running driver: which stack, on which port, alone or with a server in this process.

mod limit;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use luna_core::tcp::TcpConfig;

use crate::kernel::{KernelConfig, KernelStack};
use crate::limit::Checksums;
use crate::link::{Driver, DriverError, Endpoint};
use crate::machine::{self, PinError};
use crate::mem_pair;
use crate::nic::{DEFAULT_PORT, Nic, NicError};
use crate::report::{Counters, StackReport};
use crate::run::{self, Idle};
use crate::server::Server;
use crate::service::store::{Store, StoreError};
use crate::service::{BlobService, Services};
use crate::storage::Capacity;

pub use limit::UseQueue;

/// Whose TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StackKind {
    /// Luna's, on a port.
    #[default]
    Luna,
    /// The kernel's.
    Kernel,
    /// None at all: the port's frames alone, which is the limit of what a stack can do on it.
    Limit(Checksums),
}

/// For both ends on one machine: they share its cores, and an end that has to wait for one for some milliseconds is no
/// loss; and the window holds 16 messages of 64 KiB. Otherwise as in a data centre.
pub const SAME_HOST: TcpConfig = TcpConfig {
    min_rto: luna_core::time::Duration::from_millis(100),
    initial_rto: luna_core::time::Duration::from_millis(200),
    min_pto: luna_core::time::Duration::from_millis(100),
    rcv_wnd: 1 << 20,
    ..TcpConfig::DATACENTER
};

/// What a transport is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose TCP.
    pub stack: StackKind,
    /// The port; the kernel's stack has none.
    pub nic: Nic,
    /// Settings of Luna's connections; `None`: what suits the port.
    pub tcp: Option<TcpConfig>,
    /// Threads, each with a stack of its own (kernel: sockets of its own) and a port's queue of its own.
    pub threads: usize,
    /// Their CPUs, one after the other and round again; none: they are not pinned.
    pub cpus: Vec<usize>,
    /// Connections of each thread at once.
    pub connections: usize,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The port.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The CPU.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The transport.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The blobs.
    #[error("the blob directory: {0}")]
    Store(#[from] StoreError),
    /// The operating system.
    #[error("{0}")]
    Os(#[from] std::io::Error),
    /// There is no TCP in the limit.
    #[error("--stack limit moves frames only: `luna serve` and `luna knbench` have it")]
    NoStack,
    /// A port for every thread.
    #[error("{0} leaves no ports for all threads: thread N listens on the Nth port after it")]
    TooFewPorts(SocketAddr),
    /// The in-memory pair leads nowhere.
    #[error(
        "--nic mem joins two stacks inside one process, so nobody outside can reach it: {0}, or use --stack kernel or \
         another --nic"
    )]
    MemIsClosed(&'static str),
    /// DPDK.
    #[cfg(feature = "dpdk")]
    #[error(transparent)]
    Dpdk(#[from] crate::dpdk_port::DpdkError),
}

/// What to do with a driver; a closure over its type.
pub trait Use: Sized {
    /// What comes of it.
    type Output;
    /// Does it, with a driver and the address that its server has, if this thread or its counterpart runs one.
    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output;
    /// There is no driver for it; whoever waits for it must not.
    fn abandon(self) {}
}

/// What a server offers.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Where blobs are; `None`: no blobs.
    pub root: Option<PathBuf>,
    /// Connections at once.
    pub connections: usize,
}

/// What a server in this process counted: its stack and its services.
pub type Served = (StackReport, Counters);

impl ServeOptions {
    /// The server, with payload in objs of the driver's.
    ///
    /// # Errors
    /// [`OpenError::Store`].
    pub fn build<D: Driver>(&self, driver: &D) -> Result<Server, OpenError> {
        let blobs = match &self.root {
            Some(root) => Some(BlobService::new(Store::open(root)?, driver.payload_pool())?),
            None => None,
        };
        Ok(Server::new(Services::new(blobs), self.connections))
    }
}

impl Options {
    /// What suits the port, unless it is given. Behind a kernel interface the peer may be Linux, which delays
    /// acknowledgments.
    #[must_use]
    pub fn tcp(&self) -> TcpConfig {
        self.tcp.unwrap_or(match self.nic {
            Nic::AfXdp { .. } => TcpConfig::INTEROP,
            // A window that its ring holds.
            Nic::Mem { .. } => TcpConfig { rcv_wnd: TcpConfig::DATACENTER.rcv_wnd, ..SAME_HOST },
            Nic::Memif { .. } | Nic::Virtio { .. } => SAME_HOST,
        })
    }

    fn capacity(&self) -> Capacity {
        // Connections in TIME-WAIT take places too.
        Capacity { connections: (2 * self.connections).max(64), ..Capacity::default() }
    }

    fn kernel(&self) -> KernelConfig {
        // As over Luna: it is the server that refuses those beyond its limit, and counts them.
        KernelConfig { connections: (2 * self.connections).max(64), ..KernelConfig::default() }
    }

    /// Where a server listens when nothing is said.
    #[must_use]
    pub fn default_listen(&self) -> SocketAddr {
        let ip = self.nic.net().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |net| net.addr.ip);
        SocketAddr::new(ip, DEFAULT_PORT)
    }

    /// Opens a transport that listens on every thread, and uses each. Over the kernel thread `i` listens on the `i`th port
    /// from `listen`'s on; over Luna all listen on the same, each on a queue of its own.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn serve<U: Use<Output: Send> + Send>(
        &self,
        listen: SocketAddr,
        uses: Vec<U>,
    ) -> Result<Vec<U::Output>, OpenError> {
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let config = self.kernel();
                let open = |i: usize| {
                    // Port 0 is a port of the kernel's choice for each.
                    let port = if listen.port() == 0 { Some(0) } else { listen.port().checked_add(i as u16) };
                    move || {
                        let port = port.ok_or(OpenError::TooFewPorts(listen))?;
                        let mut driver = KernelStack::new(config)?;
                        let listen = driver.listen(SocketAddr::new(listen.ip(), port))?;
                        Ok((driver, Some(listen)))
                    }
                };
                self.spread((0..self.threads).map(open).collect(), uses)
            }
            (StackKind::Luna, Nic::Mem { .. }) => {
                Err(OpenError::MemIsClosed("knbench, put and get bring their own server"))
            }
            (StackKind::Luna, _) => self.open_port(Some(listen), uses),
            (StackKind::Limit(_), _) => Err(OpenError::NoStack),
        }
    }

    /// Opens a transport to connect with on every thread, and uses each.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn connect<U: Use<Output: Send> + Send>(&self, uses: Vec<U>) -> Result<Vec<U::Output>, OpenError> {
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let config = self.kernel();
                let open = |_| move || Ok((KernelStack::new(config)?, None));
                self.spread((0..self.threads).map(open).collect(), uses)
            }
            (StackKind::Luna, Nic::Mem { .. }) => {
                Err(OpenError::MemIsClosed("leave out --connect to have a server in this process"))
            }
            (StackKind::Luna, _) => self.open_port(None, uses),
            (StackKind::Limit(_), _) => Err(OpenError::NoStack),
        }
    }

    #[cfg(feature = "dpdk")]
    fn open_port<U: Use<Output: Send> + Send>(
        &self,
        listen: Option<SocketAddr>,
        uses: Vec<U>,
    ) -> Result<Vec<U::Output>, OpenError> {
        // Before DPDK starts: its control threads stay where they are made.
        self.pin(0)?;
        let (port, seeds) = crate::dpdk_port::open(&self.nic, self.threads, listen, self.tcp(), self.capacity())?;
        let opens = seeds.into_iter().map(|seed| move || Ok((seed.open()?, listen))).collect();
        let outputs = self.spread(opens, uses);
        // After the last of its queues.
        drop(port);
        outputs
    }

    #[cfg(not(feature = "dpdk"))]
    fn open_port<U: Use<Output: Send> + Send>(
        &self,
        _listen: Option<SocketAddr>,
        _uses: Vec<U>,
    ) -> Result<Vec<U::Output>, OpenError> {
        Err(NicError::NoDpdk.into())
    }

    /// Each opener and what uses its driver on a thread of its own; a single one on this thread.
    fn spread<D, O, U>(&self, opens: Vec<O>, uses: Vec<U>) -> Result<Vec<U::Output>, OpenError>
    where
        D: Driver,
        O: FnOnce() -> Result<(D, Option<SocketAddr>), OpenError> + Send,
        U: Use<Output: Send> + Send,
    {
        let idle = self.idle(opens.len());
        self.on_threads(opens.into_iter().zip(uses).collect(), |i, (open, to)| {
            match self.pin(i).and_then(|()| open()) {
                Ok((mut driver, addr)) => Ok(to.run(&mut driver, addr, idle)),
                Err(e) => {
                    to.abandon();
                    Err(e)
                }
            }
        })
    }

    /// `f` for each of `work` on a thread of its own; of a single one on this thread. The first error, if there is one.
    fn on_threads<W: Send, R: Send>(
        &self,
        mut work: Vec<W>,
        f: impl Fn(usize, W) -> Result<R, OpenError> + Sync,
    ) -> Result<Vec<R>, OpenError> {
        if work.len() == 1 {
            return work.pop().into_iter().map(|only| f(0, only)).collect();
        }
        let f = &f;
        thread::scope(|scope| {
            let spawn =
                |(i, work)| thread::Builder::new().name(format!("luna {i}")).spawn_scoped(scope, move || f(i, work));
            let threads = work.into_iter().enumerate().map(spawn).collect::<Result<Vec<_>, _>>()?;
            let mut results = Vec::new();
            for thread in threads {
                results.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results.into_iter().collect()
        })
    }

    /// Runs a server in this process for every thread, over an in-memory pair or the loopback interface, and uses the
    /// other end. With CPUs given, both ends of a pair share the thread on theirs; else each end has its own thread where
    /// there are at least two CPUs. What all servers counted comes with the outputs.
    ///
    /// # Errors
    /// [`OpenError`], of either end.
    pub fn embedded<U: Use<Output: Send> + Send>(
        &self,
        serve: &ServeOptions,
        uses: Vec<U>,
    ) -> Result<(Vec<U::Output>, Served), OpenError> {
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let config = self.kernel();
                let pair = |_| {
                    let server = move || {
                        let mut driver = KernelStack::new(config)?;
                        let addr = driver.listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
                        Ok((driver, addr))
                    };
                    (server, move || KernelStack::new(config))
                };
                self.pairs((0..self.threads).map(pair).collect(), serve, uses)
            }
            (StackKind::Luna, Nic::Mem { mtu, checksums }) => {
                let (tcp, capacity) = (self.tcp(), self.capacity());
                let pair = |_| {
                    let (a, b) = mem_pair::pair(*mtu, !*checksums);
                    let server = move || {
                        let mut driver = a.open(tcp, capacity)?;
                        driver.listen(mem_pair::SERVER)?;
                        Ok((driver, mem_pair::SERVER))
                    };
                    (server, move || b.open(tcp, capacity))
                };
                self.pairs((0..self.threads).map(pair).collect(), serve, uses)
            }
            (StackKind::Limit(_), _) => Err(OpenError::NoStack),
            (StackKind::Luna, nic) => {
                nic.supported()?;
                Err(OpenError::Driver(DriverError::Port(format!(
                    "--nic {} needs --connect ADDR:PORT, of a `luna serve` at its other end",
                    nic.kind()
                ))))
            }
        }
    }

    /// Pairs of a server and a client, each pair on a thread or two.
    fn pairs<S, C, SO, CO, U>(
        &self,
        pairs: Vec<(SO, CO)>,
        serve: &ServeOptions,
        uses: Vec<U>,
    ) -> Result<(Vec<U::Output>, Served), OpenError>
    where
        S: Driver,
        C: Driver,
        SO: FnOnce() -> Result<(S, SocketAddr), DriverError> + Send,
        CO: FnOnce() -> Result<C, DriverError> + Send,
        U: Use<Output: Send> + Send,
    {
        let together = !self.cpus.is_empty() || machine::allowed_cpus() < 2;
        let idle = self.idle(if together { pairs.len() } else { 2 * pairs.len() });
        let ends = self.on_threads(pairs.into_iter().zip(uses).collect(), |i, ((server, client), to)| {
            if let Err(e) = self.pin(i) {
                to.abandon();
                return Err(e);
            }
            if together { share(server, client, serve, to, idle) } else { join(server, client, serve, to, idle) }
        })?;
        let (mut outputs, mut all) = (Vec::new(), (StackReport::default(), Counters::new()));
        for (i, (output, (stack, counters))) in ends.into_iter().enumerate() {
            outputs.push(output);
            if i == 0 {
                all.0 = stack;
            } else {
                all.0.add(&stack);
            }
            all.1.add(&counters);
        }
        Ok((outputs, all))
    }

    /// Keeps thread `i` where it belongs.
    fn pin(&self, i: usize) -> Result<(), OpenError> {
        match self.cpus.len() {
            0 => Ok(()),
            n => Ok(self.cpus.get(i % n).map_or(Ok(()), |cpu| machine::pin(*cpu))?),
        }
    }

    /// What `spinners` threads do with idle turns.
    fn idle(&self, spinners: usize) -> Idle {
        let mut cpus = self.cpus.clone();
        cpus.sort_unstable();
        cpus.dedup();
        let cpus = if cpus.is_empty() { machine::allowed_cpus() } else { cpus.len() };
        if spinners > cpus { Idle::Yield } else { Idle::Spin }
    }
}

/// Two drivers turned in one thread: the client's, and the server's with its application.
struct Both<C, S> {
    client: C,
    server: S,
    app: Server,
}

impl<C: Driver, S: Driver> Driver for Both<C, S> {
    #[inline]
    fn turn<E: Endpoint>(&mut self, endpoint: &mut E) -> Result<bool, DriverError> {
        let client = self.client.turn(endpoint)?;
        let server = self.server.turn(&mut self.app)?;
        Ok(client || server)
    }

    fn doze<E: Endpoint>(&mut self, endpoint: &mut E, most: Duration) -> Result<bool, DriverError> {
        let client = self.client.doze(endpoint, most)?;
        Ok(self.server.turn(&mut self.app)? || client)
    }

    fn report(&self) -> StackReport {
        self.client.report()
    }

    fn payload_pool(&self) -> &'static luna_core::zbuf::Pool {
        self.client.payload_pool()
    }

    #[cfg(feature = "cycles")]
    fn count_cycles(&mut self, every: Option<u32>) {
        self.client.count_cycles(every);
        self.server.count_cycles(every);
    }
}

/// Server and client on this thread.
fn share<S: Driver, C: Driver, U: Use>(
    server: impl FnOnce() -> Result<(S, SocketAddr), DriverError>,
    client: impl FnOnce() -> Result<C, DriverError>,
    serve: &ServeOptions,
    to: U,
    idle: Idle,
) -> Result<(U::Output, Served), OpenError> {
    let open = || {
        let (server, addr) = server()?;
        let app = serve.build(&server)?;
        Ok((Both { client: client()?, server, app }, addr))
    };
    match open() {
        Ok((mut both, addr)) => {
            let output = to.run(&mut both, Some(addr), idle);
            Ok((output, (both.server.report(), both.app.counters())))
        }
        Err(e) => {
            to.abandon();
            Err(e)
        }
    }
}

/// Server and client on a thread each, the client on this one.
fn join<S: Driver, C: Driver, U: Use>(
    server: impl FnOnce() -> Result<(S, SocketAddr), DriverError> + Send,
    client: impl FnOnce() -> Result<C, DriverError>,
    serve: &ServeOptions,
    to: U,
    idle: Idle,
) -> Result<(U::Output, Served), OpenError> {
    let stop = AtomicBool::new(false);
    let (ready, is_ready) = mpsc::channel();
    thread::scope(|scope| {
        let stop = &stop;
        let serving = thread::Builder::new().name("luna server".into()).spawn_scoped(scope, move || {
            let (mut driver, addr) = server()?;
            let mut app = serve.build(&driver)?;
            // Nobody listens only when the client's side has failed, and then `stop` is set.
            let _ = ready.send(addr);
            run::run(&mut driver, &mut app, idle, |_| stop.load(Ordering::Relaxed))?;
            Ok::<_, OpenError>((driver.report(), app.counters()))
        })?;
        // Also when the client fails or panics, or the scope would wait for ever.
        let stopper = StopOnDrop(stop);
        let opened = match is_ready.recv() {
            Ok(addr) => client().map(|driver| (driver, addr)).map_err(OpenError::from),
            // The server has failed, and says why below.
            Err(_) => Err(OpenError::Os(std::io::Error::other("the server did not start"))),
        };
        let output = match opened {
            Ok((mut driver, addr)) => Ok(to.run(&mut driver, Some(addr), idle)),
            Err(e) => {
                to.abandon();
                Err(e)
            }
        };
        drop(stopper);
        let served = match serving.join() {
            Ok(served) => served?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((output?, served))
    })
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
