//! An application whose questions about neighbours the control plane answers.

use core::net::{IpAddr, SocketAddr};

use luna_core::nic::NicQueue;
use luna_core::stack::{App, Closed, ConnId, Cx, PathId, Released, Retained};
use luna_core::zbuf::Zbuf;

/// Questions kept until the turn's end. A connection asks once; what does not fit is counted, and the connection is told
/// when its neighbour becomes known through another.
const MAX_ASKED: usize = 32;

/// Wraps an application for [`super::Control::turn`].
#[derive(Debug)]
pub struct Attended<A> {
    /// The application.
    pub app: A,
    /// Questions that there was no room for.
    pub asked_too_much: u64,
    asked: heapless::Vec<(PathId, IpAddr), MAX_ASKED>,
}

impl<A> Attended<A> {
    /// Wraps `app`.
    pub const fn new(app: A) -> Self {
        Self { app, asked_too_much: 0, asked: heapless::Vec::new() }
    }

    /// Takes a question about a neighbour on `path`.
    pub(super) fn take(&mut self, path: PathId) -> Option<IpAddr> {
        let i = self.asked.iter().position(|a| a.0 == path)?;
        Some(self.asked.swap_remove(i).1)
    }
}

impl<Q: NicQueue, A: App<Q>> App<Q> for Attended<A> {
    #[inline(always)]
    fn on_accepted(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, listener_user: u64, remote: SocketAddr) {
        self.app.on_accepted(cx, conn, listener_user, remote);
    }

    #[inline(always)]
    fn on_connected(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.app.on_connected(cx, conn);
    }

    #[inline(always)]
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, data: Zbuf) -> Retained {
        self.app.on_data(cx, conn, data)
    }

    #[inline(always)]
    fn on_fin(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.app.on_fin(cx, conn);
    }

    #[inline(always)]
    fn on_released(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, token: u64, outcome: Released) {
        self.app.on_released(cx, conn, token, outcome);
    }

    #[inline(always)]
    fn on_writable(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId) {
        self.app.on_writable(cx, conn);
    }

    #[inline(always)]
    fn on_closed(&mut self, cx: &mut Cx<'_, '_, Q>, conn: ConnId, closed: Closed) {
        self.app.on_closed(cx, conn, closed);
    }

    fn on_neighbor_needed(&mut self, cx: &mut Cx<'_, '_, Q>, path: PathId, ip: IpAddr) {
        if !self.asked.contains(&(path, ip)) && self.asked.push((path, ip)).is_err() {
            self.asked_too_much += 1;
        }
        self.app.on_neighbor_needed(cx, path, ip);
    }
}
