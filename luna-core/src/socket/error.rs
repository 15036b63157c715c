//! How socket calls fail, in the field's terms.

use core::fmt;

use crate::stack::{CloseReason, ConfigError, ConnectError, ListenError};

/// Why a call was refused. Nothing happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketError {
    /// The socket was closed.
    Stale,
    /// Not now; `ready` and `next_ready` say when.
    WouldBlock,
    /// The socket is in another phase of its life: bound twice, connected already, not a listener.
    InvalidState,
    /// There is no connection.
    NotConnected,
    /// We finished sending, or the connection is over.
    Pipe,
    /// All socket slots are in use.
    NoSocket,
    /// There are too many different settings ([`crate::tcp::MAX_PROFILES`]).
    NoProfile,
    /// No obj or queue entry is free.
    NoMemory,
    /// The address is in use by another socket.
    AddrInUse,
    /// The address is not ours, or no port is free.
    AddrNotAvailable,
    /// A value that the option does not take.
    InvalidValue,
    /// The connection is over, for this reason. Reported once.
    Ended(CloseReason),
    /// The connection could not be opened.
    Connect(ConnectError),
    /// The listener could not be made.
    Listen(ListenError),
}

impl SocketError {
    /// What a kernel's sockets would say.
    #[must_use]
    pub const fn errno_name(self) -> &'static str {
        match self {
            Self::Stale => "EBADF",
            Self::WouldBlock => "EAGAIN",
            Self::InvalidState | Self::InvalidValue | Self::Connect(ConnectError::NoProfile) => "EINVAL",
            Self::Listen(ListenError::NoProfile | ListenError::BadPort) => "EINVAL",
            Self::NotConnected => "ENOTCONN",
            Self::Pipe => "EPIPE",
            Self::NoSocket => "ENFILE",
            Self::NoProfile | Self::NoMemory => "ENOBUFS",
            Self::Connect(ConnectError::Full) | Self::Listen(ListenError::Full) => "ENOBUFS",
            Self::AddrInUse | Self::Listen(ListenError::InUse) => "EADDRINUSE",
            Self::AddrNotAvailable | Self::Listen(ListenError::NotOurAddress) => "EADDRNOTAVAIL",
            Self::Connect(ConnectError::PortsInUse | ConnectError::NotOurAddress) => "EADDRNOTAVAIL",
            Self::Connect(ConnectError::BadAddress) => "EINVAL",
            Self::Connect(_) => "ENETUNREACH",
            Self::Ended(reason) => errno_of(reason),
        }
    }
}

/// What a kernel's sockets would say of the end of a connection.
#[must_use]
pub(super) const fn errno_of(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Finished => "ENOTCONN",
        CloseReason::Refused => "ECONNREFUSED",
        CloseReason::Reset => "ECONNRESET",
        CloseReason::TimedOut(_) => "ETIMEDOUT",
        // Port or protocol, in ICMP and ICMPv6; net, in both.
        CloseReason::Unreachable(3, 2 | 3) | CloseReason::Unreachable(1, 4) => "ECONNREFUSED",
        CloseReason::Unreachable(3, 0) | CloseReason::Unreachable(1, 0) => "ENETUNREACH",
        CloseReason::Unreachable(..) => "EHOSTUNREACH",
        CloseReason::Aborted | CloseReason::Revoked => "ECONNABORTED",
        CloseReason::PeerBrokeProtocol => "EPROTO",
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the socket was closed",
            Self::WouldBlock => "it would have to wait",
            Self::InvalidState => "the socket cannot do that in its state",
            Self::NotConnected => "the socket is not connected",
            Self::Pipe => "nothing more can be sent",
            Self::NoSocket => "all socket slots are in use",
            Self::NoProfile => "too many different settings are in use",
            Self::NoMemory => "no obj or queue entry is free",
            Self::AddrInUse => "the address is in use by another socket",
            Self::AddrNotAvailable => "the address is not ours, or no port is free",
            Self::InvalidValue => "the option does not take this value",
            Self::Ended(reason) => return reason.fmt(f),
            Self::Connect(e) => return e.fmt(f),
            Self::Listen(e) => return e.fmt(f),
        })
    }
}

impl core::error::Error for SocketError {}

/// Why [`super::Sockets::new`] refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetupError {
    /// More addresses than a path has ([`crate::stack::MAX_ADDRS`]).
    TooManyAddresses,
    /// The pool's objs are smaller than MTU + 14.
    ObjTooSmall,
    /// A table is empty: sockets, chunks, packets; or fewer than 2 neighbours.
    EmptyTable,
    /// The stack's own tables or the MTU.
    Stack(ConfigError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAddresses => f.write_str("too many addresses"),
            Self::ObjTooSmall => f.write_str("the pool's objs must hold a packet of the MTU and 14 bytes"),
            Self::EmptyTable => f.write_str("a table is empty (neighbours: fewer than 2)"),
            Self::Stack(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for SetupError {}

/// A view that could not be sent, handed back.
#[derive(Debug)]
pub struct SendZbufError {
    /// Why.
    pub error: SocketError,
    /// What was to be sent.
    pub data: crate::zbuf::Zbuf,
}

impl fmt::Display for SendZbufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for SendZbufError {}
