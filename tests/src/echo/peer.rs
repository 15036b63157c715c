//! An application with one RPC session over one connection.

use core::net::SocketAddr;

use luna_core::nic::NicQueue;
use luna_core::rpc::{Handler, Session};
use luna_core::stack::{App, Closed, ConnId, ConnStream, Cx, Retained};
use luna_core::zbuf::Zbuf;

use super::client::EchoClient;

/// The session, what handles it, and the connection once there is one.
pub struct Peer<H> {
    /// The session.
    pub session: Session<'static>,
    /// Its callbacks.
    pub handler: H,
    /// The connection that it runs over.
    pub conn: Option<ConnId>,
}

impl<H> Peer<H> {
    /// Not connected yet.
    #[must_use]
    pub fn new(session: Session<'static>, handler: H) -> Self {
        Self { session, handler, conn: None }
    }
}

impl Peer<EchoClient> {
    /// Sends the request of `slot`.
    ///
    /// # Panics
    /// When there is no connection or it takes no request.
    pub fn start<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, slot: usize) {
        let conn = self.conn.expect("connected");
        let mut stream = ConnStream { cx, conn };
        self.handler.call(&mut self.session.cx(&mut stream), slot);
    }
}

impl<Q: NicQueue, H: Handler> App<Q> for Peer<H> {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId, _: u64, _: SocketAddr) {
        self.conn = Some(conn);
    }

    fn on_connected(&mut self, _: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.conn = Some(conn);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        match self.session.try_keep(data) {
            Ok(more) => Retained(more),
            Err(data) => self.handle_data(cx, conn, data),
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.session.handle_writable(&mut ConnStream { cx, conn }, &mut self.handler);
    }

    fn on_closed(&mut self, _: &mut Cx<'_, '_, Q>, _: ConnId, closed: Closed) {
        panic!("the connection ended: {}", closed.reason);
    }
}

impl<H: Handler> Peer<H> {
    /// What is not only to be kept.
    #[inline(never)]
    fn handle_data<Q: NicQueue>(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        let before = self.session.held();
        self.session
            .handle_data(data, &mut ConnStream { cx, conn }, &mut self.handler)
            .expect("the other end speaks the protocol");
        let more = self.session.held().wrapping_sub(before);
        if (more as i32) < 0 {
            cx.release(conn, more.wrapping_neg()).expect("the connection is alive");
            return Retained(0);
        }
        Retained(more)
    }
}
