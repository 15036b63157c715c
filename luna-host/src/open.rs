//! From what a user asks for to a running driver: which stack, on which port, alone or with a server in this process.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use luna_core::tcp::TcpConfig;

use crate::kernel::{KernelConfig, KernelStack};
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

/// Whose TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StackKind {
    /// Luna's, on a port.
    #[default]
    Luna,
    /// The kernel's.
    Kernel,
}

/// For both ends on one machine: they share its cores, and an end that has to wait for one for some milliseconds is no
/// loss. Otherwise as in a data centre.
pub const SAME_HOST: TcpConfig = TcpConfig {
    min_rto: luna_core::time::Duration::from_millis(100),
    initial_rto: luna_core::time::Duration::from_millis(200),
    min_pto: luna_core::time::Duration::from_millis(100),
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
    /// The CPU of this thread.
    pub cpu: Option<usize>,
    /// Connections at once.
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
pub trait Use {
    /// What comes of it.
    type Output;
    /// Does it, with a driver and the address that its server has, if this process runs one.
    fn run<D: Driver>(self, driver: &mut D, server: Option<SocketAddr>, idle: Idle) -> Self::Output;
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
            Nic::Mem { .. } | Nic::Memif { .. } | Nic::Virtio { .. } => SAME_HOST,
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

    /// Opens a transport that listens, and uses it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn serve<U: Use>(&self, listen: SocketAddr, to: U) -> Result<U::Output, OpenError> {
        self.pin()?;
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let mut driver = KernelStack::new(self.kernel())?;
                let listen = driver.listen(listen)?;
                Ok(to.run(&mut driver, Some(listen), Idle::for_spinners(1)))
            }
            (StackKind::Luna, Nic::Mem { .. }) => {
                Err(OpenError::MemIsClosed("knbench, put and get bring their own server"))
            }
            (StackKind::Luna, _) => self.open_port(Some(listen), to),
        }
    }

    /// Opens a transport to connect with, and uses it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn connect<U: Use>(&self, to: U) -> Result<U::Output, OpenError> {
        self.pin()?;
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let mut driver = KernelStack::new(self.kernel())?;
                Ok(to.run(&mut driver, None, Idle::for_spinners(1)))
            }
            (StackKind::Luna, Nic::Mem { .. }) => {
                Err(OpenError::MemIsClosed("leave out --connect to have a server in this process"))
            }
            (StackKind::Luna, _) => self.open_port(None, to),
        }
    }

    #[cfg(feature = "dpdk")]
    fn open_port<U: Use>(&self, listen: Option<SocketAddr>, to: U) -> Result<U::Output, OpenError> {
        let mut driver = crate::dpdk_port::open(&self.nic, listen, self.tcp(), self.capacity())?;
        Ok(to.run(&mut driver, listen, Idle::for_spinners(1)))
    }

    #[cfg(not(feature = "dpdk"))]
    fn open_port<U: Use>(&self, _listen: Option<SocketAddr>, _to: U) -> Result<U::Output, OpenError> {
        Err(NicError::NoDpdk.into())
    }

    /// Runs a server in this process, over the in-memory pair or the loopback interface, and uses the other end.
    ///
    /// # Errors
    /// [`OpenError`], of either end.
    pub fn embedded<U: Use>(&self, serve: &ServeOptions, to: U) -> Result<(U::Output, Served), OpenError> {
        self.pin()?;
        match (self.stack, &self.nic) {
            (StackKind::Kernel, _) => {
                let config = self.kernel();
                let server = move || {
                    let mut driver = KernelStack::new(config)?;
                    let addr = driver.listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
                    Ok((driver, addr))
                };
                join(server, || KernelStack::new(config), serve, to)
            }
            (StackKind::Luna, Nic::Mem { mtu }) => {
                let (a, b) = mem_pair::pair(*mtu);
                let (tcp, capacity) = (self.tcp(), self.capacity());
                let server = move || {
                    let mut driver = a.open(tcp, capacity)?;
                    driver.listen(mem_pair::SERVER)?;
                    Ok((driver, mem_pair::SERVER))
                };
                join(server, || b.open(tcp, capacity), serve, to)
            }
            (StackKind::Luna, nic) => {
                nic.supported()?;
                Err(OpenError::Driver(DriverError::Port(format!(
                    "--nic {} needs --connect ADDR:PORT, of a `luna serve` at its other end",
                    nic.kind()
                ))))
            }
        }
    }

    fn pin(&self) -> Result<(), OpenError> {
        if self.stack == StackKind::Luna {
            self.nic.supported()?;
        }
        Ok(self.cpu.map_or(Ok(()), machine::pin)?)
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
}

/// Server and client in one process: a thread each, or one thread for both when there is one core.
fn join<S: Driver, C: Driver, U: Use>(
    server: impl FnOnce() -> Result<(S, SocketAddr), DriverError> + Send,
    client: impl FnOnce() -> Result<C, DriverError>,
    serve: &ServeOptions,
    to: U,
) -> Result<(U::Output, Served), OpenError> {
    if machine::allowed_cpus() < 2 {
        let (server, addr) = server()?;
        let app = serve.build(&server)?;
        let mut both = Both { client: client()?, server, app };
        let output = to.run(&mut both, Some(addr), Idle::Spin);
        return Ok((output, (both.server.report(), both.app.counters())));
    }
    let idle = Idle::for_spinners(2);
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
        let output = match is_ready.recv() {
            Ok(addr) => client().map(|mut driver| to.run(&mut driver, Some(addr), idle)).map_err(OpenError::from),
            // The server has failed, and says why below.
            Err(_) => Err(OpenError::Os(std::io::Error::other("the server did not start"))),
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
