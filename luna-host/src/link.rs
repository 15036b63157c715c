//! What an application sees of a transport: the same callbacks and calls over Luna's stack and over kernel sockets.
//!
//! A [`Driver`] is one thread's transport with its loop; an [`Endpoint`] is an application on it; a [`Transport`] is what
//! callbacks may do. All of it is the portable part of Luna's own callback interface, dispatched statically.

use core::net::SocketAddr;

use luna_core::rpc::ByteStream;
use luna_core::time::Instant;
use luna_core::zbuf::Zbuf;

use crate::report::StackReport;

/// Names a connection: slot and generation. A stale name does nothing and finds nobody else's connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnKey(pub u64);

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseKind {
    /// Both sides finished.
    #[error("the peer closed the connection")]
    Finished,
    /// The peer sent RST.
    #[error("the peer reset the connection")]
    Reset,
    /// The peer does not answer any more.
    #[error("the peer does not answer (timed out)")]
    TimedOut,
    /// Nobody listens there.
    #[error("connection refused: nothing listens there, or it is full; start `luna serve` there first")]
    Refused,
    /// No way to the peer.
    #[error("the peer cannot be reached: no route, or nobody has that address")]
    Unreachable,
    /// This side gave up.
    #[error("the connection was aborted here")]
    AbortedHere,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol")]
    Protocol,
    /// The operating system failed.
    #[error("the operating system failed (error {0})")]
    Os(i32),
}

/// The end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Why.
    pub kind: CloseKind,
    /// Whether bytes may have reached the peer.
    pub maybe_delivered: bool,
}

/// Why there is no connection to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// A limit of this side: connections or ports.
    #[error("no room for another connection: {0}")]
    Exhausted(&'static str),
    /// No way to the peer.
    #[error("{0} cannot be reached from here: not in the port's network, and there is no gateway")]
    Unreachable(SocketAddr),
    /// Not an address to connect to.
    #[error("{0} is not an address and port that one can connect to")]
    BadAddress(SocketAddr),
    /// The operating system failed.
    #[error("the operating system refused to connect (error {0})")]
    Os(i32),
}

/// Why a driver cannot go on, or cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Nothing can listen there.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// Memory.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
    /// The operating system failed.
    #[error("{what}: {source}")]
    Os {
        /// Doing what.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// The port or the stack on it cannot be had.
    #[error("{0}")]
    Port(String),
}

/// What callbacks may do.
pub trait Transport {
    /// A connection's sending half.
    type Stream<'a>: ByteStream
    where
        Self: 'a;

    /// The time of this turn.
    fn now(&self) -> Instant;
    /// A connection's sending half; of a stale name, one that is closed.
    fn stream(&mut self, conn: ConnKey) -> Self::Stream<'_>;
    /// Begins to connect; `user` comes with every callback of that connection.
    ///
    /// # Errors
    /// [`ConnectError`]: there will be no callback.
    fn connect(&mut self, remote: SocketAddr, user: u64) -> Result<ConnKey, ConnectError>;
    /// Changes what comes with every callback.
    fn set_user(&mut self, conn: ConnKey, user: u64);
    /// Gives back `bytes` of what [`Endpoint::on_data`] said that it holds.
    fn release(&mut self, conn: ConnKey, bytes: u32);
    /// No more data will be sent; the peer learns it after what is queued.
    fn shutdown(&mut self, conn: ConnKey);
    /// Ends the connection now.
    fn abort(&mut self, conn: ConnKey);
}

/// An application.
pub trait Endpoint {
    /// Somebody connected. What this returns comes with every callback of that connection; `None` refuses it.
    fn on_accepted<T: Transport>(&mut self, link: &mut T, conn: ConnKey, remote: SocketAddr) -> Option<u64>;
    /// A connection of ours is established.
    fn on_connected<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64);
    /// Bytes arrived, in order. Returns how many bytes of memory, in whole objs, are kept of them.
    fn on_data<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64, data: Zbuf) -> u32;
    /// The peer sends no more.
    fn on_fin<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64);
    /// There is room to send again.
    fn on_writable<T: Transport>(&mut self, link: &mut T, conn: ConnKey, user: u64);
    /// The connection is gone, or never came to be; its name is stale.
    fn on_closed<T: Transport>(&mut self, link: &mut T, conn: ConnKey, closed: Closed);
    /// Once every turn, after all that arrived.
    fn poll<T: Transport>(&mut self, link: &mut T);
}

/// One thread's transport and its loop.
pub trait Driver {
    /// Takes in what arrived, calls back, sends. Returns whether there was anything to do.
    ///
    /// # Errors
    /// The transport is of no use any more.
    fn turn<E: Endpoint>(&mut self, endpoint: &mut E) -> Result<bool, DriverError>;
    /// Lets others run, because nothing happens; for a sleep of at most `most`.
    ///
    /// # Errors
    /// The transport is of no use any more.
    fn doze<E: Endpoint>(&mut self, endpoint: &mut E, most: core::time::Duration) -> Result<bool, DriverError>;
    /// What was counted so far.
    fn report(&self) -> StackReport;
    /// Memory for payload that this transport sends without copying.
    fn payload_pool(&self) -> &'static luna_core::zbuf::Pool;
    /// Counts cycles by stage from now on, in one turn of `every`, or no more. A transport without Luna's loop has no stages.
    #[cfg(feature = "cycles")]
    fn count_cycles(&mut self, every: Option<u32>) {
        let _ = every;
    }
}
