//! What the stack tells the application, what the application may answer, and how things fail.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::cx::Cx;
use super::ids::{ConnId, PathId};
use crate::nic::NicQueue;
use crate::zbuf::Zbuf;

/// How a send ended. Reported exactly once for each accepted send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Released {
    /// The peer acknowledged all of it, and no device holds foreign memory of it.
    #[default]
    Acked,
    /// The connection ended first; the peer may have some of it.
    Aborted,
    /// The connection ended because foreign memory was revoked.
    Revoked,
}

/// Which time limit ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// No answer to our SYN.
    Connect,
    /// Data (or a window probe) was not acknowledged.
    User,
    /// The peer did not finish after we had.
    FinWait2,
    /// The peer answered window probes and took nothing.
    ZeroWindow,
    /// The peer was silent, keepalive probes included.
    Keepalive,
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// Both sides finished.
    Finished,
    /// The peer answered our SYN with a reset.
    Refused,
    /// The peer reset it.
    Reset,
    /// A time limit ran out.
    TimedOut(Limit),
    /// The network said that the peer cannot be reached (ICMP type and code).
    Unreachable(u8, u8),
    /// Aborted here.
    Aborted,
    /// The peer broke the protocol.
    PeerBrokeProtocol,
    /// Foreign memory in its send queue was revoked.
    Revoked,
}

impl CloseReason {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "both sides finished",
            Self::Refused => "refused by the peer (nobody listens there?)",
            Self::Reset => "reset by the peer",
            Self::TimedOut(Limit::Connect) => "timed out: no answer to the connection request",
            Self::TimedOut(Limit::User) => "timed out: the peer stopped acknowledging",
            Self::TimedOut(Limit::FinWait2) => "timed out: the peer did not finish",
            Self::TimedOut(Limit::ZeroWindow) => "timed out: the peer takes no data",
            Self::TimedOut(Limit::Keepalive) => "timed out: the peer is silent",
            Self::Unreachable(..) => "the network says that the peer is unreachable",
            Self::Aborted => "aborted on this side",
            Self::PeerBrokeProtocol => "the peer broke the protocol",
            Self::Revoked => "memory being sent was revoked",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(t, c) => write!(f, "{} (ICMP type {t}, code {c})", self.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// The end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Why.
    pub reason: CloseReason,
    /// Data left for the peer, who may have acted on it: a request must not be issued again blindly.
    pub maybe_delivered: bool,
}

/// How much memory the application keeps of what it was given, in bytes of whole objs ([`Zbuf::true_size`]). The receive
/// window shrinks by it until [`Cx::release`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Retained(pub u32);

impl Retained {
    /// All of it was used up.
    pub const NOTHING: Self = Self(0);
}

/// A name that does not name anything any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is over")
    }
}

impl core::error::Error for Stale {}

/// Why a send was refused. Nothing of it was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The connection is over.
    Stale,
    /// We finished sending, or the connection is ending.
    Closing,
    /// No room: `on_writable` says when to try again.
    Full,
    /// There was nothing to send.
    Empty,
    /// More than the send buffer holds: split it.
    TooLarge,
    /// A fragment's memory was revoked.
    Revoked,
    /// No obj for the message's head, or its pool's objs are smaller: later, perhaps.
    NoObj,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the connection is over",
            Self::Closing => "this side has finished sending",
            Self::Full => "the send queue is full",
            Self::Empty => "there is nothing to send",
            Self::TooLarge => "one send is larger than the send buffer",
            Self::Revoked => "a fragment's memory was revoked",
            Self::NoObj => "no obj for the message's head",
        })
    }
}

impl core::error::Error for SendError {}

/// Why a connection could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// No path has an address of the peer's family, or the named path does not exist.
    NoPath,
    /// The local address is not one of the path's.
    NotOurAddress,
    /// The peer is outside every prefix and the path has no gateway.
    NoRoute,
    /// Every port of the range is in use towards this peer.
    PortsInUse,
    /// The connection table is full.
    Full,
    /// Port 0, or a group address.
    BadAddress,
    /// No such profile.
    NoProfile,
    /// The pool of congestion controllers is full.
    ControlsFull,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPath => "no path has an address of the peer's family",
            Self::NotOurAddress => "the local address does not belong to the path",
            Self::NoRoute => "no route: the peer is outside every prefix and there is no gateway",
            Self::PortsInUse => "every local port of the range is in use towards this peer",
            Self::Full => "the connection table is full",
            Self::BadAddress => "not an address and port that one can connect to",
            Self::NoProfile => "no such profile",
            Self::ControlsFull => "the pool of congestion controllers is full",
        })
    }
}

impl core::error::Error for ConnectError {}

/// Why a listener could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenError {
    /// Somebody listens there already.
    InUse,
    /// The listener table is full.
    Full,
    /// Port 0.
    BadPort,
    /// No such path, or the address is not one of its.
    NotOurAddress,
    /// No such profile.
    NoProfile,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "the address is in use by another listener",
            Self::Full => "the listener table is full",
            Self::BadPort => "port 0 cannot be listened on",
            Self::NotOurAddress => "the address does not belong to the path",
            Self::NoProfile => "no such profile",
        })
    }
}

impl core::error::Error for ListenError {}

/// The application of a stack. Callbacks run inside [`super::Stack::turn`], may do anything that a [`Cx`] offers (send on,
/// close or abort their own connection included), and must not block.
pub trait App<Q: NicQueue> {
    /// A peer connected to a listener; `listener_user` is what the listener was made with.
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, listener_user: u64, remote: SocketAddr) {
        let _ = (cx, conn, listener_user, remote);
    }

    /// A connection that we opened is established.
    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// Data, in order. The view is of the obj that the device filled. Says how much of its memory is kept.
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained;

    /// The peer finished sending; we may go on.
    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// An accepted send ended.
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, token: u64, outcome: Released) {
        let _ = (cx, conn, token, outcome);
    }

    /// There is room again after [`SendError::Full`].
    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// The connection is over; its name is stale from now on. Comes once for each connection that the application knew.
    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, closed: Closed) {
        let _ = (cx, conn, closed);
    }

    /// A next hop's hardware address is wanted: answer with [`Cx::neighbor`], now or later.
    fn on_neighbor_needed(&mut self, cx: &mut Cx<'_, '_, Q>, path: PathId, ip: IpAddr) {
        let _ = (cx, path, ip);
    }
}
