//! The stack's callbacks and calls, as the portable ones.

use core::net::{IpAddr, SocketAddr};

use luna_core::nic::NicQueue;
use luna_core::stack::{
    App, CloseReason, Closed as StackClosed, ConnId, ConnStream, Connect, ConnectError as StackConnectError, Cx,
    PathId, Retained,
};
use luna_core::time::Instant;
use luna_core::zbuf::Zbuf;

use crate::link::{CloseKind, Closed, ConnKey, ConnectError, Endpoint, Transport};
use crate::neighbor::Neighbors;

/// An endpoint as the stack's application.
pub(super) struct Adapter<'a, E> {
    pub(super) endpoint: &'a mut E,
    pub(super) kernel: Option<&'a Neighbors>,
}

/// The stack's context as a transport.
pub(super) struct CxLink<'a, 's, 'm, Q>(pub(super) &'a mut Cx<'s, 'm, Q>);

fn key(conn: ConnId) -> ConnKey {
    ConnKey(conn.as_u64())
}

fn id(conn: ConnKey) -> ConnId {
    ConnId::from_u64(conn.0)
}

fn kind_of(reason: CloseReason) -> CloseKind {
    match reason {
        CloseReason::Finished => CloseKind::Finished,
        CloseReason::Refused => CloseKind::Refused,
        CloseReason::Reset => CloseKind::Reset,
        CloseReason::TimedOut(_) => CloseKind::TimedOut,
        CloseReason::Unreachable(..) => CloseKind::Unreachable,
        CloseReason::Aborted | CloseReason::Revoked => CloseKind::AbortedHere,
        CloseReason::PeerBrokeProtocol => CloseKind::Protocol,
    }
}

/// No connection has it: a user number that no endpoint gives.
const NOBODY: u64 = u64::MAX;

impl<Q: NicQueue, E: Endpoint> App<Q> for Adapter<'_, E> {
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, _listener: u64, remote: SocketAddr) {
        match self.endpoint.on_accepted(&mut CxLink(cx), key(conn), remote) {
            Some(user) => {
                let set = cx.set_user(conn, user);
                debug_assert!(set.is_ok(), "accepted just now");
            }
            None => {
                CxLink(cx).set_user(key(conn), NOBODY);
                CxLink(cx).abort(key(conn));
            }
        }
    }

    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let user = cx.user(conn).unwrap_or(NOBODY);
        self.endpoint.on_connected(&mut CxLink(cx), key(conn), user);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        let user = cx.user(conn).unwrap_or(NOBODY);
        Retained(self.endpoint.on_data(&mut CxLink(cx), key(conn), user, data))
    }

    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let user = cx.user(conn).unwrap_or(NOBODY);
        self.endpoint.on_fin(&mut CxLink(cx), key(conn), user);
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        let user = cx.user(conn).unwrap_or(NOBODY);
        self.endpoint.on_writable(&mut CxLink(cx), key(conn), user);
    }

    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, closed: StackClosed) {
        // The name is stale here, so there is no user number; endpoints find the connection by its name.
        let closed = Closed { kind: kind_of(closed.reason), maybe_delivered: closed.maybe_delivered };
        self.endpoint.on_closed(&mut CxLink(cx), key(conn), closed);
    }

    fn on_neighbor_needed(&mut self, _cx: &mut Cx<'_, '_, Q>, _path: PathId, ip: IpAddr) {
        match self.kernel {
            Some(kernel) => kernel.ask(ip),
            None => log::warn!("nobody knows the hardware address of {ip}: give it as peer={ip}@MAC in --nic"),
        }
    }
}

impl<'s, 'm, Q: NicQueue> Transport for CxLink<'_, 's, 'm, Q> {
    type Stream<'b>
        = ConnStream<'b, 's, 'm, Q>
    where
        Self: 'b;

    #[inline(always)]
    fn now(&self) -> Instant {
        self.0.now()
    }

    #[inline(always)]
    fn stream(&mut self, conn: ConnKey) -> ConnStream<'_, 's, 'm, Q> {
        ConnStream { cx: self.0, conn: id(conn) }
    }

    fn connect(&mut self, remote: SocketAddr, user: u64) -> Result<ConnKey, ConnectError> {
        let to = Connect { user, ..Connect::to(remote) };
        self.0.connect(to).map(key).map_err(|e| match e {
            StackConnectError::NoPath | StackConnectError::NoRoute | StackConnectError::NotOurAddress => {
                ConnectError::Unreachable(remote)
            }
            StackConnectError::PortsInUse => ConnectError::Exhausted("all client ports are in use"),
            StackConnectError::Full => ConnectError::Exhausted("the connection table is full"),
            StackConnectError::ControlsFull => ConnectError::Exhausted("the pool of congestion controllers is full"),
            StackConnectError::BadAddress => ConnectError::BadAddress(remote),
            StackConnectError::NoProfile => ConnectError::Exhausted("no such settings"),
        })
    }

    fn set_user(&mut self, conn: ConnKey, user: u64) {
        if self.0.set_user(id(conn), user).is_err() {
            log::debug!("{conn:?} is over");
        }
    }

    #[inline]
    fn release(&mut self, conn: ConnKey, bytes: u32) {
        // A connection that is over holds nothing.
        let _ = self.0.release(id(conn), bytes);
    }

    fn shutdown(&mut self, conn: ConnKey) {
        let _ = self.0.shutdown(id(conn));
    }

    fn abort(&mut self, conn: ConnKey) {
        let _ = self.0.abort(id(conn));
    }
}
